//! The ports of this machine that containers publish.

use std::collections::BTreeMap;

use bollard::query_parameters::ListContainersOptionsBuilder;
use dm_core::labels::{INSTANCE, PROJECT};
use serde::Serialize;

use super::{Engine, EngineError};

/// A container that publishes a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PortPublisher {
    /// Its name.
    pub container: String,
    /// Its project, if `dm` created it.
    pub project: Option<String>,
    /// Its instance, if `dm` created it.
    pub instance: Option<String>,
}

impl Engine {
    /// Lists the running containers by the ports of this machine that they publish.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] if the engine refuses the call.
    pub async fn list_published_ports(&self) -> Result<BTreeMap<u16, PortPublisher>, EngineError> {
        let options = ListContainersOptionsBuilder::default().build();
        let containers = self
            .docker()
            .list_containers(Some(options))
            .await
            .map_err(EngineError::api("list the containers"))?;
        let mut ports = BTreeMap::new();
        for container in containers {
            let labels = container.labels.unwrap_or_default();
            let publisher = PortPublisher {
                container: container
                    .names
                    .and_then(|names| names.into_iter().next())
                    .map(|name| name.trim_start_matches('/').to_owned())
                    .or(container.id)
                    .unwrap_or_default(),
                project: labels.get(PROJECT).cloned(),
                instance: labels.get(INSTANCE).cloned(),
            };
            for port in container.ports.into_iter().flatten() {
                if let Some(public) = port.public_port {
                    ports.insert(public, publisher.clone());
                }
            }
        }
        Ok(ports)
    }
}
