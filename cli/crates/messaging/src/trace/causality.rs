//! The tree of events and the events they caused.

use std::collections::{HashMap, HashSet};

use dm_contracts::span;

use super::TracedEvent;

/// Puts each event below the delivery whose processing caused it, identified by the parent span.
pub(super) fn build_causal_tree(events: Vec<TracedEvent>) -> Vec<TracedEvent> {
    let processing_spans: HashSet<String> = events
        .iter()
        .flat_map(|event| {
            let id = &event.row.event_id;
            let spans = event.deliveries.iter();
            spans.map(|delivery| span::processing_span_id(delivery.queue, id))
        })
        .collect();
    let mut by_span: HashMap<String, Vec<TracedEvent>> = HashMap::new();
    let mut roots = Vec::new();
    for event in events {
        match event
            .row
            .span_id()
            .filter(|span| processing_spans.contains(*span))
        {
            Some(span) => by_span.entry(span.to_owned()).or_default().push(event),
            None => roots.push(event),
        }
    }
    attach_caused_events(&mut roots, &mut by_span);
    roots
}

fn attach_caused_events(
    events: &mut [TracedEvent],
    by_span: &mut HashMap<String, Vec<TracedEvent>>,
) {
    events.sort_by_key(|event| (event.row.created_at, event.row.sequence));
    for event in events {
        for delivery in &mut event.deliveries {
            let span = span::processing_span_id(delivery.queue, &event.row.event_id);
            // Removed from the map, so that a cycle of forged spans ends.
            delivery.caused = by_span.remove(&span).unwrap_or_default();
            attach_caused_events(&mut delivery.caused, by_span);
        }
    }
}

/// Examples for the tests of other crates.
#[cfg(any(test, feature = "examples"))]
#[allow(clippy::unwrap_used, missing_docs, reason = "only tests use it")]
pub mod examples {
    use dm_contracts::time;
    use dm_contracts::topology::{INVENTORY_QUEUE, ORDER_QUEUE, WUPHF_QUEUE};

    use super::super::{DeliveryStatus, EventDelivery};
    use super::*;
    use crate::outbox::OutboxRow;
    use crate::outbox::row::examples::outbox_row;

    fn delivery(queue: &'static str, consumer: &'static str) -> EventDelivery {
        EventDelivery {
            queue,
            consumer: Some(consumer),
            status: DeliveryStatus::Processed,
            status_at: time::parse("2026-02-03T10:00:00.031Z"),
            reason: None,
            error: None,
            caused: Vec::new(),
        }
    }

    #[must_use]
    pub fn order_created_event() -> TracedEvent {
        TracedEvent {
            row: outbox_row("evt_1"),
            deliveries: vec![
                delivery(INVENTORY_QUEUE, "inventory-service"),
                delivery(WUPHF_QUEUE, "wuphf-service"),
            ],
        }
    }

    #[must_use]
    pub fn stock_reserved_event() -> TracedEvent {
        let span = span::processing_span_id(INVENTORY_QUEUE, "evt_1");
        TracedEvent {
            row: OutboxRow {
                service: "inventory".into(),
                event_type: "com.dundermifflin.inventory.stock.reserved.v1".into(),
                routing_key: "inventory.stock.reserved.v1".into(),
                traceparent: Some(format!("00-0af7651916cd43dd8448eb211c80319c-{span}-01")),
                created_at: time::parse("2026-02-03T10:00:00.033Z").unwrap(),
                published_at: time::parse("2026-02-03T10:00:01.040Z"),
                ..outbox_row("evt_2")
            },
            deliveries: vec![EventDelivery {
                status: DeliveryStatus::DeadLettered,
                status_at: time::parse("2026-02-03T10:00:01.050Z"),
                reason: Some("unknown-order".into()),
                ..delivery(ORDER_QUEUE, "order-service")
            }],
        }
    }
}

#[cfg(test)]
mod tests {

    use super::examples::{order_created_event, stock_reserved_event};
    use super::*;
    use crate::outbox::row::examples::outbox_row;

    #[test]
    fn caused_event_is_below_the_delivery_that_caused_it() {
        let unrelated = TracedEvent {
            row: outbox_row("evt_3"),
            deliveries: Vec::new(),
        };
        let roots = build_causal_tree(vec![
            stock_reserved_event(),
            unrelated.clone(),
            order_created_event(),
        ]);
        assert_eq!(roots.len(), 2);
        let order_created = roots.iter().find(|event| event.row.event_id == "evt_1");
        let order_created = order_created.unwrap();
        assert_eq!(order_created.deliveries[0].caused, [stock_reserved_event()]);
        assert!(order_created.deliveries[1].caused.is_empty());
        assert!(roots.contains(&unrelated));
    }
}
