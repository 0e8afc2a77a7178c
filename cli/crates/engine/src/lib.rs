//! The container engine: the only place that knows bollard.

pub mod containers;
mod context;
mod error;
pub mod exec;
mod facts;
mod files;
pub mod find;
mod guard;
pub mod images;
pub mod inventory;
pub mod logs;
mod networks;
pub mod published;
mod refusal;
pub mod spec;
mod volumes;

use std::sync::Arc;

use bollard::Docker;
use tokio::sync::OnceCell;

pub use error::EngineError;
pub use facts::{Facts, Kind, Version};
pub use find::{EngineSettings, Found, Source};
pub use refusal::Refusal;

/// An engine that answers. A clone is cheap and is the same connection.
#[derive(Debug, Clone)]
pub struct Engine {
    docker: Docker,
    found: Found,
    version: Version,
    facts: Arc<OnceCell<Facts>>,
}

impl Engine {
    /// Finds the engine and asks it what it is: one call, a few milliseconds.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] when nothing answers where it should,
    /// [`EngineError::TooOld`] when what answers is too old.
    pub async fn connect(settings: &EngineSettings) -> Result<Self, EngineError> {
        let (docker, found, version) = find::find(settings).await?;
        Ok(Self {
            docker,
            found,
            version: version.into(),
            facts: Arc::default(),
        })
    }

    /// The client. A clone of it is cheap and shares everything.
    #[must_use]
    pub(crate) fn docker(&self) -> &Docker {
        &self.docker
    }

    /// Which engine it is and why it was chosen.
    #[must_use]
    pub const fn found(&self) -> &Found {
        &self.found
    }

    /// What it said when it was found.
    #[must_use]
    pub const fn version(&self) -> &Version {
        &self.version
    }

    /// More about it; asked for once.
    ///
    /// # Errors
    /// [`EngineError::Api`] when the engine doesn't tell.
    pub async fn facts(&self) -> Result<&Facts, EngineError> {
        self.facts
            .get_or_try_init(|| async {
                let info = self.docker.info().await;
                info.map(Facts::from)
                    .map_err(EngineError::api("query the engine"))
            })
            .await
    }

    /// Whether it shares this machine's file system and ports: false for one
    /// over the network or in a virtual machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        cfg!(target_os = "linux") && self.found.address.starts_with("unix://")
    }
}
