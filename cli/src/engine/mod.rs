//! The container engine: the only place that knows bollard.

pub mod containers;
pub mod error;
pub mod exec;
pub mod images;
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
    /// Temporary.
    pub async fn connect(_: &crate::config::Engine) -> Result<Self, EngineError> {
        let docker =
            bollard::Docker::connect_with_local_defaults().map_err(EngineError::api("connect"))?;
        Ok(Self { docker })
    }

    /// An engine behind a connection that exists already.
    #[must_use]
    pub const fn from_docker(docker: bollard::Docker) -> Self {
        Self { docker }
    }

    pub(crate) fn docker(&self) -> &bollard::Docker {
        &self.docker
    }
}
