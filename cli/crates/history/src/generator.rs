//! Facts from a number. Each of them is worked out from its place alone, so that any part
//! of the whole can be made by itself, in any order, and again.

use std::ops::Range;

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use fastrand::Rng;
use rust_decimal::Decimal;

use crate::calendar::{self, BusinessCalendar};
use crate::model::{
    BusinessHistory, ClientRef, Expense, ExpenseDecision, Lead, LeadOutcome, Member, Order,
    OrderLine, OrderOutcome, SavedProfile,
};
use crate::names::{FIRST_NAMES, LAST_NAMES, LEAD_NOTES, TOWNS, TRADES};

/// One lead for so many orders.
const ORDERS_PER_LEAD: u64 = 10;
/// One expense for so many orders.
const ORDERS_PER_EXPENSE: u64 = 5;
/// Of ten leads so many become clients.
const CONVERTED_PER_TEN_LEADS: u64 = 5;

/// Who does it, and with what.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneratorInput {
    /// The people who look after leads and orders.
    pub sellers: Vec<String>,
    /// Who decides expenses.
    pub accountant: String,
    /// Who scans shipments and sends them off.
    pub warehouse: String,
    /// What shipments leave with.
    pub trucks: Vec<String>,
    /// What there is to order.
    pub skus: Vec<String>,
    /// How many of one product may be ordered.
    pub quantities: Vec<i64>,
    /// How many products an order has at most.
    pub max_items: usize,
    /// What is written on orders.
    pub order_notes: Vec<String>,
    /// What money is spent on.
    pub expense_templates: Vec<ExpenseTemplate>,
    /// Everybody who has told of themselves.
    pub members: Vec<Member>,
}

/// Something that money is spent on.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpenseTemplate {
    /// Whose money it is.
    pub submitter: String,
    /// What for.
    pub category: String,
    /// What it is.
    pub description: String,
    /// How much, about.
    pub amount: Decimal,
    /// Why it is not paid, where it may not be.
    pub rejection: Option<String>,
}

/// A past that never was.
#[derive(Debug, Clone)]
pub struct HistoryGenerator {
    /// Which one.
    pub seed: u64,
    /// Who does it, and with what. None of its lists is empty.
    pub input: GeneratorInput,
    /// How many orders there are; leads and expenses go by that.
    pub order_count: u64,
    calendar: BusinessCalendar,
}

impl HistoryGenerator {
    /// The past of a number: so many orders in so many days up to this one.
    #[must_use]
    pub fn new(
        number: u64,
        staff: GeneratorInput,
        orders: u64,
        until: NaiveDate,
        days: u16,
    ) -> Self {
        Self {
            seed: number,
            input: staff,
            order_count: orders,
            calendar: BusinessCalendar::ending_before(until, days),
        }
    }

    /// How many leads there are.
    #[must_use]
    pub const fn lead_count(&self) -> u64 {
        self.order_count.div_ceil(ORDERS_PER_LEAD)
    }

    /// How many expenses there are.
    #[must_use]
    pub const fn expense_count(&self) -> u64 {
        self.order_count.div_ceil(ORDERS_PER_EXPENSE)
    }

    /// How many clients the first so many leads come to.
    const fn client_count(leads: u64) -> u64 {
        // Those with an even place, and there is always one.
        leads.div_ceil(10 / CONVERTED_PER_TEN_LEADS)
    }

    /// The part of the whole that lies between two shares of it.
    #[must_use]
    pub fn generate_part(&self, part: u64, of: u64) -> BusinessHistory {
        let range = |count: u64| -> Range<u64> {
            let at = |part: u64| {
                u64::try_from(u128::from(count) * u128::from(part) / u128::from(of.max(1)))
                    .unwrap_or(count)
            };
            at(part)..at(part + 1)
        };
        BusinessHistory {
            leads: range(self.lead_count())
                .map(|index| self.generate_lead(index))
                .collect(),
            orders: range(self.order_count)
                .map(|index| self.generate_order(index))
                .collect(),
            expenses: range(self.expense_count())
                .map(|index| self.generate_expense(index))
                .collect(),
            // They are there before any of it.
            profiles: Vec::new(),
        }
    }

    /// The people, who have told of themselves when it began.
    #[must_use]
    pub fn generate_profiles(&self) -> Vec<SavedProfile> {
        let person = |(index, member): (u64, &Member)| {
            let mut random = self.rng_for(4, index);
            SavedProfile {
                index,
                member: member.clone(),
                saved_at: self.calendar.instant_at(random.f64() * 0.05),
            }
        };
        (0..).zip(&self.input.members).map(person).collect()
    }

    fn rng_for(&self, kind: u64, index: u64) -> Rng {
        Rng::with_seed(splitmix64(
            splitmix64(self.seed ^ kind.rotate_left(56)) ^ index,
        ))
    }

    /// The share of the whole that lies before this one of so many.
    fn jittered_share(index: u64, of: u64, random: &mut Rng) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let (index, of) = (index as f64, of.max(1) as f64);
        (index + random.f64()) / of
    }

    fn generate_lead(&self, index: u64) -> Lead {
        let mut random = self.rng_for(1, index);
        // Half of them were there before, at the beginning.
        let share = Self::jittered_share(index, self.lead_count(), &mut random) * 2.0 - 1.0;
        let created_at = self.calendar.instant_at(share.max(0.0));
        let before = TimeDelta::minutes(if share < 0.0 {
            random.i64(60..200_000)
        } else {
            0
        });
        let created_at = calendar::next_business_instant(created_at - before);
        let changed =
            calendar::next_business_instant(created_at + TimeDelta::minutes(random.i64(1..=59)));
        let end = match index % 10 {
            place if place % 2 == 0 => LeadOutcome::Converted {
                client_index: Self::client_count(index),
            },
            1 => LeadOutcome::New,
            3 | 7 => LeadOutcome::Contacted,
            5 => LeadOutcome::Qualified,
            _ => LeadOutcome::Disqualified,
        };
        let first = pick(&FIRST_NAMES, &mut random);
        let last = pick(&LAST_NAMES, &mut random);
        let company = company_name(splitmix64(self.seed), index);
        let domain: String = company
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|letter| letter.to_ascii_lowercase())
            .collect();
        Lead {
            index,
            contact: format!("{first} {last}"),
            email: format!("{}@{domain}.example", first.to_lowercase()),
            phone: format!("570-555-{:04}", random.u32(0..10_000)),
            notes: (*pick(&LEAD_NOTES, &mut random)).to_owned(),
            seller: pick(&self.input.sellers, &mut random).clone(),
            created_at,
            updated_at: if end == LeadOutcome::New {
                created_at
            } else {
                changed
            },
            outcome: end,
            company,
        }
    }

    fn generate_order(&self, index: u64) -> Order {
        let mut random = self.rng_for(2, index);
        let share = Self::jittered_share(index, self.order_count, &mut random);
        let created_at = self.calendar.instant_at(share);
        // Clients of before, and those that have come since.
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counts are far below 2^52"
        )]
        let known =
            (Self::client_count(self.lead_count()) as f64 * f64::midpoint(share, 1.0)) as u64;
        let client = random.u64(0..known.max(1));
        let items = self.generate_items(&mut random);
        let ship_date = created_at
            .date_naive()
            .checked_add_days(Days::new(random.u64(1..=14)))
            .unwrap_or_else(|| created_at.date_naive());
        let end = self.generate_outcome(created_at, &items, &mut random);
        Order {
            index,
            client: ClientRef::InRun(client),
            seller: pick(&self.input.sellers, &mut random).clone(),
            created_at,
            ship_date,
            items,
            notes: pick(&self.input.order_notes, &mut random).clone(),
            outcome: end,
        }
    }

    fn generate_items(&self, random: &mut Rng) -> Vec<OrderLine> {
        let staff = &self.input;
        let most = staff.max_items.clamp(1, staff.skus.len());
        let mut items: Vec<OrderLine> = Vec::new();
        for _ in 0..random.usize(1..=most) {
            let sku = pick(&staff.skus, random);
            let quantity = *pick(&staff.quantities, random);
            if items.iter().all(|item| item.sku != *sku) {
                items.push(OrderLine {
                    sku: sku.clone(),
                    quantity,
                });
            }
        }
        items
    }

    /// One in a hundred fails; the others leave within a few days, if those have passed.
    fn generate_outcome(
        &self,
        created_at: DateTime<Utc>,
        items: &[OrderLine],
        random: &mut Rng,
    ) -> OrderOutcome {
        if random.u8(0..100) == 0 {
            let short = &items[random.usize(0..items.len())];
            return OrderOutcome::Failed(vec![OrderLine {
                sku: short.sku.clone(),
                quantity: random.i64(1..=short.quantity.max(1)),
            }]);
        }
        let waits = TimeDelta::minutes(random.i64(90..7_000));
        let leaves = calendar::next_business_instant(created_at + waits);
        let by = self.input.warehouse.clone();
        let now = self.calendar.end();
        // A few are forgotten in a corner.
        let forgotten = random.u16(0..500) == 0;
        if leaves < now && !forgotten {
            OrderOutcome::Shipped {
                shipped_by: by,
                truck_id: pick(&self.input.trucks, random).clone(),
                shipped_at: leaves,
            }
        } else if leaves - now < TimeDelta::hours(3) && items.len() > 1 && !forgotten {
            OrderOutcome::Loading {
                scanned_by: by,
                scanned_lines: random.usize(1..items.len()),
                first_scanned_at: (now - TimeDelta::minutes(30))
                    .max(created_at + TimeDelta::seconds(5)),
            }
        } else {
            OrderOutcome::Reserved
        }
    }

    fn generate_expense(&self, index: u64) -> Expense {
        let mut random = self.rng_for(3, index);
        let share = Self::jittered_share(index, self.expense_count(), &mut random);
        let created_at = self.calendar.instant_at(share);
        let spending = pick(&self.input.expense_templates, &mut random);
        let decided =
            calendar::next_business_instant(created_at + TimeDelta::minutes(random.i64(20..5_000)));
        let rejected = spending.rejection.clone().filter(|_| random.u8(0..3) == 0);
        let decision = (decided < self.calendar.end()).then(|| ExpenseDecision {
            is_approved: rejected.is_none(),
            decided_by: self.input.accountant.clone(),
            decided_at: decided,
            comment: rejected.unwrap_or_default(),
        });
        Expense {
            index,
            submitter: spending.submitter.clone(),
            category: spending.category.clone(),
            amount: spending.amount + Decimal::new(random.i64(0..2_500), 2),
            currency: "USD".to_owned(),
            description: spending.description.clone(),
            created_at,
            decision,
        }
    }
}

/// A name that no other lead of the run has.
fn company_name(salt: u64, index: u64) -> String {
    let count = |list: &[&str]| list.len() as u64;
    let (trades, towns, names) = (count(&TRADES), count(&TOWNS), count(&LAST_NAMES));
    let all = trades * towns * names;
    // A step that shares no factor with the number of all names goes through each of them
    // once.
    const STEP: u64 = 40_507;
    let place = (index % all * STEP + salt % all) % all;
    let at = |list: &[&'static str], place: u64| list[usize::try_from(place).unwrap_or_default()];
    let name = at(&LAST_NAMES, place % names);
    let trade = at(&TRADES, place / names % trades);
    let town = at(&TOWNS, place / names / trades);
    match index / all {
        0 => format!("{name} {trade}, {town}"),
        again => format!("{name} {trade} No. {}, {town}", again + 1),
    }
}

fn pick<'a, T>(list: &'a [T], random: &mut Rng) -> &'a T {
    &list[random.usize(0..list.len())]
}

/// Spreads a number over all bits (splitmix64).
pub(crate) const fn splitmix64(number: u64) -> u64 {
    let mut it = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    it ^ (it >> 31)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::HashSet;

    use dm_contracts::App;
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn staff() -> GeneratorInput {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        GeneratorInput {
            sellers: texts(&["jhalpert", "dschrute"]),
            accountant: "amartin".into(),
            warehouse: "dphilbin".into(),
            trucks: texts(&["truck_1", "truck_2"]),
            skus: texts(&["A", "B", "C", "D"]),
            quantities: vec![1, 5, 40],
            max_items: 4,
            order_notes: texts(&["Same as last month."]),
            expense_templates: vec![ExpenseTemplate {
                submitter: "jhalpert".into(),
                category: "MEALS".into(),
                description: "Lunch".into(),
                amount: Decimal::new(2_050, 2),
                rejection: Some("No receipt.".into()),
            }],
            members: vec![Member {
                user: "jhalpert".into(),
                name: "Jim Halpert".into(),
                email: "jhalpert@dundermifflin.com".into(),
                title: "Sales Representative".into(),
                phone: "570-555-0101".into(),
                app: App::Infinity,
            }],
        }
    }

    pub(crate) fn invention(number: u64, orders: u64) -> HistoryGenerator {
        let until = NaiveDate::from_ymd_opt(2026, 11, 26).unwrap();
        HistoryGenerator::new(number, staff(), orders, until, 90)
    }

    proptest! {
        /// Cut anyhow, the parts are the whole.
        #[test]
        fn parts_are_the_whole(number: u64, orders in 1_u64..300, parts in 1_u64..9) {
            let invention = invention(number, orders);
            let whole = invention.generate_part(0, 1);
            let mut glued = BusinessHistory::default();
            for part in 0..parts {
                let facts = invention.generate_part(part, parts);
                glued.leads.extend(facts.leads);
                glued.orders.extend(facts.orders);
                glued.expenses.extend(facts.expenses);
            }
            prop_assert_eq!(glued, whole);
        }

        /// What happens later is later, and nothing has yet to happen.
        #[test]
        fn nothing_happens_before_its_cause(number: u64) {
            let invention = invention(number, 200);
            let end = invention.calendar.end();
            let facts = invention.generate_part(0, 1);
            for order in &facts.orders {
                prop_assert!(order.created_at <= end);
                let skus: HashSet<_> = order.items.iter().map(|item| &item.sku).collect();
                prop_assert_eq!(skus.len(), order.items.len());
                match &order.outcome {
                    OrderOutcome::Shipped { shipped_at, .. } => {
                        prop_assert!(*shipped_at > order.created_at + TimeDelta::hours(1) && *shipped_at <= end);
                    }
                    OrderOutcome::Loading { scanned_lines, first_scanned_at, .. } => {
                        prop_assert!(*scanned_lines < order.items.len() && *first_scanned_at > order.created_at);
                    }
                    OrderOutcome::Reserved | OrderOutcome::Failed(_) => {}
                }
            }
            for expense in &facts.expenses {
                prop_assert!(expense.decision.iter().all(|it| it.decided_at > expense.created_at));
            }
            for lead in &facts.leads {
                prop_assert!(lead.updated_at >= lead.created_at && lead.updated_at <= end + TimeDelta::days(4));
            }
        }
    }

    #[test]
    fn no_company_comes_twice() {
        let names: HashSet<String> = (0..100_000)
            .map(|index| company_name(splitmix64(7), index))
            .collect();
        assert_eq!(names.len(), 100_000);
    }

    #[test]
    fn clients_are_counted_as_their_leads_are() {
        let facts = invention(1, 2_000).generate_part(0, 1);
        let clients: Vec<u64> = facts
            .leads
            .iter()
            .filter_map(|lead| match lead.outcome {
                LeadOutcome::Converted {
                    client_index: client,
                } => Some(client),
                _ => None,
            })
            .collect();
        let expected: Vec<u64> = (0..clients.len() as u64).collect();
        assert_eq!(clients, expected);
        assert_eq!(
            HistoryGenerator::client_count(facts.leads.len() as u64),
            clients.len() as u64
        );
        let known = clients.len() as u64;
        assert!(facts.orders.iter().all(|order| match order.client {
            ClientRef::InRun(client) => client < known,
            ClientRef::Existing(_) => false,
        }));
    }

    #[test]
    fn there_is_something_of_everything() {
        let facts = invention(1, 5_000).generate_part(0, 1);
        for status in ["RESERVED", "SHIPPED", "FAILED_INSUFFICIENT_STOCK"] {
            assert!(
                facts
                    .orders
                    .iter()
                    .any(|order| order.outcome.status() == status),
                "{status}"
            );
        }
        for status in ["PENDING", "APPROVED", "REJECTED"] {
            assert!(
                facts.expenses.iter().any(|it| it.status() == status),
                "{status}"
            );
        }
        assert!(
            facts
                .orders
                .iter()
                .any(|it| matches!(it.outcome, OrderOutcome::Loading { .. }))
        );
    }
}
