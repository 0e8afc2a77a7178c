//! A past, straight in the tables: every event of it is accounted for.

use std::fs;
use std::time::Duration;

use libtest_mimic::Failed;
use serde_json::Value;

use super::stack::{INSTANCE, dm, dm_command, ok, sql};

fn clean() -> Result<(), Failed> {
    let report = dm(&["reconcile", "--repair", "--json"]);
    let report: Value = serde_json::from_slice(&report.stdout)?;
    for kind in ["missing", "doubled", "broken"] {
        let found: Vec<&Value> = report["findings"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|it| it["kind"] == kind)
            .collect();
        assert!(found.is_empty(), "{found:?}");
    }
    Ok(())
}

fn orders() -> Result<i64, Failed> {
    Ok(sql("SELECT count(*) FROM orders.orders")?.parse()?)
}

/// What is told is there, the account is right, and what can be promised is what it was.
pub(crate) fn seeded() -> Result<(), Failed> {
    let available = "SELECT md5(string_agg(sku || on_hand - reserved, ',' ORDER BY sku))
                       FROM inventory.stock";
    let (before, promised) = (orders()?, sql(available)?);
    sql(
        "INSERT INTO profile.user_profiles VALUES ('mscott', 'Prison Mike', 'mscott@example.com', '', '',
                                                   'PORTAL', true, now(), now())
         ON CONFLICT (user_id) DO NOTHING",
    )?;
    let michael = "SELECT full_name FROM profile.user_profiles WHERE user_id = 'mscott'";
    let before_seed = sql(michael)?;
    let told: Value = serde_json::from_str(&ok(&[
        "seed",
        "--scale",
        "1500",
        "--seed-number",
        "3",
        "--append",
        "--json",
    ])?)?;
    let sum: i64 = told["orders"]
        .as_object()
        .unwrap()
        .values()
        .filter_map(Value::as_i64)
        .sum();
    assert_eq!(sum, 1500);
    assert_eq!(orders()? - before, sum);
    assert_eq!(sql(available)?, promised);
    assert_eq!(
        sql(michael)?,
        before_seed,
        "what somebody has told of themselves stays"
    );
    let people = "SELECT count(*) FROM profile.user_profiles
                   WHERE user_id IN ('dphilbin', 'kmalone')";
    assert_eq!(sql(people)?, "2");
    clean()?;
    for refused in [
        vec!["seed", "--scale", "10"],
        vec!["seed", "--scale", "10", "--service", "sales"],
        vec!["seed", "--service", "sales", "--append"],
    ] {
        assert_eq!(dm(&refused).status.code(), Some(2), "{refused:?}");
    }
    // A live order goes on from there.
    ok(&["smoke", "--json"])?;
    Ok(())
}

/// Killed at any instant it leaves whole parts and a right account; the rest is brought
/// later, and all of it is there once.
pub(crate) fn killed() -> Result<(), Failed> {
    let before = orders()?;
    let mut kills = 0;
    let mut arguments = vec!["seed", "--scale", "6000", "--seed-number", "4", "--append"];
    for moment in [400, 700, 900] {
        let mut run = dm_command()
            .args(["--instance", INSTANCE])
            .args(&arguments)
            .spawn()?;
        std::thread::sleep(Duration::from_millis(moment));
        run.kill()?;
        if run.wait()?.success() {
            break;
        }
        kills += 1;
        let unfinished = sql("SELECT count(*) FROM dm_ops.seed_runs WHERE ended_at IS NULL")?;
        if unfinished == "1" {
            arguments = vec!["seed", "--resume"];
            let refused = dm(&["seed", "--scale", "10", "--append"]);
            assert_eq!(refused.status.code(), Some(2));
        }
        clean()?;
    }
    assert!(kills > 0, "nothing was killed");
    let resumed = dm(&arguments);
    // The last kill may have come after the end.
    let told = String::from_utf8_lossy(&resumed.stderr);
    assert!(
        resumed.status.success() || told.contains("seed-nothing-to-resume"),
        "{told}"
    );
    assert_eq!(orders()? - before, 6000);
    clean()
}

/// Everything that is wrong is told with its place, and nothing is loaded; what is right is
/// loaded whole.
pub(crate) fn files() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let leads = "company,contact,email,phone,seller,created_at,status,updated_at\n\
        Files & Sons,F,f@files.example,570,jhalpert,2026-02-03T10:00:00Z,CONVERTED,2026-02-04T10:00:00Z\n";
    let wrong = "client,seller,created_at,ship_date,items\n\
        Files & Sons,jhalpert,2026-03-01T10:00:00Z,2026-03-09,NOPE:1\n";
    fs::write(folder.path().join("leads.csv"), leads)?;
    fs::write(folder.path().join("orders.csv"), wrong)?;
    let count = "SELECT count(*) FROM sales.leads WHERE company_name = 'Files & Sons'";
    let path = folder.path().to_string_lossy().into_owned();
    let arguments = ["seed", "--import", &path, "--append"];
    let refused = dm(&arguments);
    assert_eq!(refused.status.code(), Some(2));
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        told.contains("orders.csv:2: items: there is no product `NOPE`"),
        "{told}"
    );
    assert_eq!(sql(count)?, "0");
    fs::write(
        folder.path().join("orders.csv"),
        wrong.replace("NOPE", "PPR-A4-WHT-500"),
    )?;
    ok(&arguments)?;
    assert_eq!(sql(count)?, "1");
    let of_client = sql(
        "SELECT count(*) FROM orders.orders JOIN sales.clients USING (client_id)
                          WHERE company_name = 'Files & Sons' AND status = 'RESERVED'",
    )?;
    assert_eq!(of_client, "1");
    clean()
}
