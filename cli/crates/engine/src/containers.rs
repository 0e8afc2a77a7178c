//! Lists, creates, starts, stops, removes and waits for containers.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, ContainerSummary, ContainerSummaryStateEnum, EndpointSettings, HostConfig,
    HostConfigLogConfig, Mount, MountType, NetworkingConfig, PortBinding,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, KillContainerOptionsBuilder,
    ListContainersOptionsBuilder, RemoveContainerOptionsBuilder, StartContainerOptions,
    StatsOptionsBuilder, StopContainerOptionsBuilder, WaitContainerOptions,
};
use dm_core::labels;
use futures_util::StreamExt;

use super::spec::{ContainerSpec, HostMount};
use super::{Engine, EngineError};

/// Attempts to pause a container. "unable to freeze" is the result if the container starts a
/// process at the same time (<https://github.com/moby/moby/issues/48205>), and runc leaves the
/// retry to its caller.
const PAUSE_ATTEMPTS: usize = 10;

const PAUSE_RETRY_DELAY: Duration = Duration::from_millis(100);

/// The state of a container, as the engine reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerState {
    /// Created, never started.
    Created,
    /// Its process runs.
    Running,
    /// Its processes are frozen.
    Paused,
    /// The engine is starting it again.
    Restarting,
    /// Its process ended.
    Exited,
    /// The engine is removing it, or failed to remove it.
    Dead,
}

impl ContainerState {
    /// Returns whether the container has a process, and therefore occupies its ports.
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Restarting)
    }

    /// Returns the engine's name of the state.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }
}

/// A container that `dm` created.
#[derive(Debug, Clone)]
pub struct Container {
    /// Its id on the engine.
    pub id: String,
    /// Its full name.
    pub name: String,
    /// Its component.
    pub component: String,
    /// Its instance.
    pub instance: String,
    /// The reference of its image when it was created.
    pub image: String,
    /// Its state.
    pub state: ContainerState,
    /// The engine's phrase for the state, e.g. `Exited (1) 3 minutes ago`.
    pub status: String,
    /// The digest of the specification that it was created from.
    pub digest: String,
    /// Whether it is connected to a network, as far as the engine reports.
    pub has_network: bool,
    /// Its published ports by name, running or not.
    pub ports: BTreeMap<String, u16>,
    /// All its labels.
    pub labels: HashMap<String, String>,
}

/// The end of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerExit {
    /// The engine's name of the state.
    pub state: String,
    /// The exit code of its process.
    pub exit_code: Option<i64>,
    /// True if the kernel killed it because it ran out of memory.
    pub oom_killed: bool,
    /// The engine's error, if it could not start the container.
    pub error: Option<String>,
}

/// The status of a running or ended container.
#[derive(Debug, Clone)]
pub struct ContainerStatus {
    /// True while its process runs.
    pub running: bool,
    /// The start time of its process, RFC 3339.
    pub started_at: Option<String>,
    /// Its address in a network of the engine while it runs. This machine can reach it if the
    /// engine is local.
    pub address: Option<IpAddr>,
    /// Its exit. Not meaningful while it runs.
    pub exit: ContainerExit,
}

impl Engine {
    /// Lists the containers, in any state, that carry all these labels.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] if the engine refuses the call.
    pub async fn list_containers(
        &self,
        labels: &[(&str, &str)],
    ) -> Result<Vec<Container>, EngineError> {
        let filters = HashMap::from([("label".to_owned(), label_filter(labels))]);
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters)
            .build();
        let summaries = self
            .docker()
            .list_containers(Some(options))
            .await
            .map_err(EngineError::api("list containers"))?;
        let mut containers: Vec<_> = summaries
            .into_iter()
            .filter_map(container_from_summary)
            .collect();
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(containers)
    }

    /// Creates the container and copies its files into it, without starting it. Returns its id.
    ///
    /// The files are copied before the first start. If that fails, or the caller is cancelled, a
    /// container without its files may remain: its state is `created`, and the plan of a run
    /// recreates containers that were never started.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] if the engine refuses the call.
    pub async fn create_container(
        &self,
        spec: &ContainerSpec,
        labels: &BTreeMap<String, String>,
    ) -> Result<String, EngineError> {
        let options = CreateContainerOptionsBuilder::new()
            .name(&spec.name)
            .build();
        let created = self
            .docker()
            .create_container(Some(options), create_body(spec, labels))
            .await
            .map_err(EngineError::api(format!("create container {}", spec.name)))?;
        if !spec.files.is_empty() {
            self.put_files(&created.id, spec).await?;
        }
        Ok(created.id)
    }

    /// Starts a container. Has no effect on a running one.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] if the engine cannot start it, e.g. because a port is taken.
    pub async fn start_container(&self, name: &str) -> Result<(), EngineError> {
        self.docker()
            .start_container(name, None::<StartContainerOptions>)
            .await
            .map_err(EngineError::api(format!("start container {name}")))
    }

    /// Stops a container with its stop signal, and kills it after `grace`. Has no effect on a
    /// stopped or missing one.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] if the engine refuses the call.
    pub async fn stop_container(&self, name: &str, grace: Duration) -> Result<(), EngineError> {
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::new().t(seconds).build();
        // The call takes as long as the stop.
        let docker = self
            .docker()
            .clone()
            .with_timeout(grace + Duration::from_secs(60));
        ignore_absent(docker.stop_container(name, Some(options)).await)
            .map_err(EngineError::api(format!("stop container {name}")))
    }

    /// Sends a signal to the first process of a container.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] if the container does not run.
    pub async fn kill_container(&self, name: &str, signal: &str) -> Result<(), EngineError> {
        let options = KillContainerOptionsBuilder::new().signal(signal).build();
        self.docker()
            .kill_container(name, Some(options))
            .await
            .map_err(EngineError::api(format!(
                "send {signal} to container {name}"
            )))
    }

    /// Pauses a container: its processes are frozen, its connections stay open. Tries again for
    /// about a second if the engine cannot freeze them.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] if the container does not run.
    pub async fn pause_container(&self, name: &str) -> Result<(), EngineError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.docker().pause_container(name).await {
                Err(bollard::errors::Error::DockerResponseServerError {
                    status_code: 500, ..
                }) if attempts < PAUSE_ATTEMPTS => tokio::time::sleep(PAUSE_RETRY_DELAY).await,
                result => {
                    return result.map_err(EngineError::api(format!("pause container {name}")));
                }
            }
        }
    }

    /// Resumes a paused container.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] if the engine refuses the call.
    pub async fn unpause_container(&self, name: &str) -> Result<(), EngineError> {
        self.docker()
            .unpause_container(name)
            .await
            .map_err(EngineError::api(format!("unpause container {name}")))
    }

    /// Removes a container in any state, without its named volumes. Has no effect if it is
    /// missing.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] if the engine refuses the call.
    pub async fn remove_container(&self, name: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::new()
            .force(true)
            .v(true)
            .build();
        let removed = self.docker().remove_container(name, Some(options)).await;
        match removed {
            // "removal already in progress": waits for the other removal to finish.
            Err(bollard::errors::Error::DockerResponseServerError {
                status_code: 409, ..
            }) => {
                while self.inspect_container(name).await?.is_some() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Ok(())
            }
            other => ignore_absent(other),
        }
        .map_err(EngineError::api(format!("remove container {name}")))
    }

    /// Returns the status of the container, or `None` if it does not exist.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] if the engine refuses the call.
    pub async fn inspect_container(
        &self,
        name: &str,
    ) -> Result<Option<ContainerStatus>, EngineError> {
        let result = self
            .docker()
            .inspect_container(name, None::<InspectContainerOptions>)
            .await;
        let response = match result {
            Err(bollard::errors::Error::DockerResponseServerError {
                status_code: 404, ..
            }) => {
                return Ok(None);
            }
            other => other.map_err(EngineError::api(format!("inspect container {name}")))?,
        };
        let state = response.state.unwrap_or_default();
        let settings = response.network_settings.unwrap_or_default();
        let networks = settings.networks.unwrap_or_default();
        Ok(Some(ContainerStatus {
            running: state.running.unwrap_or_default(),
            started_at: state.started_at,
            address: networks
                .into_values()
                .find_map(|network| network.ip_address?.parse().ok()),
            exit: ContainerExit {
                state: state
                    .status
                    .map(|status| status.to_string())
                    .unwrap_or_default(),
                exit_code: state.exit_code,
                oom_killed: state.oom_killed.unwrap_or_default(),
                error: state.error.filter(|error| !error.is_empty()),
            },
        }))
    }

    /// Waits until the container's process has ended. Returns immediately if it already has.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] if the engine refuses the call, and
    /// [`EngineError::Unreachable`] if it stops answering.
    pub async fn wait_for_exit(&self, name: &str) -> Result<ContainerExit, EngineError> {
        // The exit status is an item for 0 and an error otherwise: the details are in the
        // state afterwards.
        let result = self
            .docker()
            .wait_container(name, None::<WaitContainerOptions>)
            .next()
            .await;
        if let Some(Err(error)) = result
            && !matches!(
                error,
                bollard::errors::Error::DockerContainerWaitError { .. }
            )
        {
            return Err(EngineError::api(format!("wait for container {name}"))(
                error,
            ));
        }
        Ok(self.inspect_container(name).await?.map_or_else(
            || ContainerExit {
                state: "removed".into(),
                exit_code: None,
                oom_killed: false,
                error: None,
            },
            |status| status.exit,
        ))
    }

    /// Returns the memory use of a running container, in bytes, without the page cache that the
    /// kernel may reclaim; `None` if the engine does not report it.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] if the container does not exist.
    pub async fn memory_usage(&self, name: &str) -> Result<Option<u64>, EngineError> {
        // One shot: does not wait for a second sample. The engine still answers only at its
        // next collection, which is once a second in older versions.
        let options = StatsOptionsBuilder::new()
            .stream(false)
            .one_shot(true)
            .build();
        let Some(stats) = self.docker().stats(name, Some(options)).next().await else {
            return Ok(None);
        };
        let stats = stats.map_err(EngineError::api(format!("read the memory of {name}")))?;
        Ok(stats.memory_stats.and_then(|memory| {
            let details = memory.stats.unwrap_or_default();
            let cache = ["inactive_file", "total_inactive_file"]
                .iter()
                .find_map(|key| details.get(*key))
                .copied()
                .unwrap_or_default();
            Some(memory.usage?.saturating_sub(cache))
        }))
    }
}

/// Returns the filter expressions of labels.
pub(super) fn label_filter(labels: &[(&str, &str)]) -> Vec<String> {
    labels
        .iter()
        .map(|(label, value)| {
            if value.is_empty() {
                (*label).to_owned()
            } else {
                format!("{label}={value}")
            }
        })
        .collect()
}

/// Treats "not modified" (already stopped) and "not found" as success.
pub(super) fn ignore_absent(
    result: Result<(), bollard::errors::Error>,
) -> Result<(), bollard::errors::Error> {
    match result {
        Err(bollard::errors::Error::DockerResponseServerError {
            status_code: 304 | 404,
            ..
        }) => Ok(()),
        other => other,
    }
}

/// Parses the `name=port` pairs of the [`labels::PORTS`] label.
fn parse_ports(text: &str) -> BTreeMap<String, u16> {
    text.split(',')
        .filter_map(|pair| {
            let (name, port) = pair.split_once('=')?;
            Some((name.to_owned(), port.parse().ok()?))
        })
        .collect()
}

/// Returns the value of the [`labels::PORTS`] label for a specification.
fn format_ports(spec: &ContainerSpec) -> String {
    let pairs: Vec<_> = spec
        .ports
        .iter()
        .map(|port| format!("{}={}", port.name, port.host))
        .collect();
    pairs.join(",")
}

fn container_from_summary(summary: ContainerSummary) -> Option<Container> {
    let labels = summary.labels.unwrap_or_default();
    let get = |label: &str| {
        labels::value(Some(&labels), label)
            .unwrap_or_default()
            .to_owned()
    };
    let name = summary.names?.first()?.trim_start_matches('/').to_owned();
    let state = match summary.state? {
        ContainerSummaryStateEnum::CREATED => ContainerState::Created,
        ContainerSummaryStateEnum::RUNNING | ContainerSummaryStateEnum::STOPPING => {
            ContainerState::Running
        }
        ContainerSummaryStateEnum::PAUSED => ContainerState::Paused,
        ContainerSummaryStateEnum::RESTARTING => ContainerState::Restarting,
        ContainerSummaryStateEnum::EXITED | ContainerSummaryStateEnum::EMPTY => {
            ContainerState::Exited
        }
        ContainerSummaryStateEnum::REMOVING | ContainerSummaryStateEnum::DEAD => {
            ContainerState::Dead
        }
    };
    Some(Container {
        id: summary.id?,
        name,
        component: get(labels::COMPONENT),
        instance: get(labels::INSTANCE),
        image: summary.image.unwrap_or_default(),
        state,
        status: summary.status.unwrap_or_default(),
        digest: get(labels::CONFIG_DIGEST),
        has_network: summary
            .network_settings
            .and_then(|settings| settings.networks)
            .is_none_or(|networks| !networks.is_empty()),
        ports: parse_ports(&get(labels::PORTS)),
        labels,
    })
}

/// A mount and not a bind: a bind is one text, which a colon in a path would take apart.
fn bind_mount(mount: &HostMount) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(mount.source.clone()),
        target: Some(mount.target.clone()),
        read_only: Some(!mount.writable),
        ..Mount::default()
    }
}

fn create_body(spec: &ContainerSpec, labels: &BTreeMap<String, String>) -> ContainerCreateBody {
    let bindings: HashMap<_, _> = spec
        .ports
        .iter()
        .map(|port| {
            let binding = PortBinding {
                host_ip: Some("127.0.0.1".into()),
                host_port: Some(port.host.to_string()),
            };
            (format!("{}/tcp", port.container), Some(vec![binding]))
        })
        .collect();
    let mut all_labels: HashMap<String, String> = labels
        .iter()
        .chain(&spec.labels)
        .map(|(label, value)| (label.clone(), value.clone()))
        .collect();
    all_labels.insert(labels::COMPONENT.into(), spec.component.clone());
    all_labels.insert(labels::CONFIG_DIGEST.into(), spec.digest());
    all_labels.insert(labels::PORTS.into(), format_ports(spec));
    let endpoint = EndpointSettings {
        aliases: Some(vec![spec.hostname.clone()]),
        ..EndpointSettings::default()
    };
    let host = spec.host.as_ref();
    let binds = spec.mounts.iter();
    let binds = binds.map(|mount| format!("{}:{}", mount.volume, mount.path));
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        hostname: Some(spec.hostname.clone()),
        user: host.map(|host| host.user.clone()),
        entrypoint: host.map(|host| vec![host.program.clone()]),
        env: Some(
            spec.env
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect(),
        ),
        cmd: (!spec.command.is_empty()).then(|| spec.command.clone()),
        labels: Some(all_labels),
        exposed_ports: Some(bindings.keys().cloned().collect()),
        stop_timeout: Some(i64::from(spec.stop_timeout)),
        host_config: Some(HostConfig {
            binds: Some(binds.collect()),
            mounts: host.map(|host| host.mounts.iter().map(bind_mount).collect()),
            readonly_rootfs: host.map(|_| true),
            cap_drop: host.map(|_| vec!["ALL".to_owned()]),
            // Files of the host keep their SELinux labels.
            security_opt: host.map(|_| {
                let options = ["no-new-privileges:true", "label=disable"];
                options.map(str::to_owned).to_vec()
            }),
            port_bindings: Some(bindings),
            network_mode: Some(spec.network.clone()),
            memory: spec.memory.and_then(|bytes| i64::try_from(bytes).ok()),
            shm_size: spec.shm_size.and_then(|bytes| i64::try_from(bytes).ok()),
            log_config: Some(log_config()),
            sysctls: (!spec.sysctls.is_empty()).then(|| spec.sysctls.clone().into_iter().collect()),
            ..HostConfig::default()
        }),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some(HashMap::from([(spec.network.clone(), endpoint)])),
        }),
        ..ContainerCreateBody::default()
    }
}

/// Returns the log configuration: files of a limited size, so that logs cannot fill the disk.
fn log_config() -> HostConfigLogConfig {
    HostConfigLogConfig {
        typ: Some("json-file".into()),
        config: Some(HashMap::from([
            ("max-size".to_owned(), "10m".to_owned()),
            ("max-file".to_owned(), "3".to_owned()),
        ])),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::EngineSettings;
    use crate::test_support::spec;

    #[test]
    fn create_body_limits_the_size_of_log_files() {
        let body = create_body(&spec(), &BTreeMap::new());
        let log = body.host_config.unwrap().log_config.unwrap();
        assert_eq!(log.typ.as_deref(), Some("json-file"));
        let options = log.config.unwrap();
        let option = |name: &str| options.get(name).map(String::as_str);
        assert_eq!(option("max-size"), Some("10m"));
        assert_eq!(option("max-file"), Some("3"));
    }

    /// Starts an engine that reports its version, and gives the next of these status codes to
    /// every other request.
    fn start_engine(path: &Path, mut codes: impl Iterator<Item = u16> + Send + 'static) {
        let listener = tokio::net::UnixListener::bind(path).unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let (code, body) = if request.starts_with(b"GET") {
                    (200, r#"{"Version":"1","ApiVersion":"1.44"}"#)
                } else {
                    (codes.next().unwrap(), r#"{"message":"unable to freeze"}"#)
                };
                let answer = format!(
                    "HTTP/1.1 {code} -\r\ncontent-type: application/json\r\nconnection: close\r\n\
                     content-length: {}\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
    }

    #[tokio::test]
    async fn pause_is_repeated_while_the_engine_cannot_freeze_the_container() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("engine.sock");
        let codes = [500, 500, 200, 404].into_iter();
        start_engine(&path, codes.chain(std::iter::repeat_n(500, PAUSE_ATTEMPTS)));
        let settings = EngineSettings {
            host: Some(format!("unix://{}", path.display())),
        };
        let engine = Engine::connect(&settings).await.unwrap();
        engine.pause_container("rabbitmq").await.unwrap();
        // A missing container is an error at once, and other errors are after the last attempt.
        engine.pause_container("missing").await.unwrap_err();
        engine.pause_container("rabbitmq").await.unwrap_err();
    }

    #[test]
    fn parse_ports_reads_the_ports_label() {
        let ports = parse_ports("postgres=5432,rabbitmq-management=15672");
        assert_eq!(ports["postgres"], 5432);
        assert_eq!(ports["rabbitmq-management"], 15672);
        assert!(parse_ports("").is_empty());
    }

    #[test]
    fn label_filter_without_a_value_matches_the_name() {
        assert_eq!(label_filter(&[("a", "1"), ("b", "")]), ["a=1", "b"]);
    }
}
