//! Status transitions of an order, independent of the order in which facts arrive.
//!
//! Two invariants make the final state independent of that order, and of duplicates: a fact
//! enters the timeline once, and a status only rises. An order that is `SHIPPED` keeps that
//! status, and a stock result that arrives after the dispatch still enters the timeline,
//! at its own time.

use dm_contracts::api::order::OrderStatus;

/// A fact about an order, from an inventory event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum OrderFact {
    /// All items are reserved.
    Reserved,
    /// At least one item is short.
    StockFailed,
    /// The shipment has left the warehouse.
    Dispatched,
}

impl OrderFact {
    /// Returns the status of the timeline entry for the fact.
    pub(crate) const fn status(self) -> OrderStatus {
        match self {
            Self::Reserved => OrderStatus::Reserved,
            Self::StockFailed => OrderStatus::FailedInsufficientStock,
            Self::Dispatched => OrderStatus::Shipped,
        }
    }
}

/// The change of an order by a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transition {
    /// No change: the fact is in the timeline.
    Duplicate,
    /// A timeline entry only: the status of the order is higher.
    TimelineOnly,
    /// A timeline entry and this new status.
    StatusChanged(OrderStatus),
}

/// Returns the change of an order with this status by a fact. `is_duplicate` is whether its
/// timeline has the fact.
pub(crate) fn transition(status: OrderStatus, is_duplicate: bool, fact: OrderFact) -> Transition {
    match fact.status() {
        _ if is_duplicate => Transition::Duplicate,
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

    const FACTS: [OrderFact; 3] = [
        OrderFact::Reserved,
        OrderFact::StockFailed,
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
                let is_duplicate = order.timeline.contains(&fact.status());
                match transition(order.status, is_duplicate, fact) {
                    Transition::Duplicate => continue,
                    Transition::TimelineOnly => {}
                    Transition::StatusChanged(next) => {
                        assert!(next > order.status);
                        order.status = next;
                        order.status_changes += 1;
                    }
                }
                order.timeline.push(fact.status());
            }
            order
        }
    }

    #[test]
    fn transitions_are_those_of_the_contract() {
        use OrderStatus::{Created, FailedInsufficientStock as Failed, Reserved, Shipped};
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
            (Failed, OrderFact::Reserved, Transition::TimelineOnly),
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
        fn shipped_order_stays_shipped(
            before in proptest::collection::vec(proptest::sample::select(&FACTS[..]), 0..4),
            after in proptest::collection::vec(proptest::sample::select(&FACTS[..]), 0..4),
        ) {
            let facts: Vec<_> = before.into_iter().chain([OrderFact::Dispatched]).chain(after).collect();
            prop_assert_eq!(OrderHistory::after(&facts).status, OrderStatus::Shipped);
        }
    }
}
