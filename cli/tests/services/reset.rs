//! An instance that begins anew.

use libtest_mimic::Failed;
use serde_json::Value;

use super::stack::{dm, kill_at, ok, sql};

/// What nobody has on the first day.
const LATER: &str = "SELECT (SELECT count(*) FROM orders.orders)
    + (SELECT count(*) FROM sales.leads) + (SELECT count(*) FROM orders.outbox_events)
    + (SELECT count(*) FROM keycloak.offline_user_session)
    + (SELECT count(*) FROM dm_ops.replay_runs)";

/// How long a component has been running, in seconds.
fn age(component: &str) -> Result<f64, Failed> {
    let status: Value = serde_json::from_str(&ok(&["status", "--json"])?)?;
    let mut rows = status["components"].as_array().into_iter().flatten();
    let row = rows.find(|it| it["component"] == component);
    Ok(row
        .and_then(|it| it["since_seconds"].as_f64())
        .unwrap_or_default())
}

fn is_fresh() -> Result<(), Failed> {
    assert_eq!(sql(LATER)?, "0");
    let list: Value = serde_json::from_str(&ok(&["dlq", "ls", "--json"])?)?;
    assert_eq!(list["groups"].as_array().map(Vec::len), Some(0), "{list}");
    ok(&["smoke"]).map(drop)
}

/// Everything of before is gone from the database, the broker and Keycloak, and what takes
/// long to start goes on running.
pub(crate) fn fresh() -> Result<(), Failed> {
    ok(&["golden", "make"])?;
    // From the golden images of now.
    ok(&["reset", "--to", "demo", "--yes"])?;
    // A past, and what went through the front door today.
    let orders = "SELECT count(*) = 240 FROM orders.orders WHERE created_at < current_date";
    assert_eq!(sql(orders)?, "t");
    let live = "SELECT count(*) > 0 FROM orders.orders WHERE created_at >= current_date";
    assert_eq!(sql(live)?, "t");
    ok(&["reconcile"])?;
    ok(&["smoke"])?;
    ok(&["chaos", "poison", "inventory.order-events.q"])?;
    assert_ne!(sql(LATER)?, "0");
    let ages = [age("keycloak")?, age("rabbitmq")?];
    ok(&["reset", "--yes"])?;
    assert!(age("keycloak")? >= ages[0]);
    assert!(age("rabbitmq")? >= ages[1]);
    is_fresh()
}

/// What was cut short is done by the next run: there is nothing of before in any case.
pub(crate) fn killed() -> Result<(), Failed> {
    for words in [
        "stopping",
        "rabbitmq gone",
        "postgres gone",
        "postgres starting",
    ] {
        ok(&["chaos", "poison", "inventory.order-events.q"])?;
        kill_at(&["reset", "--yes"], words)?;
        let up = dm(&["up"]);
        let told = String::from_utf8_lossy(&up.stderr).into_owned();
        assert!(up.status.success(), "{words}: {told}");
        is_fresh()?;
    }
    Ok(())
}
