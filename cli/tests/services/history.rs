//! Tests of generated history and of imports, which are written directly to the tables. `dm
//! reconcile` must find no fault in them.

use std::fs;
use std::time::Duration;

use libtest_mimic::Failed;
use serde_json::Value;

use super::stack::{SleepingSession, dm, dm_command, dm_ok, eventually, instance, spawn, sql};

fn assert_reconcile_is_clean() -> Result<(), Failed> {
    let report = dm(&["reconcile", "--repair", "--json"]);
    let report: Value = serde_json::from_slice(&report.stdout)?;
    for kind in ["missing", "doubled", "broken"] {
        let found: Vec<&Value> = report["findings"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|finding| finding["kind"] == kind)
            .collect();
        assert!(found.is_empty(), "{found:?}");
    }
    Ok(())
}

fn count_orders() -> Result<i64, Failed> {
    Ok(sql("SELECT count(*) FROM orders.orders")?.parse()?)
}

/// The reported orders exist, reconcile finds nothing, and the stock that can be promised is
/// unchanged.
pub(crate) fn history_seed_keeps_reconcile_clean_and_stock_unchanged() -> Result<(), Failed> {
    let available = "SELECT md5(string_agg(sku || on_hand - reserved, ',' ORDER BY sku))
                       FROM inventory.stock";
    let (before, available_before) = (count_orders()?, sql(available)?);
    sql(
        "INSERT INTO profile.user_profiles VALUES ('mscott', 'Prison Mike', 'mscott@example.com', '', '',
                                                   'PORTAL', true, now(), now())
         ON CONFLICT (user_id) DO NOTHING",
    )?;
    let michael = "SELECT full_name FROM profile.user_profiles WHERE user_id = 'mscott'";
    let before_seed = sql(michael)?;
    let report: Value = serde_json::from_str(&dm_ok(&[
        "seed",
        "--scale",
        "1500",
        "--seed-number",
        "3",
        "--append",
        "--json",
    ])?)?;
    let sum: i64 = report["orders"]
        .as_object()
        .unwrap()
        .values()
        .filter_map(Value::as_i64)
        .sum();
    assert_eq!(sum, 1500);
    assert_eq!(count_orders()? - before, sum);
    assert_eq!(sql(available)?, available_before);
    assert_eq!(
        sql(michael)?,
        before_seed,
        "the seed changed an existing profile"
    );
    let people = "SELECT count(*) FROM profile.user_profiles
                   WHERE user_id IN ('dphilbin', 'kmalone')";
    assert_eq!(sql(people)?, "2");
    let theme = "SELECT settings->>'theme' IN ('light', 'dark', 'system')
                   FROM profile.app_settings WHERE user_id = 'kmalone' AND app = 'PORTAL'";
    assert_eq!(sql(theme)?, "t");
    assert_reconcile_is_clean()?;
    for refused in [
        vec!["seed", "--scale", "10"],
        vec!["seed", "--scale", "10", "--service", "sales"],
        vec!["seed", "--service", "sales", "--append"],
    ] {
        assert_eq!(dm(&refused).status.code(), Some(2), "{refused:?}");
    }
    // New orders work on top of the history.
    dm_ok(&["smoke", "--json"])?;
    Ok(())
}

/// The number of runs that have begun and not ended.
const UNFINISHED_RUNS: &str = "SELECT count(*) FROM dm_ops.seed_runs WHERE ended_at IS NULL";

/// A seed that is killed leaves complete parts, in which reconcile finds nothing. Resuming it
/// loads the rest, without duplicates. With another seed file, resuming is refused.
pub(crate) fn killed_history_seed_is_resumed_without_duplicates() -> Result<(), Failed> {
    let before = count_orders()?;
    kill_seed_before_its_first_part(&[
        "seed",
        "--scale",
        "6000",
        "--seed-number",
        "4",
        "--append",
    ])?;
    assert_resume_with_another_seed_file_is_refused()?;
    let mut kills = 0;
    let arguments = ["seed", "--resume"];
    for delay in [400, 700, 900] {
        let mut run = dm_command()
            .args(["--instance", instance()])
            .args(arguments)
            .spawn()?;
        std::thread::sleep(Duration::from_millis(delay));
        run.kill()?;
        if run.wait()?.success() {
            break;
        }
        kills += 1;
        if sql(UNFINISHED_RUNS)? == "1" {
            let refused = dm(&["seed", "--scale", "10", "--append"]);
            assert_eq!(refused.status.code(), Some(2));
        }
        assert_reconcile_is_clean()?;
    }
    assert!(kills > 0, "no seed was killed");
    let resumed = dm(&arguments);
    // The seed may have ended before the last kill.
    let stderr = String::from_utf8_lossy(&resumed.stderr);
    assert!(
        resumed.status.success() || stderr.contains("seed-nothing-to-resume"),
        "{stderr}"
    );
    assert_eq!(count_orders()? - before, 6000);
    assert_reconcile_is_clean()
}

/// Starts a seed and kills it when its run is recorded. No part can be recorded meanwhile.
fn kill_seed_before_its_first_part(arguments: &[&str]) -> Result<(), Failed> {
    let _lock = SleepingSession::start("LOCK TABLE dm_ops.seed_parts IN EXCLUSIVE MODE")?;
    let mut run = spawn(arguments)?;
    let recorded = eventually(UNFINISHED_RUNS, "1");
    run.kill()?;
    run.wait()?;
    recorded
}

/// A run records the digest of its seed file in the database. The test changes the recorded digest,
/// which has the effect of a changed file.
fn assert_resume_with_another_seed_file_is_refused() -> Result<(), Failed> {
    let set_digest = |value: &str| {
        sql(&format!(
            "UPDATE dm_ops.seed_runs SET request = jsonb_set(request, '{{file}}', to_jsonb({value}))
              WHERE ended_at IS NULL"
        ))
    };
    let orders = count_orders()?;
    set_digest("'other ' || (request->>'file')")?;
    let refused = dm(&["seed", "--resume"]);
    set_digest("replace(request->>'file', 'other ', '')")?;
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{stderr}");
    for part in ["error[seed-file-changed]", "git checkout fixtures/"] {
        assert!(stderr.contains(part), "{stderr}");
    }
    // The run can still be resumed.
    assert_eq!(sql(UNFINISHED_RUNS)?, "1");
    assert_eq!(count_orders()?, orders);
    Ok(())
}

/// Every error is reported with its location, and nothing is loaded. Valid files are loaded
/// completely.
pub(crate) fn import_loads_all_rows_or_none() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let leads = "company,contact,email,phone,seller,created_at,status,updated_at\n\
        Files & Sons,F,f@files.example,570,jhalpert,2026-02-03T10:00:00Z,CONVERTED,2026-02-04T10:00:00Z\n";
    let invalid_orders = "client,seller,created_at,ship_date,items\n\
        Files & Sons,jhalpert,2026-03-01T10:00:00Z,2026-03-09,NOPE:1\n";
    fs::write(directory.path().join("leads.csv"), leads)?;
    fs::write(directory.path().join("orders.csv"), invalid_orders)?;
    let count = "SELECT count(*) FROM sales.leads WHERE company_name = 'Files & Sons'";
    let path = directory.path().to_string_lossy().into_owned();
    let arguments = ["seed", "--import", &path, "--append"];
    let refused = dm(&arguments);
    assert_eq!(refused.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        stderr.contains("orders.csv:2: items: there is no product `NOPE`"),
        "{stderr}"
    );
    assert_eq!(sql(count)?, "0");
    fs::write(
        directory.path().join("orders.csv"),
        invalid_orders.replace("NOPE", "PPR-A4-WHT-500"),
    )?;
    dm_ok(&arguments)?;
    assert_eq!(sql(count)?, "1");
    let of_client = sql(
        "SELECT count(*) FROM orders.orders JOIN sales.clients USING (client_id)
                          WHERE company_name = 'Files & Sons' AND status = 'RESERVED'",
    )?;
    assert_eq!(of_client, "1");
    assert_reconcile_is_clean()
}
