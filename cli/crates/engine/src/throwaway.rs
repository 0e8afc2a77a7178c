//! Containers that end with the process that started them, for servers of tests.

use std::collections::HashMap;

use bollard::models::{ContainerCreateBody, HostConfig, PortBinding};
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, ListContainersOptionsBuilder,
};
use chrono::{DateTime, TimeDelta, Utc};
use dm_core::labels;

use super::exec::{ExecInput, ExecProcess, ExecSpec};
use super::{Engine, EngineError};

/// Executes the server once its guard has started, and ends the container if the guard does not
/// start: then the process that started the container was killed before. The arguments are the
/// file that the guard creates, how often to look for it, and the command of the server.
const START_SCRIPT: &str = r#"polls=$1
shift
until [ -e "$0" ]; do
    [ "$polls" -gt 0 ] || exit 1
    polls=$((polls - 1))
    sleep 0.05
done
exec "$@""#;

/// Lets the server start, and ends the container when its own standard input ends, which it does
/// with the process at the other end of the connection, even after `kill -9`. A server that is
/// starting may ignore a signal.
const GUARD_SCRIPT: &str = r#": > "$0"
cat > /dev/null
while kill -TERM 1; do sleep 1; done"#;

/// The file that the guard creates. The engine mounts its directory into every container.
const GUARD_FILE: &str = "/dev/shm/dm-guard";

/// How often a container looks for its guard before it ends: for 30 s, every 50 ms.
const MAX_POLLS: u32 = 600;

/// How long after its creation a container may be started. One that was not started by then is
/// left over: its process was killed before. The time of the creation is from the clock of the
/// engine, and the current time from that of this machine: the delay must exceed their difference.
const MAX_START_DELAY: TimeDelta = TimeDelta::minutes(10);

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

impl ThrowawaySpec {
    fn action(&self) -> String {
        format!("start a container of {}", self.image)
    }
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
    /// The container ends with this process, also if it is killed during this call. The only
    /// remainder is a container that was never started: it has the label [`labels::THROWAWAY`],
    /// and a later call removes it.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] if the engine refuses a call, e.g. because it does not have
    /// the image.
    pub async fn start_throwaway_container(
        &self,
        spec: &ThrowawaySpec,
    ) -> Result<ThrowawayContainer, EngineError> {
        self.remove_never_started_containers().await;
        let id = self.create_waiting_container(spec, MAX_POLLS).await?;
        let started = self.start_guarded(&id, spec).await;
        if started.is_err() {
            // The engine removes only containers that ran. Its error is less useful.
            let _ = self.remove_container(&id).await;
        }
        started
    }

    /// Creates a container whose server waits for its guard, and returns its id.
    async fn create_waiting_container(
        &self,
        spec: &ThrowawaySpec,
        max_polls: u32,
    ) -> Result<String, EngineError> {
        let error = || EngineError::api(spec.action());
        let image = self.docker().inspect_image(&spec.image).await;
        let config = image.map_err(error())?.config.unwrap_or_default();
        let mut command = config.entrypoint.unwrap_or_default();
        if spec.command.is_empty() {
            command.extend(config.cmd.unwrap_or_default());
        } else {
            command.extend(spec.command.iter().cloned());
        }
        let polls = max_polls.to_string();
        let entrypoint = ["sh", "-c", START_SCRIPT, GUARD_FILE, &polls];
        let port = port_key(spec);
        let binding = PortBinding {
            host_ip: Some("127.0.0.1".into()),
            host_port: None,
        };
        let body = ContainerCreateBody {
            image: Some(spec.image.clone()),
            env: Some(spec.env.clone()),
            entrypoint: Some(entrypoint.map(str::to_owned).to_vec()),
            cmd: Some(command),
            labels: Some(HashMap::from([(labels::THROWAWAY.into(), String::new())])),
            exposed_ports: Some(vec![port.clone()]),
            host_config: Some(HostConfig {
                auto_remove: Some(true),
                port_bindings: Some(HashMap::from([(port, Some(vec![binding]))])),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let created = self
            .docker()
            .create_container(None::<CreateContainerOptions>, body)
            .await;
        Ok(created.map_err(error())?.id)
    }

    async fn start_guarded(
        &self,
        id: &str,
        spec: &ThrowawaySpec,
    ) -> Result<ThrowawayContainer, EngineError> {
        self.start_container(id).await?;
        let guard = ExecSpec {
            command: ["sh", "-c", GUARD_SCRIPT, GUARD_FILE]
                .map(str::to_owned)
                .to_vec(),
            stdin: true,
            ..ExecSpec::default()
        };
        let mut guard = self.exec(id, &guard).await?;
        let stdin = guard.take_stdin();
        let inspected = self
            .docker()
            .inspect_container(id, None::<InspectContainerOptions>)
            .await
            .map_err(EngineError::api(spec.action()))?;
        let port = port_key(spec);
        let published = inspected
            .network_settings
            .and_then(|settings| settings.ports)
            .and_then(|mut ports| ports.remove(&port)?)
            .and_then(|bindings| bindings.into_iter().find_map(|binding| binding.host_port))
            .and_then(|port| port.parse().ok());
        Ok(ThrowawayContainer {
            id: id.to_owned(),
            port: published.ok_or_else(|| EngineError::Setup {
                action: spec.action(),
                reason: format!("the engine published no port for {port}"),
                suggestions: Vec::new(),
            })?,
            _guard: (guard, stdin),
        })
    }

    /// Removes the containers of processes that were killed before they started them. If that
    /// fails, the next call repeats it.
    async fn remove_never_started_containers(&self) {
        let filters = HashMap::from([
            ("label".to_owned(), vec![labels::THROWAWAY.to_owned()]),
            ("status".to_owned(), vec!["created".to_owned()]),
        ]);
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters)
            .build();
        let containers = self.docker().list_containers(Some(options)).await;
        for container in containers.unwrap_or_default() {
            if is_left_over(container.created, Utc::now())
                && let Some(id) = container.id
            {
                let _ = self.remove_container(&id).await;
            }
        }
    }
}

/// Returns the port of the server as the engine names it.
fn port_key(spec: &ThrowawaySpec) -> String {
    format!("{}/tcp", spec.port)
}

/// Returns whether a container that was created at a time, in seconds since 1970, and was not
/// started until now never will be.
fn is_left_over(created: Option<i64>, now: DateTime<Utc>) -> bool {
    let created = created.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    created.is_some_and(|created| now - created > MAX_START_DELAY)
}

#[cfg(test)]
mod server_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_is_left_over_ten_minutes_after_its_creation() {
        let now = DateTime::from_timestamp(1_796_000_000, 0).unwrap();
        for (created, expected) in [
            (None, false),
            (Some(1_796_000_001), false),
            (Some(1_796_000_000 - 600), false),
            (Some(1_796_000_000 - 601), true),
        ] {
            assert_eq!(is_left_over(created, now), expected, "{created:?}");
        }
    }
}
