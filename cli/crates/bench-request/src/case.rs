//! What the suites measure, by the names of `--case`.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What `dm bench up` measures, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
pub enum UpCase {
    /// `dm up` on a fresh instance, with golden images.
    Golden,
    /// `dm up --no-golden` on a fresh instance, images present.
    First,
    /// `dm up` with everything running already.
    Noop,
    /// `dm status` of a running stack.
    Status,
    /// `dm --help`.
    Help,
    /// `dm reset` of a running stack.
    Reset,
    /// `dm down` of a running stack.
    Down,
}

/// What `dm bench services` measures, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
pub enum ServicesCase {
    /// How long a service takes from the start of its container until it is ready.
    Ready,
    /// Calls through the gateway beside calls of the service itself.
    Gateway,
    /// From an order to its reservation, at 50 orders a second.
    Orders,
    /// From a commit to a consumer, at 200 events a second.
    Relay,
    // Disks are busy for a while after it.
    /// Events a second through an outbox, beside a bare publisher.
    Throughput,
    /// The memory of the seven services, after all of that.
    Memory,
}

/// What `dm bench events` measures, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
pub enum EventsCase {
    /// Ten thousand dead letters sent back, beside a bare loop.
    Replay,
    /// A hundred thousand dead letters listed.
    Letters,
    /// From a server that is back until an order is through.
    Recovery,
    /// A million published events listed, and accounted for.
    Million,
    /// The relay with a million published events in its table, beside itself without.
    Among,
}

/// What `dm bench data` measures, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
pub enum DataCase {
    /// A large past seeded, beside psql's copy of the same rows.
    Seed,
    /// The schemas of the running stack, read and compared.
    Schema,
    /// A large stack saved and brought back, beside `pg_dump` and `pg_restore`.
    Backup,
    /// A stack begun anew, beside a fresh one.
    Reset,
}

/// The cases that were named, or all where none was, once each and in the order in which they
/// are measured.
#[must_use]
pub fn selected_cases<C: ValueEnum + PartialEq>(named: &[C]) -> Vec<C> {
    let all = C::value_variants().iter();
    all.filter(|case| named.is_empty() || named.contains(case))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_case_is_measured_once_and_in_its_place() {
        let named = [UpCase::Help, UpCase::Golden, UpCase::Help];
        assert_eq!(selected_cases(&named), [UpCase::Golden, UpCase::Help]);
        assert_eq!(selected_cases::<DataCase>(&[]), DataCase::value_variants());
    }
}
