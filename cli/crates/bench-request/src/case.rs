//! The cases of the suites, which `--case` names.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The cases of `dm bench up`, in the order in which they are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
pub enum UpCase {
    /// `dm up` on a fresh instance, with golden images.
    Golden,
    /// `dm up --no-golden` on a fresh instance, with all images present.
    First,
    /// `dm up` on a running stack.
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

/// The cases of `dm bench services`, in the order in which they are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
pub enum ServicesCase {
    /// Time from the start of a service's container until the service is ready.
    Ready,
    /// Requests through the gateway, beside requests to the service itself.
    Gateway,
    /// Time from an order to its reservation, at 50 orders per second.
    Orders,
    /// Time from a commit to a consumer, at 200 events per second.
    Relay,
    // This one and the next one are the last ones that write, because the disk stays busy for a
    // while.
    /// Events per second through an outbox, beside a bare publisher.
    Throughput,
    /// Pages of a list of 1,000,000 orders, and ten clients that read it.
    Lists,
    /// Memory of the seven services after the other cases.
    Memory,
}

/// The cases of `dm bench events`, in the order in which they are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
pub enum EventsCase {
    /// A replay run of 10,000 dead letters, beside a bare loop.
    Replay,
    /// A list of 100,000 dead letters.
    DeadLetters,
    /// Time from the return of a killed server to a reserved order.
    Recovery,
    /// `dm outbox ls` and `dm reconcile` with 1,000,000 published events.
    LargeTables,
    /// The relay with 1,000,000 published events in its table, beside the relay without them.
    LargeOutbox,
}

/// The cases of `dm bench data`, in the order in which they are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
pub enum DataCase {
    /// `dm seed --scale large`, beside a COPY of the same rows by psql.
    Seed,
    /// `dm schema diff` of the running stack.
    Schema,
    /// A backup and a restore of a large stack, beside `pg_dump` and `pg_restore`.
    Backup,
    /// `dm reset` with all services, beside a fresh start.
    Reset,
}

/// Returns the named cases, or all cases if `named` is empty: each once, in the order in which they
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
    fn selected_cases_are_unique_and_ordered() {
        let named = [UpCase::Help, UpCase::Golden, UpCase::Help];
        assert_eq!(selected_cases(&named), [UpCase::Golden, UpCase::Help]);
        assert_eq!(selected_cases::<DataCase>(&[]), DataCase::value_variants());
    }
}
