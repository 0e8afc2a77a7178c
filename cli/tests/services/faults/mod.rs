//! Tests that inject faults under load and check that no event is lost, doubled or out of order.
//!
//! ```text
//! load              orders, dispatches and expenses that continue during a fault
//! table             the results of the faults
//! fail_points       services that exit at each step of relaying and consuming
//! servers           broker and database that fail, pause or refuse
//! dead_lettering    consumers, or the broker, that fail while an event is retried or dead-lettered
//! messages          messages that are repeated, invalid or lost, or wait for a lock
//! relay             a relay whose events are refused or unconfirmed, or that becomes unreachable
//! second_process    a second process of a service
//! cancellation      cancellations whose consumer is killed, or that race with dispatches
//! ```

/// Makes a list of faults, each from the function that injects it and a description. The name of
/// the test is the name of the function. The macro is defined before the modules that use it.
macro_rules! fault_list {
    ($($inject:ident: $name:literal),+ $(,)?) => {
        &[$(Fault { test: stringify!($inject), name: $name, inject: $inject }),+]
    };
}

mod cancellation;
mod dead_lettering;
mod fail_points;
mod load;
mod messages;
mod relay;
mod second_process;
mod servers;
mod table;

use std::process::Command;
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use super::flow::place_order;
use super::stack::{TIMEOUT, block_on, client, container_labels, dm, dm_ok, eventually, sql};
use super::timings::{trial, trials};
use load::Load;
use table::Row;

pub(crate) use table::publish;

const SCHEMAS: [&str; 6] = [
    "profile",
    "sales",
    "orders",
    "inventory",
    "finance",
    "notifications",
];

/// Returns all fault tests in the order in which they run.
pub(crate) fn trials() -> Vec<Trial> {
    let servers = servers::FAULTS.iter();
    let all = servers
        .chain(relay::FAULTS)
        .chain(fail_points::FAULTS)
        .chain(messages::FAULTS)
        .chain(dead_lettering::FAULTS)
        .chain(cancellation::FAULTS);
    let trials = all.map(|fault| trial(fault.test, || assert_no_event_is_lost(fault)));
    trials
        .chain(trials![
            relay::relay_publishes_large_events_with_little_memory,
            no_event_is_pending_or_dead_lettered_after_all_faults,
        ])
        .collect()
}

/// A fault that is injected under load and then removed.
struct Fault {
    /// The name of the test, which is the name of the function in `inject`.
    test: &'static str,
    /// A description of the fault for the table of results.
    name: &'static str,
    /// Injects the fault under load and removes it. Returns the number of injections.
    inject: fn() -> Result<usize, Failed>,
}

/// Asserts that a fault under load loses, doubles and reorders no event, and that the services
/// recover.
fn assert_no_event_is_lost(fault: &Fault) -> Result<(), Failed> {
    dm_ok(&["up"])?;
    let load = Load::start();
    let injected = wait_for_more_orders(5).and_then(|()| (fault.inject)());
    if injected.is_err() {
        // The logs are printed now, because they are removed with the stack.
        let logs = dm(&["logs", "order", "inventory", "--tail", "40"]);
        eprintln!("{}", String::from_utf8_lossy(&logs.stdout));
    }
    let accepted = load.end()?;
    let runs = injected?;
    dm_ok(&["up"])?;
    let recovery = order_duration()?;
    let report = reconcile_when_idle()?;
    let count_stored = |table: &str, key: &str, ids: &[String]| -> Result<u64, Failed> {
        let list: Vec<String> = ids.iter().map(|id| format!("'{id}'")).collect();
        let list = list.join(",");
        let found = sql(&format!(
            "SELECT count(*) FROM {table} WHERE {key} = ANY(ARRAY[{list}]::text[])"
        ))?;
        Ok(found.parse()?)
    };
    let orders = count_stored("orders.orders", "order_id", &accepted.orders)?;
    let expenses = count_stored("finance.expenses", "expense_id", &accepted.expenses)?;
    let all = accepted.orders.len() + accepted.expenses.len();
    let count = |kind: &str| {
        let findings = report["findings"].as_array().into_iter().flatten();
        findings.filter(|finding| finding["kind"] == kind).count() as u64
    };
    let row = Row {
        fault: fault.name,
        runs,
        accepted: all,
        lost: all as u64 - orders - expenses + count("missing"),
        doubled: count("doubled") + count("broken"),
        out_of_order: sql(OUT_OF_ORDER)?.parse()?,
        recovery,
    };
    table::record(row.clone());
    assert!(all > 0, "nothing was accepted: {accepted:?}");
    assert_eq!(
        (row.lost, row.doubled, row.out_of_order),
        (0, 0, 0),
        "{row:?}"
    );
    assert_eq!(report["clean"], true, "{report}");
    Ok(())
}

/// Counts the events that a queue's consumer processed before an earlier one of their aggregate.
const OUT_OF_ORDER: &str = "
    SELECT count(*) FROM (
        SELECT processed_at < lag(processed_at) OVER (
                   PARTITION BY queue, outbox, subject ORDER BY sequence) AS overtook
          FROM (SELECT 'o' AS outbox, event_id, subject, sequence FROM orders.outbox_events
                UNION ALL
                SELECT 'i', event_id, subject, sequence FROM inventory.outbox_events
                UNION ALL
                SELECT 'f', event_id, subject, sequence FROM finance.outbox_events) AS event
          JOIN (SELECT queue, event_id, processed_at FROM orders.inbox_events
                UNION ALL
                SELECT queue, event_id, processed_at FROM inventory.inbox_events
                UNION ALL
                SELECT queue, event_id, processed_at FROM notifications.inbox_events) AS seen
         USING (event_id)) AS processed
     WHERE overtook";

/// Waits until the load has placed this many more orders, however slow the machine is.
fn wait_for_more_orders(count: u64) -> Result<(), Failed> {
    wait_for_growth("SELECT count(*) FROM orders.orders", count)
}

/// Waits until the relay of the order service has published this many more new orders.
fn wait_for_more_published(count: u64) -> Result<(), Failed> {
    wait_for_growth(
        "SELECT count(*) FROM orders.outbox_events
          WHERE routing_key = 'order.created.v1' AND published_at IS NOT NULL",
        count,
    )
}

/// Waits until a count has grown by this number.
fn wait_for_growth(query: &str, by: u64) -> Result<(), Failed> {
    let counted = || -> Result<u64, Failed> { Ok(sql(query)?.parse()?) };
    let before = counted()?;
    let until = Instant::now() + TIMEOUT;
    loop {
        let now = counted()?;
        if now >= before + by {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(format!("{query}\ngrew from {before} to {now} only").into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Places an order and returns how long it took until all its events were processed.
fn order_duration() -> Result<Duration, Failed> {
    let began = Instant::now();
    let order = block_on(async { place_order(&client(), "PPR-A4-WHT-500", 1).await });
    eventually(
        &format!(
            "SELECT count(*) FROM orders.orders, notifications.notifications
              WHERE order_id = '{order}' AND status = 'RESERVED'
                AND title = 'Order {order} created'"
        ),
        "1",
    )?;
    Ok(began.elapsed())
}

/// Returns the report of `dm reconcile` once no event is pending or in flight, or after a
/// timeout.
pub(crate) fn reconcile_when_idle() -> Result<Value, Failed> {
    let until = Instant::now() + TIMEOUT;
    loop {
        let output = dm(&["reconcile", "--json"]);
        let report: Value = serde_json::from_slice(&output.stdout)?;
        if report["error"].is_object() {
            return Err(report.to_string().into());
        }
        let count_in_flight = |report: &Value| {
            let queues = report["queues"].as_array().into_iter().flatten();
            queues
                .filter_map(|queue| queue["in_flight"].as_i64())
                .sum::<i64>()
        };
        let is_idle = report["pending"] == 0 && count_in_flight(&report) == 0;
        if is_idle || Instant::now() > until {
            return Ok(report);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Kills a component with SIGKILL.
fn kill(component: &str) -> Result<(), Failed> {
    dm_ok(&["chaos", "kill", component]).map(drop)
}

fn container(component: &str) -> Result<String, Failed> {
    let mut arguments = vec!["ps".to_owned(), "--quiet".to_owned()];
    for label in container_labels(component)? {
        arguments.extend(["--filter".to_owned(), format!("label={label}")]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let found = docker(&arguments)?;
    Ok(found.trim().to_owned())
}

fn docker(arguments: &[&str]) -> Result<String, Failed> {
    let output = Command::new("docker").args(arguments).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned().into())
}

/// Returns the memory of a component's process in kB: `VmRSS` for the current and `VmHWM` for the
/// maximum.
pub(super) fn memory(component: &str, which: &str) -> Result<u64, Failed> {
    let pid = docker(&[
        "inspect",
        "--format",
        "{{.State.Pid}}",
        &container(component)?,
    ])?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.trim()))?;
    let line = status.lines().find(|line| line.starts_with(which));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(number.ok_or("/proc has no such value")?.parse()?)
}

/// Returns the output of `rabbitmqctl`.
fn rabbitmqctl(arguments: &[&str]) -> Result<String, Failed> {
    dm_ok(&[&["exec", "rabbitmq", "--", "rabbitmqctl"], arguments].concat())
}

/// After all faults, no event is pending or dead-lettered, and reconcile finds nothing.
fn no_event_is_pending_or_dead_lettered_after_all_faults() -> Result<(), Failed> {
    for schema in SCHEMAS {
        eventually(
            &format!("SELECT count(*) FROM {schema}.outbox_events WHERE published_at IS NULL"),
            "0",
        )?;
    }
    let report = reconcile_when_idle()?;
    assert_eq!(report["clean"], true, "{report}");
    let dead = dm(&["dlq", "ls", "--fail-if-any"]);
    assert!(
        dead.status.success(),
        "{}",
        String::from_utf8_lossy(&dead.stdout)
    );
    Ok(())
}
