//! The container engine: the only place that knows bollard.

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
mod networks;
pub mod published_ports;
mod refusal;
pub mod spec;
mod volumes;

use std::sync::Arc;

use bollard::Docker;
use tokio::sync::OnceCell;

pub use discovery::{DiscoverySource, EngineDiscovery, EngineSettings};
pub use engine_info::{EngineInfo, EngineKind, EngineVersion};
pub use error::EngineError;
pub use refusal::EngineRefusal;

/// An engine that answers. A clone is cheap and is the same connection.
#[derive(Debug, Clone)]
pub struct Engine {
    docker: Docker,
    discovery: EngineDiscovery,
    version: EngineVersion,
    info: Arc<OnceCell<EngineInfo>>,
}

impl Engine {
    /// Finds the engine and asks it what it is: one call, a few milliseconds.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] when nothing answers where it should,
    /// [`EngineError::TooOld`] when what answers is too old.
    pub async fn connect(settings: &EngineSettings) -> Result<Self, EngineError> {
        let (docker, found, version) = discovery::discover(settings).await?;
        Ok(Self {
            docker,
            discovery: found,
            version: version.into(),
            info: Arc::default(),
        })
    }

    /// The client. A clone of it is cheap and shares everything.
    #[must_use]
    pub(crate) fn docker(&self) -> &Docker {
        &self.docker
    }

    /// Which engine it is and why it was chosen.
    #[must_use]
    pub const fn discovery(&self) -> &EngineDiscovery {
        &self.discovery
    }

    /// What it said when it was found.
    #[must_use]
    pub const fn version(&self) -> &EngineVersion {
        &self.version
    }

    /// More about it; asked for once.
    ///
    /// # Errors
    /// [`EngineError::Api`] when the engine doesn't tell.
    pub async fn info(&self) -> Result<&EngineInfo, EngineError> {
        self.info
            .get_or_try_init(|| async {
                let info = self.docker.info().await;
                info.map(EngineInfo::from)
                    .map_err(EngineError::api("query the engine"))
            })
            .await
    }

    /// Whether it shares this machine's file system and ports: false for one
    /// over the network or in a virtual machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        cfg!(target_os = "linux") && self.discovery.address.starts_with("unix://")
    }
}
