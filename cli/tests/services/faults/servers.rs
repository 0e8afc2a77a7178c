//! Faults of the broker and the database: they fail, pause or refuse.

use std::time::Duration;

use libtest_mimic::Failed;

use super::super::stack::{dm_ok, sql};
use super::{Fault, rabbitmqctl};

pub(super) const FAULTS: &[Fault] = fault_list![
    broker_restart_loses_no_event: "the broker is restarted",
    killed_broker_loses_no_event: "kill -9 of the broker",
    paused_broker_loses_no_event: "the broker is frozen for 3 s",
    broker_without_network_loses_no_event:
        "the broker is off the network for 6 s, connections half open",
    broker_with_disk_alarm_loses_no_event: "the broker's disk alarm for 3 s",
    database_restart_loses_no_event: "the database is restarted",
    killed_database_loses_no_event: "kill -9 of the database",
    database_without_network_loses_no_event:
        "the database is off the network for 4 s, connections half open",
    terminated_database_sessions_lose_no_event:
        "database sessions are terminated at random moments, commits included",
];

fn inject_once(arguments: &[&str]) -> Result<usize, Failed> {
    dm_ok(arguments)?;
    Ok(1)
}

fn broker_restart_loses_no_event() -> Result<usize, Failed> {
    inject_once(&["chaos", "restart", "rabbitmq"])
}

fn killed_broker_loses_no_event() -> Result<usize, Failed> {
    inject_once(&["chaos", "kill", "rabbitmq", "--for", "1s"])
}

fn paused_broker_loses_no_event() -> Result<usize, Failed> {
    inject_once(&["chaos", "pause", "rabbitmq", "--for", "3s"])
}

fn broker_without_network_loses_no_event() -> Result<usize, Failed> {
    inject_once(&["chaos", "cut", "rabbitmq", "--for", "6s"])
}

fn database_restart_loses_no_event() -> Result<usize, Failed> {
    inject_once(&["chaos", "restart", "postgres"])
}

fn killed_database_loses_no_event() -> Result<usize, Failed> {
    inject_once(&["chaos", "kill", "postgres", "--for", "1s"])
}

fn database_without_network_loses_no_event() -> Result<usize, Failed> {
    inject_once(&["chaos", "cut", "postgres", "--for", "4s"])
}

/// The broker's disk alarm makes it accept no messages.
fn broker_with_disk_alarm_loses_no_event() -> Result<usize, Failed> {
    rabbitmqctl(&["set_disk_free_limit", "900000GB"])?;
    std::thread::sleep(Duration::from_secs(3));
    rabbitmqctl(&["set_disk_free_limit", "200MB"])?;
    Ok(1)
}

/// Terminates all sessions of all services several times, so that the outcome of some commits is
/// unknown.
fn terminated_database_sessions_lose_no_event() -> Result<usize, Failed> {
    let rounds = 12;
    for _ in 0..rounds {
        sql(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
              WHERE usename LIKE '%\\_service'",
        )?;
        std::thread::sleep(Duration::from_millis(150));
    }
    Ok(rounds)
}
