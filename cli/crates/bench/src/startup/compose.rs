//! Runs the same stack under docker-compose.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dm_components::{Component, HostPorts, InstanceLayout, database_setup};
use dm_engine::Engine;
use dm_engine::containers::ContainerState;
use dm_host::process;
use dm_images::ImageError;
use dm_stack::StackError;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::compose_file::{self, ComposeService};
use super::{HealthChecks, StartupSuite};
use crate::command;
use crate::error::BenchError;

/// The interval between queries of the health of the containers.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The timeout until all containers are healthy.
const TIMEOUT: Duration = Duration::from_secs(1800);

/// The labels that docker-compose sets on its containers.
const PROJECT_LABEL: &str = "com.docker.compose.project";
const SERVICE_LABEL: &str = "com.docker.compose.service";

/// The program docker-compose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ComposeProgram {
    command: Vec<String>,
    /// The name and the version.
    pub(crate) version: String,
}

impl ComposeProgram {
    /// Finds the plugin of the `docker` command, or else the standalone program.
    pub(crate) async fn find() -> Option<Self> {
        let candidates = [("docker", Some("compose")), ("docker-compose", None)];
        for (name, plugin) in candidates {
            let Some(path) = process::find_program(name) else {
                continue;
            };
            let command: Vec<String> = std::iter::once(path.display().to_string())
                .chain(plugin.map(str::to_owned))
                .collect();
            let output = Command::new(&command[0])
                .args(&command[1..])
                .args(["version", "--short"])
                .output()
                .await;
            if let Ok(output) = output
                && output.status.success()
            {
                let version = String::from_utf8_lossy(&output.stdout);
                let name =
                    plugin.map_or_else(|| name.to_owned(), |plugin| format!("{name} {plugin}"));
                return Some(Self {
                    command,
                    version: format!("{name} {}", version.trim()),
                });
            }
        }
        None
    }
}

/// A compose project of the bench.
#[derive(Debug)]
pub(super) struct ComposeProject<'a> {
    program: &'a ComposeProgram,
    engine: &'a Engine,
    project: String,
    checks: HealthChecks,
    directory: PathBuf,
}

impl<'a> ComposeProject<'a> {
    /// Creates the project with these health checks.
    pub(super) fn new(
        suite: &'a StartupSuite<'_>,
        program: &'a ComposeProgram,
        checks: HealthChecks,
    ) -> Self {
        let project = &suite.context.project.instance.project;
        Self {
            program,
            engine: &suite.context.engine,
            project: format!("{project}-bench-{}", checks.as_str()),
            checks,
            directory: suite.directory.path().join(checks.as_str()),
        }
    }

    /// Writes the compose file with free ports, and the files that it mounts.
    pub(super) async fn write(&self, suite: &StartupSuite<'_>) -> dm_core::error::Result<()> {
        let ports = free_ports(&suite.components).map_err(BenchError::NoFreePort)?;
        let services = compose_services(suite, &ports).await?;
        let config = suite.context.project.config();
        let (text, files) = compose_file::render(&services, config, self.checks, &self.directory)?;
        for file in files {
            write_file(&file.path, &file.contents)?;
        }
        write_file(&self.compose_file(), text.as_bytes())?;
        Ok(())
    }

    /// Runs `up -d` and waits until all services are healthy. Returns the duration.
    pub(super) async fn up(
        &self,
        expected: usize,
        interrupt: &CancellationToken,
    ) -> Result<Duration, BenchError> {
        let began = Instant::now();
        let up = command::run_command(self.command(&["up", "-d", "--no-color"]), interrupt);
        let healthy = self.wait_until_healthy(expected, interrupt);
        tokio::try_join!(up, healthy)?;
        Ok(began.elapsed())
    }

    /// Removes containers, network and volumes of the project.
    pub(super) async fn down(&self) -> Result<(), BenchError> {
        if !self.compose_file().exists() {
            // The stack of a killed bench: any compose file suffices, because
            // compose finds its containers by labels.
            let minimal = br#"{"services":{"none":{"image":"none"}}}"#;
            write_file(&self.compose_file(), minimal)?;
        }
        let arguments = ["down", "-v", "--remove-orphans", "-t", "5"];
        // Not the token of the run: an interrupted run is cleaned up, too.
        command::run_command(self.command(&arguments), &CancellationToken::new()).await?;
        Ok(())
    }

    /// Returns the memory of the containers, in bytes.
    pub(super) async fn memory(&self) -> Result<f64, BenchError> {
        container_memory(self.engine, &[(PROJECT_LABEL, &self.project)]).await
    }

    fn compose_file(&self) -> PathBuf {
        self.directory.join("docker-compose.json")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program.command[0]);
        command
            .args(&self.program.command[1..])
            .args(["-p", &self.project, "-f"])
            .arg(self.compose_file())
            .args(arguments)
            .env("DOCKER_HOST", &self.engine.discovery().address)
            .env_remove("DOCKER_CONTEXT")
            .env_remove("COMPOSE_FILE")
            .env_remove("COMPOSE_PROFILES");
        command
    }

    async fn wait_until_healthy(
        &self,
        expected: usize,
        interrupt: &CancellationToken,
    ) -> Result<(), BenchError> {
        let began = Instant::now();
        loop {
            let containers = self
                .engine
                .list_containers(&[(PROJECT_LABEL, &self.project)])
                .await?;
            let healthy = containers
                .iter()
                .filter(|container| container.status.ends_with("(healthy)"))
                .count();
            if healthy == expected {
                return Ok(());
            }
            let failed = containers.iter().find(|container| {
                matches!(
                    container.state,
                    ContainerState::Exited | ContainerState::Dead
                ) || container.status.ends_with("(unhealthy)")
            });
            let pending = containers
                .iter()
                .find(|container| !container.status.ends_with("(healthy)"));
            let (container, problem) = match (failed, pending) {
                (Some(container), _) => (container, "failed"),
                (None, Some(container)) if began.elapsed() > TIMEOUT => {
                    (container, "did not become healthy")
                }
                _ => {
                    tokio::select! {
                        () = interrupt.cancelled() => return Err(BenchError::Interrupted),
                        () = tokio::time::sleep(POLL_INTERVAL) => continue,
                    }
                }
            };
            return Err(BenchError::ComposeUnhealthy {
                service: container
                    .labels
                    .get(SERVICE_LABEL)
                    .unwrap_or(&container.name)
                    .clone(),
                status: format!("{problem}: {}", container.status),
            });
        }
    }
}

/// Returns the memory of all containers with these labels, in bytes.
pub(super) async fn container_memory(
    engine: &Engine,
    labels: &[(&str, &str)],
) -> Result<f64, BenchError> {
    let containers = engine.list_containers(labels).await?;
    let queries = containers
        .iter()
        .map(|container| engine.memory_usage(&container.name));
    let usages = futures_util::future::try_join_all(queries).await?;
    let bytes: u64 = usages.into_iter().flatten().sum();
    #[expect(clippy::cast_precision_loss, reason = "no machine has 2^52 bytes")]
    let bytes = bytes as f64;
    Ok(bytes)
}

/// Returns the container specifications of `dm` for all components, with their plain images.
async fn compose_services(
    suite: &StartupSuite<'_>,
    ports: &HostPorts,
) -> dm_core::error::Result<Vec<ComposeService>> {
    let project = &suite.context.project;
    let layout = InstanceLayout {
        instance: &project.instance,
        ports,
        root: &project.instance.root,
        state_dir: suite.directory.path(),
    };
    let mut services = Vec::new();
    for component in &suite.components {
        let mut spec = component.container_spec(&layout)?;
        spec.image = plain_image(suite, component.name()).await?;
        let is_database = component.name() == dm_components::postgres::NAME;
        let extra_files = if is_database {
            let script = suite.stack.database.init_script()?;
            vec![(
                "/docker-entrypoint-initdb.d/10-database.sql".to_owned(),
                script,
            )]
        } else {
            Vec::new()
        };
        let depends_on = component
            .start_dependencies()
            .iter()
            // Under compose the database is set up while it starts.
            .map(|&name| match name {
                database_setup::NAME => dm_components::postgres::NAME.to_owned(),
                other => other.to_owned(),
            })
            .collect();
        services.push(ComposeService {
            spec,
            depends_on,
            extra_files,
        });
    }
    Ok(services)
}

async fn plain_image(suite: &StartupSuite<'_>, component: &str) -> dm_core::error::Result<String> {
    let image = suite
        .stack
        .images
        .find_local(component)
        .await
        .map_err(|error: ImageError| BenchError::from(error))?;
    match image {
        Some(image) => Ok(image.reference),
        None => Err(StackError::ImageRemoved {
            component: component.to_owned(),
            image: None,
        }
        .into()),
    }
}

/// Chooses a different free port for each port of the components.
fn free_ports(components: &[Arc<dyn Component>]) -> std::io::Result<HostPorts> {
    // All ports are bound until the last one is chosen.
    let mut listeners = Vec::new();
    let mut ports = HostPorts::new();
    for spec in components.iter().flat_map(|component| component.ports()) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        ports.insert(spec.name.to_owned(), listener.local_addr()?.port());
        listeners.push(listener);
    }
    Ok(ports)
}

fn write_file(path: &Path, contents: &[u8]) -> Result<(), BenchError> {
    path.parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| std::fs::write(path, contents))
        .map_err(|source| BenchError::WriteFile {
            path: path.to_owned(),
            source,
        })
}
