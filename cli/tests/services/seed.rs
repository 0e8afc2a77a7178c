//! `dm seed` on the shared stack: others have written to it, so that it appends.

use libtest_mimic::Failed;
use serde_json::Value;

use super::stack::{INSTANCE, dm, ok, sql};

/// What a seed tells is there afterwards, by kind and by status; a second one without
/// `--append` is refused and changes nothing; one with it makes other companies.
pub(crate) fn seeds() -> Result<(), Failed> {
    let before = Counts::now()?;
    let told: Value =
        serde_json::from_str(&ok(&["seed", "--append", "--seed-number", "7", "--json"])?)?;
    let after = Counts::now()?;
    for (kind, told) in [
        ("leads", sum(&told["leads"])),
        ("orders", sum(&told["orders"])),
        ("expenses", sum(&told["expenses"])),
    ] {
        assert!(told > 0, "{kind}");
        assert_eq!(after.of(kind) - before.of(kind), told, "{kind}");
    }
    assert_eq!(told["orders"]["CREATED"], Value::Null, "{told}");
    let shipped = told["orders"]["SHIPPED"].as_i64().unwrap_or_default();
    assert_eq!(after.shipped - before.shipped, shipped);

    let refused = dm(&["seed"]);
    assert_eq!(refused.status.code(), Some(2));
    let told = String::from_utf8_lossy(&refused.stderr);
    let next = format!("dm --instance {INSTANCE} seed --append");
    assert!(told.contains(&next), "{told}");
    // All that is there, whoever wrote it.
    let there = format!(
        "{} leads, {} orders and {} expenses",
        after.leads, after.orders, after.expenses
    );
    assert!(told.contains(&there), "{there} is not in {told}");
    assert_eq!(Counts::now()?, after);

    ok(&["seed", "--append", "--seed-number", "7", "--json"])?;
    let twice = sql("SELECT count(*) FROM (
             SELECT company_name FROM sales.leads
              WHERE notes <> 'dm smoke' AND contact_email LIKE '%.example'
              GROUP BY company_name HAVING count(*) > 1) AS twice")?;
    assert_eq!(twice, "0", "companies that are there twice");
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
struct Counts {
    leads: i64,
    orders: i64,
    expenses: i64,
    shipped: i64,
}

impl Counts {
    fn now() -> Result<Self, Failed> {
        let count = |from: &str| -> Result<i64, Failed> {
            Ok(sql(&format!("SELECT count(*) FROM {from}"))?.parse()?)
        };
        Ok(Self {
            leads: count("sales.leads")?,
            orders: count("orders.orders")?,
            expenses: count("finance.expenses")?,
            shipped: count("orders.orders WHERE status = 'SHIPPED'")?,
        })
    }

    fn of(&self, kind: &str) -> i64 {
        match kind {
            "leads" => self.leads,
            "orders" => self.orders,
            _ => self.expenses,
        }
    }
}

fn sum(statuses: &Value) -> i64 {
    let statuses = statuses.as_object().into_iter().flatten();
    statuses.filter_map(|(_, count)| count.as_i64()).sum()
}
