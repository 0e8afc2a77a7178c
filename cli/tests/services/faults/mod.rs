//! Things that break while there is work, and what is so afterwards.
//!
//! ```text
//! load       orders, dispatches and expenses that go on whatever happens
//! table      what the faults came to
//! steps      services that end at each step of relaying and consuming
//! servers    broker and database that go away, stand still or refuse
//! letters    what fails while its consumer, or the broker, fails
//! messages   what comes twice, can't be handled, goes astray, or waits for a lock
//! relay      what a relay is refused, and a relay that vanishes
//! twin       a second instance of a service
//! ```

mod letters;
mod load;
mod messages;
mod relay;
mod servers;
mod steps;
mod table;
mod twin;

use std::process::Command;
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use super::flow::place;
use super::stack::{PATIENCE, block_on, client, dm, eventually, labels, ok, sql};
use super::timings::trial;
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

/// All of them, in the order in which they are done.
pub(crate) fn trials() -> Vec<Trial> {
    let servers = servers::FAULTS.iter();
    let all = servers
        .chain(relay::FAULTS)
        .chain(steps::FAULTS)
        .chain(messages::FAULTS)
        .chain(letters::FAULTS);
    let trials = all.map(|fault| trial(fault.test, || survive(fault)));
    trials
        .chain([
            trial(
                "large_events_are_relayed_with_little_memory",
                relay::large_events,
            ),
            trial("everything_was_published_and_nothing_died", law),
        ])
        .collect()
}

/// A fault, and what undoes it.
struct Fault {
    /// The test's name.
    test: &'static str,
    /// What is broken, in words.
    name: &'static str,
    /// Breaks it while there is load, and puts it right. Answers how often it was done.
    inject: fn() -> Result<usize, Failed>,
}

/// Nothing is lost or doubled by a fault under load, and afterwards it goes on.
fn survive(fault: &Fault) -> Result<(), Failed> {
    ok(&["up"])?;
    let load = Load::begin();
    let injected = more_orders(5).and_then(|()| (fault.inject)());
    if injected.is_err() {
        // What the services say now is gone with the stack.
        let logs = dm(&["logs", "order", "inventory", "--tail", "40"]);
        eprintln!("{}", String::from_utf8_lossy(&logs.stdout));
    }
    let accepted = load.end()?;
    let runs = injected?;
    ok(&["up"])?;
    let recovery = through()?;
    let report = settled()?;
    let kept = |table: &str, key: &str, ids: &[String]| -> Result<u64, Failed> {
        let list: Vec<String> = ids.iter().map(|id| format!("'{id}'")).collect();
        let list = list.join(",");
        let found = sql(&format!(
            "SELECT count(*) FROM {table} WHERE {key} = ANY(ARRAY[{list}]::text[])"
        ))?;
        Ok(found.parse()?)
    };
    let orders = kept("orders.orders", "order_id", &accepted.orders)?;
    let expenses = kept("finance.expenses", "expense_id", &accepted.expenses)?;
    let all = accepted.orders.len() + accepted.expenses.len();
    let count = |kind: &str| {
        let findings = report["findings"].as_array().into_iter().flatten();
        findings.filter(|it| it["kind"] == kind).count() as u64
    };
    let row = Row {
        fault: fault.name,
        runs,
        accepted: all,
        lost: all as u64 - orders - expenses + count("missing"),
        doubled: count("doubled") + count("broken"),
        disorder: sql(DISORDER)?.parse()?,
        recovery,
    };
    table::note(row.clone());
    assert!(all > 0, "nothing was accepted: {accepted:?}");
    assert_eq!((row.lost, row.doubled, row.disorder), (0, 0, 0), "{row:?}");
    assert_eq!(report["clean"], true, "{report}");
    Ok(())
}

/// Events of an aggregate that a queue's consumer handled before an earlier one.
const DISORDER: &str = "
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
         USING (event_id)) AS handled
     WHERE overtook";

/// Waits until the load has placed this many more orders, however slow the machine is.
fn more_orders(count: u64) -> Result<(), Failed> {
    more("SELECT count(*) FROM orders.orders", count)
}

/// Waits until the order service's relay has published this many more new orders.
fn more_published(count: u64) -> Result<(), Failed> {
    more(
        "SELECT count(*) FROM orders.outbox_events
          WHERE routing_key = 'order.created.v1' AND published_at IS NOT NULL",
        count,
    )
}

/// Waits until a count has grown by this much.
fn more(query: &str, by: u64) -> Result<(), Failed> {
    let counted = || -> Result<u64, Failed> { Ok(sql(query)?.parse()?) };
    let before = counted()?;
    let until = Instant::now() + PATIENCE;
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

/// How long until a new order has gone all the way.
fn through() -> Result<Duration, Failed> {
    let began = Instant::now();
    let order = block_on(async { place(&client(), "PPR-A4-WHT-500", 1).await });
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

/// The account of everything, once nothing is on its way any more.
pub(crate) fn settled() -> Result<Value, Failed> {
    let until = Instant::now() + PATIENCE;
    loop {
        let output = dm(&["reconcile", "--json"]);
        let report: Value = serde_json::from_slice(&output.stdout)?;
        if report["error"].is_object() {
            return Err(report.to_string().into());
        }
        let flying = |report: &Value| {
            let accounts = report["accounts"].as_array().into_iter().flatten();
            accounts
                .filter_map(|it| it["in_flight"].as_i64())
                .sum::<i64>()
        };
        let rests = report["pending"] == 0 && flying(&report) == 0;
        if rests || Instant::now() > until {
            return Ok(report);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// As `kill -9` would: no goodbye to broker or database.
fn kill(component: &str) -> Result<(), Failed> {
    ok(&["chaos", "kill", component]).map(drop)
}

fn container(component: &str) -> Result<String, Failed> {
    let mut arguments = vec!["ps".to_owned(), "--quiet".to_owned()];
    for label in labels(component)? {
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

/// What the kernel says of a component's memory, in kB: `VmRSS` now, `VmHWM` at most.
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
    Ok(number.ok_or("the kernel does not say")?.parse()?)
}

/// What the broker's own tool says.
fn rabbitmqctl(arguments: &[&str]) -> Result<String, Failed> {
    ok(&[&["exec", "rabbitmq", "--", "rabbitmqctl"], arguments].concat())
}

/// After all of it: nothing waits, nothing was set aside, and everything adds up.
fn law() -> Result<(), Failed> {
    for schema in SCHEMAS {
        eventually(
            &format!("SELECT count(*) FROM {schema}.outbox_events WHERE published_at IS NULL"),
            "0",
        )?;
    }
    let report = settled()?;
    assert_eq!(report["clean"], true, "{report}");
    let dead = dm(&["dlq", "ls", "--fail-if-any"]);
    assert!(
        dead.status.success(),
        "{}",
        String::from_utf8_lossy(&dead.stdout)
    );
    Ok(())
}
