//! Tests of all interleavings of the requests and events of one order, with the decisions of both
//! services.
//!
//! Each service decides on rows that it has locked, so that its steps are sequential. Nothing
//! else is assumed: an event is delivered at any later time, before or after any other event
//! (retries, replays of dead letters), and any number of times, also after the retention of the
//! inbox.

use std::collections::{BTreeSet, HashSet};

use dm_contracts::api::order::{OrderItem, OrderStatus};
use dm_contracts::api::shipment::ShipmentStatus;
use order_service::{CancelDecision, OrderFact, Transition, decide_cancellation, transition};
use proptest::prelude::*;

use super::cancellation::{CancellationEffect, effect_on};
use super::shipment::{is_first_scan, is_open};
use super::stock::{self, RequiredQuantities, StockCounts, StockCountsBySku};

const SKU: &str = "PPR-A4-WHT-500";

/// An event that one service has published for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    OrderCreated,
    OrderCancelled,
    Fact(OrderFact),
}

/// A step of the user, of the warehouse, or of the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Cancel,
    Scan,
    Dispatch,
    /// The event with this position among the published ones is delivered, perhaps again.
    Deliver(usize),
}

/// What both services have stored about one order.
#[derive(Debug, Clone)]
struct World {
    needs: RequiredQuantities,
    received: i64,
    order: OrderStatus,
    timeline: Vec<OrderStatus>,
    reinstatements: usize,
    shipment: Option<ShipmentStatus>,
    is_reserved: bool,
    stock: StockCountsBySku,
    published: Vec<Event>,
    delivered: BTreeSet<usize>,
}

impl World {
    /// A new order of a quantity of which `on_hand` is in stock.
    fn new(quantity: i64, on_hand: i64) -> Self {
        let counts = StockCounts {
            on_hand,
            ..StockCounts::default()
        };
        let sku = SKU.to_owned();
        Self {
            needs: stock::required_quantities(&[OrderItem { sku, quantity }]),
            received: on_hand,
            order: OrderStatus::Created,
            timeline: vec![OrderStatus::Created],
            reinstatements: 0,
            shipment: None,
            is_reserved: false,
            stock: StockCountsBySku::from([(SKU.to_owned(), counts)]),
            published: vec![Event::OrderCreated],
            delivered: BTreeSet::new(),
        }
    }

    fn steps(&self) -> impl Iterator<Item = Step> {
        let deliveries = (0..self.published.len()).map(Step::Deliver);
        [Step::Cancel, Step::Scan, Step::Dispatch]
            .into_iter()
            .chain(deliveries)
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Cancel => self.cancel(),
            Step::Scan => self.scan(),
            Step::Dispatch => self.dispatch(),
            Step::Deliver(position) => {
                self.delivered.insert(position);
                match self.published[position] {
                    Event::OrderCreated => self.reserve(),
                    Event::OrderCancelled => self.withdraw(),
                    Event::Fact(fact) => self.process_fact(fact),
                }
            }
        }
    }

    /// `POST /orders/{orderId}/cancel` at order-service.
    fn cancel(&mut self) {
        match decide_cancellation(self.order) {
            CancelDecision::Cancel => {
                self.order = OrderStatus::Cancelled;
                self.timeline.push(self.order);
                self.published.push(Event::OrderCancelled);
            }
            CancelDecision::AlreadyCancelled => {}
            CancelDecision::AlreadyShipped => {
                assert_eq!(self.shipment, Some(ShipmentStatus::Dispatched));
            }
        }
    }

    /// An event of inventory-service at order-service.
    fn process_fact(&mut self, fact: OrderFact) {
        let is_duplicate = self.timeline.contains(&fact.status());
        match transition(self.order, is_duplicate, fact) {
            Transition::Duplicate => return,
            Transition::TimelineOnly => {}
            Transition::StatusChanged(next) => self.order = next,
            Transition::Reinstated => {
                self.order = OrderStatus::Shipped;
                self.reinstatements += 1;
            }
        }
        self.timeline.push(fact.status());
    }

    /// `order.created` at inventory-service.
    fn reserve(&mut self) {
        if self.shipment.is_some() {
            return;
        }
        let fact = match stock::reserve(&self.needs, &self.stock) {
            Ok(levels) => {
                self.stock.extend(levels);
                self.is_reserved = true;
                self.shipment = Some(ShipmentStatus::Pending);
                OrderFact::Reserved
            }
            Err(_) => {
                self.shipment = Some(ShipmentStatus::Failed);
                OrderFact::StockFailed
            }
        };
        self.published.push(Event::Fact(fact));
    }

    /// `order.cancelled` at inventory-service.
    fn withdraw(&mut self) {
        let effect = self.shipment.map(effect_on);
        if effect == Some(CancellationEffect::Unchanged) {
            return;
        }
        if effect == Some(CancellationEffect::ReleaseAndWithdraw) {
            let levels = stock::release(&self.needs, &self.stock).unwrap();
            self.stock.extend(levels);
            self.is_reserved = false;
        }
        self.shipment = Some(ShipmentStatus::Cancelled);
    }

    /// A scan at inventory-service.
    fn scan(&mut self) {
        if self.shipment.is_some_and(is_first_scan) {
            self.shipment = Some(ShipmentStatus::Loading);
            self.published.push(Event::Fact(OrderFact::PickingStarted));
        }
    }

    /// A dispatch at inventory-service.
    fn dispatch(&mut self) {
        if self.shipment.is_some_and(is_open) {
            let levels = stock::ship(&self.needs, &self.stock).unwrap();
            self.stock.extend(levels);
            self.is_reserved = false;
            self.shipment = Some(ShipmentStatus::Dispatched);
            self.published.push(Event::Fact(OrderFact::Dispatched));
        }
    }

    fn undelivered(&self) -> Vec<usize> {
        (0..self.published.len())
            .filter(|position| !self.delivered.contains(position))
            .collect()
    }

    /// Checks what holds after every step.
    fn check(&self) {
        let counts = self.stock[SKU];
        assert_eq!(counts.on_hand + counts.shipped, self.received, "{self:?}");
        let reserved = if self.is_reserved { self.needs[SKU] } else { 0 };
        assert_eq!(counts.reserved, reserved, "{self:?}");
        assert!(counts.available() >= 0, "{self:?}");
        assert_eq!(self.is_reserved, self.shipment.is_some_and(is_open));
        let is_dispatched = self.shipment == Some(ShipmentStatus::Dispatched);
        assert_eq!(counts.shipped > 0, is_dispatched, "{self:?}");
        if self.order == OrderStatus::Shipped {
            assert!(is_dispatched, "{self:?}");
        }
        if self.shipment == Some(ShipmentStatus::Cancelled) {
            assert_eq!(self.order, OrderStatus::Cancelled, "{self:?}");
        }
        let statuses: HashSet<_> = self.timeline.iter().collect();
        assert_eq!(statuses.len(), self.timeline.len(), "{self:?}");
    }

    /// Checks what holds once every event was delivered.
    fn check_outcome(&self) {
        let expected = match self.shipment {
            Some(ShipmentStatus::Pending) => OrderStatus::Reserved,
            Some(ShipmentStatus::Loading) => OrderStatus::Picking,
            Some(ShipmentStatus::Dispatched) => OrderStatus::Shipped,
            Some(ShipmentStatus::Failed) => OrderStatus::FailedInsufficientStock,
            Some(ShipmentStatus::Cancelled) => OrderStatus::Cancelled,
            None => panic!("the order has no shipment: {self:?}"),
        };
        assert_eq!(self.order, expected, "{self:?}");
        let was_cancelled = self.timeline.contains(&OrderStatus::Cancelled);
        let is_shipped = self.order == OrderStatus::Shipped;
        let reinstatements = usize::from(was_cancelled && is_shipped);
        assert_eq!(self.reinstatements, reinstatements, "{self:?}");
    }
}

/// Visits every state that any sequence of steps can reach.
#[test]
fn every_reachable_state_is_consistent_and_has_the_expected_outcome() {
    for (quantity, on_hand) in [(3, 5), (3, 2)] {
        let mut known = HashSet::new();
        let mut outcomes = BTreeSet::new();
        let mut open = vec![World::new(quantity, on_hand)];
        while let Some(world) = open.pop() {
            if !known.insert(format!("{world:?}")) {
                continue;
            }
            world.check();
            if world.undelivered().is_empty() {
                world.check_outcome();
                outcomes.insert(world.order.as_str());
            }
            open.extend(world.steps().map(|step| {
                let mut next = world.clone();
                next.apply(step);
                next
            }));
        }
        let expected: &[&str] = if on_hand < quantity {
            &["CANCELLED", "FAILED_INSUFFICIENT_STOCK"]
        } else {
            &["CANCELLED", "PICKING", "RESERVED", "SHIPPED"]
        };
        let outcomes: Vec<_> = outcomes.into_iter().collect();
        assert_eq!(outcomes, expected, "of {} states", known.len());
    }
}

proptest! {
    /// Random quantities and steps. Afterwards the remaining events are delivered in any order.
    #[test]
    fn final_status_is_what_inventory_did_in_every_interleaving(
        quantity in 1..6_i64,
        on_hand in 0..8_i64,
        steps in prop::collection::vec(any::<prop::sample::Index>(), 0..24),
        remaining in prop::collection::vec(any::<prop::sample::Index>(), 8),
    ) {
        let mut world = World::new(quantity, on_hand);
        for choice in steps {
            let possible: Vec<Step> = world.steps().collect();
            world.apply(possible[choice.index(possible.len())]);
            world.check();
        }
        for choice in remaining.iter().cycle() {
            let undelivered = world.undelivered();
            if undelivered.is_empty() {
                break;
            }
            world.apply(Step::Deliver(undelivered[choice.index(undelivered.len())]));
            world.check();
        }
        world.check_outcome();
    }
}
