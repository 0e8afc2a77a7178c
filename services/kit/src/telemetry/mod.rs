//! Logs and metrics.

#[cfg(test)]
mod captured_log;
mod logs;
pub(crate) mod metrics;

#[cfg(test)]
pub(crate) use captured_log::CapturedLog;
pub use logs::{init as init_logs, truncate};
pub use metrics::Metrics;
