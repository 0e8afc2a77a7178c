//! Rows of orders, and those of inventory for them.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use dm_contracts::api::order::{OrderItem, OrderStatus};
use dm_contracts::api::shipment::{Dispatched, LastScan, Scanned, ShipmentStatus};
use dm_contracts::events::{
    MissingItem, OrderCancelled, OrderCreated, OrderStatusChanged, PickingStarted,
    ShipmentDispatched, StockFailed, StockReserved, stock,
};
use dm_contracts::topology::{INVENTORY_QUEUE, ORDER_QUEUE};

use super::copy_format::CopyRow;
use super::events::{self, EventCause, EventKey, NotificationContent, PublishedEvent};
use super::table::{HistoryTable, ServiceName};
use super::{
    INVENTORY_EVENTS_PER_ORDER, NOTIFICATIONS_PER_ORDER, ORDER_EVENTS_PER_ORDER, RowWriter,
    TIMELINE_ENTRIES_PER_ORDER, TableRows,
};
use crate::model::{ClientRef, Order, OrderLine, OrderOutcome};

/// The kind in [`EventKey`].
const ORDER_KIND: u64 = 3;
/// The kind of dispatches in [`EventKey`]: a dispatch is a separate request.
const DISPATCH_KIND: u64 = 4;
/// The kind of first scans in [`EventKey`].
const PICKING_KIND: u64 = 6;
/// The kind of cancellations in [`EventKey`].
const CANCELLATION_KIND: u64 = 7;
/// The delay of stock results with the default settings of inventory.
const STOCK_RESULT_DELAY: TimeDelta = TimeDelta::seconds(1);
/// The interval between scans of two lines.
const SCAN_INTERVAL: TimeDelta = TimeDelta::seconds(11);
/// The source of the first timeline entry.
const ORDER_SOURCE: &str = "order-service";
/// The source of the other timeline entries.
const INVENTORY_SOURCE: &str = "inventory-service";

/// The values that the rows of an order share.
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
        let context = OrderContext {
            order,
            order_id: format!("ord_{number}"),
            shipment_id: format!("ship_{number}"),
            client_id: match &order.client {
                ClientRef::InRun(index) => self.client_id(*index),
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
        let is_shipped = matches!(order.outcome, OrderOutcome::Shipped { .. });
        let cancellation = match &order.outcome {
            OrderOutcome::Cancelled {
                cancelled_by,
                cancelled_at,
                reason,
            } => Some((cancelled_by.as_str(), *cancelled_at, reason.as_str())),
            _ => None,
        };
        rows.begin_row(HistoryTable::Orders)
            .unescaped(&context.order_id)
            .text(&context.client_id)
            .unescaped(order.ship_date)
            .json(&context.items)
            .text(&order.notes)
            .text(&order.seller)
            .unescaped(order.outcome.status())
            .instant(order.created_at)
            .optional(
                is_shipped.then_some(&context.shipment_id),
                CopyRow::unescaped,
            )
            .optional(cancellation.map(|(_, at, _)| at), CopyRow::instant)
            .optional(cancellation.map(|(by, ..)| by), CopyRow::text)
            .optional(cancellation.map(|(.., reason)| reason), CopyRow::text);
        self.write_timeline_entry(
            rows,
            &context,
            0,
            OrderStatus::Created,
            order.created_at,
            ORDER_SOURCE,
        );
        let created = self.write_order_created(rows, &context);
        let processed_at =
            self.write_inbox_event(rows, ServiceName::Inventory, INVENTORY_QUEUE, &created);
        self.write_shipment(rows, &context, processed_at);
        self.write_reservation(rows, &context, processed_at);
        let stock_result = self.write_stock_result(rows, &context, &created, processed_at);
        match &order.outcome {
            OrderOutcome::Reserved | OrderOutcome::Failed(_) => {}
            OrderOutcome::Loading {
                scanned_by,
                scanned_lines,
                first_scanned_at,
            } => {
                let scan = (scanned_by.as_str(), *first_scanned_at);
                self.write_picking(rows, &context, scan, &stock_result);
                self.write_scans(
                    rows,
                    &context,
                    (scanned_by, *scanned_lines),
                    (*first_scanned_at, SCAN_INTERVAL),
                );
            }
            OrderOutcome::Shipped {
                shipped_by,
                truck_id,
                shipped_at,
            } => {
                // No scan is before the order.
                let lines = i32::try_from(context.items.len())
                    .unwrap_or(i32::MAX)
                    .max(1);
                let interval = SCAN_INTERVAL.min((*shipped_at - order.created_at) / lines);
                let scanned = (shipped_by.as_str(), context.items.len());
                let first_scanned_at = *shipped_at - interval * lines;
                let scan = (shipped_by.as_str(), first_scanned_at);
                self.write_picking(rows, &context, scan, &stock_result);
                self.write_scans(rows, &context, scanned, (first_scanned_at, interval));
                self.write_dispatch(rows, &context, shipped_by, truck_id, *shipped_at);
            }
            OrderOutcome::Cancelled {
                cancelled_by,
                cancelled_at,
                reason,
            } => self.write_cancellation(rows, &context, cancelled_by, *cancelled_at, reason),
        }
        let add_stock_change = |rows: &mut TableRows, item: &OrderItem| {
            let change = rows.stock_changes.entry(item.sku.clone()).or_default();
            match order.outcome {
                OrderOutcome::Failed(_) | OrderOutcome::Cancelled { .. } => {}
                OrderOutcome::Shipped { .. } => change.shipped += item.quantity,
                OrderOutcome::Reserved | OrderOutcome::Loading { .. } => {
                    change.reserved += item.quantity
                }
            }
        };
        for item in &context.items {
            add_stock_change(rows, item);
        }
    }

    fn write_timeline_entry(
        &self,
        rows: &mut TableRows,
        context: &OrderContext<'_>,
        step: u64,
        status: OrderStatus,
        at: DateTime<Utc>,
        source: &str,
    ) {
        rows.begin_row(HistoryTable::OrderTimeline)
            .unescaped(
                self.sequence_starts.timeline
                    + context.order.index * TIMELINE_ENTRIES_PER_ORDER
                    + step,
            )
            .unescaped(&context.order_id)
            .unescaped(status.as_str())
            .instant(at)
            .unescaped(source);
    }

    /// Writes the event of the new order, and the notification of its seller.
    fn write_order_created(
        &self,
        rows: &mut TableRows,
        context: &OrderContext<'_>,
    ) -> PublishedEvent {
        let order = context.order;
        let event = OrderCreated {
            order_id: context.order_id.clone(),
            client_id: context.client_id.clone(),
            requested_ship_date: order.ship_date,
            items: context.items.clone(),
            created_by: order.seller.clone(),
            created_at: order.created_at,
        };
        let sequence = self.sequence_starts.order_event + order.index * ORDER_EVENTS_PER_ORDER;
        let written = self.write_outbox_event(
            rows,
            (ServiceName::Order, sequence, context.event_key(0)),
            &event,
            (EventCause::Request, order.created_at),
            None,
        );
        let notification = NotificationContent {
            user: order.seller.clone(),
            kind: "ORDER_PLACED",
            title: format!("Order {} created", context.order_id),
            body: format!("Order for {} was placed successfully.", context.client_id),
            deep_link: format!("/infinity?orderId={}", context.order_id),
            created_at: order.created_at,
        };
        let offset = order.index * NOTIFICATIONS_PER_ORDER;
        self.write_notification(rows, (offset, context.event_key(1)), notification, &written);
        written
    }

    fn write_shipment(
        &self,
        rows: &mut TableRows,
        context: &OrderContext<'_>,
        processed_at: DateTime<Utc>,
    ) {
        let order = context.order;
        let row = rows
            .begin_row(HistoryTable::Shipments)
            .unescaped(&context.shipment_id)
            .unescaped(&context.order_id)
            .text(&context.client_id)
            .unescaped(order.ship_date)
            .json(&context.items);
        let (status, updated_at) = match &order.outcome {
            OrderOutcome::Reserved => (ShipmentStatus::Pending, processed_at),
            OrderOutcome::Loading {
                first_scanned_at, ..
            } => (ShipmentStatus::Loading, *first_scanned_at),
            OrderOutcome::Failed(_) => (ShipmentStatus::Failed, processed_at),
            OrderOutcome::Shipped { shipped_at, .. } => (ShipmentStatus::Dispatched, *shipped_at),
            OrderOutcome::Cancelled { cancelled_at, .. } => (
                ShipmentStatus::Cancelled,
                events::processed_at(*cancelled_at),
            ),
        };
        let row = row
            .unescaped(status.as_str())
            .instant(order.created_at)
            .text(&order.seller)
            .instant(updated_at);
        match &order.outcome {
            OrderOutcome::Shipped {
                shipped_by,
                truck_id,
                shipped_at,
            } => row
                .instant(*shipped_at)
                .text(shipped_by)
                .text(truck_id)
                .unescaped(self.dispatch_id(context)),
            _ => row.null().null().null().null(),
        };
    }

    fn write_reservation(
        &self,
        rows: &mut TableRows,
        context: &OrderContext<'_>,
        processed_at: DateTime<Utc>,
    ) {
        let (status, updated_at) = match &context.order.outcome {
            OrderOutcome::Reserved | OrderOutcome::Loading { .. } => {
                (stock::RESERVED, processed_at)
            }
            OrderOutcome::Failed(_) => (stock::FAILED, processed_at),
            OrderOutcome::Shipped { shipped_at, .. } => ("DISPATCHED", *shipped_at),
            OrderOutcome::Cancelled { cancelled_at, .. } => {
                ("RELEASED", events::processed_at(*cancelled_at))
            }
        };
        // Sorted by SKU, as in inventory.
        let quantities: BTreeMap<&str, i64> = context
            .items
            .iter()
            .map(|item| (item.sku.as_str(), item.quantity))
            .collect();
        let items: Vec<OrderItem> = quantities
            .into_iter()
            .map(|(sku, quantity)| OrderItem {
                sku: sku.to_owned(),
                quantity,
            })
            .collect();
        rows.begin_row(HistoryTable::Reservations)
            .unescaped(self.reservation_id(context))
            .unescaped(&context.order_id)
            .unescaped(status)
            .json(&items)
            .instant(processed_at)
            .instant(updated_at);
    }

    fn reservation_id(&self, context: &OrderContext<'_>) -> String {
        format!(
            "res_{}",
            self.sequence_starts.reservation + context.order.index
        )
    }

    fn dispatch_id(&self, context: &OrderContext<'_>) -> String {
        let event = self.event_id(EventKey {
            kind: DISPATCH_KIND,
            ..context.event_key(u64::MAX - 1)
        });
        event.replacen("evt", "dsp", 1)
    }

    /// Writes the result of the reservation, and the status change of the order.
    fn write_stock_result(
        &self,
        rows: &mut TableRows,
        context: &OrderContext<'_>,
        created: &PublishedEvent,
        processed_at: DateTime<Utc>,
    ) -> PublishedEvent {
        let sequence =
            self.sequence_starts.inventory_event + context.order.index * INVENTORY_EVENTS_PER_ORDER;
        let cause = (
            EventCause::Processing(INVENTORY_QUEUE, &created.id),
            processed_at,
        );
        let key = (ServiceName::Inventory, sequence, context.event_key(3));
        let order_id = context.order_id.clone();
        let (event, status, reason) = match &context.order.outcome {
            OrderOutcome::Failed(missing) => {
                let failed = StockFailed {
                    order_id,
                    status: stock::FAILED.to_owned(),
                    missing_items: missing.iter().map(to_missing_item).collect(),
                    at: processed_at,
                };
                let event =
                    self.write_outbox_event(rows, key, &failed, cause, Some(STOCK_RESULT_DELAY));
                let reason = shortage_reason(missing);
                (event, OrderStatus::FailedInsufficientStock, Some(reason))
            }
            _ => {
                let reserved = StockReserved {
                    order_id,
                    reservation_id: self.reservation_id(context),
                    status: stock::RESERVED.to_owned(),
                    at: processed_at,
                };
                let event =
                    self.write_outbox_event(rows, key, &reserved, cause, Some(STOCK_RESULT_DELAY));
                (event, OrderStatus::Reserved, None)
            }
        };
        let change = (status, processed_at, reason);
        self.write_status_change(rows, context, (1, ORDER_KIND), change, &event);
        event
    }

    /// Writes the event of the first scan, and the status change of the order. The event waits for
    /// the stock result, an earlier event of the order.
    fn write_picking(
        &self,
        rows: &mut TableRows,
        context: &OrderContext<'_>,
        (scanned_by, scanned_at): (&str, DateTime<Utc>),
        stock_result: &PublishedEvent,
    ) {
        let event = PickingStarted {
            order_id: context.order_id.clone(),
            shipment_id: context.shipment_id.clone(),
            scanned_by: scanned_by.to_owned(),
            at: scanned_at,
        };
        let key = EventKey {
            kind: PICKING_KIND,
            ..context.event_key(0)
        };
        let sequence = self.sequence_starts.inventory_event
            + context.order.index * INVENTORY_EVENTS_PER_ORDER
            + 1;
        let wait = stock_result.published_at - scanned_at;
        let written = self.write_outbox_event(
            rows,
            (ServiceName::Inventory, sequence, key),
            &event,
            (EventCause::Request, scanned_at),
            (wait > TimeDelta::zero()).then_some(wait),
        );
        let change = (OrderStatus::Picking, scanned_at, None);
        self.write_status_change(rows, context, (2, PICKING_KIND), change, &written);
    }

    /// Writes the cancellation of an order: its timeline entry, its events, and the notification
    /// of its seller.
    fn write_cancellation(
        &self,
        rows: &mut TableRows,
        context: &OrderContext<'_>,
        cancelled_by: &str,
        cancelled_at: DateTime<Utc>,
        reason: &str,
    ) {
        let (order, order_id) = (context.order, &context.order_id);
        let status = OrderStatus::Cancelled;
        self.write_timeline_entry(rows, context, 3, status, cancelled_at, ORDER_SOURCE);
        let event = OrderCancelled {
            order_id: order_id.clone(),
            client_id: context.client_id.clone(),
            requested_ship_date: order.ship_date,
            items: context.items.clone(),
            created_by: order.seller.clone(),
            created_at: order.created_at,
            cancelled_by: cancelled_by.to_owned(),
            reason: Some(reason.to_owned()),
            cancelled_at,
        };
        let changed = OrderStatusChanged {
            order_id: order_id.clone(),
            status: status.as_str().to_owned(),
            reason: Some(reason.to_owned()),
            at: cancelled_at,
        };
        let key = |step| EventKey {
            kind: CANCELLATION_KIND,
            ..context.event_key(step)
        };
        let sequence = self.sequence_starts.order_event + order.index * ORDER_EVENTS_PER_ORDER + 3;
        let cause = (EventCause::Request, cancelled_at);
        let place = (ServiceName::Order, sequence, key(0));
        let written = self.write_outbox_event(rows, place, &event, cause, None);
        let place = (ServiceName::Order, sequence + 1, key(2));
        self.write_outbox_event(rows, place, &changed, cause, None);
        self.write_inbox_event(rows, ServiceName::Inventory, INVENTORY_QUEUE, &written);
        let notification = NotificationContent {
            user: order.seller.clone(),
            kind: "ORDER_CANCELLED",
            title: format!("Order {order_id} cancelled"),
            body: format!("Order {order_id} was cancelled by {cancelled_by}. Reason: {reason}"),
            deep_link: format!("/infinity?orderId={order_id}"),
            created_at: cancelled_at,
        };
        let offset = order.index * NOTIFICATIONS_PER_ORDER + 1;
        self.write_notification(rows, (offset, key(1)), notification, &written);
    }

    /// Writes the status change that an event of inventory causes.
    fn write_status_change(
        &self,
        rows: &mut TableRows,
        context: &OrderContext<'_>,
        (step, kind): (u64, u64),
        (status, at, reason): (OrderStatus, DateTime<Utc>, Option<String>),
        event: &PublishedEvent,
    ) {
        self.write_timeline_entry(rows, context, step, status, at, INVENTORY_SOURCE);
        let processed_at = self.write_inbox_event(rows, ServiceName::Order, ORDER_QUEUE, event);
        let changed = OrderStatusChanged {
            order_id: context.order_id.clone(),
            status: status.as_str().to_owned(),
            reason,
            at,
        };
        let key = EventKey {
            kind,
            ..context.event_key(5)
        };
        let sequence =
            self.sequence_starts.order_event + context.order.index * ORDER_EVENTS_PER_ORDER + step;
        self.write_outbox_event(
            rows,
            (ServiceName::Order, sequence, key),
            &changed,
            (EventCause::Processing(ORDER_QUEUE, &event.id), processed_at),
            None,
        );
    }

    /// Writes the scans of the first lines of a shipment, one per interval.
    fn write_scans(
        &self,
        rows: &mut TableRows,
        context: &OrderContext<'_>,
        (scanned_by, line_count): (&str, usize),
        (first_scanned_at, interval): (DateTime<Utc>, TimeDelta),
    ) {
        let first_id = self.sequence_starts.scan + context.order.index * self.counts.max_items;
        let mut scanned_at = first_scanned_at;
        for (index, item) in (0_u64..).zip(context.items.iter().take(line_count)) {
            let key = format!("seed_{:016x}_{}_{}", self.salt, context.order_id, item.sku);
            let scan = LastScan {
                barcode: format!("SKU:{}", item.sku),
                quantity: i32::try_from(item.quantity).unwrap_or(i32::MAX),
                scanned_by: scanned_by.to_owned(),
                scanned_at,
            };
            rows.begin_row(HistoryTable::ScanLog)
                .unescaped(first_id + index)
                .unescaped(&context.shipment_id)
                .text(&scan.barcode)
                .unescaped(scan.quantity)
                .text(&scan.scanned_by)
                .instant(scanned_at)
                .text(&key);
            let response = Scanned {
                shipment_id: context.shipment_id.clone(),
                order_id: context.order_id.clone(),
                status: ShipmentStatus::Loading,
                last_scan: scan,
            };
            let record = (key.as_str(), context.shipment_id.as_str());
            self.write_idempotency_record(rows, "SCAN", record, &response, scanned_at);
            scanned_at += interval;
        }
    }

    fn write_idempotency_record(
        &self,
        rows: &mut TableRows,
        operation: &str,
        (key, shipment_id): (&str, &str),
        response: &impl serde::Serialize,
        created_at: DateTime<Utc>,
    ) {
        rows.begin_row(HistoryTable::IdempotencyRecords)
            .unescaped(operation)
            .text(key)
            .unescaped(shipment_id)
            .json(response)
            .instant(created_at);
    }

    /// Writes the dispatch of a shipment, the status change of the order, and the notification of
    /// its seller.
    fn write_dispatch(
        &self,
        rows: &mut TableRows,
        context: &OrderContext<'_>,
        dispatched_by: &str,
        truck_id: &str,
        dispatched_at: DateTime<Utc>,
    ) {
        let key = format!("seed_{:016x}_{}", self.salt, context.order_id);
        let response = Dispatched {
            shipment_id: context.shipment_id.clone(),
            order_id: context.order_id.clone(),
            shipment_status: ShipmentStatus::Dispatched,
            order_status: OrderStatus::Shipped,
            dispatched_at,
            dispatched_by: dispatched_by.to_owned(),
            dispatch_id: self.dispatch_id(context),
            truck_id: truck_id.to_owned(),
            already_dispatched: false,
        };
        let record = (key.as_str(), context.shipment_id.as_str());
        self.write_idempotency_record(rows, "DISPATCH", record, &response, dispatched_at);
        let event = ShipmentDispatched {
            shipment_id: context.shipment_id.clone(),
            order_id: context.order_id.clone(),
            order_created_by: context.order.seller.clone(),
            dispatched_by: dispatched_by.to_owned(),
            truck_id: truck_id.to_owned(),
            dispatched_at,
        };
        let event_key = |step| EventKey {
            kind: DISPATCH_KIND,
            ..context.event_key(step)
        };
        let sequence = self.sequence_starts.inventory_event
            + context.order.index * INVENTORY_EVENTS_PER_ORDER
            + 2;
        let written = self.write_outbox_event(
            rows,
            (ServiceName::Inventory, sequence, event_key(0)),
            &event,
            (EventCause::Request, dispatched_at),
            None,
        );
        let change = (OrderStatus::Shipped, dispatched_at, None);
        self.write_status_change(rows, context, (3, DISPATCH_KIND), change, &written);
        let notification = NotificationContent {
            user: context.order.seller.clone(),
            kind: "SHIPMENT_DISPATCHED",
            title: format!("Order {} shipped", context.order_id),
            body: format!(
                "Shipment {} left the warehouse on truck {truck_id}.",
                context.shipment_id
            ),
            deep_link: format!("/infinity?orderId={}", context.order_id),
            created_at: dispatched_at,
        };
        let offset = context.order.index * NOTIFICATIONS_PER_ORDER + 1;
        self.write_notification(rows, (offset, event_key(1)), notification, &written);
    }
}

fn to_missing_item(item: &OrderLine) -> MissingItem {
    MissingItem {
        sku: item.sku.clone(),
        missing_quantity: item.quantity,
    }
}

/// Returns the reason of a shortage, in the wording of order-service.
fn shortage_reason(missing: &[OrderLine]) -> String {
    let parts: Vec<String> = missing
        .iter()
        .map(|item| format!("{} of {}", item.quantity, item.sku))
        .collect();
    format!("insufficient stock: {} missing", parts.join(", "))
}
