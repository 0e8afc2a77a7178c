//! Memory, clock, names and state of the machine.

use std::net::{IpAddr, Ipv4Addr};

use chrono::{DateTime, Datelike, Utc};
use dm_engine::Engine;
use dm_host::resources::{self, MemoryInfo};
use dm_host::{network, state::StateDir};

use super::{GIGABYTE, NO_ENGINE, format_gigabytes};
use crate::DoctorFinding;

/// The whole stack takes less; Keycloak's start and builds come on top.
const MIN_MEMORY: u64 = 4 * GIGABYTE;

/// Clocks that differ by more make timestamps of services misleading.
const SKEW_WARNING_SECONDS: i64 = 2;

/// Clocks that differ by more make tokens of Keycloak invalid at once.
const SKEW_ERROR_SECONDS: i64 = 60;

/// Before this year nothing of this was written.
const EARLIEST_YEAR: i32 = 2025;

/// Memory of whatever machine the containers run on.
pub(crate) async fn check_memory(engine: Option<&Engine>) -> Vec<DoctorFinding> {
    let is_local = engine.is_none_or(Engine::is_local);
    if is_local {
        return vec![local_memory_finding(resources::read_memory_info())];
    }
    let facts = match engine {
        Some(engine) => engine.info().await.ok(),
        None => None,
    };
    vec![facts.map_or_else(
        || DoctorFinding::skipped("memory", "the engine does not report it"),
        |facts| engine_memory_finding(facts.memory),
    )]
}

fn local_memory_finding(memory: Option<MemoryInfo>) -> DoctorFinding {
    let Some(memory) = memory else {
        return DoctorFinding::skipped("memory", "this system does not report it");
    };
    let detail = format!(
        "{} of {} available",
        format_gigabytes(memory.available),
        format_gigabytes(memory.total)
    );
    if memory.available < MIN_MEMORY {
        DoctorFinding::warning(
            "memory",
            detail,
            [
                "close programs; show the largest ones: ps aux --sort=-rss | head",
                "or start a part of the stack: dm up --only postgres",
            ],
        )
    } else {
        DoctorFinding::ok("memory", detail)
    }
}

fn engine_memory_finding(total: u64) -> DoctorFinding {
    let detail = format!("the engine's machine has {}", format_gigabytes(total));
    if total < MIN_MEMORY {
        DoctorFinding::warning(
            "memory",
            detail,
            ["assign 4 GB or more in the settings of Docker Desktop, colima or OrbStack"],
        )
    } else {
        DoctorFinding::ok("memory", detail)
    }
}

/// This machine's clock, and how far the engine's is from it.
pub(crate) async fn check_clock(engine: Option<&Engine>) -> Vec<DoctorFinding> {
    let before = Utc::now();
    let theirs = match engine {
        Some(engine) => engine
            .info()
            .await
            .ok()
            .and_then(|facts| facts.time.clone()),
        None => None,
    };
    let after = Utc::now();
    let theirs = theirs
        .and_then(|text| DateTime::parse_from_rfc3339(&text).ok())
        .map(|time| time.with_timezone(&Utc));
    vec![clock_finding(before, theirs, after, engine.is_some())]
}

/// `theirs` was read somewhere between `before` and `after`: what lies between
/// them is no skew.
fn clock_finding(
    before: DateTime<Utc>,
    theirs: Option<DateTime<Utc>>,
    after: DateTime<Utc>,
    has_engine: bool,
) -> DoctorFinding {
    let set = "synchronize the clock: timedatectl set-ntp true";
    if before.year() < EARLIEST_YEAR {
        return DoctorFinding::error(
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
        return DoctorFinding::skipped("clock", detail);
    };
    let early = (before - theirs).num_seconds();
    let late = (theirs - after).num_seconds();
    let skew = early.max(late).max(0);
    let direction = if early > late { "behind" } else { "ahead of" };
    let detail = format!("the engine's clock is {skew} s {direction} this machine's");
    let restart =
        "restart the engine's virtual machine: its clock stands still while a laptop sleeps";
    if skew > SKEW_ERROR_SECONDS {
        DoctorFinding::error("clock", detail, [restart, set])
    } else if skew > SKEW_WARNING_SECONDS {
        DoctorFinding::warning("clock", detail, [restart, set])
    } else {
        DoctorFinding::ok("clock", "the same as the engine's")
    }
}

/// Names that must resolve.
pub(crate) async fn check_name_resolution() -> Vec<DoctorFinding> {
    let resolved: Vec<IpAddr> = tokio::net::lookup_host(("localhost", 0))
        .await
        .map(|found| found.map(|address| address.ip()).collect())
        .unwrap_or_default();
    let mut findings = vec![localhost_finding(&resolved)];
    if let Err(loopback) = network::container_resolvers() {
        findings.push(DoctorFinding::warning(
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

fn localhost_finding(resolved: &[IpAddr]) -> DoctorFinding {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let add = ["add this line to /etc/hosts: 127.0.0.1 localhost"];
    if resolved.contains(&loopback) {
        DoctorFinding::ok("localhost", "resolves to 127.0.0.1")
    } else if let Some(first) = resolved.first() {
        DoctorFinding::error(
            "localhost",
            format!("resolves to {first} instead of 127.0.0.1, the address of the stack"),
            add,
        )
    } else {
        DoctorFinding::error("localhost", "does not resolve", add)
    }
}

/// Where `dm` remembers things.
pub(crate) fn check_state_dir(state: Option<&StateDir>) -> Vec<DoctorFinding> {
    // Where it can't be opened, that is a finding of whoever tried.
    state
        .map(|state| DoctorFinding::ok("state", state.path().display().to_string()))
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CheckStatus;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn clocks_are_compared_within_the_time_that_asking_took() {
        let found = |theirs, after| clock_finding(at(0), Some(at(theirs)), at(after), true);
        assert_eq!(found(0, 0).status, CheckStatus::Ok);
        assert_eq!(found(9, 10).status, CheckStatus::Ok);
        assert_eq!(
            found(13, 10).detail,
            "the engine's clock is 3 s ahead of this machine's"
        );
        assert_eq!(found(13, 10).status, CheckStatus::Warning);
        assert_eq!(
            found(-61, 0).detail,
            "the engine's clock is 61 s behind this machine's"
        );
        assert_eq!(found(-61, 0).status, CheckStatus::Error);
        assert_eq!(
            clock_finding(at(0), None, at(0), false).status,
            CheckStatus::Skipped
        );
        let past = DateTime::from_timestamp(0, 0).unwrap();
        assert_eq!(
            clock_finding(past, None, past, false).status,
            CheckStatus::Error
        );
    }

    #[test]
    fn little_memory_is_a_warning() {
        let memory = |available| {
            local_memory_finding(Some(MemoryInfo {
                total: 8 * GIGABYTE,
                available,
            }))
        };
        assert_eq!(memory(MIN_MEMORY).status, CheckStatus::Ok);
        assert_eq!(memory(MIN_MEMORY - 1).status, CheckStatus::Warning);
        assert_eq!(memory(MIN_MEMORY - 1).detail, "3.9 GB of 8.0 GB available");
        assert_eq!(
            engine_memory_finding(2 * GIGABYTE).status,
            CheckStatus::Warning
        );
    }

    #[test]
    fn localhost_must_be_where_the_stack_listens() {
        assert_eq!(
            localhost_finding(&["127.0.0.1".parse().unwrap()]).status,
            CheckStatus::Ok
        );
        let only_six = localhost_finding(&["::1".parse().unwrap()]);
        assert!(only_six.detail.starts_with("resolves to ::1, and not"));
        assert_eq!(localhost_finding(&[]).status, CheckStatus::Error);
    }
}
