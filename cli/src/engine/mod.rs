//! The container engine: the only place that knows bollard.

pub mod error;
pub mod images;

pub use error::EngineError;

/// A connection to a container engine.
#[derive(Debug, Clone)]
pub struct Engine {
    docker: bollard::Docker,
}

impl Engine {
    /// An engine behind a connection that exists already.
    #[must_use]
    pub const fn from_docker(docker: bollard::Docker) -> Self {
        Self { docker }
    }

    /// The API client.
    pub(crate) const fn docker(&self) -> &bollard::Docker {
        &self.docker
    }
}
