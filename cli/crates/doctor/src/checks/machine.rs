//! Memory, clock, names and state of the machine.

use std::net::{IpAddr, Ipv4Addr};

use chrono::{DateTime, Datelike, Utc};
use dm_engine::Engine;
use dm_host::resources::{self, Memory};
use dm_host::{network, state::StateDir};

use super::{GIGABYTE, NO_ENGINE, gigabytes};
use crate::Finding;

/// The whole stack takes less; Keycloak's start and builds come on top.
const MEMORY: u64 = 4 * GIGABYTE;

/// Clocks that differ by more make timestamps of services misleading.
const SKEW_WARNING: i64 = 2;

/// Clocks that differ by more make tokens of Keycloak invalid at once.
const SKEW_ERROR: i64 = 60;

/// Before this year nothing of this was written.
const EARLIEST: i32 = 2025;

/// Memory of whatever machine the containers run on.
pub(crate) async fn memory(engine: Option<&Engine>) -> Vec<Finding> {
    let is_local = engine.is_none_or(Engine::is_local);
    if is_local {
        return vec![local_memory(resources::memory())];
    }
    let facts = match engine {
        Some(engine) => engine.facts().await.ok(),
        None => None,
    };
    vec![facts.map_or_else(
        || Finding::skipped("memory", "the engine does not report it"),
        |facts| virtual_memory(facts.memory),
    )]
}

fn local_memory(memory: Option<Memory>) -> Finding {
    let Some(memory) = memory else {
        return Finding::skipped("memory", "this system does not report it");
    };
    let detail = format!(
        "{} of {} available",
        gigabytes(memory.available),
        gigabytes(memory.total)
    );
    if memory.available < MEMORY {
        Finding::warning(
            "memory",
            detail,
            [
                "close programs; show the largest ones: ps aux --sort=-rss | head",
                "or start a part of the stack: dm up --only postgres",
            ],
        )
    } else {
        Finding::ok("memory", detail)
    }
}

fn virtual_memory(total: u64) -> Finding {
    let detail = format!("the engine's machine has {}", gigabytes(total));
    if total < MEMORY {
        Finding::warning(
            "memory",
            detail,
            ["assign 4 GB or more in the settings of Docker Desktop, colima or OrbStack"],
        )
    } else {
        Finding::ok("memory", detail)
    }
}

/// This machine's clock, and how far the engine's is from it.
pub(crate) async fn clock(engine: Option<&Engine>) -> Vec<Finding> {
    let before = Utc::now();
    let theirs = match engine {
        Some(engine) => engine
            .facts()
            .await
            .ok()
            .and_then(|facts| facts.time.clone()),
        None => None,
    };
    let after = Utc::now();
    let theirs = theirs
        .and_then(|text| DateTime::parse_from_rfc3339(&text).ok())
        .map(|time| time.with_timezone(&Utc));
    vec![compare(before, theirs, after, engine.is_some())]
}

/// `theirs` was read somewhere between `before` and `after`: what lies between
/// them is no skew.
fn compare(
    before: DateTime<Utc>,
    theirs: Option<DateTime<Utc>>,
    after: DateTime<Utc>,
    has_engine: bool,
) -> Finding {
    let set = "synchronize the clock: timedatectl set-ntp true";
    if before.year() < EARLIEST {
        return Finding::error(
            "clock",
            format!(
                "the clock shows {}, which is in the past: certificates and tokens are not valid yet",
                before.format("%Y-%m-%d")
            ),
            [set],
        );
    }
    let Some(theirs) = theirs else {
        let detail = if has_engine {
            "the engine does not report its time"
        } else {
            NO_ENGINE
        };
        return Finding::skipped("clock", detail);
    };
    let early = (before - theirs).num_seconds();
    let late = (theirs - after).num_seconds();
    let skew = early.max(late).max(0);
    let direction = if early > late { "behind" } else { "ahead of" };
    let detail = format!("the engine's clock is {skew} s {direction} this machine's");
    let restart =
        "restart the engine's virtual machine: its clock stands still while a laptop sleeps";
    if skew > SKEW_ERROR {
        Finding::error("clock", detail, [restart, set])
    } else if skew > SKEW_WARNING {
        Finding::warning("clock", detail, [restart, set])
    } else {
        Finding::ok("clock", "the same as the engine's")
    }
}

/// Names that must resolve.
pub(crate) async fn names() -> Vec<Finding> {
    let resolved: Vec<IpAddr> = tokio::net::lookup_host(("localhost", 0))
        .await
        .map(|found| found.map(|address| address.ip()).collect())
        .unwrap_or_default();
    let mut findings = vec![localhost(&resolved)];
    if let Err(loopback) = network::container_resolvers() {
        findings.push(Finding::warning(
            "name servers",
            format!(
                "containers cannot reach the name server {}, so that the engine uses public ones",
                loopback
                    .first()
                    .map(ToString::to_string)
                    .unwrap_or_default()
            ),
            ["set reachable name servers in /etc/docker/daemon.json: {\"dns\": [\"…\"]}"],
        ));
    }
    findings
}

fn localhost(resolved: &[IpAddr]) -> Finding {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let add = ["add this line to /etc/hosts: 127.0.0.1 localhost"];
    if resolved.contains(&loopback) {
        Finding::ok("localhost", "resolves to 127.0.0.1")
    } else if let Some(first) = resolved.first() {
        Finding::error(
            "localhost",
            format!("resolves to {first} instead of 127.0.0.1, the address of the stack"),
            add,
        )
    } else {
        Finding::error("localhost", "does not resolve", add)
    }
}

/// Where `dm` remembers things.
pub(crate) fn state(state: Option<&StateDir>) -> Vec<Finding> {
    // Where it can't be opened, that is a finding of whoever tried.
    state
        .map(|state| Finding::ok("state", state.path().display().to_string()))
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Status;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn clocks_are_compared_within_the_time_that_asking_took() {
        let found = |theirs, after| compare(at(0), Some(at(theirs)), at(after), true);
        assert_eq!(found(0, 0).status, Status::Ok);
        assert_eq!(found(9, 10).status, Status::Ok);
        assert_eq!(
            found(13, 10).detail,
            "the engine's clock is 3 s ahead of this machine's"
        );
        assert_eq!(found(13, 10).status, Status::Warning);
        assert_eq!(
            found(-61, 0).detail,
            "the engine's clock is 61 s behind this machine's"
        );
        assert_eq!(found(-61, 0).status, Status::Error);
        assert_eq!(compare(at(0), None, at(0), false).status, Status::Skipped);
        let past = DateTime::from_timestamp(0, 0).unwrap();
        assert_eq!(compare(past, None, past, false).status, Status::Error);
    }

    #[test]
    fn little_memory_is_a_warning() {
        let memory = |available| {
            local_memory(Some(Memory {
                total: 8 * GIGABYTE,
                available,
            }))
        };
        assert_eq!(memory(MEMORY).status, Status::Ok);
        assert_eq!(memory(MEMORY - 1).status, Status::Warning);
        assert_eq!(memory(MEMORY - 1).detail, "3.9 GB of 8.0 GB available");
        assert_eq!(virtual_memory(2 * GIGABYTE).status, Status::Warning);
    }

    #[test]
    fn localhost_must_be_where_the_stack_listens() {
        assert_eq!(
            localhost(&["127.0.0.1".parse().unwrap()]).status,
            Status::Ok
        );
        let only_six = localhost(&["::1".parse().unwrap()]);
        assert!(only_six.detail.starts_with("resolves to ::1, and not"));
        assert_eq!(localhost(&[]).status, Status::Error);
    }
}
