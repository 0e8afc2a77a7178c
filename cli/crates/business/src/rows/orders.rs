//! Orders, and what inventory does about them.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use dm_contracts::api::order::{OrderItem, OrderStatus};
use dm_contracts::api::shipment::{Dispatched, LastScan, Scanned, ShipmentStatus};
use dm_contracts::events::{
    MissingItem, OrderCreated, OrderStatusChanged, ShipmentDispatched, StockFailed, StockReserved,
    stock,
};
use dm_contracts::topology::{INVENTORY_QUEUE, ORDER_QUEUE};

use super::copy::Line;
use super::events::{Cause, Place, Telling, Written};
use super::table::{Service, Table};
use super::{Clerk, INVENTORY_EVENTS, NOTIFICATIONS, Rows, STEPS};
use crate::facts::{Client, Item, Order, OrderEnd};

/// Among the kinds of facts.
const ORDER: u64 = 3;
/// Among the kinds of facts: a dispatch is a request of its own.
const DISPATCH: u64 = 4;
/// How long inventory thinks, as it is set up unless somebody says otherwise.
const PACE: TimeDelta = TimeDelta::seconds(1);
/// How long it takes to scan a line.
const SCAN: TimeDelta = TimeDelta::seconds(11);
/// Who an order was told of by.
const ORDER_SOURCE: &str = "order-service";
/// Who tells of its progress.
const INVENTORY_SOURCE: &str = "inventory-service";

/// What all the rows of an order have in common.
struct Case<'a> {
    order: &'a Order,
    order_id: String,
    shipment_id: String,
    client_id: String,
    items: Vec<OrderItem>,
}

impl Case<'_> {
    const fn place(&self, step: u64) -> Place {
        Place {
            kind: ORDER,
            index: self.order.index,
            step,
        }
    }
}

impl Clerk {
    pub(super) fn order(&self, rows: &mut Rows, order: &Order) {
        let number = self.first.order + order.index;
        let case = Case {
            order,
            order_id: format!("ord_{number}"),
            shipment_id: format!("ship_{number}"),
            client_id: match &order.client {
                Client::OfRun(client) => self.client_id(*client),
                Client::Known(id) => id.clone(),
            },
            items: order
                .items
                .iter()
                .map(|item| OrderItem {
                    sku: item.sku.clone(),
                    quantity: item.quantity,
                })
                .collect(),
        };
        let shipped = matches!(order.end, OrderEnd::Shipped { .. });
        rows.line(Table::Orders)
            .plain(&case.order_id)
            .text(&case.client_id)
            .plain(order.ship_date)
            .json(&case.items)
            .text(&order.notes)
            .text(&order.seller)
            .plain(order.end.status())
            .instant(order.created_at)
            .maybe(shipped.then_some(&case.shipment_id), Line::plain);
        self.step(
            rows,
            &case,
            0,
            OrderStatus::Created,
            order.created_at,
            ORDER_SOURCE,
        );
        let created = self.created(rows, &case);
        let heard_at = self.handled(rows, Service::Inventory, INVENTORY_QUEUE, &created);
        self.shipment(rows, &case, heard_at);
        self.reservation(rows, &case, heard_at);
        self.stock(rows, &case, &created, heard_at);
        match &order.end {
            OrderEnd::Reserved | OrderEnd::Failed(_) => {}
            OrderEnd::Loading { by, lines, at } => {
                self.scans(rows, &case, (by, *lines), (*at, SCAN));
            }
            OrderEnd::Shipped { by, truck, at } => {
                // Nothing is scanned before it was ordered.
                let lines = i32::try_from(case.items.len()).unwrap_or(i32::MAX).max(1);
                let pace = SCAN.min((*at - order.created_at) / lines);
                let scanned = (by.as_str(), case.items.len());
                self.scans(rows, &case, scanned, (*at - pace * lines, pace));
                self.dispatch(rows, &case, by, truck, *at);
            }
        }
        let movement = |rows: &mut Rows, item: &OrderItem| {
            let stock = rows.stock.entry(item.sku.clone()).or_default();
            match order.end {
                OrderEnd::Failed(_) => {}
                OrderEnd::Shipped { .. } => stock.shipped += item.quantity,
                OrderEnd::Reserved | OrderEnd::Loading { .. } => stock.reserved += item.quantity,
            }
        };
        for item in &case.items {
            movement(rows, item);
        }
    }

    fn step(
        &self,
        rows: &mut Rows,
        case: &Case<'_>,
        step: u64,
        status: OrderStatus,
        at: DateTime<Utc>,
        source: &str,
    ) {
        rows.line(Table::OrderTimeline)
            .plain(self.first.timeline + case.order.index * STEPS + step)
            .plain(&case.order_id)
            .plain(status.as_str())
            .instant(at)
            .plain(source);
    }

    /// The order tells of itself, and its seller is told.
    fn created(&self, rows: &mut Rows, case: &Case<'_>) -> Written {
        let order = case.order;
        let event = OrderCreated {
            order_id: case.order_id.clone(),
            client_id: case.client_id.clone(),
            requested_ship_date: order.ship_date,
            items: case.items.clone(),
            created_by: order.seller.clone(),
            created_at: order.created_at,
        };
        let sequence = self.first.order_event + order.index * STEPS;
        let written = self.tell(
            rows,
            (Service::Order, sequence, case.place(0)),
            &event,
            (Cause::Request, order.created_at),
            None,
        );
        let telling = Telling {
            user: order.seller.clone(),
            kind: "ORDER_PLACED",
            title: format!("Order {} created", case.order_id),
            body: format!("Order for {} was placed successfully.", case.client_id),
            deep_link: format!("/infinity?orderId={}", case.order_id),
            created_at: order.created_at,
        };
        let offset = order.index * NOTIFICATIONS;
        self.notify(rows, (offset, case.place(1)), telling, &written);
        written
    }

    fn shipment(&self, rows: &mut Rows, case: &Case<'_>, heard_at: DateTime<Utc>) {
        let order = case.order;
        let line = rows
            .line(Table::Shipments)
            .plain(&case.shipment_id)
            .plain(&case.order_id)
            .text(&case.client_id)
            .plain(order.ship_date)
            .json(&case.items);
        let (status, updated_at) = match &order.end {
            OrderEnd::Reserved => (ShipmentStatus::Pending, heard_at),
            OrderEnd::Loading { at, .. } => (ShipmentStatus::Loading, *at),
            OrderEnd::Failed(_) => (ShipmentStatus::Failed, heard_at),
            OrderEnd::Shipped { at, .. } => (ShipmentStatus::Dispatched, *at),
        };
        let line = line
            .plain(status.as_str())
            .instant(order.created_at)
            .text(&order.seller)
            .instant(updated_at);
        match &order.end {
            OrderEnd::Shipped { by, truck, at } => line
                .instant(*at)
                .text(by)
                .text(truck)
                .plain(self.dispatch_id(case)),
            _ => line.null().null().null().null(),
        };
    }

    fn reservation(&self, rows: &mut Rows, case: &Case<'_>, heard_at: DateTime<Utc>) {
        let (status, updated_at) = match &case.order.end {
            OrderEnd::Reserved | OrderEnd::Loading { .. } => (stock::RESERVED, heard_at),
            OrderEnd::Failed(_) => (stock::FAILED, heard_at),
            OrderEnd::Shipped { at, .. } => ("DISPATCHED", *at),
        };
        // By SKU, as inventory counts.
        let needs: BTreeMap<&str, i64> = case
            .items
            .iter()
            .map(|item| (item.sku.as_str(), item.quantity))
            .collect();
        let items: Vec<OrderItem> = needs
            .into_iter()
            .map(|(sku, quantity)| OrderItem {
                sku: sku.to_owned(),
                quantity,
            })
            .collect();
        rows.line(Table::Reservations)
            .plain(self.reservation_id(case))
            .plain(&case.order_id)
            .plain(status)
            .json(&items)
            .instant(heard_at)
            .instant(updated_at);
    }

    fn reservation_id(&self, case: &Case<'_>) -> String {
        format!("res_{}", self.first.reservation + case.order.index)
    }

    fn dispatch_id(&self, case: &Case<'_>) -> String {
        let event = self.event_id(Place {
            kind: DISPATCH,
            ..case.place(u64::MAX - 1)
        });
        event.replacen("evt", "dsp", 1)
    }

    /// Inventory says what it could set aside, and the order moves on.
    fn stock(&self, rows: &mut Rows, case: &Case<'_>, created: &Written, heard_at: DateTime<Utc>) {
        let sequence = self.first.inventory_event + case.order.index * INVENTORY_EVENTS;
        let cause = (Cause::Handling(INVENTORY_QUEUE, &created.id), heard_at);
        let key = (Service::Inventory, sequence, case.place(3));
        let order_id = case.order_id.clone();
        let (event, status, reason) = match &case.order.end {
            OrderEnd::Failed(missing) => {
                let failed = StockFailed {
                    order_id,
                    status: stock::FAILED.to_owned(),
                    missing_items: missing.iter().map(missing_item).collect(),
                    at: heard_at,
                };
                let event = self.tell(rows, key, &failed, cause, Some(PACE));
                let reason = reason(missing);
                (event, OrderStatus::FailedInsufficientStock, Some(reason))
            }
            _ => {
                let reserved = StockReserved {
                    order_id,
                    reservation_id: self.reservation_id(case),
                    status: stock::RESERVED.to_owned(),
                    at: heard_at,
                };
                let event = self.tell(rows, key, &reserved, cause, Some(PACE));
                (event, OrderStatus::Reserved, None)
            }
        };
        self.moves(rows, case, 1, (status, heard_at, reason), &event);
    }

    /// The order hears of it.
    fn moves(
        &self,
        rows: &mut Rows,
        case: &Case<'_>,
        step: u64,
        (status, at, reason): (OrderStatus, DateTime<Utc>, Option<String>),
        event: &Written,
    ) {
        self.step(rows, case, step, status, at, INVENTORY_SOURCE);
        let heard_at = self.handled(rows, Service::Order, ORDER_QUEUE, event);
        let changed = OrderStatusChanged {
            order_id: case.order_id.clone(),
            status: status.as_str().to_owned(),
            reason,
            at,
        };
        let kind = if step == 1 { ORDER } else { DISPATCH };
        let place = Place {
            kind,
            ..case.place(5)
        };
        let sequence = self.first.order_event + case.order.index * STEPS + step;
        self.tell(
            rows,
            (Service::Order, sequence, place),
            &changed,
            (Cause::Handling(ORDER_QUEUE, &event.id), heard_at),
            None,
        );
    }

    /// Scans the first lines of a shipment, beginning at an instant, one per interval.
    fn scans(
        &self,
        rows: &mut Rows,
        case: &Case<'_>,
        (by, lines): (&str, usize),
        (began, pace): (DateTime<Utc>, TimeDelta),
    ) {
        let first = self.first.scan + case.order.index * self.counts.most_items;
        let mut at = began;
        for (place, item) in (0_u64..).zip(case.items.iter().take(lines)) {
            let key = format!("seed_{:016x}_{}_{}", self.salt, case.order_id, item.sku);
            let scan = LastScan {
                barcode: format!("SKU:{}", item.sku),
                quantity: i32::try_from(item.quantity).unwrap_or(i32::MAX),
                scanned_by: by.to_owned(),
                scanned_at: at,
            };
            rows.line(Table::ScanLog)
                .plain(first + place)
                .plain(&case.shipment_id)
                .text(&scan.barcode)
                .plain(scan.quantity)
                .text(&scan.scanned_by)
                .instant(at)
                .text(&key);
            let answer = Scanned {
                shipment_id: case.shipment_id.clone(),
                order_id: case.order_id.clone(),
                status: ShipmentStatus::Loading,
                last_scan: scan,
            };
            self.answered(rows, "SCAN", (&key, &case.shipment_id), &answer, at);
            at += pace;
        }
    }

    fn answered(
        &self,
        rows: &mut Rows,
        operation: &str,
        (key, shipment_id): (&str, &str),
        answer: &impl serde::Serialize,
        at: DateTime<Utc>,
    ) {
        rows.line(Table::IdempotencyRecords)
            .plain(operation)
            .text(key)
            .plain(shipment_id)
            .json(answer)
            .instant(at);
    }

    /// The shipment leaves, the order hears of it, and its seller is told.
    fn dispatch(&self, rows: &mut Rows, case: &Case<'_>, by: &str, truck: &str, at: DateTime<Utc>) {
        let key = format!("seed_{:016x}_{}", self.salt, case.order_id);
        let answer = Dispatched {
            shipment_id: case.shipment_id.clone(),
            order_id: case.order_id.clone(),
            shipment_status: ShipmentStatus::Dispatched,
            order_status: OrderStatus::Shipped,
            dispatched_at: at,
            dispatched_by: by.to_owned(),
            dispatch_id: self.dispatch_id(case),
            truck_id: truck.to_owned(),
            already_dispatched: false,
        };
        self.answered(rows, "DISPATCH", (&key, &case.shipment_id), &answer, at);
        let event = ShipmentDispatched {
            shipment_id: case.shipment_id.clone(),
            order_id: case.order_id.clone(),
            order_created_by: case.order.seller.clone(),
            dispatched_by: by.to_owned(),
            truck_id: truck.to_owned(),
            dispatched_at: at,
        };
        let place = |step| Place {
            kind: DISPATCH,
            ..case.place(step)
        };
        let sequence = self.first.inventory_event + case.order.index * INVENTORY_EVENTS + 1;
        let written = self.tell(
            rows,
            (Service::Inventory, sequence, place(0)),
            &event,
            (Cause::Request, at),
            None,
        );
        self.moves(rows, case, 2, (OrderStatus::Shipped, at, None), &written);
        let telling = Telling {
            user: case.order.seller.clone(),
            kind: "SHIPMENT_DISPATCHED",
            title: format!("Order {} shipped", case.order_id),
            body: format!(
                "Shipment {} left the warehouse on truck {truck}.",
                case.shipment_id
            ),
            deep_link: format!("/infinity?orderId={}", case.order_id),
            created_at: at,
        };
        let offset = case.order.index * NOTIFICATIONS + 1;
        self.notify(rows, (offset, place(1)), telling, &written);
    }
}

fn missing_item(item: &Item) -> MissingItem {
    MissingItem {
        sku: item.sku.clone(),
        missing_quantity: item.quantity,
    }
}

/// As order-service puts it.
fn reason(missing: &[Item]) -> String {
    let parts: Vec<String> = missing
        .iter()
        .map(|item| format!("{} of {}", item.quantity, item.sku))
        .collect();
    format!("insufficient stock: {} missing", parts.join(", "))
}
