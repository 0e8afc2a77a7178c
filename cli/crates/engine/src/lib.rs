//! The client of the container engine: the only crate that uses bollard.

mod container_files;
pub mod containers;
pub mod discovery;
mod docker_context;
mod engine_info;
mod error;
pub mod exec;
mod exec_guard;
pub mod images;
pub mod labelled_objects;
pub mod logs;
mod message_stream;
mod networks;
pub mod published_ports;
mod refusal;
pub mod spec;
#[cfg(test)]
mod test_support;
pub mod throwaway;
mod volumes;

use std::sync::Arc;

use bollard::Docker;
use tokio::sync::OnceCell;

pub use discovery::{DiscoverySource, EngineDiscovery, EngineSettings, FailedCandidate};
pub use engine_info::{EngineInfo, EngineKind, EngineVersion};
pub use error::EngineError;
pub use refusal::EngineRefusal;

/// A connected engine. A clone is cheap and shares the connection.
#[derive(Debug, Clone)]
pub struct Engine {
    docker: Docker,
    discovery: EngineDiscovery,
    version: EngineVersion,
    info: Arc<OnceCell<EngineInfo>>,
}

impl Engine {
    /// Finds the engine and queries its version: one call, a few milliseconds.
    ///
    /// # Errors
    /// Returns [`EngineError::NotFound`] if no engine answers, and [`EngineError::TooOld`] if
    /// its API version is too old.
    pub async fn connect(settings: &EngineSettings) -> Result<Self, EngineError> {
        let (docker, discovery, version) = discovery::discover(settings).await?;
        Ok(Self {
            docker,
            discovery,
            version: version.into(),
            info: Arc::default(),
        })
    }

    /// Returns the client. A clone is cheap and shares the connection.
    #[must_use]
    pub(crate) fn docker(&self) -> &Docker {
        &self.docker
    }

    /// Returns the address of the engine and why it was chosen.
    #[must_use]
    pub const fn discovery(&self) -> &EngineDiscovery {
        &self.discovery
    }

    /// Returns the version that the engine reported when it was found.
    #[must_use]
    pub const fn version(&self) -> &EngineVersion {
        &self.version
    }

    /// Returns details of the engine, which are queried once.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] if the query fails.
    pub async fn info(&self) -> Result<&EngineInfo, EngineError> {
        self.info
            .get_or_try_init(|| async {
                let info = self.docker.info().await;
                info.map(EngineInfo::from)
                    .map_err(EngineError::api("query the engine"))
            })
            .await
    }

    /// Returns whether the engine shares the file system and ports of this machine: false for
    /// an engine on the network or in a virtual machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        cfg!(target_os = "linux") && self.discovery.address.starts_with("unix://")
    }
}
