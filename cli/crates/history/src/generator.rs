//! Generates a history from a seed. Each record is derived from the seed and its index alone, so
//! that parts can be generated separately, in any order, and repeatedly.

use std::ops::Range;

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use fastrand::Rng;
use rust_decimal::Decimal;

use crate::calendar::{self, BusinessCalendar};
use crate::model::{
    BusinessHistory, ClientRef, Expense, ExpenseDecision, Lead, LeadOutcome, Member, Order,
    OrderLine, OrderOutcome, SavedProfile,
};
use crate::names::{CANCEL_REASONS, FIRST_NAMES, LAST_NAMES, LEAD_NOTES, TOWNS, TRADES};

/// The number of orders per lead.
const ORDERS_PER_LEAD: u64 = 10;
/// The number of orders per expense.
const ORDERS_PER_EXPENSE: u64 = 5;
/// The number of orders per cancelled order.
const ORDERS_PER_CANCELLATION: u64 = 50;
/// The number of open orders per order whose first lines are scanned.
const OPEN_ORDERS_PER_PICKING: u64 = 5;
/// The number of leads that become clients, of 10.
const CONVERTED_PER_TEN_LEADS: u64 = 5;

/// The users with an avatar, and their avatars as profile-service would have stored them.
const AVATARS: [(&str, &[u8]); 1] = [(
    "jhalpert",
    include_bytes!("../../../../fixtures/demo/avatars/jhalpert.png"),
)];
/// The themes of the apps, by turns.
const THEMES: [&str; 3] = ["light", "dark", "system"];

/// The input of the generator: users, products and templates.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneratorInput {
    /// User ids of the sellers, who handle leads and orders.
    pub sellers: Vec<String>,
    /// User id of the accountant, who decides expenses.
    pub accountant: String,
    /// User id of the warehouse worker, who scans and dispatches shipments.
    pub warehouse: String,
    /// Ids of the trucks.
    pub trucks: Vec<String>,
    /// SKUs of the products.
    pub skus: Vec<String>,
    /// Quantities, one of which is chosen for each product.
    pub quantities: Vec<i64>,
    /// The maximum number of products of an order.
    pub max_items: usize,
    /// Notes, one of which is chosen for each order.
    pub order_notes: Vec<String>,
    /// Templates of expenses.
    pub expense_templates: Vec<ExpenseTemplate>,
    /// The profiles of users.
    pub members: Vec<Member>,
}

/// The template of an expense.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpenseTemplate {
    /// User id of the submitter.
    pub submitter: String,
    /// The category.
    pub category: String,
    /// The description.
    pub description: String,
    /// The minimum amount, to which up to 25 dollars are added.
    pub amount: Decimal,
    /// The comment of a rejection. Without it the expense is never rejected.
    pub rejection: Option<String>,
}

/// Generates a history.
#[derive(Debug, Clone)]
pub struct HistoryGenerator {
    /// The seed.
    pub seed: u64,
    /// The input. None of its lists is empty.
    pub input: GeneratorInput,
    /// The number of orders, which determines the numbers of leads and expenses.
    pub order_count: u64,
    calendar: BusinessCalendar,
}

impl HistoryGenerator {
    /// Creates the generator of `order_count` orders in the `days` days before `until`.
    #[must_use]
    pub fn new(
        seed: u64,
        input: GeneratorInput,
        order_count: u64,
        until: NaiveDate,
        days: u16,
    ) -> Self {
        Self {
            seed,
            input,
            order_count,
            calendar: BusinessCalendar::ending_before(until, days),
        }
    }

    /// Returns the number of leads.
    #[must_use]
    pub const fn lead_count(&self) -> u64 {
        self.order_count.div_ceil(ORDERS_PER_LEAD)
    }

    /// Returns the number of expenses.
    #[must_use]
    pub const fn expense_count(&self) -> u64 {
        self.order_count.div_ceil(ORDERS_PER_EXPENSE)
    }

    /// Returns the number of clients that the first `leads` leads become.
    const fn client_count(leads: u64) -> u64 {
        // Leads with an even index, so that there is always one.
        leads.div_ceil(10 / CONVERTED_PER_TEN_LEADS)
    }

    /// Generates part `part` of `part_count` parts, without profiles.
    #[must_use]
    pub fn generate_part(&self, part: u64, part_count: u64) -> BusinessHistory {
        let range = |count: u64| -> Range<u64> {
            let start = |part: u64| {
                u64::try_from(u128::from(count) * u128::from(part) / u128::from(part_count.max(1)))
                    .unwrap_or(count)
            };
            start(part)..start(part + 1)
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
            // Loaded before all parts.
            profiles: Vec::new(),
        }
    }

    /// Generates the user profiles, which were saved at the beginning of the history.
    #[must_use]
    pub fn generate_profiles(&self) -> Vec<SavedProfile> {
        let themes = THEMES.into_iter().cycle();
        let profile = |((index, member), theme): ((u64, &Member), &str)| {
            let mut random = self.rng_for(4, index);
            let avatar = AVATARS.into_iter().find(|(user, _)| *user == member.user);
            SavedProfile {
                index,
                member: member.clone(),
                saved_at: self.calendar.instant_at(random.f64() * 0.05),
                avatar: avatar.map(|(_, image)| image),
                portal_settings: Some(format!("{{\"theme\":\"{theme}\"}}")),
            }
        };
        let members = (0..).zip(&self.input.members);
        members.zip(themes).map(profile).collect()
    }

    fn rng_for(&self, kind: u64, index: u64) -> Rng {
        Rng::with_seed(splitmix64(
            splitmix64(self.seed ^ kind.rotate_left(56)) ^ index,
        ))
    }

    /// Returns a random share of the period within the slot of one of `count` records.
    fn jittered_share(index: u64, count: u64, random: &mut Rng) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let (index, count) = (index as f64, count.max(1) as f64);
        (index + random.f64()) / count
    }

    fn generate_lead(&self, index: u64) -> Lead {
        let mut random = self.rng_for(1, index);
        // Half of the leads are older than the period.
        let share = Self::jittered_share(index, self.lead_count(), &mut random) * 2.0 - 1.0;
        let created_at = self.calendar.instant_at(share.max(0.0));
        let age = TimeDelta::minutes(if share < 0.0 {
            random.i64(60..200_000)
        } else {
            0
        });
        let created_at = calendar::next_business_instant(created_at - age);
        let changed_at =
            calendar::next_business_instant(created_at + TimeDelta::minutes(random.i64(1..=59)));
        let outcome = match index % 10 {
            digit if digit % 2 == 0 => LeadOutcome::Converted {
                client_index: Self::client_count(index),
            },
            1 => LeadOutcome::New,
            3 | 7 => LeadOutcome::Contacted,
            5 => LeadOutcome::Qualified,
            _ => LeadOutcome::Disqualified,
        };
        let first_name = pick(&FIRST_NAMES, &mut random);
        let last_name = pick(&LAST_NAMES, &mut random);
        let company = company_name(splitmix64(self.seed), index);
        let domain: String = company
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|character| character.to_ascii_lowercase())
            .collect();
        Lead {
            index,
            contact: format!("{first_name} {last_name}"),
            email: format!("{}@{domain}.example", first_name.to_lowercase()),
            phone: format!("570-555-{:04}", random.u32(0..10_000)),
            notes: (*pick(&LEAD_NOTES, &mut random)).to_owned(),
            seller: pick(&self.input.sellers, &mut random).clone(),
            created_at,
            updated_at: if outcome == LeadOutcome::New {
                created_at
            } else {
                changed_at
            },
            outcome,
            company,
        }
    }

    fn generate_order(&self, index: u64) -> Order {
        let mut random = self.rng_for(2, index);
        let share = Self::jittered_share(index, self.order_count, &mut random);
        let created_at = self.calendar.instant_at(share);
        // Clients from before the period, and those that were converted since then.
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counts are far below 2^52"
        )]
        let client_count =
            (Self::client_count(self.lead_count()) as f64 * f64::midpoint(share, 1.0)) as u64;
        let client = random.u64(0..client_count.max(1));
        let items = self.generate_items(&mut random);
        let ship_date = created_at
            .date_naive()
            .checked_add_days(Days::new(random.u64(1..=14)))
            .unwrap_or_else(|| created_at.date_naive());
        let mut outcome = self.generate_outcome(index, created_at, &items, &mut random);
        let seller = pick(&self.input.sellers, &mut random).clone();
        if let Some(cancelled) = self.generate_cancellation(index, created_at, &seller)
            && !matches!(outcome, OrderOutcome::Failed(_))
        {
            outcome = cancelled;
        }
        Order {
            index,
            client: ClientRef::InRun(client),
            seller,
            created_at,
            ship_date,
            items,
            notes: pick(&self.input.order_notes, &mut random).clone(),
            outcome,
        }
    }

    /// Generates the cancellation of one in 50 orders, before its shipment can be scanned. `None`
    /// if the order is not cancelled.
    fn generate_cancellation(
        &self,
        index: u64,
        created_at: DateTime<Utc>,
        seller: &str,
    ) -> Option<OrderOutcome> {
        if index % ORDERS_PER_CANCELLATION != ORDERS_PER_CANCELLATION / 2 {
            return None;
        }
        let mut random = self.rng_for(5, index);
        let delay = TimeDelta::minutes(random.i64(10..80));
        let cancelled_at = calendar::next_business_instant(created_at + delay);
        (cancelled_at < self.calendar.end()).then(|| OrderOutcome::Cancelled {
            cancelled_by: seller.to_owned(),
            cancelled_at,
            reason: (*pick(&CANCEL_REASONS, &mut random)).to_owned(),
        })
    }

    fn generate_items(&self, random: &mut Rng) -> Vec<OrderLine> {
        let input = &self.input;
        let max_items = input.max_items.clamp(1, input.skus.len());
        let mut items: Vec<OrderLine> = Vec::new();
        for _ in 0..random.usize(1..=max_items) {
            let sku = pick(&input.skus, random);
            let quantity = *pick(&input.quantities, random);
            if items.iter().all(|item| item.sku != *sku) {
                items.push(OrderLine {
                    sku: sku.clone(),
                    quantity,
                });
            }
        }
        items
    }

    /// Generates the outcome of an order that is not cancelled. 1 % of the orders fail; the others
    /// are shipped within 5 days, if these have passed. Of the open orders, one in five is being
    /// loaded, and each that is due within 3 hours.
    fn generate_outcome(
        &self,
        index: u64,
        created_at: DateTime<Utc>,
        items: &[OrderLine],
        random: &mut Rng,
    ) -> OrderOutcome {
        if random.u8(0..100) == 0 {
            let missing = &items[random.usize(0..items.len())];
            return OrderOutcome::Failed(vec![OrderLine {
                sku: missing.sku.clone(),
                quantity: random.i64(1..=missing.quantity.max(1)),
            }]);
        }
        let delay = TimeDelta::minutes(random.i64(90..7_000));
        let shipped_at = calendar::next_business_instant(created_at + delay);
        let warehouse = self.input.warehouse.clone();
        let now = self.calendar.end();
        // 0.2 % of the orders are never shipped.
        let is_forgotten = random.u16(0..500) == 0;
        if shipped_at < now && !is_forgotten {
            OrderOutcome::Shipped {
                shipped_by: warehouse,
                truck_id: pick(&self.input.trucks, random).clone(),
                shipped_at,
            }
        } else if items.len() > 1
            && (index % OPEN_ORDERS_PER_PICKING == 2
                || (shipped_at - now < TimeDelta::hours(3) && !is_forgotten))
        {
            OrderOutcome::Loading {
                scanned_by: warehouse,
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
        let template = pick(&self.input.expense_templates, &mut random);
        let decided_at =
            calendar::next_business_instant(created_at + TimeDelta::minutes(random.i64(20..5_000)));
        let rejection = template.rejection.clone().filter(|_| random.u8(0..3) == 0);
        let decision = (decided_at < self.calendar.end()).then(|| ExpenseDecision {
            is_approved: rejection.is_none(),
            decided_by: self.input.accountant.clone(),
            decided_at,
            comment: rejection.unwrap_or_default(),
        });
        Expense {
            index,
            submitter: template.submitter.clone(),
            category: template.category.clone(),
            amount: template.amount + Decimal::new(random.i64(0..2_500), 2),
            currency: "USD".to_owned(),
            description: template.description.clone(),
            created_at,
            decision,
        }
    }
}

/// Returns a company name that no other lead of the run has.
fn company_name(salt: u64, index: u64) -> String {
    let count = |list: &[&str]| list.len() as u64;
    let (trades, towns, names) = (count(&TRADES), count(&TOWNS), count(&LAST_NAMES));
    let combinations = trades * towns * names;
    // The step has no common factor with the number of combinations, so that each is used once.
    const STEP: u64 = 40_507;
    let position = (index % combinations * STEP + salt % combinations) % combinations;
    let entry =
        |list: &[&'static str], index: u64| list[usize::try_from(index).unwrap_or_default()];
    let name = entry(&LAST_NAMES, position % names);
    let trade = entry(&TRADES, position / names % trades);
    let town = entry(&TOWNS, position / names / trades);
    match index / combinations {
        0 => format!("{name} {trade}, {town}"),
        repetition => format!("{name} {trade} No. {}, {town}", repetition + 1),
    }
}

fn pick<'a, T>(list: &'a [T], random: &mut Rng) -> &'a T {
    &list[random.usize(0..list.len())]
}

/// Spreads a number over all bits (splitmix64).
pub(crate) const fn splitmix64(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::HashSet;

    use dm_contracts::App;
    use proptest::prelude::*;

    use super::*;

    fn generator_input() -> GeneratorInput {
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

    pub(crate) fn test_generator(seed: u64, orders: u64) -> HistoryGenerator {
        let until = NaiveDate::from_ymd_opt(2026, 11, 26).unwrap();
        HistoryGenerator::new(seed, generator_input(), orders, until, 90)
    }

    proptest! {
        #[test]
        fn parts_of_any_size_form_the_same_history(seed: u64, orders in 1_u64..300, parts in 1_u64..9) {
            let generator = test_generator(seed, orders);
            let full = generator.generate_part(0, 1);
            let mut joined = BusinessHistory::default();
            for part in 0..parts {
                let history = generator.generate_part(part, parts);
                joined.leads.extend(history.leads);
                joined.orders.extend(history.orders);
                joined.expenses.extend(history.expenses);
            }
            prop_assert_eq!(joined, full);
        }

        #[test]
        fn times_are_after_their_cause_and_not_after_the_end(seed: u64) {
            let generator = test_generator(seed, 200);
            let end = generator.calendar.end();
            let history = generator.generate_part(0, 1);
            for order in &history.orders {
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
                    OrderOutcome::Cancelled { cancelled_at, .. } => {
                        prop_assert!(*cancelled_at >= order.created_at + TimeDelta::minutes(10) && *cancelled_at < end);
                    }
                    OrderOutcome::Reserved | OrderOutcome::Failed(_) => {}
                }
            }
            for expense in &history.expenses {
                prop_assert!(expense.decision.iter().all(|decision| decision.decided_at > expense.created_at));
            }
            for lead in &history.leads {
                prop_assert!(lead.updated_at >= lead.created_at && lead.updated_at <= end + TimeDelta::days(4));
            }
        }
    }

    #[test]
    fn company_names_are_unique() {
        let names: HashSet<String> = (0..100_000)
            .map(|index| company_name(splitmix64(7), index))
            .collect();
        assert_eq!(names.len(), 100_000);
    }

    #[test]
    fn client_indexes_are_consecutive_and_orders_reference_them() {
        let history = test_generator(1, 2_000).generate_part(0, 1);
        let clients: Vec<u64> = history
            .leads
            .iter()
            .filter_map(|lead| match lead.outcome {
                LeadOutcome::Converted { client_index } => Some(client_index),
                _ => None,
            })
            .collect();
        let expected: Vec<u64> = (0..clients.len() as u64).collect();
        assert_eq!(clients, expected);
        assert_eq!(
            HistoryGenerator::client_count(history.leads.len() as u64),
            clients.len() as u64
        );
        let client_count = clients.len() as u64;
        assert!(history.orders.iter().all(|order| match order.client {
            ClientRef::InRun(index) => index < client_count,
            ClientRef::Existing(_) => false,
        }));
    }

    #[test]
    fn history_contains_every_status() {
        let history = test_generator(1, 5_000).generate_part(0, 1);
        for status in [
            "RESERVED",
            "PICKING",
            "SHIPPED",
            "FAILED_INSUFFICIENT_STOCK",
            "CANCELLED",
        ] {
            assert!(
                history
                    .orders
                    .iter()
                    .any(|order| order.outcome.status() == status),
                "{status}"
            );
        }
        for status in ["PENDING", "APPROVED", "REJECTED"] {
            assert!(
                history
                    .expenses
                    .iter()
                    .any(|expense| expense.status() == status),
                "{status}"
            );
        }
    }

    #[test]
    fn one_in_fifty_orders_is_cancelled() {
        let history = test_generator(1, 5_000).generate_part(0, 1);
        let is_cancelled = |order: &&Order| order.outcome.status() == "CANCELLED";
        let cancelled = history.orders.iter().filter(is_cancelled).count();
        // 1 % of them have failed, and the last one may not be cancelled yet.
        assert!((90..=100).contains(&cancelled), "{cancelled}");
    }
}
