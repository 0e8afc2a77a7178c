//! Logs and metrics.

mod logs;
pub mod metrics;

pub use logs::{cut, init as init_logs};
pub use metrics::Metrics;
