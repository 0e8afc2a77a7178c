//! Checks of memory, clock, name resolution and state directory of the machine.

use std::net::{IpAddr, Ipv4Addr};

use chrono::{DateTime, Datelike, Utc};
use dm_engine::Engine;
use dm_host::resources::{self, MemoryInfo};
use dm_host::{network, state::StateDir};

use super::{GIGABYTE, NO_ENGINE, format_gigabytes};
use crate::DoctorFinding;

/// The recommended available memory: the whole stack needs less, but Keycloak's start and
/// builds need more.
const MIN_MEMORY: u64 = 4 * GIGABYTE;

/// Above this clock skew, timestamps of services are misleading.
const SKEW_WARNING_SECONDS: i64 = 2;

/// Above this clock skew, tokens of Keycloak are invalid immediately.
const SKEW_ERROR_SECONDS: i64 = 60;

/// The clock is wrong if it shows an earlier year: `dm` did not exist before.
const EARLIEST_YEAR: i32 = 2025;

/// Checks the memory of the machine that runs the containers.
pub(crate) async fn check_memory(engine: Option<&Engine>) -> Vec<DoctorFinding> {
    let is_local = engine.is_none_or(Engine::is_local);
    if is_local {
        return vec![local_memory_finding(resources::read_memory_info())];
    }
    let info = match engine {
        Some(engine) => engine.info().await.ok(),
        None => None,
    };
    vec![info.map_or_else(
        || DoctorFinding::skipped("memory", "the engine does not report it"),
        |info| engine_memory_finding(info.memory),
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

/// Checks this machine's clock and the skew of the engine's clock.
pub(crate) async fn check_clock(engine: Option<&Engine>) -> Vec<DoctorFinding> {
    let before = Utc::now();
    let engine_time = match engine {
        Some(engine) => engine.info().await.ok().and_then(|info| info.time.clone()),
        None => None,
    };
    let after = Utc::now();
    let engine_time = engine_time
        .and_then(|text| DateTime::parse_from_rfc3339(&text).ok())
        .map(|time| time.with_timezone(&Utc));
    vec![clock_finding(before, engine_time, after, engine.is_some())]
}

/// Compares the clocks. `engine_time` was read between `before` and `after`: a difference
/// within this interval is not skew.
fn clock_finding(
    before: DateTime<Utc>,
    engine_time: Option<DateTime<Utc>>,
    after: DateTime<Utc>,
    has_engine: bool,
) -> DoctorFinding {
    let sync_hint = "synchronize the clock: timedatectl set-ntp true";
    if before.year() < EARLIEST_YEAR {
        return DoctorFinding::error(
            "clock",
            format!(
                "the clock shows {}, which is in the past: certificates and tokens are not valid yet",
                before.format("%Y-%m-%d")
            ),
            [sync_hint],
        );
    }
    let Some(engine_time) = engine_time else {
        let detail = if has_engine {
            "the engine does not report its time"
        } else {
            NO_ENGINE
        };
        return DoctorFinding::skipped("clock", detail);
    };
    let early = (before - engine_time).num_seconds();
    let late = (engine_time - after).num_seconds();
    let skew = early.max(late).max(0);
    let direction = if early > late { "behind" } else { "ahead of" };
    let detail = format!("the engine's clock is {skew} s {direction} this machine's");
    let restart_hint =
        "restart the engine's virtual machine: its clock stands still while a laptop sleeps";
    if skew > SKEW_ERROR_SECONDS {
        DoctorFinding::error("clock", detail, [restart_hint, sync_hint])
    } else if skew > SKEW_WARNING_SECONDS {
        DoctorFinding::warning("clock", detail, [restart_hint, sync_hint])
    } else {
        DoctorFinding::ok("clock", "the same as the engine's")
    }
}

/// Checks that required names resolve.
pub(crate) async fn check_name_resolution() -> Vec<DoctorFinding> {
    let resolved: Vec<IpAddr> = tokio::net::lookup_host(("localhost", 0))
        .await
        .map(|addresses| addresses.map(|address| address.ip()).collect())
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
    let hint = ["add this line to /etc/hosts: 127.0.0.1 localhost"];
    if resolved.contains(&loopback) {
        DoctorFinding::ok("localhost", "resolves to 127.0.0.1")
    } else if let Some(first) = resolved.first() {
        DoctorFinding::error(
            "localhost",
            format!("resolves to {first} instead of 127.0.0.1, the address of the stack"),
            hint,
        )
    } else {
        DoctorFinding::error("localhost", "does not resolve", hint)
    }
}

/// Reports the state directory.
pub(crate) fn check_state_dir(state: Option<&StateDir>) -> Vec<DoctorFinding> {
    // The caller reports a state directory that cannot be opened.
    state
        .map(|state| DoctorFinding::ok("state directory", state.path().display().to_string()))
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CheckStatus;

    fn time_at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn clock_finding_ignores_the_duration_of_the_request() {
        let compare = |engine_time, after| {
            clock_finding(time_at(0), Some(time_at(engine_time)), time_at(after), true)
        };
        assert_eq!(compare(0, 0).status, CheckStatus::Ok);
        assert_eq!(compare(9, 10).status, CheckStatus::Ok);
        assert_eq!(
            compare(13, 10).detail,
            "the engine's clock is 3 s ahead of this machine's"
        );
        assert_eq!(compare(13, 10).status, CheckStatus::Warning);
        assert_eq!(
            compare(-61, 0).detail,
            "the engine's clock is 61 s behind this machine's"
        );
        assert_eq!(compare(-61, 0).status, CheckStatus::Error);
        assert_eq!(
            clock_finding(time_at(0), None, time_at(0), false).status,
            CheckStatus::Skipped
        );
        let past = DateTime::from_timestamp(0, 0).unwrap();
        assert_eq!(
            clock_finding(past, None, past, false).status,
            CheckStatus::Error
        );
    }

    #[test]
    fn low_memory_is_a_warning() {
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
    fn localhost_finding_requires_the_ipv4_loopback() {
        assert_eq!(
            localhost_finding(&["127.0.0.1".parse().unwrap()]).status,
            CheckStatus::Ok
        );
        let ipv6_only = localhost_finding(&["::1".parse().unwrap()]);
        assert!(
            ipv6_only
                .detail
                .starts_with("resolves to ::1 instead of 127.0.0.1")
        );
        assert_eq!(localhost_finding(&[]).status, CheckStatus::Error);
    }
}
