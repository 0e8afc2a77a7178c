//! What is measured of the services, and what it is held against.

use clap::ValueEnum;
use serde::Serialize;

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Case {
    /// How long a service takes from the start of its container until it is ready.
    Ready,
    /// Calls through the gateway beside calls of the service itself.
    Gateway,
    /// From an order to its reservation, at 50 orders a second.
    Orders,
    /// From a commit to a consumer, at 200 events a second.
    Relay,
    /// Events a second through an outbox, beside a bare publisher.
    Throughput,
    /// The memory of the seven services, after all of that.
    Memory,
    /// Ten thousand dead letters sent back, beside a bare loop.
    Replay,
    /// A hundred thousand dead letters listed.
    Letters,
    /// A million published events listed, and accounted for.
    Million,
    /// The relay with a million published events in its table, beside itself without.
    Among,
    /// From a server that is back until an order is through.
    Recovery,
    /// A large past seeded, beside psql's copy of the same rows.
    Seed,
    /// The schemas of the running stack, read and compared.
    Schema,
    /// A large stack saved and brought back, beside `pg_dump` and `pg_restore`.
    Backup,
    /// A stack begun anew, beside a fresh one.
    Reset,
}

impl Case {
    /// What `dm bench services` measures, in this order.
    pub const SERVICES: [Self; 6] = [
        Self::Ready,
        Self::Gateway,
        Self::Orders,
        Self::Relay,
        // Disks are busy for a while after it.
        Self::Throughput,
        Self::Memory,
    ];

    /// What `dm bench data` measures, in this order.
    pub const DATA: [Self; 4] = [Self::Seed, Self::Schema, Self::Backup, Self::Reset];

    /// What `dm bench events` measures, in this order.
    pub const EVENTS: [Self; 5] = [
        Self::Replay,
        Self::Letters,
        Self::Recovery,
        Self::Million,
        Self::Among,
    ];
}

/// One figure that comes out of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Figure {
    /// Requests a second through the gateway, as a share of those without it.
    GatewayRate,
    /// What the gateway adds to the median of one call after the other, in seconds.
    GatewayDelay,
    /// The median from commit to consumer, in seconds.
    RelayMedian,
    /// The 99th percentile of that.
    RelaySlowest,
    /// Events a second by the relay, as a share of a bare publisher's.
    RelayRate,
    /// The 99th percentile from an order's answer to its reservation, in seconds.
    OrderSlowest,
    /// The memory of all services, in bytes.
    Memory,
    /// The slowest service's time until ready, in seconds.
    Ready,
    /// Dead letters a second sent back, as a share of a bare loop's.
    ReplayRate,
    /// The same with the look that finds them.
    ReplayWhole,
    /// The time of `dm dlq ls` over 100,000 letters, in seconds.
    LettersTime,
    /// The same where the queue has to be read.
    LettersRead,
    /// That time, as a share of what a bare look takes.
    LettersLook,
    /// The most memory that it takes, in bytes.
    LettersMemory,
    /// The time of `dm outbox ls` on a million rows, in seconds.
    OutboxList,
    /// The time of `dm reconcile` over a million events, in seconds.
    Reconcile,
    /// The relay's rate among a million published rows, as a share of that without them.
    RelayAmong,
    /// From a broker that is back until an order is reserved, in seconds.
    BrokerRecovery,
    /// From a database that is back until an order is reserved, in seconds.
    DatabaseRecovery,
    /// The rate of a seed, as a share of psql's copying the same rows.
    SeedRate,
    /// The most memory that it takes, in bytes.
    SeedMemory,
    /// The time in which all schemas are read and compared, in seconds.
    SchemaTime,
    /// The time of a backup, of that of `pg_dump` alone.
    BackupTime,
    /// The time until a backup's database is there, of that of `pg_restore` alone.
    RestoreTime,
    /// The time of a reset, of that of a fresh start on golden images.
    ResetTime,
}

/// What a figure should be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
}

impl Target {
    /// Whether a value is as it should be.
    #[must_use]
    pub fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(limit) => value >= limit,
            Self::AtMost(limit) => value <= limit,
        }
    }
}

/// A megabyte.
const MEGABYTE: f64 = 1e6;

impl Figure {
    /// What it is, in a few words.
    #[must_use]
    pub const fn what(self) -> &'static str {
        match self {
            Self::GatewayRate => "gateway: requests/s, of a direct call's",
            Self::GatewayDelay => "gateway: more at the median",
            Self::RelayMedian => "relay: commit to consumer, p50",
            Self::RelaySlowest => "relay: commit to consumer, p99",
            Self::RelayRate => "relay: events/s, of a bare publisher's",
            Self::OrderSlowest => "order: placed to RESERVED, p99",
            Self::Memory => "seven services: memory",
            Self::Ready => "slowest service: ready",
            Self::ReplayRate => "dlq replay of 10,000: letters/s, of a bare loop's",
            Self::ReplayWhole => "the same, with the look for them",
            Self::LettersTime => "dlq ls over 100,000, from records",
            Self::LettersRead => "dlq ls over 100,000, read",
            Self::LettersLook => "dlq ls over 100,000, read: of a bare look's",
            Self::LettersMemory => "dlq ls over 100,000, read: memory",
            Self::OutboxList => "outbox ls on 1,000,000",
            Self::Reconcile => "reconcile over 1,000,000",
            Self::RelayAmong => "relay among 1,000,000 published: events/s, of those alone",
            Self::BrokerRecovery => "broker back to order reserved",
            Self::DatabaseRecovery => "database back to order reserved",
            Self::SeedRate => "seed of 100,000 orders: rows/s, of psql's copy",
            Self::SeedMemory => "seed of 100,000 orders: memory",
            Self::SchemaTime => "schemas of everything, read and compared",
            Self::BackupTime => "backup of 100,000 orders: time, of pg_dump's",
            Self::RestoreTime => "its database brought back: time, of pg_restore's",
            Self::ResetTime => "reset of a stack with all services: time, of a golden start's",
        }
    }

    /// What it should be.
    #[must_use]
    pub const fn target(self) -> Target {
        match self {
            Self::GatewayRate => Target::AtLeast(0.6),
            Self::GatewayDelay => Target::AtMost(0.001_5),
            Self::RelayMedian => Target::AtMost(0.005),
            Self::RelaySlowest => Target::AtMost(0.025),
            Self::RelayRate => Target::AtLeast(0.8),
            Self::OrderSlowest => Target::AtMost(0.1),
            Self::Memory => Target::AtMost(150.0 * MEGABYTE),
            Self::Ready => Target::AtMost(1.0),
            Self::ReplayRate | Self::ReplayWhole => Target::AtLeast(0.8),
            Self::LettersTime => Target::AtMost(1.0),
            Self::LettersLook => Target::AtMost(1.25),
            Self::SeedRate => Target::AtLeast(0.8),
            Self::SeedMemory => Target::AtMost(500.0 * MEGABYTE),
            Self::SchemaTime => Target::AtMost(1.5),
            Self::BackupTime => Target::AtMost(1.1),
            Self::RestoreTime => Target::AtMost(1.15),
            Self::ResetTime => Target::AtMost(0.5),
            Self::LettersMemory => Target::AtMost(100.0 * MEGABYTE),
            Self::OutboxList => Target::AtMost(0.2),
            Self::Reconcile | Self::LettersRead => Target::AtMost(20.0),
            Self::RelayAmong => Target::AtLeast(0.9),
            Self::BrokerRecovery | Self::DatabaseRecovery => Target::AtMost(5.0),
        }
    }

    /// A value of it, with its unit.
    #[must_use]
    pub fn show(self, value: f64) -> String {
        match self {
            Self::GatewayRate
            | Self::RelayRate
            | Self::ReplayRate
            | Self::ReplayWhole
            | Self::LettersLook
            | Self::SeedRate
            | Self::BackupTime
            | Self::RestoreTime
            | Self::ResetTime
            | Self::RelayAmong => {
                format!("{value:.2}")
            }
            Self::Memory | Self::LettersMemory | Self::SeedMemory => {
                format!("{:.0} MB", value / MEGABYTE)
            }
            _ if value.abs() < 0.01 => format!("{:.1} ms", value * 1e3),
            _ => format!("{:.0} ms", value * 1e3),
        }
    }
}
