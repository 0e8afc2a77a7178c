//! Containers that end with the process that started them, for servers of tests.

use std::collections::HashMap;

use bollard::models::{ContainerCreateBody, HostConfig, PortBinding};
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, StartContainerOptions,
};
use dm_core::labels;

use super::exec::{ExecInput, ExecProcess, ExecSpec};
use super::{Engine, EngineError};

/// Ends the container when its standard input ends, which it does with the process at the other
/// end of the connection, even after `kill -9`.
const GUARD_SCRIPT: &str = "cat > /dev/null; kill -TERM 1";

/// The container to start.
#[derive(Debug, Clone, Default)]
pub struct ThrowawaySpec {
    /// The reference of its image, which contains a shell.
    pub image: String,
    /// Environment variables, as `NAME=value`.
    pub env: Vec<String>,
    /// Arguments. Unless empty, they replace the image's own.
    pub command: Vec<String>,
    /// The port of its server, which the engine publishes on a free port of the loopback address.
    pub port: u16,
}

/// A running container. The engine removes it, with its volumes, after this value is dropped
/// or the process has ended.
pub struct ThrowawayContainer {
    id: String,
    port: u16,
    _guard: (ExecProcess, ExecInput),
}

impl ThrowawayContainer {
    /// Returns the id of the container.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the port of the server on the loopback address of the engine's machine.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl Engine {
    /// Starts a container. Does not wait until its server is ready.
    ///
    /// A process that is killed between the start of the container and the start of the guard
    /// leaves the container. It has the label [`labels::THROWAWAY`].
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] if the engine refuses a call, e.g. because it does not have
    /// the image.
    pub async fn start_throwaway_container(
        &self,
        spec: &ThrowawaySpec,
    ) -> Result<ThrowawayContainer, EngineError> {
        let error = || EngineError::api(format!("start a container of {}", spec.image));
        let port = format!("{}/tcp", spec.port);
        let binding = PortBinding {
            host_ip: Some("127.0.0.1".into()),
            host_port: None,
        };
        let body = ContainerCreateBody {
            image: Some(spec.image.clone()),
            env: Some(spec.env.clone()),
            cmd: (!spec.command.is_empty()).then(|| spec.command.clone()),
            labels: Some(HashMap::from([(labels::THROWAWAY.into(), String::new())])),
            exposed_ports: Some(vec![port.clone()]),
            host_config: Some(HostConfig {
                auto_remove: Some(true),
                port_bindings: Some(HashMap::from([(port.clone(), Some(vec![binding]))])),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let created = self
            .docker()
            .create_container(None::<CreateContainerOptions>, body)
            .await;
        let id = created.map_err(error())?.id;
        let started = self.start_guarded(&id, &port, spec).await;
        if started.is_err() {
            // The engine removes only containers that ran. Its error is less useful.
            let _ = self.remove_container(&id).await;
        }
        started
    }

    async fn start_guarded(
        &self,
        id: &str,
        port: &str,
        spec: &ThrowawaySpec,
    ) -> Result<ThrowawayContainer, EngineError> {
        let action = format!("start a container of {}", spec.image);
        self.docker()
            .start_container(id, None::<StartContainerOptions>)
            .await
            .map_err(EngineError::api(action.clone()))?;
        let guard = ExecSpec {
            command: ["sh", "-c", GUARD_SCRIPT].map(str::to_owned).to_vec(),
            stdin: true,
            ..ExecSpec::default()
        };
        let mut guard = self.exec(id, &guard).await?;
        let stdin = guard.take_stdin();
        let inspected = self
            .docker()
            .inspect_container(id, None::<InspectContainerOptions>)
            .await
            .map_err(EngineError::api(action.clone()))?;
        let published = inspected
            .network_settings
            .and_then(|settings| settings.ports)
            .and_then(|mut ports| ports.remove(port)?)
            .and_then(|bindings| bindings.into_iter().find_map(|binding| binding.host_port))
            .and_then(|port| port.parse().ok());
        Ok(ThrowawayContainer {
            id: id.to_owned(),
            port: published.ok_or_else(|| EngineError::Setup {
                action,
                reason: format!("the engine published no port for {port}"),
                suggestions: Vec::new(),
            })?,
            _guard: (guard, stdin),
        })
    }
}
