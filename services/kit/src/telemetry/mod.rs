//! Logs and metrics.

mod logs;
pub(crate) mod metrics;

pub use logs::{init as init_logs, truncate};
pub use metrics::Metrics;
