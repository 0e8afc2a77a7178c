//! Broker and database that go away, stand still or refuse.

use std::time::Duration;

use libtest_mimic::Failed;

use super::super::stack::{ok, sql};
use super::{Fault, rabbitmqctl};

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        test: "a_broker_restart_loses_nothing",
        name: "the broker is restarted",
        inject: || once(&["chaos", "restart", "rabbitmq"]),
    },
    Fault {
        test: "a_killed_broker_loses_nothing",
        name: "kill -9 of the broker",
        inject: || once(&["chaos", "kill", "rabbitmq", "--for", "1s"]),
    },
    Fault {
        test: "a_frozen_broker_loses_nothing",
        name: "the broker is frozen for 3 s",
        inject: || once(&["chaos", "pause", "rabbitmq", "--for", "3s"]),
    },
    Fault {
        test: "a_broker_without_a_network_loses_nothing",
        name: "the broker is off the network for 6 s, connections half open",
        inject: || once(&["chaos", "cut", "rabbitmq", "--for", "6s"]),
    },
    Fault {
        test: "a_broker_without_disk_loses_nothing",
        name: "the broker's disk alarm for 3 s",
        inject: disk_alarm,
    },
    Fault {
        test: "a_database_restart_loses_nothing",
        name: "the database is restarted",
        inject: || once(&["chaos", "restart", "postgres"]),
    },
    Fault {
        test: "a_killed_database_loses_nothing",
        name: "kill -9 of the database",
        inject: || once(&["chaos", "kill", "postgres", "--for", "1s"]),
    },
    Fault {
        test: "a_database_without_a_network_loses_nothing",
        name: "the database is off the network for 4 s, connections half open",
        inject: || once(&["chaos", "cut", "postgres", "--for", "4s"]),
    },
    Fault {
        test: "commits_of_unknown_outcome_lose_nothing",
        name: "database sessions are terminated at random moments, commits included",
        inject: sessions,
    },
];

fn once(arguments: &[&str]) -> Result<usize, Failed> {
    ok(arguments)?;
    Ok(1)
}

/// The broker finds its disk too small, and takes nothing.
fn disk_alarm() -> Result<usize, Failed> {
    rabbitmqctl(&["set_disk_free_limit", "900000GB"])?;
    std::thread::sleep(Duration::from_secs(3));
    rabbitmqctl(&["set_disk_free_limit", "200MB"])?;
    Ok(1)
}

/// Every session of every service ends, again and again.
fn sessions() -> Result<usize, Failed> {
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
