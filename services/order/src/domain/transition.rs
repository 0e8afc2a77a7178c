//! How an order moves on, in whatever order the facts arrive.
//!
//! Two laws make the end independent of that order, and of duplicates: a fact
//! enters the timeline once, and a status only ever rises. So an order that is
//! `SHIPPED` never goes back, and a stock result that comes after the dispatch is
//! in the timeline all the same, at its own time.

use dm_contracts::api::order::OrderStatus;

/// What inventory says of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum OrderFact {
    /// All of it is reserved.
    Reserved,
    /// At least one line is short.
    StockFailed,
    /// It left the warehouse.
    Dispatched,
}

impl OrderFact {
    /// The status that the timeline shows for it.
    pub(crate) const fn status(self) -> OrderStatus {
        match self {
            Self::Reserved => OrderStatus::Reserved,
            Self::StockFailed => OrderStatus::FailedInsufficientStock,
            Self::Dispatched => OrderStatus::Shipped,
        }
    }
}

/// What a fact changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transition {
    /// Nothing: it is known.
    Duplicate,
    /// The timeline alone: the order is further already.
    TimelineOnly,
    /// The timeline and the status, which becomes this.
    StatusChanged(OrderStatus),
}

/// The step of an order with this status on a fact; `known` says whether the fact
/// is in its timeline.
pub(crate) fn transition(status: OrderStatus, known: bool, fact: OrderFact) -> Transition {
    match fact.status() {
        _ if known => Transition::Duplicate,
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

    /// An order that remembers.
    struct OrderHistory {
        status: OrderStatus,
        timeline: Vec<OrderStatus>,
        moves: usize,
    }

    impl OrderHistory {
        fn after(facts: &[OrderFact]) -> Self {
            let mut order = Self {
                status: OrderStatus::Created,
                timeline: vec![OrderStatus::Created],
                moves: 0,
            };
            for &fact in facts {
                let known = order.timeline.contains(&fact.status());
                match transition(order.status, known, fact) {
                    Transition::Duplicate => continue,
                    Transition::TimelineOnly => {}
                    Transition::StatusChanged(next) => {
                        assert!(next > order.status);
                        order.status = next;
                        order.moves += 1;
                    }
                }
                order.timeline.push(fact.status());
            }
            order
        }
    }

    #[test]
    fn the_contracts_transitions() {
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
        fn the_end_is_the_same_in_any_order_and_with_any_duplicates(
            facts in proptest::collection::vec(proptest::sample::select(&FACTS[..]), 0..8),
            shuffled in any::<proptest::sample::Selector>(),
        ) {
            let order = OrderHistory::after(&facts);
            let mut rest = facts.clone();
            let mut other = Vec::new();
            while !rest.is_empty() {
                let at = shuffled.select(0..rest.len());
                other.push(rest.swap_remove(at));
            }
            let again = OrderHistory::after(&other);
            prop_assert_eq!(order.status, again.status);
            let set = |order: &OrderHistory| order.timeline.iter().copied().collect::<HashSet<_>>();
            prop_assert_eq!(set(&order), set(&again));
            // Once each.
            prop_assert_eq!(order.timeline.len(), set(&order).len());
            prop_assert!(order.moves < order.timeline.len());
        }

        #[test]
        fn what_is_shipped_stays_shipped(
            before in proptest::collection::vec(proptest::sample::select(&FACTS[..]), 0..4),
            after in proptest::collection::vec(proptest::sample::select(&FACTS[..]), 0..4),
        ) {
            let facts: Vec<_> = before.into_iter().chain([OrderFact::Dispatched]).chain(after).collect();
            prop_assert_eq!(OrderHistory::after(&facts).status, OrderStatus::Shipped);
        }
    }
}
