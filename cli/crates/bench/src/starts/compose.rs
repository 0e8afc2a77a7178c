//! The same stack under docker-compose.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dm_components::{Component, Ports, Site, database};
use dm_engine::Engine;
use dm_engine::containers::State;
use dm_host::process;
use dm_images::ImageError;
use dm_stack::StackError;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::composefile::{self, Service};
use super::{Checks, Starts};
use crate::error::BenchError;
use crate::program;

/// How often the containers' health is asked for.
const POLL: Duration = Duration::from_millis(100);
/// When to stop hoping.
const PATIENCE: Duration = Duration::from_secs(1800);

/// The labels that docker-compose gives to its containers.
const PROJECT_LABEL: &str = "com.docker.compose.project";
const SERVICE_LABEL: &str = "com.docker.compose.service";

/// How docker-compose is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    command: Vec<String>,
    /// What it says of its version.
    pub(crate) version: String,
}

impl Program {
    /// The plugin of the `docker` command, or else the program of its own.
    pub(crate) async fn find() -> Option<Self> {
        let candidates = [("docker", Some("compose")), ("docker-compose", None)];
        for (name, plugin) in candidates {
            let Some(path) = process::program(name) else {
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
pub(super) struct Compose<'a> {
    program: &'a Program,
    engine: &'a Engine,
    project: String,
    checks: Checks,
    folder: PathBuf,
}

impl<'a> Compose<'a> {
    /// The project with these checks.
    pub(super) fn new(starts: &'a Starts<'_>, program: &'a Program, checks: Checks) -> Self {
        let project = &starts.bench.project.instance.project;
        Self {
            program,
            engine: &starts.bench.engine,
            project: format!("{project}-bench-{}", checks.as_str()),
            checks,
            folder: starts.folder.path().join(checks.as_str()),
        }
    }

    /// Writes the compose file with free ports, and the files that it mounts.
    pub(super) async fn write(&self, starts: &Starts<'_>) -> dm_core::error::Result<()> {
        let ports = free_ports(&starts.components).map_err(BenchError::Port)?;
        let services = services(starts, &ports).await?;
        let config = starts.bench.project.config();
        let (text, files) = composefile::render(&services, config, self.checks, &self.folder)?;
        for file in files {
            write(&file.path, &file.contents)?;
        }
        write(&self.file(), text.as_bytes())?;
        Ok(())
    }

    /// `up -d`, until all services are healthy: what a user waits for.
    pub(super) async fn up(
        &self,
        expected: usize,
        interrupt: &CancellationToken,
    ) -> Result<Duration, BenchError> {
        let began = Instant::now();
        let up = program::run(self.command(&["up", "-d", "--no-color"]), interrupt);
        let healthy = self.all_healthy(expected, interrupt);
        tokio::try_join!(up, healthy)?;
        Ok(began.elapsed())
    }

    /// Removes containers, network and volumes of the project.
    pub(super) async fn down(&self) -> Result<(), BenchError> {
        if !self.file().exists() {
            // Left by a bench that was killed: any file with the project's
            // name will do, as compose finds its own by labels.
            let minimal = br#"{"services":{"none":{"image":"none"}}}"#;
            write(&self.file(), minimal)?;
        }
        let arguments = ["down", "-v", "--remove-orphans", "-t", "5"];
        // Not with the run's token: an interrupted run is tidied up all the same.
        program::run(self.command(&arguments), &CancellationToken::new()).await?;
        Ok(())
    }

    /// The memory of its containers in bytes.
    pub(super) async fn memory(&self) -> Result<f64, BenchError> {
        memory(self.engine, &[(PROJECT_LABEL, &self.project)]).await
    }

    fn file(&self) -> PathBuf {
        self.folder.join("docker-compose.json")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program.command[0]);
        command
            .args(&self.program.command[1..])
            .args(["-p", &self.project, "-f"])
            .arg(self.file())
            .args(arguments)
            .env("DOCKER_HOST", &self.engine.found().address)
            .env_remove("DOCKER_CONTEXT")
            .env_remove("COMPOSE_FILE")
            .env_remove("COMPOSE_PROFILES");
        command
    }

    async fn all_healthy(
        &self,
        expected: usize,
        interrupt: &CancellationToken,
    ) -> Result<(), BenchError> {
        let began = Instant::now();
        loop {
            let containers = self
                .engine
                .containers(&[(PROJECT_LABEL, &self.project)])
                .await?;
            let healthy = containers
                .iter()
                .filter(|container| container.status.ends_with("(healthy)"))
                .count();
            if healthy == expected {
                return Ok(());
            }
            let failed = containers.iter().find(|container| {
                matches!(container.state, State::Exited | State::Dead)
                    || container.status.ends_with("(unhealthy)")
            });
            let waits = containers
                .iter()
                .find(|container| !container.status.ends_with("(healthy)"));
            let (container, what) = match (failed, waits) {
                (Some(container), _) => (container, "failed"),
                (None, Some(container)) if began.elapsed() > PATIENCE => {
                    (container, "did not become healthy")
                }
                _ => {
                    tokio::select! {
                        () = interrupt.cancelled() => return Err(BenchError::Interrupted),
                        () = tokio::time::sleep(POLL) => continue,
                    }
                }
            };
            return Err(BenchError::Compose {
                service: container
                    .labels
                    .get(SERVICE_LABEL)
                    .unwrap_or(&container.name)
                    .clone(),
                what: format!("{what}: {}", container.status),
            });
        }
    }
}

/// The memory of all containers with these labels, in bytes.
pub(super) async fn memory(engine: &Engine, labels: &[(&str, &str)]) -> Result<f64, BenchError> {
    let containers = engine.containers(labels).await?;
    let asked = containers
        .iter()
        .map(|container| engine.memory(&container.name));
    let answers = futures_util::future::try_join_all(asked).await?;
    let bytes: u64 = answers.into_iter().flatten().sum();
    #[expect(clippy::cast_precision_loss, reason = "no machine has 2^52 bytes")]
    let bytes = bytes as f64;
    Ok(bytes)
}

/// What each component is under `dm`, with its plain image.
async fn services(starts: &Starts<'_>, ports: &Ports) -> dm_core::error::Result<Vec<Service>> {
    let project = &starts.bench.project;
    let site = Site {
        instance: &project.instance,
        ports,
        root: &project.instance.root,
        state: starts.folder.path(),
    };
    let mut services = Vec::new();
    for component in &starts.components {
        let mut spec = component.specify(&site)?;
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
            .after()
            .iter()
            // Under compose the database sets itself up while it starts.
            .map(|&name| match name {
                database::NAME => dm_components::postgres::NAME.to_owned(),
                other => other.to_owned(),
            })
            .collect();
        services.push(Service {
            spec,
            after,
            extra_files,
        });
    }
    Ok(services)
}

async fn plain_image(starts: &Starts<'_>, component: &str) -> dm_core::error::Result<String> {
    let image = starts
        .stack
        .images
        .local(component)
        .await
        .map_err(|error: ImageError| BenchError::from(error))?;
    match image {
        Some(image) => Ok(image.reference),
        None => Err(StackError::ImageGone {
            component: component.to_owned(),
            image: None,
        }
        .into()),
    }
}

/// A free port for each that the components publish, all different.
fn free_ports(components: &[Arc<dyn Component>]) -> std::io::Result<Ports> {
    // All are held until the last one is known.
    let mut held = Vec::new();
    let mut ports = Ports::new();
    for wish in components.iter().flat_map(|component| component.ports()) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        ports.insert(wish.name.to_owned(), listener.local_addr()?.port());
        held.push(listener);
    }
    Ok(ports)
}

fn write(path: &Path, contents: &[u8]) -> Result<(), BenchError> {
    path.parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| std::fs::write(path, contents))
        .map_err(|source| BenchError::Write {
            path: path.to_owned(),
            source,
        })
}
