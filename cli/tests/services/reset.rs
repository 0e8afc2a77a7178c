//! Tests of `dm reset`.

use libtest_mimic::Failed;
use serde_json::Value;

use super::stack::{dm, dm_ok, kill_at, sql};

/// The numbers of rows of tables that are empty in a new instance.
const ROWS_OF_USE: &str = "SELECT concat_ws(' ', (SELECT count(*) FROM orders.orders),
    (SELECT count(*) FROM sales.leads), (SELECT count(*) FROM orders.outbox_events),
    (SELECT count(*) FROM keycloak.offline_user_session),
    (SELECT count(*) FROM dm_ops.replay_runs))";
/// The result for a new instance.
const UNUSED: &str = "0 0 0 0 0";

/// Returns how long a component has been running, in seconds.
fn uptime(component: &str) -> Result<f64, Failed> {
    let status: Value = serde_json::from_str(&dm_ok(&["status", "--json"])?)?;
    let mut rows = status["components"].as_array().into_iter().flatten();
    let row = rows.find(|row| row["component"] == component);
    Ok(row
        .and_then(|row| row["since_seconds"].as_f64())
        .unwrap_or_default())
}

fn assert_is_new() -> Result<(), Failed> {
    assert_eq!(sql(ROWS_OF_USE)?, UNUSED);
    let list: Value = serde_json::from_str(&dm_ok(&["dlq", "ls", "--json"])?)?;
    assert_eq!(list["groups"].as_array().map(Vec::len), Some(0), "{list}");
    dm_ok(&["smoke"]).map(drop)
}

/// The earlier data is removed from the database, the broker and Keycloak. Containers that start
/// slowly keep running.
pub(crate) fn reset_removes_all_data_and_keeps_slow_containers_running() -> Result<(), Failed> {
    dm_ok(&["golden", "make"])?;
    let again = dm(&["golden", "make"]);
    let stderr = String::from_utf8_lossy(&again.stderr);
    assert!(
        stderr.contains("the golden images exist already"),
        "{stderr}"
    );
    // This reset starts from the current golden images.
    dm_ok(&["reset", "--to", "demo", "--yes"])?;
    // The demo contains history, and orders that were placed through the API today.
    let orders = "SELECT count(*) = 240 FROM orders.orders WHERE created_at < current_date";
    assert_eq!(sql(orders)?, "t");
    let live = "SELECT count(*) > 0 FROM orders.orders WHERE created_at >= current_date";
    assert_eq!(sql(live)?, "t");
    dm_ok(&["reconcile"])?;
    dm_ok(&["smoke"])?;
    dm_ok(&["chaos", "poison", "inventory.order-events.q"])?;
    assert_ne!(sql(ROWS_OF_USE)?, UNUSED);
    let uptimes = [uptime("keycloak")?, uptime("rabbitmq")?];
    dm_ok(&["reset", "--yes"])?;
    assert!(uptime("keycloak")? >= uptimes[0]);
    assert!(uptime("rabbitmq")? >= uptimes[1]);
    assert_is_new()
}

/// A reset that was killed is completed by the next run, so no earlier data is left.
pub(crate) fn killed_reset_is_completed_by_up() -> Result<(), Failed> {
    for text in [
        "stopping",
        "rabbitmq removed",
        "postgres removed",
        "postgres starting",
    ] {
        dm_ok(&["chaos", "poison", "inventory.order-events.q"])?;
        kill_at(&["reset", "--yes"], text)?;
        let up = dm(&["up"]);
        let stderr = String::from_utf8_lossy(&up.stderr).into_owned();
        assert!(up.status.success(), "{text}: {stderr}");
        assert_is_new()?;
    }
    Ok(())
}
