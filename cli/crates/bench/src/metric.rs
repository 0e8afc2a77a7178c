//! The metrics, with their units and thresholds.

use serde::Serialize;

/// A metric, in the order in which metrics are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Metric {
    /// The time of `dm up` on a fresh instance, with golden images.
    GoldenTime,
    /// The ratio of that time to docker-compose with the customary checks, in the same round.
    GoldenToCustomaryRatio,
    /// The ratio of that time to docker-compose with the tuned checks, in the same round.
    GoldenToTunedRatio,
    /// The memory of all containers after a golden start.
    GoldenMemory,
    /// The time of `dm up --no-golden` on a fresh instance.
    FirstTime,
    /// The ratio of that time to docker-compose with the customary checks, in the same round.
    FirstToCustomaryRatio,
    /// The memory of all containers after a first start.
    FirstMemory,
    /// The time of `dm up` on a running stack.
    NoopTime,
    /// The time of `dm status`.
    StatusTime,
    /// The time of `dm --help`.
    HelpTime,
    /// The time of `dm reset`.
    ResetTime,
    /// The ratio of that time to a golden start, in the same round.
    ResetToGoldenRatio,
    /// The time of `dm down --volumes`.
    DownTime,
    /// The time until the stack is healthy under docker-compose, with the customary checks.
    ComposeCustomaryTime,
    /// The memory of all containers under docker-compose, with the customary checks.
    ComposeCustomaryMemory,
    /// The time until the stack is healthy under docker-compose, with the tuned checks.
    ComposeTunedTime,
    /// The memory of all containers under docker-compose, with the tuned checks.
    ComposeTunedMemory,
    /// The time until the slowest service is ready.
    SlowestServiceReadyTime,
    /// The ratio of requests per second through the gateway to direct requests.
    GatewayThroughputRatio,
    /// The latency that the gateway adds to the median of sequential requests.
    GatewayAddedLatency,
    /// The 99th percentile of the time from the response to an order until its reservation.
    OrderReservationP99,
    /// The median of the time from commit to consumer.
    RelayLatencyP50,
    /// The 99th percentile of the time from commit to consumer.
    RelayLatencyP99,
    /// The ratio of events per second of the relay to those of a bare publisher.
    RelayThroughputRatio,
    /// The median of the latency of the first page of a million orders.
    ListFirstPageP50,
    /// The median of the latency of pages in the middle of a million orders.
    ListMiddlePageP50,
    /// The 99th percentile of the latency of these pages.
    ListPageP99,
    /// The peak memory of order-service while ten clients read from a million orders.
    ListReadersMemory,
    /// The time of its slowest readiness response meanwhile.
    ListReadersReadiness,
    /// The memory of all services.
    ServicesMemory,
    /// The ratio of replayed dead letters per second to those of a bare loop.
    ReplayThroughputRatio,
    /// The same ratio, with the time of the selection of the letters.
    ReplayWithSelectionRatio,
    /// The time of `dm dlq ls` of 100,000 letters with records.
    DeadLettersFromRecords,
    /// The time of `dm dlq ls` of 100,000 letters that it reads from the queue.
    DeadLettersRead,
    /// The ratio of that time to a bare consumer.
    DeadLettersReadRatio,
    /// The peak memory of that command.
    DeadLettersMemory,
    /// The time from the return of the broker until an order is reserved.
    BrokerRecovery,
    /// The time from the return of the database until an order is reserved.
    DatabaseRecovery,
    /// The time of `dm outbox ls` on a million rows.
    OutboxList,
    /// The time of `dm reconcile` over a million events.
    Reconcile,
    /// The ratio of the rate of the relay with a million published rows to the rate without them.
    RelayLargeOutbox,
    /// The ratio of the rate of a seed to a COPY of the same rows by psql.
    SeedThroughputRatio,
    /// The peak memory of a seed.
    SeedMemory,
    /// The time of `dm schema diff`.
    SchemaTime,
    /// The ratio of the time of a backup to that of `pg_dump`.
    BackupTimeRatio,
    /// The ratio of the time in which the database of a backup is restored to that of
    /// `pg_restore`.
    RestoreTimeRatio,
    /// The ratio of the time of a reset with all services to that of a golden start.
    ResetWithServicesRatio,
}

/// The unit of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum MetricUnit {
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// The ratio of two measurements in the same round.
    Ratio,
}

/// The threshold for the median of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Threshold {
    /// At least this value.
    AtLeast(f64),
    /// At most this value.
    AtMost(f64),
}

impl Threshold {
    /// Returns whether a value meets the threshold.
    pub(crate) fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(limit) => value >= limit,
            Self::AtMost(limit) => value <= limit,
        }
    }
}

/// Bytes of a megabyte.
const MEGABYTE: f64 = 1e6;

impl MetricUnit {
    /// Formats a value with its unit.
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
    /// Returns the label.
    pub(crate) const fn description(self) -> &'static str {
        match self {
            Self::GoldenTime => "golden: dm up, fresh, golden images",
            Self::GoldenToCustomaryRatio => "golden: ratio to compose, 10 s checks",
            Self::GoldenToTunedRatio => "golden: ratio to compose, 1 s checks",
            Self::GoldenMemory => "golden: memory of all containers",
            Self::FirstTime => "first: dm up, fresh, no golden images",
            Self::FirstToCustomaryRatio => "first: ratio to compose, 10 s checks",
            Self::FirstMemory => "first: memory of all containers",
            Self::NoopTime => "noop: dm up, everything running",
            Self::StatusTime => "status: dm status",
            Self::HelpTime => "help: dm --help",
            Self::ResetTime => "reset: dm reset",
            Self::ResetToGoldenRatio => "reset: ratio to a golden start",
            Self::DownTime => "down: dm down --volumes",
            Self::ComposeCustomaryTime => "compose, 10 s checks: time until healthy",
            Self::ComposeCustomaryMemory => "compose, 10 s checks: memory",
            Self::ComposeTunedTime => "compose, 1 s checks: time until healthy",
            Self::ComposeTunedMemory => "compose, 1 s checks: memory",
            Self::SlowestServiceReadyTime => "slowest service: time until ready",
            Self::GatewayThroughputRatio => "gateway: requests/s, ratio to direct requests",
            Self::GatewayAddedLatency => "gateway: added latency, p50",
            Self::OrderReservationP99 => "order: placed to RESERVED, p99",
            Self::RelayLatencyP50 => "relay: commit to consumer, p50",
            Self::RelayLatencyP99 => "relay: commit to consumer, p99",
            Self::RelayThroughputRatio => "relay: events/s, ratio to a bare publisher",
            Self::ListFirstPageP50 => "list of 1,000,000 orders: first page, p50",
            Self::ListMiddlePageP50 => "list of 1,000,000 orders: page in the middle, p50",
            Self::ListPageP99 => "list of 1,000,000 orders: these pages, p99",
            Self::ListReadersMemory => "ten readers of this list: memory of order-service",
            Self::ListReadersReadiness => "ten readers of this list: slowest readiness",
            Self::ServicesMemory => "seven services: memory",
            Self::ReplayThroughputRatio => "dlq replay of 10,000: letters/s, ratio to a bare loop",
            Self::ReplayWithSelectionRatio => "dlq replay of 10,000: the same, with the selection",
            Self::DeadLettersFromRecords => "dlq ls of 100,000, from records: time",
            Self::DeadLettersRead => "dlq ls of 100,000, read: time",
            Self::DeadLettersReadRatio => "dlq ls of 100,000, read: ratio to a bare consumer",
            Self::DeadLettersMemory => "dlq ls of 100,000, read: memory",
            Self::BrokerRecovery => "broker available to order reserved",
            Self::DatabaseRecovery => "database available to order reserved",
            Self::OutboxList => "outbox ls with 1,000,000 events",
            Self::Reconcile => "reconcile with 1,000,000 events",
            Self::RelayLargeOutbox => "relay with 1,000,000 published: events/s, ratio to without",
            Self::SeedThroughputRatio => "seed of 100,000 orders: rows/s, ratio to COPY by psql",
            Self::SeedMemory => "seed of 100,000 orders: memory",
            Self::SchemaTime => "schema diff: time",
            Self::BackupTimeRatio => "backup of 100,000 orders: time, ratio to pg_dump",
            Self::RestoreTimeRatio => "restore of its database: time, ratio to pg_restore",
            Self::ResetWithServicesRatio => {
                "reset with all services: time, ratio to a golden start"
            }
        }
    }

    /// Returns the unit.
    pub(crate) const fn unit(self) -> MetricUnit {
        match self {
            Self::GoldenToCustomaryRatio
            | Self::GoldenToTunedRatio
            | Self::FirstToCustomaryRatio
            | Self::ResetToGoldenRatio
            | Self::GatewayThroughputRatio
            | Self::RelayThroughputRatio
            | Self::ReplayThroughputRatio
            | Self::ReplayWithSelectionRatio
            | Self::DeadLettersReadRatio
            | Self::RelayLargeOutbox
            | Self::SeedThroughputRatio
            | Self::BackupTimeRatio
            | Self::RestoreTimeRatio
            | Self::ResetWithServicesRatio => MetricUnit::Ratio,
            Self::GoldenMemory
            | Self::FirstMemory
            | Self::ComposeCustomaryMemory
            | Self::ComposeTunedMemory
            | Self::ListReadersMemory
            | Self::ServicesMemory
            | Self::DeadLettersMemory
            | Self::SeedMemory => MetricUnit::Bytes,
            Self::GoldenTime
            | Self::FirstTime
            | Self::NoopTime
            | Self::StatusTime
            | Self::HelpTime
            | Self::ResetTime
            | Self::DownTime
            | Self::ComposeCustomaryTime
            | Self::ComposeTunedTime
            | Self::SlowestServiceReadyTime
            | Self::GatewayAddedLatency
            | Self::OrderReservationP99
            | Self::RelayLatencyP50
            | Self::RelayLatencyP99
            | Self::ListFirstPageP50
            | Self::ListMiddlePageP50
            | Self::ListPageP99
            | Self::ListReadersReadiness
            | Self::DeadLettersFromRecords
            | Self::DeadLettersRead
            | Self::BrokerRecovery
            | Self::DatabaseRecovery
            | Self::OutboxList
            | Self::Reconcile
            | Self::SchemaTime => MetricUnit::Seconds,
        }
    }

    /// Returns the threshold, or `None` if the metric is informational or part of a ratio.
    pub(crate) const fn threshold(self) -> Option<Threshold> {
        Some(match self {
            Self::GoldenTime
            | Self::GoldenMemory
            | Self::FirstTime
            | Self::FirstMemory
            | Self::ResetTime
            | Self::DownTime
            | Self::ComposeCustomaryTime
            | Self::ComposeCustomaryMemory
            | Self::ComposeTunedTime
            | Self::ComposeTunedMemory
            | Self::ListPageP99
            | Self::ListReadersReadiness => return None,
            Self::GoldenToCustomaryRatio => Threshold::AtMost(0.18),
            Self::GoldenToTunedRatio => Threshold::AtMost(0.35),
            Self::FirstToCustomaryRatio => Threshold::AtMost(0.6),
            Self::NoopTime => Threshold::AtMost(0.1),
            Self::StatusTime => Threshold::AtMost(0.06),
            Self::HelpTime => Threshold::AtMost(0.015),
            Self::ResetToGoldenRatio => Threshold::AtMost(0.5),
            Self::SlowestServiceReadyTime => Threshold::AtMost(1.0),
            Self::GatewayThroughputRatio => Threshold::AtLeast(0.6),
            Self::GatewayAddedLatency => Threshold::AtMost(0.001_5),
            Self::OrderReservationP99 => Threshold::AtMost(0.1),
            Self::RelayLatencyP50 => Threshold::AtMost(0.005),
            Self::RelayLatencyP99 => Threshold::AtMost(0.025),
            Self::RelayThroughputRatio => Threshold::AtLeast(0.8),
            Self::ListFirstPageP50 | Self::ListMiddlePageP50 => Threshold::AtMost(0.01),
            Self::ListReadersMemory => Threshold::AtMost(40.0 * MEGABYTE),
            Self::ServicesMemory => Threshold::AtMost(150.0 * MEGABYTE),
            Self::ReplayThroughputRatio | Self::ReplayWithSelectionRatio => Threshold::AtLeast(0.8),
            Self::DeadLettersFromRecords => Threshold::AtMost(1.0),
            Self::DeadLettersRead => Threshold::AtMost(20.0),
            Self::DeadLettersReadRatio => Threshold::AtMost(1.25),
            Self::DeadLettersMemory => Threshold::AtMost(100.0 * MEGABYTE),
            Self::BrokerRecovery | Self::DatabaseRecovery => Threshold::AtMost(5.0),
            Self::OutboxList => Threshold::AtMost(0.2),
            Self::Reconcile => Threshold::AtMost(20.0),
            Self::RelayLargeOutbox => Threshold::AtLeast(0.9),
            Self::SeedThroughputRatio => Threshold::AtLeast(0.8),
            Self::SeedMemory => Threshold::AtMost(500.0 * MEGABYTE),
            Self::SchemaTime => Threshold::AtMost(1.5),
            Self::BackupTimeRatio => Threshold::AtMost(1.1),
            Self::RestoreTimeRatio => Threshold::AtMost(1.15),
            Self::ResetWithServicesRatio => Threshold::AtMost(0.5),
        })
    }

    /// Returns the time on which a ratio depends. Its breakdown explains a missed target.
    pub(crate) const fn underlying_time(self) -> Self {
        match self {
            Self::GoldenToCustomaryRatio | Self::GoldenToTunedRatio => Self::GoldenTime,
            Self::FirstToCustomaryRatio => Self::FirstTime,
            Self::ResetToGoldenRatio => Self::ResetTime,
            other => other,
        }
    }

    /// Formats a value with its unit.
    pub(crate) fn format_value(self, value: f64) -> String {
        self.unit().format_value(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threshold_includes_its_limit() {
        assert!(Threshold::AtMost(0.25).is_met(0.25));
        assert!(!Threshold::AtMost(0.25).is_met(0.251));
        assert!(Threshold::AtLeast(0.8).is_met(0.8));
        assert!(!Threshold::AtLeast(0.8).is_met(0.799));
    }

    #[test]
    fn format_value_chooses_the_precision_by_magnitude() {
        let seconds = [0.004_21, 0.25, 36.1].map(|value| MetricUnit::Seconds.format_value(value));
        assert_eq!(seconds, ["4.2 ms", "250 ms", "36.10 s"]);
        assert_eq!(MetricUnit::Bytes.format_value(1.2e9), "1200 MB");
        assert_eq!(MetricUnit::Ratio.format_value(0.333), "0.33");
    }
}
