//! The same stack under docker-compose.

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

/// How often the containers' health is asked for.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// When to stop hoping.
const TIMEOUT: Duration = Duration::from_secs(1800);

/// The labels that docker-compose gives to its containers.
const PROJECT_LABEL: &str = "com.docker.compose.project";
const SERVICE_LABEL: &str = "com.docker.compose.service";

/// How docker-compose is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ComposeProgram {
    command: Vec<String>,
    /// What it says of its version.
    pub(crate) version: String,
}

impl ComposeProgram {
    /// The plugin of the `docker` command, or else the program of its own.
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
                let name = plugin.map_or_else(|| name.to_owned(), |it| format!("{name} {it}"));
                return Some(Self {
                    command,
                    version: format!("{name} {}", version.trim()),
                });
            }
        }
        None
    }
}

/// A compose project of the bench's own.
#[derive(Debug)]
pub(super) struct ComposeProject<'a> {
    program: &'a ComposeProgram,
    engine: &'a Engine,
    project: String,
    checks: HealthChecks,
    directory: PathBuf,
}

impl<'a> ComposeProject<'a> {
    /// The project with these checks.
    pub(super) fn new(
        starts: &'a StartupSuite<'_>,
        program: &'a ComposeProgram,
        checks: HealthChecks,
    ) -> Self {
        let project = &starts.context.project.instance.project;
        Self {
            program,
            engine: &starts.context.engine,
            project: format!("{project}-bench-{}", checks.as_str()),
            checks,
            directory: starts.directory.path().join(checks.as_str()),
        }
    }

    /// Writes the compose file with free ports, and the files that it mounts.
    pub(super) async fn write(&self, starts: &StartupSuite<'_>) -> dm_core::error::Result<()> {
        let ports = free_ports(&starts.components).map_err(BenchError::NoFreePort)?;
        let services = compose_services(starts, &ports).await?;
        let config = starts.context.project.config();
        let (text, files) = compose_file::render(&services, config, self.checks, &self.directory)?;
        for file in files {
            write_file(&file.path, &file.contents)?;
        }
        write_file(&self.compose_file(), text.as_bytes())?;
        Ok(())
    }

    /// `up -d`, until all services are healthy: what a user waits for.
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
            // Left by a bench that was killed: any file with the project's
            // name will do, as compose finds its own by labels.
            let minimal = br#"{"services":{"none":{"image":"none"}}}"#;
            write_file(&self.compose_file(), minimal)?;
        }
        let arguments = ["down", "-v", "--remove-orphans", "-t", "5"];
        // Not with the run's token: an interrupted run is tidied up all the same.
        command::run_command(self.command(&arguments), &CancellationToken::new()).await?;
        Ok(())
    }

    /// The memory of its containers in bytes.
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
            let waits = containers
                .iter()
                .find(|container| !container.status.ends_with("(healthy)"));
            let (container, what) = match (failed, waits) {
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
                status: format!("{what}: {}", container.status),
            });
        }
    }
}

/// The memory of all containers with these labels, in bytes.
pub(super) async fn container_memory(
    engine: &Engine,
    labels: &[(&str, &str)],
) -> Result<f64, BenchError> {
    let containers = engine.list_containers(labels).await?;
    let asked = containers
        .iter()
        .map(|container| engine.memory_usage(&container.name));
    let answers = futures_util::future::try_join_all(asked).await?;
    let bytes: u64 = answers.into_iter().flatten().sum();
    #[expect(clippy::cast_precision_loss, reason = "no machine has 2^52 bytes")]
    let bytes = bytes as f64;
    Ok(bytes)
}

/// What each component is under `dm`, with its plain image.
async fn compose_services(
    starts: &StartupSuite<'_>,
    ports: &HostPorts,
) -> dm_core::error::Result<Vec<ComposeService>> {
    let project = &starts.context.project;
    let site = InstanceLayout {
        instance: &project.instance,
        ports,
        root: &project.instance.root,
        state_dir: starts.directory.path(),
    };
    let mut services = Vec::new();
    for component in &starts.components {
        let mut spec = component.container_spec(&site)?;
        spec.image = plain_image(starts, component.name()).await?;
        let is_database = component.name() == dm_components::postgres::NAME;
        let extra_files = if is_database {
            let script = starts.stack.database.init_script()?;
            vec![(
                "/docker-entrypoint-initdb.d/10-database.sql".to_owned(),
                script,
            )]
        } else {
            Vec::new()
        };
        let after = component
            .start_dependencies()
            .iter()
            // Under compose the database sets itself up while it starts.
            .map(|&name| match name {
                database_setup::NAME => dm_components::postgres::NAME.to_owned(),
                other => other.to_owned(),
            })
            .collect();
        services.push(ComposeService {
            spec,
            depends_on: after,
            extra_files,
        });
    }
    Ok(services)
}

async fn plain_image(starts: &StartupSuite<'_>, component: &str) -> dm_core::error::Result<String> {
    let image = starts
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

/// A free port for each that the components publish, all different.
fn free_ports(components: &[Arc<dyn Component>]) -> std::io::Result<HostPorts> {
    // All are held until the last one is known.
    let mut held = Vec::new();
    let mut ports = HostPorts::new();
    for wish in components.iter().flat_map(|component| component.ports()) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        ports.insert(wish.name.to_owned(), listener.local_addr()?.port());
        held.push(listener);
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
