//! Status transitions of an order, independent of the order in which facts arrive.
//!
//! Two invariants make the final state independent of that order, and of duplicates: a fact
//! enters the timeline once, and a status only rises. An order that is `SHIPPED` keeps that
//! status, and a stock result that arrives after the dispatch still enters the timeline,
//! at its own time. A cancelled order stays `CANCELLED`, unless its shipment has left.

use dm_contracts::api::order::OrderStatus;

/// A fact about an order, from an inventory event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OrderFact {
    /// All items are reserved.
    Reserved,
    /// At least one item is short.
    StockFailed,
    /// The first parcel was scanned.
    PickingStarted,
    /// The shipment has left the warehouse.
    Dispatched,
}

impl OrderFact {
    /// Returns the status of the timeline entry for the fact.
    #[must_use]
    pub const fn status(self) -> OrderStatus {
        match self {
            Self::Reserved => OrderStatus::Reserved,
            Self::StockFailed => OrderStatus::FailedInsufficientStock,
            Self::PickingStarted => OrderStatus::Picking,
            Self::Dispatched => OrderStatus::Shipped,
        }
    }
}

/// The change of an order by a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// No change: the fact is in the timeline.
    Duplicate,
    /// A timeline entry only: the status of the order is higher.
    TimelineOnly,
    /// A timeline entry and this new status.
    StatusChanged(OrderStatus),
    /// A timeline entry and the status `SHIPPED`, although the order was cancelled: the shipment
    /// left before the cancellation arrived.
    Reinstated,
}

/// Returns the change of an order with this status by a fact. `is_duplicate` is whether its
/// timeline has the fact.
#[must_use]
pub fn transition(status: OrderStatus, is_duplicate: bool, fact: OrderFact) -> Transition {
    match fact.status() {
        _ if is_duplicate => Transition::Duplicate,
        OrderStatus::Shipped if status == OrderStatus::Cancelled => Transition::Reinstated,
        // The statuses are declared in the order in which they rise.
        next if next > status => Transition::StatusChanged(next),
        _ => Transition::TimelineOnly,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const FACTS: [OrderFact; 4] = [
        OrderFact::Reserved,
        OrderFact::StockFailed,
        OrderFact::PickingStarted,
        OrderFact::Dispatched,
    ];

    /// An order with its timeline and the number of status changes.
    struct OrderHistory {
        status: OrderStatus,
        timeline: Vec<OrderStatus>,
        status_changes: usize,
    }

    impl OrderHistory {
        fn after(facts: &[OrderFact]) -> Self {
            let mut order = Self {
                status: OrderStatus::Created,
                timeline: vec![OrderStatus::Created],
                status_changes: 0,
            };
            for &fact in facts {
                order.process(fact);
            }
            order
        }

        fn process(&mut self, fact: OrderFact) {
            let is_duplicate = self.timeline.contains(&fact.status());
            let next = match transition(self.status, is_duplicate, fact) {
                Transition::Duplicate => return,
                Transition::TimelineOnly => None,
                Transition::StatusChanged(next) => Some(next),
                Transition::Reinstated => Some(OrderStatus::Shipped),
            };
            if let Some(next) = next {
                assert!(next > self.status);
                self.status = next;
                self.status_changes += 1;
            }
            self.timeline.push(fact.status());
        }
    }

    #[test]
    fn transitions_are_those_of_the_contract() {
        use OrderStatus::{
            Cancelled, Created, FailedInsufficientStock as Failed, Picking, Reserved, Shipped,
        };
        for (status, fact, expected) in [
            (
                Created,
                OrderFact::Reserved,
                Transition::StatusChanged(Reserved),
            ),
            (
                Created,
                OrderFact::StockFailed,
                Transition::StatusChanged(Failed),
            ),
            (
                Created,
                OrderFact::Dispatched,
                Transition::StatusChanged(Shipped),
            ),
            (
                Reserved,
                OrderFact::StockFailed,
                Transition::StatusChanged(Failed),
            ),
            (
                Reserved,
                OrderFact::Dispatched,
                Transition::StatusChanged(Shipped),
            ),
            (
                Failed,
                OrderFact::Dispatched,
                Transition::StatusChanged(Shipped),
            ),
            (
                Reserved,
                OrderFact::PickingStarted,
                Transition::StatusChanged(Picking),
            ),
            // The stock result is retried, and arrives later.
            (
                Created,
                OrderFact::PickingStarted,
                Transition::StatusChanged(Picking),
            ),
            (
                Picking,
                OrderFact::Dispatched,
                Transition::StatusChanged(Shipped),
            ),
            (Cancelled, OrderFact::Dispatched, Transition::Reinstated),
            (Cancelled, OrderFact::Reserved, Transition::TimelineOnly),
            (Cancelled, OrderFact::StockFailed, Transition::TimelineOnly),
            (
                Cancelled,
                OrderFact::PickingStarted,
                Transition::TimelineOnly,
            ),
            (Picking, OrderFact::Reserved, Transition::TimelineOnly),
            (Failed, OrderFact::Reserved, Transition::TimelineOnly),
            (Shipped, OrderFact::PickingStarted, Transition::TimelineOnly),
            (Shipped, OrderFact::Reserved, Transition::TimelineOnly),
            (Shipped, OrderFact::StockFailed, Transition::TimelineOnly),
        ] {
            assert_eq!(
                transition(status, false, fact),
                expected,
                "{status:?} {fact:?}"
            );
            assert_eq!(
                transition(status, true, fact),
                Transition::Duplicate,
                "{status:?} {fact:?} again"
            );
        }
    }

    proptest! {
        #[test]
        fn final_state_is_independent_of_order_and_duplicates(
            facts in proptest::collection::vec(proptest::sample::select(&FACTS[..]), 0..8),
            shuffled in any::<proptest::sample::Selector>(),
        ) {
            let order = OrderHistory::after(&facts);
            let mut remaining = facts.clone();
            let mut reordered = Vec::new();
            while !remaining.is_empty() {
                let index = shuffled.select(0..remaining.len());
                reordered.push(remaining.swap_remove(index));
            }
            let other = OrderHistory::after(&reordered);
            prop_assert_eq!(order.status, other.status);
            let statuses = |order: &OrderHistory| order.timeline.iter().copied().collect::<HashSet<_>>();
            prop_assert_eq!(statuses(&order), statuses(&other));
            // The timeline has each status once.
            prop_assert_eq!(order.timeline.len(), statuses(&order).len());
            prop_assert!(order.status_changes < order.timeline.len());
        }

        #[test]
        fn cancelled_order_leaves_its_status_only_by_a_dispatch(
            facts in proptest::collection::vec(proptest::sample::select(&FACTS[..]), 0..8),
        ) {
            let mut order = OrderHistory::after(&[]);
            order.status = OrderStatus::Cancelled;
            for &fact in &facts {
                order.process(fact);
            }
            let is_shipped = facts.contains(&OrderFact::Dispatched);
            let expected = if is_shipped { OrderStatus::Shipped } else { OrderStatus::Cancelled };
            prop_assert_eq!(order.status, expected);
            prop_assert_eq!(order.status_changes, usize::from(is_shipped));
        }

        #[test]
        fn shipped_order_stays_shipped(
            before in proptest::collection::vec(proptest::sample::select(&FACTS[..]), 0..4),
            after in proptest::collection::vec(proptest::sample::select(&FACTS[..]), 0..4),
        ) {
            let facts: Vec<_> = before.into_iter().chain([OrderFact::Dispatched]).chain(after).collect();
            prop_assert_eq!(OrderHistory::after(&facts).status, OrderStatus::Shipped);
        }
    }
}
