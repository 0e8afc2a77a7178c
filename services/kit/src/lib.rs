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
pub mod retention;
pub mod telemetry;
pub mod trace;
mod waker;

pub use database::{Database, Transaction};
pub use environment::Environment;
pub use launch::{Description, Front, Parts, Platform, Schema, StartError, run, run_stateless};
pub use trace::Trace;
