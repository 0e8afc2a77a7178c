//! What every service is made of.
//!
//! ```text
//! launch      settings → database, broker → schema check → serve → drain
//! http        trace headers, error envelope, caller, bodies, health, docs
//! outbox      events written with the change, then relayed to the broker
//! inbox       events handled once, retried, or set aside as dead letters
//! fail_point  where a test build can be made to end, as if killed
//! retention   rows that are old enough go
//! telemetry   logs as JSON lines, metrics as Prometheus text
//! ```

pub(crate) mod broker;
pub(crate) mod database;
pub(crate) mod environment;
pub(crate) mod fail_point;
pub mod http;
pub mod inbox;
pub(crate) mod launch;
pub mod outbox;
mod relay_notifier;
pub mod retention;
pub mod telemetry;
pub mod trace;

pub use database::{Database, Transaction};
pub use environment::Environment;
pub use launch::{
    Platform, ServiceInfo, ServiceParts, ServiceSchema, StartError, StatelessServiceParts, run,
    run_stateless,
};
pub use trace::Trace;
