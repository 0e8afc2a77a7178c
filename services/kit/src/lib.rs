//! The library that all services are built on.
//!
//! ```text
//! launch      settings → database, broker → schema check → serve → drain
//! http        trace headers, error envelope, caller, bodies, health, API description
//! outbox      events written with the change, then relayed to the broker
//! inbox       events processed once, retried, or dead-lettered
//! fail_point  steps at which a test build can exit, pause or panic
//! retention   removal of expired rows
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
#[cfg(test)]
mod server_tests;
pub mod telemetry;
pub mod trace;

pub use database::{Database, Transaction};
pub use environment::Environment;
pub use launch::{
    Platform, ServiceInfo, ServiceParts, ServiceSchema, StartError, StatelessServiceParts, run,
    run_stateless,
};
pub use trace::Trace;
