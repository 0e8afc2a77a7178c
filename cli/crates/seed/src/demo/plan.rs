//! What is to be done: worked out from a number, and from nothing that time or chance
//! would change.

use std::collections::{BTreeMap, BTreeSet};

use dm_contracts::api::order::OrderItem;
use rust_decimal::Decimal;

use crate::seed_file::{Company, SeedFile};

/// How many companies a run is about.
const COMPANIES_PER_RUN: usize = 12;
/// The days from today on which orders are to be shipped, at the earliest and at the
/// latest.
const SHIP_IN_DAYS: std::ops::RangeInclusive<u16> = 2..=30;

/// How far a lead comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PlannedLeadOutcome {
    /// Somebody has noted it.
    New,
    /// Somebody has called.
    Contacted,
    /// It will come to something.
    Qualified,
    /// It will not.
    Disqualified,
    /// It is a client, with these orders.
    Converted(Vec<PlannedOrder>),
}

impl PlannedLeadOutcome {
    /// The status of the lead in the end, as the contract has it.
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

/// A lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedLead {
    /// The company.
    pub company: Company,
    /// Who looks after it.
    pub seller: String,
    /// How far it comes.
    pub outcome: PlannedLeadOutcome,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedOrder {
    /// What is ordered; no product twice.
    pub items: Vec<OrderItem>,
    /// In how many days it is to be shipped.
    pub ship_in_days: u16,
    /// What is written on it.
    pub notes: String,
    /// What it leaves with, if it does.
    pub truck: Option<String>,
}

/// An expense.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PlannedExpense {
    /// Whose money it was.
    pub submitter: String,
    /// What for.
    pub category: String,
    /// What it was.
    pub description: String,
    /// How much, in dollars.
    pub amount: Decimal,
    /// What becomes of it.
    pub decision: PlannedDecision,
}

/// What becomes of an expense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PlannedDecision {
    /// Nobody has looked at it.
    Pending,
    /// It is paid.
    Approved,
    /// It is not, for this reason.
    Rejected(String),
}

/// Everything that a run does, in order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DemoPlan {
    /// The leads.
    pub leads: Vec<PlannedLead>,
    /// The expenses.
    pub expenses: Vec<PlannedExpense>,
}

impl DemoPlan {
    /// The plan of a number, for a stack that has these companies already and can
    /// promise so much of each product. Never more than that is ordered.
    #[must_use]
    pub(crate) fn generate(
        file: &SeedFile,
        number: u64,
        taken: &BTreeSet<String>,
        available: &BTreeMap<String, i64>,
    ) -> Self {
        let mut random = fastrand::Rng::with_seed(number);
        let mut stock = available.clone();
        let leads = choose_companies(file, taken, &mut random)
            .into_iter()
            .enumerate()
            .map(|(place, company)| PlannedLead {
                company,
                seller: file.sellers[place % file.sellers.len()].clone(),
                outcome: choose_outcome(file, place, &mut stock, &mut random),
            })
            .collect();
        let expenses = file
            .expenses
            .iter()
            .map(|text| PlannedExpense {
                submitter: text.submitter.clone(),
                category: text.category.clone(),
                description: text.description.clone(),
                amount: text.amount + Decimal::new(random.i64(0..500), 2),
                decision: match (&text.rejection, random.u8(0..4)) {
                    (Some(reason), _) => PlannedDecision::Rejected(reason.clone()),
                    (None, 0) => PlannedDecision::Pending,
                    (None, _) => PlannedDecision::Approved,
                },
            })
            .collect();
        Self { leads, expenses }
    }

    /// The orders, with those that leave.
    #[cfg(test)]
    pub(crate) fn orders(&self) -> impl Iterator<Item = &PlannedOrder> {
        self.leads.iter().flat_map(|lead| match &lead.outcome {
            PlannedLeadOutcome::Converted(orders) => orders.as_slice(),
            _ => &[],
        })
    }
}

/// The companies of a run, in an order of its own: the first time they have their
/// plain names, later those of one town after the other.
fn choose_companies(
    file: &SeedFile,
    taken: &BTreeSet<String>,
    random: &mut fastrand::Rng,
) -> Vec<Company> {
    let mut shuffled = file.companies.clone();
    random.shuffle(&mut shuffled);
    let places = std::iter::once(None).chain(file.towns.iter().map(Some));
    places
        .flat_map(|town| {
            shuffled.iter().map(move |company| Company {
                name: match town {
                    Some(town) => format!("{}, {town}", company.name),
                    None => company.name.clone(),
                },
                ..company.clone()
            })
        })
        .filter(|company| !taken.contains(&company.name))
        .take(COMPANIES_PER_RUN)
        .collect()
}

/// Half of the leads become clients; the others stay wherever they are.
fn choose_outcome(
    file: &SeedFile,
    place: usize,
    stock: &mut BTreeMap<String, i64>,
    random: &mut fastrand::Rng,
) -> PlannedLeadOutcome {
    match place % 8 {
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

/// An order of what there is; none where there is nothing.
fn generate_order(
    file: &SeedFile,
    stock: &mut BTreeMap<String, i64>,
    random: &mut fastrand::Rng,
) -> Option<PlannedOrder> {
    let shape = &file.order;
    let mut skus: Vec<String> = stock.keys().cloned().collect();
    random.shuffle(&mut skus);
    skus.truncate(random.usize(1..=shape.most_items));
    let items: Vec<OrderItem> = skus
        .into_iter()
        .filter_map(|sku| {
            let quantity = *random.choice(&shape.quantities)?;
            let left = stock.get_mut(&sku)?;
            (*left >= quantity).then(|| {
                *left -= quantity;
                OrderItem { sku, quantity }
            })
        })
        .collect();
    let leaves = random.bool();
    let truck = random.choice(&file.trucks).filter(|_| leaves).cloned();
    (!items.is_empty()).then(|| PlannedOrder {
        items,
        ship_in_days: random.u16(SHIP_IN_DAYS),
        notes: random.choice(&shape.notes).cloned().unwrap_or_default(),
        truck,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::seed_file::tests::file;

    fn stock(each: i64) -> BTreeMap<String, i64> {
        [
            "PPR-A4-WHT-500",
            "PPR-A3-WHT-500",
            "INK-BLK-01",
            "ENV-C5-500",
        ]
        .into_iter()
        .map(|sku| (sku.to_owned(), each))
        .collect()
    }

    proptest! {
        /// A number has one plan, and none orders more than there is.
        #[test]
        fn a_number_has_one_plan_within_the_stock(number: u64, each in 0_i64..200) {
            let file = file();
            let plan = DemoPlan::generate(&file, number, &BTreeSet::new(), &stock(each));
            prop_assert_eq!(&plan, &DemoPlan::generate(&file, number, &BTreeSet::new(), &stock(each)));
            let mut ordered: BTreeMap<&str, i64> = BTreeMap::new();
            for order in plan.orders() {
                let skus: BTreeSet<_> = order.items.iter().map(|item| &item.sku).collect();
                prop_assert_eq!(skus.len(), order.items.len());
                for item in &order.items {
                    prop_assert!(item.quantity > 0);
                    *ordered.entry(&item.sku).or_default() += item.quantity;
                }
            }
            prop_assert!(ordered.values().all(|&quantity| quantity <= each));
        }

        /// Whoever appends never meets a company twice.
        #[test]
        fn no_company_comes_twice(number: u64) {
            let file = file();
            let mut taken = BTreeSet::new();
            for _ in 0..4 {
                let plan = DemoPlan::generate(&file, number, &taken, &stock(1000));
                prop_assert_eq!(plan.leads.len(), COMPANIES_PER_RUN);
                for lead in plan.leads {
                    prop_assert!(taken.insert(lead.company.name));
                }
            }
        }
    }

    #[test]
    fn there_is_something_of_everything() {
        let plan = DemoPlan::generate(&file(), 1, &BTreeSet::new(), &stock(1_000_000));
        let ends: BTreeSet<_> = plan
            .leads
            .iter()
            .map(|lead| lead.outcome.status())
            .collect();
        assert_eq!(ends.len(), 5, "{ends:?}");
        assert!(plan.orders().any(|order| order.truck.is_some()));
        assert!(plan.orders().any(|order| order.truck.is_none()));
        for decision in [PlannedDecision::Pending, PlannedDecision::Approved] {
            assert!(plan.expenses.iter().any(|it| it.decision == decision));
        }
    }

    #[test]
    fn other_numbers_are_other_demos() {
        let plan =
            |number| DemoPlan::generate(&file(), number, &BTreeSet::new(), &stock(1_000_000));
        assert_ne!(plan(1), plan(2));
    }
}
