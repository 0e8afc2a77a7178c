//! What fails while its consumer, or the broker, fails: one event is one dead letter, or is
//! applied, and never both.

use std::time::{Duration, Instant};

use dm_contracts::topology::INVENTORY_QUEUE;
use libtest_mimic::Failed;

use super::super::stack::{PATIENCE, block_on, client, eventually, ok, sql};
use super::messages::purge;
use super::steps::{ended, fail_at, with};
use super::{Fault, place};

/// Where a consumer that sets an event aside can end.
const SETTING_ASIDE: [&str; 3] = ["consumer.recorded", "consumer.set-aside", "consumer.marked"];

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        test: "a_dead_letter_that_is_half_set_aside_is_one",
        name: "a consumer is killed: dead letter recorded, published, confirm recorded",
        inject: half_set_aside,
    },
    Fault {
        test: "a_retry_that_is_half_published_is_one",
        name: "a consumer is killed: retry recorded, published, confirm recorded",
        inject: half_retried,
    },
    Fault {
        test: "a_handler_that_panics_ends_nothing",
        name: "a handler panics, and its event is retried",
        inject: panics,
    },
    Fault {
        test: "a_broker_that_stands_still_gets_one_dead_letter",
        name: "the broker is frozen for 20 s, a dead letter recorded and not published",
        inject: paused,
    },
];

/// How many letters inventory has records of, and does not say what became of them.
const OPEN: &str = "SELECT count(*) FROM inventory.failed_events
                     WHERE dead AND resolved_at IS NULL";

fn half_set_aside() -> Result<usize, Failed> {
    let count = 3;
    for step in SETTING_ASIDE {
        with(&[("inventory", fail_at(step, 1))]);
        for _ in 0..count {
            ok(&["chaos", "poison", INVENTORY_QUEUE])?;
        }
        ended(&["inventory"])?;
        ok(&["up"])?;
        eventually(OPEN, &count.to_string())?;
        purge(count)?;
        eventually(OPEN, "0")?;
    }
    Ok(SETTING_ASIDE.len())
}

/// The table that reservations need is away, so that attempts fail; then it is back, and
/// each order is reserved once however many copies of its event there are.
fn half_retried() -> Result<usize, Failed> {
    for step in SETTING_ASIDE {
        with(&[("inventory", fail_at(step, 1))]);
        sql("ALTER TABLE inventory.stock RENAME TO stock_away")?;
        let order = block_on(async { place(&client(), "PPR-A4-WHT-500", 1).await });
        let down = ended(&["inventory"]);
        sql("ALTER TABLE inventory.stock_away RENAME TO stock")?;
        down?;
        ok(&["up"])?;
        let reserved =
            format!("SELECT count(*) FROM inventory.reservations WHERE order_id = '{order}'");
        eventually(&reserved, "1")?;
    }
    // What was tried again and applied leaves no record.
    eventually(
        "SELECT count(*) FROM inventory.failed_events WHERE NOT dead",
        "0",
    )?;
    Ok(SETTING_ASIDE.len())
}

/// The event is applied at the second attempt, and nothing else waits for it.
fn panics() -> Result<usize, Failed> {
    with(&[(
        "inventory",
        "DM_FAIL_POINTS=consumer.handling@1=panic".to_owned(),
    )]);
    let order = block_on(async { place(&client(), "PPR-A4-WHT-500", 1).await });
    let reserved =
        format!("SELECT count(*) FROM inventory.reservations WHERE order_id = '{order}'");
    eventually(&reserved, "1")?;
    eventually(
        "SELECT count(*) FROM inventory.failed_events WHERE NOT dead",
        "0",
    )?;
    Ok(1)
}

fn paused() -> Result<usize, Failed> {
    // Long enough for the broker to be stopped before anything is published.
    with(&[(
        "inventory",
        "DM_FAIL_POINTS=consumer.recorded@1=8000".to_owned(),
    )]);
    ok(&["chaos", "poison", INVENTORY_QUEUE])?;
    let recorded = "SELECT count(*) FROM inventory.failed_events
                     WHERE dead AND published_at IS NULL";
    eventually(recorded, "1")?;
    ok(&["chaos", "pause", "rabbitmq", "--for", "20s"])?;
    let until = Instant::now() + PATIENCE;
    while sql(recorded)? != "0" {
        if Instant::now() > until {
            return Err("the letter was not published".into());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    purge(1)?;
    Ok(1)
}
