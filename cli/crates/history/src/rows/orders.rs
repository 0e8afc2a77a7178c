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

use super::copy_format::CopyRow;
use super::events::{EventCause, EventKey, NotificationContent, PublishedEvent};
use super::table::{HistoryTable, ServiceName};
use super::{
    INVENTORY_EVENTS_PER_ORDER, NOTIFICATIONS_PER_ORDER, RowWriter, STEPS_PER_ORDER, TableRows,
};
use crate::model::{ClientRef, Order, OrderLine, OrderOutcome};

/// Among the kinds of facts.
const ORDER_KIND: u64 = 3;
/// Among the kinds of facts: a dispatch is a request of its own.
const DISPATCH_KIND: u64 = 4;
/// How long inventory thinks, as it is set up unless somebody says otherwise.
const STOCK_RESULT_DELAY: TimeDelta = TimeDelta::seconds(1);
/// How long it takes to scan a line.
const SCAN_INTERVAL: TimeDelta = TimeDelta::seconds(11);
/// Who an order was told of by.
const ORDER_SOURCE: &str = "order-service";
/// Who tells of its progress.
const INVENTORY_SOURCE: &str = "inventory-service";

/// What all the rows of an order have in common.
struct OrderContext<'a> {
    order: &'a Order,
    order_id: String,
    shipment_id: String,
    client_id: String,
    items: Vec<OrderItem>,
}

impl OrderContext<'_> {
    const fn event_key(&self, step: u64) -> EventKey {
        EventKey {
            kind: ORDER_KIND,
            index: self.order.index,
            step,
        }
    }
}

impl RowWriter {
    pub(super) fn write_order(&self, rows: &mut TableRows, order: &Order) {
        let number = self.sequence_starts.order + order.index;
        let case = OrderContext {
            order,
            order_id: format!("ord_{number}"),
            shipment_id: format!("ship_{number}"),
            client_id: match &order.client {
                ClientRef::InRun(client) => self.client_id(*client),
                ClientRef::Existing(id) => id.clone(),
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
        let shipped = matches!(order.outcome, OrderOutcome::Shipped { .. });
        rows.begin_row(HistoryTable::Orders)
            .unescaped(&case.order_id)
            .text(&case.client_id)
            .unescaped(order.ship_date)
            .json(&case.items)
            .text(&order.notes)
            .text(&order.seller)
            .unescaped(order.outcome.status())
            .instant(order.created_at)
            .optional(shipped.then_some(&case.shipment_id), CopyRow::unescaped);
        self.write_timeline_step(
            rows,
            &case,
            0,
            OrderStatus::Created,
            order.created_at,
            ORDER_SOURCE,
        );
        let created = self.write_order_created(rows, &case);
        let heard_at =
            self.write_inbox_event(rows, ServiceName::Inventory, INVENTORY_QUEUE, &created);
        self.write_shipment(rows, &case, heard_at);
        self.write_reservation(rows, &case, heard_at);
        self.write_stock_result(rows, &case, &created, heard_at);
        match &order.outcome {
            OrderOutcome::Reserved | OrderOutcome::Failed(_) => {}
            OrderOutcome::Loading {
                scanned_by: by,
                scanned_lines: lines,
                first_scanned_at: at,
            } => {
                self.write_scans(rows, &case, (by, *lines), (*at, SCAN_INTERVAL));
            }
            OrderOutcome::Shipped {
                shipped_by: by,
                truck_id: truck,
                shipped_at: at,
            } => {
                // Nothing is scanned before it was ordered.
                let lines = i32::try_from(case.items.len()).unwrap_or(i32::MAX).max(1);
                let pace = SCAN_INTERVAL.min((*at - order.created_at) / lines);
                let scanned = (by.as_str(), case.items.len());
                self.write_scans(rows, &case, scanned, (*at - pace * lines, pace));
                self.write_dispatch(rows, &case, by, truck, *at);
            }
        }
        let movement = |rows: &mut TableRows, item: &OrderItem| {
            let stock = rows.stock_changes.entry(item.sku.clone()).or_default();
            match order.outcome {
                OrderOutcome::Failed(_) => {}
                OrderOutcome::Shipped { .. } => stock.shipped += item.quantity,
                OrderOutcome::Reserved | OrderOutcome::Loading { .. } => {
                    stock.reserved += item.quantity
                }
            }
        };
        for item in &case.items {
            movement(rows, item);
        }
    }

    fn write_timeline_step(
        &self,
        rows: &mut TableRows,
        case: &OrderContext<'_>,
        step: u64,
        status: OrderStatus,
        at: DateTime<Utc>,
        source: &str,
    ) {
        rows.begin_row(HistoryTable::OrderTimeline)
            .unescaped(self.sequence_starts.timeline + case.order.index * STEPS_PER_ORDER + step)
            .unescaped(&case.order_id)
            .unescaped(status.as_str())
            .instant(at)
            .unescaped(source);
    }

    /// The order tells of itself, and its seller is told.
    fn write_order_created(&self, rows: &mut TableRows, case: &OrderContext<'_>) -> PublishedEvent {
        let order = case.order;
        let event = OrderCreated {
            order_id: case.order_id.clone(),
            client_id: case.client_id.clone(),
            requested_ship_date: order.ship_date,
            items: case.items.clone(),
            created_by: order.seller.clone(),
            created_at: order.created_at,
        };
        let sequence = self.sequence_starts.order_event + order.index * STEPS_PER_ORDER;
        let written = self.write_outbox_event(
            rows,
            (ServiceName::Order, sequence, case.event_key(0)),
            &event,
            (EventCause::Request, order.created_at),
            None,
        );
        let telling = NotificationContent {
            user: order.seller.clone(),
            kind: "ORDER_PLACED",
            title: format!("Order {} created", case.order_id),
            body: format!("Order for {} was placed successfully.", case.client_id),
            deep_link: format!("/infinity?orderId={}", case.order_id),
            created_at: order.created_at,
        };
        let offset = order.index * NOTIFICATIONS_PER_ORDER;
        self.write_notification(rows, (offset, case.event_key(1)), telling, &written);
        written
    }

    fn write_shipment(
        &self,
        rows: &mut TableRows,
        case: &OrderContext<'_>,
        heard_at: DateTime<Utc>,
    ) {
        let order = case.order;
        let line = rows
            .begin_row(HistoryTable::Shipments)
            .unescaped(&case.shipment_id)
            .unescaped(&case.order_id)
            .text(&case.client_id)
            .unescaped(order.ship_date)
            .json(&case.items);
        let (status, updated_at) = match &order.outcome {
            OrderOutcome::Reserved => (ShipmentStatus::Pending, heard_at),
            OrderOutcome::Loading {
                first_scanned_at: at,
                ..
            } => (ShipmentStatus::Loading, *at),
            OrderOutcome::Failed(_) => (ShipmentStatus::Failed, heard_at),
            OrderOutcome::Shipped { shipped_at: at, .. } => (ShipmentStatus::Dispatched, *at),
        };
        let line = line
            .unescaped(status.as_str())
            .instant(order.created_at)
            .text(&order.seller)
            .instant(updated_at);
        match &order.outcome {
            OrderOutcome::Shipped {
                shipped_by: by,
                truck_id: truck,
                shipped_at: at,
            } => line
                .instant(*at)
                .text(by)
                .text(truck)
                .unescaped(self.dispatch_id(case)),
            _ => line.null().null().null().null(),
        };
    }

    fn write_reservation(
        &self,
        rows: &mut TableRows,
        case: &OrderContext<'_>,
        heard_at: DateTime<Utc>,
    ) {
        let (status, updated_at) = match &case.order.outcome {
            OrderOutcome::Reserved | OrderOutcome::Loading { .. } => (stock::RESERVED, heard_at),
            OrderOutcome::Failed(_) => (stock::FAILED, heard_at),
            OrderOutcome::Shipped { shipped_at: at, .. } => ("DISPATCHED", *at),
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
        rows.begin_row(HistoryTable::Reservations)
            .unescaped(self.reservation_id(case))
            .unescaped(&case.order_id)
            .unescaped(status)
            .json(&items)
            .instant(heard_at)
            .instant(updated_at);
    }

    fn reservation_id(&self, case: &OrderContext<'_>) -> String {
        format!(
            "res_{}",
            self.sequence_starts.reservation + case.order.index
        )
    }

    fn dispatch_id(&self, case: &OrderContext<'_>) -> String {
        let event = self.event_id(EventKey {
            kind: DISPATCH_KIND,
            ..case.event_key(u64::MAX - 1)
        });
        event.replacen("evt", "dsp", 1)
    }

    /// Inventory says what it could set aside, and the order moves on.
    fn write_stock_result(
        &self,
        rows: &mut TableRows,
        case: &OrderContext<'_>,
        created: &PublishedEvent,
        heard_at: DateTime<Utc>,
    ) {
        let sequence =
            self.sequence_starts.inventory_event + case.order.index * INVENTORY_EVENTS_PER_ORDER;
        let cause = (
            EventCause::Processing(INVENTORY_QUEUE, &created.id),
            heard_at,
        );
        let key = (ServiceName::Inventory, sequence, case.event_key(3));
        let order_id = case.order_id.clone();
        let (event, status, reason) = match &case.order.outcome {
            OrderOutcome::Failed(missing) => {
                let failed = StockFailed {
                    order_id,
                    status: stock::FAILED.to_owned(),
                    missing_items: missing.iter().map(to_missing_item).collect(),
                    at: heard_at,
                };
                let event =
                    self.write_outbox_event(rows, key, &failed, cause, Some(STOCK_RESULT_DELAY));
                let reason = shortage_reason(missing);
                (event, OrderStatus::FailedInsufficientStock, Some(reason))
            }
            _ => {
                let reserved = StockReserved {
                    order_id,
                    reservation_id: self.reservation_id(case),
                    status: stock::RESERVED.to_owned(),
                    at: heard_at,
                };
                let event =
                    self.write_outbox_event(rows, key, &reserved, cause, Some(STOCK_RESULT_DELAY));
                (event, OrderStatus::Reserved, None)
            }
        };
        self.write_status_change(rows, case, 1, (status, heard_at, reason), &event);
    }

    /// The order hears of it.
    fn write_status_change(
        &self,
        rows: &mut TableRows,
        case: &OrderContext<'_>,
        step: u64,
        (status, at, reason): (OrderStatus, DateTime<Utc>, Option<String>),
        event: &PublishedEvent,
    ) {
        self.write_timeline_step(rows, case, step, status, at, INVENTORY_SOURCE);
        let heard_at = self.write_inbox_event(rows, ServiceName::Order, ORDER_QUEUE, event);
        let changed = OrderStatusChanged {
            order_id: case.order_id.clone(),
            status: status.as_str().to_owned(),
            reason,
            at,
        };
        let kind = if step == 1 { ORDER_KIND } else { DISPATCH_KIND };
        let place = EventKey {
            kind,
            ..case.event_key(5)
        };
        let sequence = self.sequence_starts.order_event + case.order.index * STEPS_PER_ORDER + step;
        self.write_outbox_event(
            rows,
            (ServiceName::Order, sequence, place),
            &changed,
            (EventCause::Processing(ORDER_QUEUE, &event.id), heard_at),
            None,
        );
    }

    /// Scans the first lines of a shipment, beginning at an instant, one per interval.
    fn write_scans(
        &self,
        rows: &mut TableRows,
        case: &OrderContext<'_>,
        (by, lines): (&str, usize),
        (began, pace): (DateTime<Utc>, TimeDelta),
    ) {
        let first = self.sequence_starts.scan + case.order.index * self.counts.max_items;
        let mut at = began;
        for (place, item) in (0_u64..).zip(case.items.iter().take(lines)) {
            let key = format!("seed_{:016x}_{}_{}", self.salt, case.order_id, item.sku);
            let scan = LastScan {
                barcode: format!("SKU:{}", item.sku),
                quantity: i32::try_from(item.quantity).unwrap_or(i32::MAX),
                scanned_by: by.to_owned(),
                scanned_at: at,
            };
            rows.begin_row(HistoryTable::ScanLog)
                .unescaped(first + place)
                .unescaped(&case.shipment_id)
                .text(&scan.barcode)
                .unescaped(scan.quantity)
                .text(&scan.scanned_by)
                .instant(at)
                .text(&key);
            let answer = Scanned {
                shipment_id: case.shipment_id.clone(),
                order_id: case.order_id.clone(),
                status: ShipmentStatus::Loading,
                last_scan: scan,
            };
            self.write_idempotency_record(rows, "SCAN", (&key, &case.shipment_id), &answer, at);
            at += pace;
        }
    }

    fn write_idempotency_record(
        &self,
        rows: &mut TableRows,
        operation: &str,
        (key, shipment_id): (&str, &str),
        answer: &impl serde::Serialize,
        at: DateTime<Utc>,
    ) {
        rows.begin_row(HistoryTable::IdempotencyRecords)
            .unescaped(operation)
            .text(key)
            .unescaped(shipment_id)
            .json(answer)
            .instant(at);
    }

    /// The shipment leaves, the order hears of it, and its seller is told.
    fn write_dispatch(
        &self,
        rows: &mut TableRows,
        case: &OrderContext<'_>,
        by: &str,
        truck: &str,
        at: DateTime<Utc>,
    ) {
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
        self.write_idempotency_record(rows, "DISPATCH", (&key, &case.shipment_id), &answer, at);
        let event = ShipmentDispatched {
            shipment_id: case.shipment_id.clone(),
            order_id: case.order_id.clone(),
            order_created_by: case.order.seller.clone(),
            dispatched_by: by.to_owned(),
            truck_id: truck.to_owned(),
            dispatched_at: at,
        };
        let place = |step| EventKey {
            kind: DISPATCH_KIND,
            ..case.event_key(step)
        };
        let sequence = self.sequence_starts.inventory_event
            + case.order.index * INVENTORY_EVENTS_PER_ORDER
            + 1;
        let written = self.write_outbox_event(
            rows,
            (ServiceName::Inventory, sequence, place(0)),
            &event,
            (EventCause::Request, at),
            None,
        );
        self.write_status_change(rows, case, 2, (OrderStatus::Shipped, at, None), &written);
        let telling = NotificationContent {
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
        let offset = case.order.index * NOTIFICATIONS_PER_ORDER + 1;
        self.write_notification(rows, (offset, place(1)), telling, &written);
    }
}

fn to_missing_item(item: &OrderLine) -> MissingItem {
    MissingItem {
        sku: item.sku.clone(),
        missing_quantity: item.quantity,
    }
}

/// As order-service puts it.
fn shortage_reason(missing: &[OrderLine]) -> String {
    let parts: Vec<String> = missing
        .iter()
        .map(|item| format!("{} of {}", item.quantity, item.sku))
        .collect();
    format!("insufficient stock: {} missing", parts.join(", "))
}
