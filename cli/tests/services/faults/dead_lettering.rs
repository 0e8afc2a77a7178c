//! Consumers, or the broker, that fail while an event is retried or dead-lettered. An event
//! becomes one dead letter or is processed, and never both.

use std::time::{Duration, Instant};

use dm_contracts::topology::INVENTORY_QUEUE;
use libtest_mimic::Failed;

use super::super::stack::{TIMEOUT, block_on, client, dm_ok, eventually, sql};
use super::fail_points::{exit_at, up_with_settings, wait_until_ended};
use super::messages::purge_dead_letters;
use super::{Fault, place_order};

/// The fail points of a consumer that retries or dead-letters an event.
const FAIL_POINTS: [&str; 3] = [
    "consumer.recorded",
    "consumer.failure-published",
    "consumer.marked",
];

pub(super) const FAULTS: &[Fault] = fault_list![
    consumer_killed_while_dead_lettering_leaves_one_dead_letter:
        "a consumer is killed: dead letter recorded, published, confirm recorded",
    consumer_killed_while_retrying_processes_the_event_once:
        "a consumer is killed: retry recorded, published, confirm recorded",
    panicking_handler_retries_its_event: "a handler panics, and its event is retried",
    paused_broker_receives_one_dead_letter:
        "the broker is frozen for 20 s, a dead letter recorded and not published",
];

/// Counts inventory's unresolved records of dead letters.
const UNRESOLVED: &str = "SELECT count(*) FROM inventory.failed_events
                     WHERE dead AND resolved_at IS NULL";

fn consumer_killed_while_dead_lettering_leaves_one_dead_letter() -> Result<usize, Failed> {
    let count = 3;
    for step in FAIL_POINTS {
        up_with_settings(&[("inventory", exit_at(step, 1))]);
        for _ in 0..count {
            dm_ok(&["chaos", "poison", INVENTORY_QUEUE])?;
        }
        wait_until_ended(&["inventory"])?;
        dm_ok(&["up"])?;
        eventually(UNRESOLVED, &count.to_string())?;
        purge_dead_letters(count)?;
        eventually(UNRESOLVED, "0")?;
    }
    Ok(FAIL_POINTS.len())
}

/// The table for reservations is renamed, so attempts fail. After it is renamed back, each order
/// is reserved once, however many copies of its event exist.
fn consumer_killed_while_retrying_processes_the_event_once() -> Result<usize, Failed> {
    for step in FAIL_POINTS {
        up_with_settings(&[("inventory", exit_at(step, 1))]);
        sql("ALTER TABLE inventory.stock RENAME TO stock_renamed")?;
        let order = block_on(async { place_order(&client(), "PPR-A4-WHT-500", 1).await });
        let result = wait_until_ended(&["inventory"]);
        sql("ALTER TABLE inventory.stock_renamed RENAME TO stock")?;
        result?;
        dm_ok(&["up"])?;
        let reserved =
            format!("SELECT count(*) FROM inventory.reservations WHERE order_id = '{order}'");
        eventually(&reserved, "1")?;
    }
    // An event that was processed after a retry leaves no record.
    eventually(
        "SELECT count(*) FROM inventory.failed_events WHERE NOT dead",
        "0",
    )?;
    Ok(FAIL_POINTS.len())
}

/// The event is processed at the second attempt, and no other event waits for it.
fn panicking_handler_retries_its_event() -> Result<usize, Failed> {
    up_with_settings(&[(
        "inventory",
        "DM_FAIL_POINTS=consumer.processing@1=panic".to_owned(),
    )]);
    let order = block_on(async { place_order(&client(), "PPR-A4-WHT-500", 1).await });
    let reserved =
        format!("SELECT count(*) FROM inventory.reservations WHERE order_id = '{order}'");
    eventually(&reserved, "1")?;
    eventually(
        "SELECT count(*) FROM inventory.failed_events WHERE NOT dead",
        "0",
    )?;
    Ok(1)
}

fn paused_broker_receives_one_dead_letter() -> Result<usize, Failed> {
    // The delay is long enough to pause the broker before anything is published.
    up_with_settings(&[(
        "inventory",
        "DM_FAIL_POINTS=consumer.recorded@1=8000".to_owned(),
    )]);
    dm_ok(&["chaos", "poison", INVENTORY_QUEUE])?;
    let recorded = "SELECT count(*) FROM inventory.failed_events
                     WHERE dead AND published_at IS NULL";
    eventually(recorded, "1")?;
    dm_ok(&["chaos", "pause", "rabbitmq", "--for", "20s"])?;
    let until = Instant::now() + TIMEOUT;
    while sql(recorded)? != "0" {
        if Instant::now() > until {
            return Err("the dead letter was not published".into());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    purge_dead_letters(1)?;
    Ok(1)
}
