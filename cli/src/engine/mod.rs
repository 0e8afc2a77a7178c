//! The container engine: the only place that knows bollard.

pub mod containers;
pub mod error;
pub mod exec;
pub mod labels;
pub mod logs;
pub mod networks;
pub mod spec;
pub mod volumes;

pub use error::EngineError;

/// A connection to the container engine.
#[derive(Debug, Clone)]
pub struct Engine {
    docker: bollard::Docker,
}

impl Engine {
    pub(crate) fn docker(&self) -> &bollard::Docker {
        &self.docker
    }
}
