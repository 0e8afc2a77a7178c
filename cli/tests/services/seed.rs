//! Tests of `dm seed` on the shared stack.

use libtest_mimic::Failed;
use serde_json::Value;

use super::stack::{dm, dm_ok, instance, sql};

/// A seed needs no `--append` after the smoke test. The rows that a seed reports exist afterwards,
/// by kind and by status. A second seed without `--append` is refused and changes nothing. A second
/// seed with it creates other companies.
pub(crate) fn seed_append_loads_the_rows_that_it_reports() -> Result<(), Failed> {
    let none = Counts::default();
    assert_eq!(Counts::now()?, none, "an earlier test left rows");
    dm_ok(&["smoke", "--json"])?;
    let smoke = Counts::now()?;
    assert!(
        smoke.leads > 0 && smoke.orders > 0 && smoke.expenses > 0,
        "{smoke:?}"
    );
    // Leads and clients only, which takes less time than a demo.
    dm_ok(&["seed", "--scale", "10", "--service", "sales"])?;
    let before = Counts::now()?;
    let report: Value = serde_json::from_str(&dm_ok(&[
        "seed",
        "--append",
        "--seed-number",
        "7",
        "--json",
    ])?)?;
    let after = Counts::now()?;
    for (kind, reported) in [
        ("leads", sum(&report["leads"])),
        ("orders", sum(&report["orders"])),
        ("expenses", sum(&report["expenses"])),
    ] {
        assert!(reported > 0, "{kind}");
        assert_eq!(after.get(kind) - before.get(kind), reported, "{kind}");
    }
    assert_eq!(report["orders"]["CREATED"], Value::Null, "{report}");
    let shipped = report["orders"]["SHIPPED"].as_i64().unwrap_or_default();
    assert_eq!(after.shipped - before.shipped, shipped);

    let refused = dm(&["seed"]);
    assert_eq!(refused.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&refused.stderr);
    let suggestion = format!("dm --instance {} seed --append", instance());
    assert!(stderr.contains(&suggestion), "{stderr}");
    // The error counts all rows, including those of other tests.
    let counts = format!(
        "{} leads, {} orders and {} expenses",
        after.leads, after.orders, after.expenses
    );
    assert!(stderr.contains(&counts), "stderr lacks {counts}: {stderr}");
    assert_eq!(Counts::now()?, after);

    dm_ok(&["seed", "--append", "--seed-number", "7", "--json"])?;
    let duplicates = sql("SELECT count(*) FROM (
             SELECT company_name FROM sales.leads
              WHERE notes <> 'dm smoke' AND contact_email LIKE '%.example'
              GROUP BY company_name HAVING count(*) > 1) AS twice")?;
    assert_eq!(duplicates, "0", "companies that exist twice");
    Ok(())
}

#[derive(Debug, Default, PartialEq, Eq)]
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

    fn get(&self, kind: &str) -> i64 {
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
