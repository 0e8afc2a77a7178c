//! What there is to measure: each figure with its unit, and what it should be.

use serde::Serialize;

/// A figure that comes out of a case, in the order in which figures are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Metric {
    /// The time of `dm up` on a fresh instance, with golden images.
    GoldenTime,
    /// That time, of docker-compose's with the customary checks in the same round.
    GoldenOfCustomary,
    /// The same with the tuned checks.
    GoldenOfTuned,
    /// The memory of all containers after a golden start.
    GoldenMemory,
    /// The time of `dm up --no-golden` on a fresh instance.
    FirstTime,
    /// That time, of docker-compose's with the customary checks in the same round.
    FirstOfCustomary,
    /// The memory of all containers after a first start.
    FirstMemory,
    /// The time of `dm up` with everything running already.
    NoopTime,
    /// The time of `dm status`.
    StatusTime,
    /// The time of `dm --help`.
    HelpTime,
    /// The time of `dm reset`.
    ResetTime,
    /// That time, of a golden start's in the same round.
    ResetOfGolden,
    /// The time of `dm down --volumes`.
    DownTime,
    /// The time until the stack is healthy under docker-compose, with the customary checks.
    CustomaryTime,
    /// The memory of all its containers then.
    CustomaryMemory,
    /// The time until the stack is healthy under docker-compose, with the tuned checks.
    TunedTime,
    /// The memory of all its containers then.
    TunedMemory,
    /// The slowest service's time until ready.
    Ready,
    /// Requests a second through the gateway, of those without it.
    GatewayRate,
    /// What the gateway adds to the median of one call after the other.
    GatewayDelay,
    /// The 99th percentile from an order's answer to its reservation.
    OrderSlowest,
    /// The median from commit to consumer.
    RelayMedian,
    /// The 99th percentile of that.
    RelaySlowest,
    /// Events a second by the relay, of a bare publisher's.
    RelayRate,
    /// The memory of all services.
    ServicesMemory,
    /// Dead letters a second sent back, of a bare loop's.
    ReplayRate,
    /// The same with the look that finds them.
    ReplayWhole,
    /// The time of `dm dlq ls` over 100,000 letters.
    LettersTime,
    /// The same where the queue has to be read.
    LettersRead,
    /// That time, of what a bare look takes.
    LettersLook,
    /// The most memory that it takes.
    LettersMemory,
    /// From a broker that is back until an order is reserved.
    BrokerRecovery,
    /// From a database that is back until an order is reserved.
    DatabaseRecovery,
    /// The time of `dm outbox ls` on a million rows.
    OutboxList,
    /// The time of `dm reconcile` over a million events.
    Reconcile,
    /// The relay's rate among a million published rows, of that without them.
    RelayAmong,
    /// The rate of a seed, of psql's copying the same rows.
    SeedRate,
    /// The most memory that it takes.
    SeedMemory,
    /// The time in which all schemas are read and compared.
    SchemaTime,
    /// The time of a backup, of that of `pg_dump` alone.
    BackupTime,
    /// The time until a backup's database is there, of that of `pg_restore` alone.
    RestoreTime,
    /// The time of a reset with all services, of that of a golden start.
    ResetWithServices,
}

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum MetricUnit {
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// One measurement as a share of another one in the same round.
    Ratio,
}

/// What the median of a figure should be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Threshold {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
}

impl Threshold {
    /// Whether a value is as it should be.
    pub(crate) fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(limit) => value >= limit,
            Self::AtMost(limit) => value <= limit,
        }
    }
}

/// A megabyte.
const MEGABYTE: f64 = 1e6;

impl MetricUnit {
    /// A value with its unit.
    pub(crate) fn format_value(self, value: f64) -> String {
        match self {
            Self::Ratio => format!("{value:.2}"),
            Self::Bytes => format!("{:.0} MB", value / MEGABYTE),
            Self::Seconds if value.abs() < 0.01 => format!("{:.1} ms", value * 1e3),
            Self::Seconds if value.abs() < 1.0 => format!("{:.0} ms", value * 1e3),
            Self::Seconds => format!("{value:.2} s"),
        }
    }
}

impl Metric {
    /// What it is, in a few words.
    pub(crate) const fn description(self) -> &'static str {
        match self {
            Self::GoldenTime => "golden: dm up, fresh, golden images",
            Self::GoldenOfCustomary => "golden: of compose, 10 s checks",
            Self::GoldenOfTuned => "golden: of compose, 1 s checks",
            Self::GoldenMemory => "golden: memory of all containers",
            Self::FirstTime => "first: dm up, fresh, no golden images",
            Self::FirstOfCustomary => "first: of compose, 10 s checks",
            Self::FirstMemory => "first: memory of all containers",
            Self::NoopTime => "noop: dm up, everything running",
            Self::StatusTime => "status: dm status",
            Self::HelpTime => "help: dm --help",
            Self::ResetTime => "reset: dm reset",
            Self::ResetOfGolden => "reset: of a golden start",
            Self::DownTime => "down: dm down --volumes",
            Self::CustomaryTime => "compose, 10 s checks: up, all healthy",
            Self::CustomaryMemory => "compose, 10 s checks: memory",
            Self::TunedTime => "compose, 1 s checks: up, all healthy",
            Self::TunedMemory => "compose, 1 s checks: memory",
            Self::Ready => "slowest service: ready",
            Self::GatewayRate => "gateway: requests/s, of a direct call's",
            Self::GatewayDelay => "gateway: more at the median",
            Self::OrderSlowest => "order: placed to RESERVED, p99",
            Self::RelayMedian => "relay: commit to consumer, p50",
            Self::RelaySlowest => "relay: commit to consumer, p99",
            Self::RelayRate => "relay: events/s, of a bare publisher's",
            Self::ServicesMemory => "seven services: memory",
            Self::ReplayRate => "dlq replay of 10,000: letters/s, of a bare loop's",
            Self::ReplayWhole => "the same, with the look for them",
            Self::LettersTime => "dlq ls over 100,000, from records",
            Self::LettersRead => "dlq ls over 100,000, read",
            Self::LettersLook => "dlq ls over 100,000, read: of a bare look's",
            Self::LettersMemory => "dlq ls over 100,000, read: memory",
            Self::BrokerRecovery => "broker back to order reserved",
            Self::DatabaseRecovery => "database back to order reserved",
            Self::OutboxList => "outbox ls on 1,000,000",
            Self::Reconcile => "reconcile over 1,000,000",
            Self::RelayAmong => "relay among 1,000,000 published: events/s, of those alone",
            Self::SeedRate => "seed of 100,000 orders: rows/s, of psql's copy",
            Self::SeedMemory => "seed of 100,000 orders: memory",
            Self::SchemaTime => "schemas of everything, read and compared",
            Self::BackupTime => "backup of 100,000 orders: time, of pg_dump's",
            Self::RestoreTime => "its database brought back: time, of pg_restore's",
            Self::ResetWithServices => {
                "reset of a stack with all services: time, of a golden start's"
            }
        }
    }

    /// What it counts.
    pub(crate) const fn unit(self) -> MetricUnit {
        match self {
            Self::GoldenOfCustomary
            | Self::GoldenOfTuned
            | Self::FirstOfCustomary
            | Self::ResetOfGolden
            | Self::GatewayRate
            | Self::RelayRate
            | Self::ReplayRate
            | Self::ReplayWhole
            | Self::LettersLook
            | Self::RelayAmong
            | Self::SeedRate
            | Self::BackupTime
            | Self::RestoreTime
            | Self::ResetWithServices => MetricUnit::Ratio,
            Self::GoldenMemory
            | Self::FirstMemory
            | Self::CustomaryMemory
            | Self::TunedMemory
            | Self::ServicesMemory
            | Self::LettersMemory
            | Self::SeedMemory => MetricUnit::Bytes,
            Self::GoldenTime
            | Self::FirstTime
            | Self::NoopTime
            | Self::StatusTime
            | Self::HelpTime
            | Self::ResetTime
            | Self::DownTime
            | Self::CustomaryTime
            | Self::TunedTime
            | Self::Ready
            | Self::GatewayDelay
            | Self::OrderSlowest
            | Self::RelayMedian
            | Self::RelaySlowest
            | Self::LettersTime
            | Self::LettersRead
            | Self::BrokerRecovery
            | Self::DatabaseRecovery
            | Self::OutboxList
            | Self::Reconcile
            | Self::SchemaTime => MetricUnit::Seconds,
        }
    }

    /// What it should be; nothing where it is measured for information, or for a ratio.
    pub(crate) const fn threshold(self) -> Option<Threshold> {
        Some(match self {
            Self::GoldenTime
            | Self::GoldenMemory
            | Self::FirstTime
            | Self::FirstMemory
            | Self::ResetTime
            | Self::DownTime
            | Self::CustomaryTime
            | Self::CustomaryMemory
            | Self::TunedTime
            | Self::TunedMemory => return None,
            Self::GoldenOfCustomary => Threshold::AtMost(0.25),
            Self::GoldenOfTuned => Threshold::AtMost(0.35),
            Self::FirstOfCustomary => Threshold::AtMost(0.6),
            Self::NoopTime => Threshold::AtMost(0.4),
            Self::StatusTime => Threshold::AtMost(0.15),
            Self::HelpTime => Threshold::AtMost(0.015),
            Self::ResetOfGolden => Threshold::AtMost(0.5),
            Self::Ready => Threshold::AtMost(1.0),
            Self::GatewayRate => Threshold::AtLeast(0.6),
            Self::GatewayDelay => Threshold::AtMost(0.001_5),
            Self::OrderSlowest => Threshold::AtMost(0.1),
            Self::RelayMedian => Threshold::AtMost(0.005),
            Self::RelaySlowest => Threshold::AtMost(0.025),
            Self::RelayRate => Threshold::AtLeast(0.8),
            Self::ServicesMemory => Threshold::AtMost(150.0 * MEGABYTE),
            Self::ReplayRate | Self::ReplayWhole => Threshold::AtLeast(0.8),
            Self::LettersTime => Threshold::AtMost(1.0),
            Self::LettersRead => Threshold::AtMost(20.0),
            Self::LettersLook => Threshold::AtMost(1.25),
            Self::LettersMemory => Threshold::AtMost(100.0 * MEGABYTE),
            Self::BrokerRecovery | Self::DatabaseRecovery => Threshold::AtMost(5.0),
            Self::OutboxList => Threshold::AtMost(0.2),
            Self::Reconcile => Threshold::AtMost(20.0),
            Self::RelayAmong => Threshold::AtLeast(0.9),
            Self::SeedRate => Threshold::AtLeast(0.8),
            Self::SeedMemory => Threshold::AtMost(500.0 * MEGABYTE),
            Self::SchemaTime => Threshold::AtMost(1.5),
            Self::BackupTime => Threshold::AtMost(1.1),
            Self::RestoreTime => Threshold::AtMost(1.15),
            Self::ResetWithServices => Threshold::AtMost(0.5),
        })
    }

    /// The time that it depends on: where that goes says why a target is missed.
    pub(crate) const fn underlying_time(self) -> Self {
        match self {
            Self::GoldenOfCustomary | Self::GoldenOfTuned => Self::GoldenTime,
            Self::FirstOfCustomary => Self::FirstTime,
            Self::ResetOfGolden => Self::ResetTime,
            other => other,
        }
    }

    /// A value with its unit.
    pub(crate) fn format_value(self, value: f64) -> String {
        self.unit().format_value(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_at_its_limit_and_missed_beyond() {
        assert!(Threshold::AtMost(0.25).is_met(0.25));
        assert!(!Threshold::AtMost(0.25).is_met(0.251));
        assert!(Threshold::AtLeast(0.8).is_met(0.8));
        assert!(!Threshold::AtLeast(0.8).is_met(0.799));
    }

    #[test]
    fn values_are_shown_as_finely_as_they_matter() {
        let seconds = [0.004_21, 0.25, 36.1].map(|value| MetricUnit::Seconds.format_value(value));
        assert_eq!(seconds, ["4.2 ms", "250 ms", "36.10 s"]);
        assert_eq!(MetricUnit::Bytes.format_value(1.2e9), "1200 MB");
        assert_eq!(MetricUnit::Ratio.format_value(0.333), "0.33");
    }
}
