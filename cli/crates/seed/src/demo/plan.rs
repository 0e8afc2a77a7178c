//! The plan of a demo, derived from a seed number alone: the time and other runs do not
//! influence it.

use std::collections::{BTreeMap, BTreeSet};

use dm_contracts::api::order::OrderItem;
use rust_decimal::Decimal;

use crate::seed_file::{Company, SeedFile};

/// The number of companies of a run.
const COMPANIES_PER_RUN: usize = 12;
/// The range of days from today for requested ship dates.
const SHIP_IN_DAYS: std::ops::RangeInclusive<u16> = 2..=30;

/// The planned outcome of a lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PlannedLeadOutcome {
    /// The lead stays as created.
    New,
    /// The company has been contacted.
    Contacted,
    /// The lead is promising.
    Qualified,
    /// The lead is abandoned.
    Disqualified,
    /// The lead becomes a client, with these orders.
    Converted(Vec<PlannedOrder>),
}

impl PlannedLeadOutcome {
    /// Returns the final status of the lead in the API contract.
    #[must_use]
    pub(crate) const fn status(&self) -> &'static str {
        match self {
            Self::New => "NEW",
            Self::Contacted => "CONTACTED",
            Self::Qualified => "QUALIFIED",
            Self::Disqualified => "DISQUALIFIED",
            Self::Converted(_) => "CONVERTED",
        }
    }
}

/// A planned lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedLead {
    /// The company.
    pub company: Company,
    /// User id of the seller.
    pub seller: String,
    /// The planned outcome.
    pub outcome: PlannedLeadOutcome,
}

/// A planned order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedOrder {
    /// The ordered products, each once.
    pub items: Vec<OrderItem>,
    /// The number of days until the requested ship date.
    pub ship_in_days: u16,
    /// The notes.
    pub notes: String,
    /// The truck, if the order is shipped.
    pub truck: Option<String>,
}

/// A planned expense.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PlannedExpense {
    /// User id of the submitter.
    pub submitter: String,
    /// The category.
    pub category: String,
    /// The description.
    pub description: String,
    /// The amount in dollars.
    pub amount: Decimal,
    /// The planned decision.
    pub decision: PlannedDecision,
}

/// The planned decision about an expense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PlannedDecision {
    /// The expense is not decided.
    Pending,
    /// The expense is approved.
    Approved,
    /// The expense is rejected, with this comment.
    Rejected(String),
}

/// The steps of a run, in order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DemoPlan {
    /// The leads.
    pub leads: Vec<PlannedLead>,
    /// The expenses.
    pub expenses: Vec<PlannedExpense>,
}

impl DemoPlan {
    /// Generates the plan of a seed number for a stack that already has `existing_companies`. The
    /// orders of a product never exceed its `available` stock.
    #[must_use]
    pub(crate) fn generate(
        file: &SeedFile,
        seed_number: u64,
        existing_companies: &BTreeSet<String>,
        available: &BTreeMap<String, i64>,
    ) -> Self {
        let mut random = fastrand::Rng::with_seed(seed_number);
        let mut stock = available.clone();
        let leads = choose_companies(file, existing_companies, &mut random)
            .into_iter()
            .enumerate()
            .map(|(index, company)| PlannedLead {
                company,
                seller: file.sellers[index % file.sellers.len()].clone(),
                outcome: choose_outcome(file, index, &mut stock, &mut random),
            })
            .collect();
        let expenses = file
            .expenses
            .iter()
            .map(|template| PlannedExpense {
                submitter: template.submitter.clone(),
                category: template.category.clone(),
                description: template.description.clone(),
                amount: template.amount + Decimal::new(random.i64(0..500), 2),
                decision: match (&template.rejection, random.u8(0..4)) {
                    (Some(reason), _) => PlannedDecision::Rejected(reason.clone()),
                    (None, 0) => PlannedDecision::Pending,
                    (None, _) => PlannedDecision::Approved,
                },
            })
            .collect();
        Self { leads, expenses }
    }

    /// Returns the orders of all leads.
    #[cfg(test)]
    pub(crate) fn orders(&self) -> impl Iterator<Item = &PlannedOrder> {
        self.leads.iter().flat_map(|lead| match &lead.outcome {
            PlannedLeadOutcome::Converted(orders) => orders.as_slice(),
            _ => &[],
        })
    }
}

/// Chooses the companies of a run in random order: first with their plain names, then with the
/// name of one town after the other.
fn choose_companies(
    file: &SeedFile,
    existing_companies: &BTreeSet<String>,
    random: &mut fastrand::Rng,
) -> Vec<Company> {
    let mut shuffled = file.companies.clone();
    random.shuffle(&mut shuffled);
    let towns = std::iter::once(None).chain(file.towns.iter().map(Some));
    towns
        .flat_map(|town| {
            shuffled.iter().map(move |company| Company {
                name: match town {
                    Some(town) => format!("{}, {town}", company.name),
                    None => company.name.clone(),
                },
                ..company.clone()
            })
        })
        .filter(|company| !existing_companies.contains(&company.name))
        .take(COMPANIES_PER_RUN)
        .collect()
}

/// Chooses the outcome of a lead. Half of the leads become clients.
fn choose_outcome(
    file: &SeedFile,
    index: usize,
    stock: &mut BTreeMap<String, i64>,
    random: &mut fastrand::Rng,
) -> PlannedLeadOutcome {
    match index % 8 {
        1 => PlannedLeadOutcome::New,
        3 => PlannedLeadOutcome::Contacted,
        5 => PlannedLeadOutcome::Qualified,
        7 => PlannedLeadOutcome::Disqualified,
        _ => {
            let orders = (0..random.usize(1..=3))
                .filter_map(|_| generate_order(file, stock, random))
                .collect();
            PlannedLeadOutcome::Converted(orders)
        }
    }
}

/// Generates an order from the remaining stock. Returns `None` if no chosen product has enough.
fn generate_order(
    file: &SeedFile,
    stock: &mut BTreeMap<String, i64>,
    random: &mut fastrand::Rng,
) -> Option<PlannedOrder> {
    let template = &file.order;
    let mut skus: Vec<String> = stock.keys().cloned().collect();
    random.shuffle(&mut skus);
    skus.truncate(random.usize(1..=template.most_items));
    let items: Vec<OrderItem> = skus
        .into_iter()
        .filter_map(|sku| {
            let quantity = *random.choice(&template.quantities)?;
            let remaining = stock.get_mut(&sku)?;
            (*remaining >= quantity).then(|| {
                *remaining -= quantity;
                OrderItem { sku, quantity }
            })
        })
        .collect();
    let is_shipped = random.bool();
    let truck = random.choice(&file.trucks).filter(|_| is_shipped).cloned();
    (!items.is_empty()).then(|| PlannedOrder {
        items,
        ship_in_days: random.u16(SHIP_IN_DAYS),
        notes: random.choice(&template.notes).cloned().unwrap_or_default(),
        truck,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::seed_file::tests::file;

    fn stock_of_four_products(quantity: i64) -> BTreeMap<String, i64> {
        [
            "PPR-A4-WHT-500",
            "PPR-A3-WHT-500",
            "INK-BLK-01",
            "ENV-C5-500",
        ]
        .into_iter()
        .map(|sku| (sku.to_owned(), quantity))
        .collect()
    }

    proptest! {
        #[test]
        fn generate_is_deterministic_and_within_the_stock(seed_number: u64, quantity in 0_i64..200) {
            let file = file();
            let stock = stock_of_four_products(quantity);
            let generate = || DemoPlan::generate(&file, seed_number, &BTreeSet::new(), &stock);
            let plan = generate();
            prop_assert_eq!(&plan, &generate());
            let mut ordered: BTreeMap<&str, i64> = BTreeMap::new();
            for order in plan.orders() {
                let skus: BTreeSet<_> = order.items.iter().map(|item| &item.sku).collect();
                prop_assert_eq!(skus.len(), order.items.len());
                for item in &order.items {
                    prop_assert!(item.quantity > 0);
                    *ordered.entry(&item.sku).or_default() += item.quantity;
                }
            }
            prop_assert!(ordered.values().all(|&sum| sum <= quantity));
        }

        #[test]
        fn repeated_runs_never_choose_a_company_twice(seed_number: u64) {
            let file = file();
            let mut existing = BTreeSet::new();
            for _ in 0..4 {
                let plan = DemoPlan::generate(
                    &file,
                    seed_number,
                    &existing,
                    &stock_of_four_products(1000),
                );
                prop_assert_eq!(plan.leads.len(), COMPANIES_PER_RUN);
                for lead in plan.leads {
                    prop_assert!(existing.insert(lead.company.name));
                }
            }
        }
    }

    #[test]
    fn plan_contains_every_outcome_and_decision() {
        let stock = stock_of_four_products(1_000_000);
        let plan = DemoPlan::generate(&file(), 1, &BTreeSet::new(), &stock);
        let statuses: BTreeSet<_> = plan
            .leads
            .iter()
            .map(|lead| lead.outcome.status())
            .collect();
        assert_eq!(statuses.len(), 5, "{statuses:?}");
        assert!(plan.orders().any(|order| order.truck.is_some()));
        assert!(plan.orders().any(|order| order.truck.is_none()));
        for decision in [PlannedDecision::Pending, PlannedDecision::Approved] {
            assert!(
                plan.expenses
                    .iter()
                    .any(|expense| expense.decision == decision)
            );
        }
    }

    #[test]
    fn different_seed_numbers_give_different_plans() {
        let stock = stock_of_four_products(1_000_000);
        let plan = |seed_number| DemoPlan::generate(&file(), seed_number, &BTreeSet::new(), &stock);
        assert_ne!(plan(1), plan(2));
    }
}
