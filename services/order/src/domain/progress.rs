//! How an order moves on, in whatever order the facts arrive.
//!
//! Two laws make the end independent of that order, and of duplicates: a fact
//! enters the timeline once, and a status only ever rises. So an order that is
//! `SHIPPED` never goes back, and a stock result that comes after the dispatch is
//! in the timeline all the same, at its own time.

use dm_contracts::api::order::OrderStatus;

/// What inventory says of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Fact {
    /// All of it is reserved.
    Reserved,
    /// At least one line is short.
    StockFailed,
    /// It left the warehouse.
    Dispatched,
}

impl Fact {
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
pub(crate) enum Step {
    /// Nothing: it is known.
    Known,
    /// The timeline alone: the order is further already.
    Noted,
    /// The timeline and the status, which becomes this.
    Moved(OrderStatus),
}

/// The step of an order with this status on a fact; `known` says whether the fact
/// is in its timeline.
pub(crate) fn step(status: OrderStatus, known: bool, fact: Fact) -> Step {
    match fact.status() {
        _ if known => Step::Known,
        // The statuses are declared in the order in which they rise.
        next if next > status => Step::Moved(next),
        _ => Step::Noted,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const FACTS: [Fact; 3] = [Fact::Reserved, Fact::StockFailed, Fact::Dispatched];

    /// An order that remembers.
    struct Order {
        status: OrderStatus,
        timeline: Vec<OrderStatus>,
        moves: usize,
    }

    impl Order {
        fn after(facts: &[Fact]) -> Self {
            let mut order = Self {
                status: OrderStatus::Created,
                timeline: vec![OrderStatus::Created],
                moves: 0,
            };
            for &fact in facts {
                let known = order.timeline.contains(&fact.status());
                match step(order.status, known, fact) {
                    Step::Known => continue,
                    Step::Noted => {}
                    Step::Moved(next) => {
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
            (Created, Fact::Reserved, Step::Moved(Reserved)),
            (Created, Fact::StockFailed, Step::Moved(Failed)),
            (Created, Fact::Dispatched, Step::Moved(Shipped)),
            (Reserved, Fact::StockFailed, Step::Moved(Failed)),
            (Reserved, Fact::Dispatched, Step::Moved(Shipped)),
            (Failed, Fact::Dispatched, Step::Moved(Shipped)),
            (Failed, Fact::Reserved, Step::Noted),
            (Shipped, Fact::Reserved, Step::Noted),
            (Shipped, Fact::StockFailed, Step::Noted),
        ] {
            assert_eq!(step(status, false, fact), expected, "{status:?} {fact:?}");
            assert_eq!(
                step(status, true, fact),
                Step::Known,
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
            let order = Order::after(&facts);
            let mut rest = facts.clone();
            let mut other = Vec::new();
            while !rest.is_empty() {
                let at = shuffled.select(0..rest.len());
                other.push(rest.swap_remove(at));
            }
            let again = Order::after(&other);
            prop_assert_eq!(order.status, again.status);
            let set = |order: &Order| order.timeline.iter().copied().collect::<HashSet<_>>();
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
            let facts: Vec<_> = before.into_iter().chain([Fact::Dispatched]).chain(after).collect();
            prop_assert_eq!(Order::after(&facts).status, OrderStatus::Shipped);
        }
    }
}
