//! Consumers, or the broker, that fail while an event is retried or dead-lettered. An event
//! becomes one dead letter or is processed, and never both.

use std::time::{Duration, Instant};

use dm_contracts::topology::{INVENTORY_QUEUE, dead_letter_queue};
use dm_contracts::{headers, time};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use libtest_mimic::Failed;
use serde_json::Value;

use super::super::stack::{
    TIMEOUT, block_on, client, dm_ok, eventually, publish_to_queue, resume_queue, sql,
    suspend_queue,
};
use super::fail_points::{exit_at, up_with_settings, wait_until_ended};
use super::messages::{count_dead_letters, purge_dead_letters};
use super::{Fault, kill, place_order, rabbitmqctl};

/// The fail points of a consumer that retries or dead-letters an event.
const FAIL_POINTS: [&str; 3] = [
    "consumer.recorded",
    "consumer.failure-published",
    "consumer.marked",
];

/// A product whose orders inventory can be made to refuse. The load does not order it.
const REFUSED_SKU: &str = "PPR-A3-WHT-500";

/// The number of failed attempts after which an event is dead-lettered.
const MAX_ATTEMPTS: i32 = 9;

pub(super) const FAULTS: &[Fault] = fault_list![
    consumer_killed_while_dead_lettering_leaves_one_dead_letter:
        "a consumer is killed: dead letter recorded, published, confirm recorded",
    event_repaired_while_it_is_dead_lettered_is_not_processed:
        "a consumer is killed: dead letter recorded, published; the cause is repaired meanwhile",
    consumer_killed_while_retrying_processes_the_event_once:
        "a consumer is killed: retry recorded, published, confirm recorded",
    panicking_handler_retries_its_event: "a handler panics, and its event is retried",
    paused_broker_receives_one_dead_letter:
        "the broker is frozen for 20 s, a dead letter recorded and not published",
    late_confirm_leaves_one_dead_letter:
        "a dead-letter queue confirms a dead letter after the confirm timeout",
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

/// While the value exists, inventory cannot process orders of [`REFUSED_SKU`]. The sequence
/// `inventory.refusals` counts the attempts, including those that were rolled back.
struct RefusedOrders;

impl RefusedOrders {
    fn begin() -> Result<Self, Failed> {
        let refused = Self;
        sql(&format!(
            "CREATE SEQUENCE inventory.refusals;
             GRANT USAGE ON SEQUENCE inventory.refusals TO PUBLIC;
             ALTER TABLE inventory.shipments ADD CONSTRAINT refused CHECK (
                 CASE WHEN items @> '[{{\"sku\": \"{REFUSED_SKU}\"}}]'
                      THEN nextval('inventory.refusals') < 0 ELSE true END) NOT VALID"
        ))?;
        Ok(refused)
    }
}

impl Drop for RefusedOrders {
    fn drop(&mut self) {
        let dropped = sql(
            "ALTER TABLE inventory.shipments DROP CONSTRAINT IF EXISTS refused;
             DROP SEQUENCE IF EXISTS inventory.refusals",
        );
        if let Err(failed) = dropped {
            eprintln!("{}", failed.message().unwrap_or_default());
        }
    }
}

/// The last attempt of an event fails, and the cause is repaired while the consumer is down. The
/// event is a dead letter and not processed. When it is replayed, it is processed.
fn event_repaired_while_it_is_dead_lettered_is_not_processed() -> Result<usize, Failed> {
    let steps = ["consumer.recorded", "consumer.failure-published"];
    for step in steps {
        kill("inventory")?;
        let refused = RefusedOrders::begin()?;
        let order = block_on(async { place_order(&client(), REFUSED_SKU, 1).await });
        let (event, body) = published_event(&order)?;
        // Inventory processes the event first, and this copy next: they are in one lane.
        publish_last_attempt(&event, &body)?;
        up_with_settings(&[("inventory", exit_at(step, 2))]);
        wait_until_ended(&["inventory"])?;
        drop(refused);
        let since = time::format(time::now());
        dm_ok(&["up"])?;
        let record = format!(
            "FROM inventory.failed_events
              WHERE event_id = '{event}' AND dead AND attempts = {MAX_ATTEMPTS}
                AND published_at IS NOT NULL AND resolved_at IS NULL"
        );
        eventually(&format!("SELECT count(*) {record}"), "1")?;
        // The first attempt is retried. The retry is delivered, and ignored.
        let letter = sql(&format!("SELECT letter_id {record}"))?;
        wait_for_log(&since, &["the failure was recorded before", &letter])?;
        let effects = format!(
            "SELECT (SELECT count(*) FROM inventory.inbox_events WHERE event_id = '{event}'),
                    (SELECT count(*) FROM inventory.reservations WHERE order_id = '{order}')"
        );
        assert_eq!(sql(&effects)?, "0|0", "{step}: processed and dead-lettered");
        assert_eq!(count_dead_letters()?, 1, "{step}");
        dm_ok(&["dlq", "replay", "--id", &event])?;
        eventually(&effects, "1|1")?;
        assert_eq!(count_dead_letters()?, 0, "{step}");
    }
    Ok(steps.len())
}

/// Waits until the event of a new order is published. Returns its id and its body.
fn published_event(order: &str) -> Result<(String, String), Failed> {
    let row = format!(
        "FROM orders.outbox_events
          WHERE subject = 'order/{order}' AND routing_key = 'order.created.v1'
            AND published_at IS NOT NULL"
    );
    eventually(&format!("SELECT count(*) {row}"), "1")?;
    let event = sql(&format!("SELECT event_id || ' ' || payload::text {row}"))?;
    let (id, body) = event.split_once(' ').ok_or("the order has no event")?;
    Ok((id.to_owned(), body.to_owned()))
}

/// Publishes a copy of an event to inventory's queue that is dead-lettered if it fails once more.
fn publish_last_attempt(id: &str, body: &str) -> Result<(), Failed> {
    let mut table = FieldTable::default();
    let attempts = AMQPValue::LongInt(MAX_ATTEMPTS - 1);
    table.insert(headers::ATTEMPTS.into(), attempts);
    let properties = BasicProperties::default()
        .with_message_id(id.into())
        .with_delivery_mode(2)
        .with_headers(table);
    publish_to_queue(INVENTORY_QUEUE, body.as_bytes(), properties)
}

/// The event fails three times or more, with one record and one chain of attempts, however many
/// copies of it exist. Then the cause is repaired, and the order is reserved once.
fn consumer_killed_while_retrying_processes_the_event_once() -> Result<usize, Failed> {
    for step in FAIL_POINTS {
        let refused = RefusedOrders::begin()?;
        up_with_settings(&[("inventory", exit_at(step, 1))]);
        let order = block_on(async { place_order(&client(), REFUSED_SKU, 1).await });
        wait_until_ended(&["inventory"])?;
        dm_ok(&["up"])?;
        // Two chains would attempt more often than one of them counts.
        let is_one_chain = format!(
            "SELECT attempts >= 3 AND attempts = (SELECT last_value FROM inventory.refusals)
               FROM inventory.failed_events
              WHERE NOT dead AND event_id = (
                    SELECT event_id FROM orders.outbox_events
                     WHERE subject = 'order/{order}' AND routing_key = 'order.created.v1')"
        );
        eventually(&is_one_chain, "t")?;
        drop(refused);
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

/// The queue confirms the dead letter after the consumer has stopped waiting. The consumer sends
/// the dead letter again, and the queue contains copies, which count as one dead letter.
fn late_confirm_leaves_one_dead_letter() -> Result<usize, Failed> {
    let queue = dead_letter_queue(INVENTORY_QUEUE);
    let overdue = (|| {
        suspend_queue(&queue)?;
        let since = time::format(time::now());
        dm_ok(&["chaos", "poison", INVENTORY_QUEUE])?;
        wait_for_log(&since, &["could not publish the failed message"])
    })();
    let resumed = resume_queue(&queue);
    overdue?;
    resumed?;
    eventually(
        "SELECT count(*) FROM inventory.failed_events
          WHERE dead AND published_at IS NOT NULL AND resolved_at IS NULL",
        "1",
    )?;
    // Commands that read the queue remove copies.
    let copies = count_messages(&queue)?;
    assert!(copies > 1, "the dead letter was sent {copies} times");
    purge_dead_letters(1)?;
    Ok(1)
}

/// Waits until inventory has logged a line with all of these texts, at or after this time.
fn wait_for_log(since: &str, texts: &[&str]) -> Result<(), Failed> {
    let is_expected = |line: &str| texts.iter().all(|text| line.contains(*text));
    let until = Instant::now() + TIMEOUT;
    loop {
        let log = dm_ok(&["logs", "inventory", "--since", since])?;
        if log.lines().any(is_expected) {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(format!("inventory logged no line with {texts:?}").into());
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Returns the number of messages in a queue, including copies of dead letters.
fn count_messages(queue: &str) -> Result<u64, Failed> {
    let arguments = [
        "-q",
        "list_queues",
        "name",
        "messages",
        "--formatter",
        "json",
    ];
    let queues: Vec<Value> = serde_json::from_str(&rabbitmqctl(&arguments)?)?;
    let found = queues.iter().find(|found| found["name"] == queue);
    let count = found.and_then(|found| found["messages"].as_u64());
    Ok(count.ok_or("the queue does not exist")?)
}
