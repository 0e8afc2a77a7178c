//! Logs and metrics.

mod logs;
pub(crate) mod metrics;

pub use logs::{cut, init as init_logs};
pub use metrics::Metrics;
