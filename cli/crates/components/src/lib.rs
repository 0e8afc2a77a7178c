//! The parts of the stack. Each says how it is configured, how it is known to be
//! ready, and how it is reached.

pub mod database;
pub mod gateway_secret;
pub mod keycloak;
pub mod locks;
mod names;
pub mod openldap;
pub mod postgres;
mod quote;
pub mod rabbitmq;
pub mod reach;
pub mod recorded;
pub mod service;
mod service_log;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use dm_config::Config;
use dm_core::error::{Coded, Exit};
use dm_core::error_code::ErrorCode;
use dm_core::instance::Instance;
use dm_engine::spec::{ContainerSpec, DigestKey, Port};
use dm_host::state::StateError;
use thiserror::Error;

use self::recorded::RecordedSchema;

/// The host's ports of an instance by name, e.g. `postgres` → 5432.
pub type Ports = BTreeMap<String, u16>;

/// One question to a component: is it ready?
pub type Probe = Pin<Box<dyn Future<Output = Result<(), Unready>> + Send>>;

/// The work that makes a component as new. The error is why it can't be done.
pub type Renewing = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// Why a component is not ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unready {
    /// It is not ready yet; this is what it answered.
    Yet(String),
    /// It answers, and waiting is no use.
    Refused(Refused),
}

impl From<String> for Unready {
    fn from(answer: String) -> Self {
        Self::Yet(answer)
    }
}

impl std::fmt::Display for Unready {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Yet(answer) => f.write_str(answer),
            Self::Refused(refused) => f.write_str(&refused.what),
        }
    }
}

/// What is wrong with a component, in the words of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What it refuses, and which key that comes from.
    pub what: String,
    /// What to do next.
    pub next: Vec<String>,
}

/// A command in a component's container that has it take the password of the configuration
/// in place of the one of its first start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// The command. It holds no secret.
    pub command: Vec<String>,
    /// Its standard input.
    pub input: String,
}

/// A port that a component publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortWish {
    /// Its name in allocations.
    pub name: &'static str,
    /// The port inside the container.
    pub container: u16,
    /// The port on the host that `dm.toml` asks for.
    pub host: u16,
}

/// Where a component is to be set up.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// The instance.
    pub instance: &'a Instance,
    /// The host's ports of the instance.
    pub ports: &'a Ports,
    /// The project's folder, which paths in `dm.toml` are relative to.
    pub root: &'a Path,
    /// Where `dm` keeps what it must remember.
    pub state: &'a Path,
}

/// A component that can't be configured.
#[derive(Debug, Error)]
pub enum ComponentError {
    /// One of its files can't be read.
    #[error("could not read {} (`{key}` in dm.toml)", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The key that names it.
        key: &'static str,
        /// Why not.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// Something that its container has of this machine can't be made.
    #[error("could not create {}", path.display())]
    Place {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// One of its files isn't what it should be.
    #[error("could not use {}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// What `dm` keeps for it can't be read or written.
    #[error(transparent)]
    State(#[from] StateError),
}

impl Coded for ComponentError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::File { .. } | Self::Place { .. } | Self::Content { .. } => {
                ErrorCode::ComponentFile
            }
            Self::State(error) => error.code(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::File { .. } | Self::Place { .. } | Self::Content { .. } => Exit::Usage,
            Self::State(error) => error.exit(),
        }
    }

    fn next(&self) -> Vec<String> {
        match self {
            Self::File { key, .. } => {
                vec![format!(
                    "create the file, or set `{key}` in dm.toml: dm config show {key}"
                )]
            }
            Self::Place { .. } => Vec::new(),
            Self::Content { path, .. } => vec![format!("correct {}", path.display())],
            Self::State(error) => error.next(),
        }
    }
}

/// What a component's golden image holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoldenPart {
    /// The data of its volume after a first start, at this path. The engine fills
    /// a new volume from the image's content there.
    Data(&'static str),
    /// The same, kept in a folder of its own: the image's entrypoint copies it
    /// into a new volume, since it does so quicker than the engine.
    Copied {
        /// Where the data is in a container that has run.
        data: &'static str,
        /// The folder in the golden image that it goes to.
        kept: &'static str,
    },
}

impl GoldenPart {
    /// The path in the container.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Data(path) => path,
            Self::Copied { data, .. } => data,
        }
    }

    /// The folder in the golden image that it goes to.
    #[must_use]
    pub fn kept(self) -> &'static str {
        match self {
            Self::Data(path) => path.rsplit_once('/').map_or("", |(parent, _)| parent),
            Self::Copied { kept, .. } => kept,
        }
    }
}

/// How a component becomes what it is after a first start.
pub enum Renewal {
    /// While it runs: its own data, and what it has read of others', which is about to be
    /// replaced.
    Running(Renewing),
    /// At its next start, once this command has said so. It is one of the image's own, where
    /// that has golden data.
    Starting(&'static [&'static str]),
}

/// The work that gives a component that is ready what of its configuration can change while
/// it runs.
pub(crate) type Adjustment = Pin<Box<dyn Future<Output = Result<(), Box<dyn Coded>>> + Send>>;

/// A container of the stack that stays up.
pub trait Component: Debug + Send + Sync {
    /// Its name: in the network, in commands and in tables.
    fn name(&self) -> &'static str;

    /// What its image is called.
    fn image(&self) -> &'static str {
        self.name()
    }

    /// Whether the rest of the stack is of use without it: where it does not start, that is
    /// no failure of the stack.
    fn is_dispensable(&self) -> bool {
        false
    }

    /// What must be ready before it can start.
    fn after(&self) -> &'static [&'static str] {
        &[]
    }

    /// What it needs to be of any use, though it starts without: whoever asks for
    /// it alone gets these, too.
    fn needs(&self) -> &'static [&'static str] {
        &[]
    }

    /// The ports that it publishes.
    fn ports(&self) -> Vec<PortWish>;

    /// What its container should be; the caller sets the image.
    ///
    /// # Errors
    /// [`ComponentError`] where a fixture is missing or broken.
    fn specify(&self, site: &Site<'_>) -> Result<ContainerSpec, ComponentError>;

    /// Makes what its container has of this machine, before that is started.
    ///
    /// # Errors
    /// [`ComponentError::Place`] where that can't be made.
    fn prepare(&self) -> Result<(), ComponentError> {
        Ok(())
    }

    /// Asks the component by its own protocol whether it is ready.
    fn probe(&self, ports: &Ports) -> Probe;

    /// What it says is wrong though it is ready.
    fn complaint(&self) -> Option<String> {
        None
    }

    /// How a person or a program reaches it from the host.
    fn addresses(&self, ports: &Ports) -> Vec<String>;

    /// The page that `dm open` shows, if it has one.
    fn page(&self, _ports: &Ports) -> Option<String> {
        None
    }

    /// What its golden image holds, and where in the container that is; `None` for
    /// a component that keeps nothing.
    fn golden(&self) -> Option<GoldenPart> {
        None
    }

    /// The database schema that can be filled from its image before its first
    /// start, where it has one.
    fn recorded_schema(&self, _ports: &Ports) -> Option<RecordedSchema> {
        None
    }

    /// What is done to it once it is ready, whenever it is brought up; it must cost nothing
    /// where there is nothing to change.
    fn adjustment(&self, _ports: &Ports) -> Option<Adjustment> {
        None
    }

    /// How it becomes what it is after a first start without being made again; `None` for a
    /// component that has to be.
    fn renewal(&self, _ports: &Ports) -> Option<Renewal> {
        None
    }

    /// How it is made to take the password of the configuration where it refuses that.
    fn admission(&self) -> Option<Admission> {
        None
    }

    /// What its last log lines say is wrong, where they say it of the configuration.
    fn diagnosis(&self, _log: &[String]) -> Option<Refused> {
        None
    }

    /// A line of its log as a person wants to read it.
    fn readable(&self, line: String) -> String {
        line
    }

    /// The time it is given to become ready, where not the run's.
    fn wait_timeout(&self) -> Option<Duration>;
}

/// The infrastructure components, in the order in which they are shown.
#[must_use]
pub fn infrastructure(config: &Config, root: &Path) -> Vec<Arc<dyn Component>> {
    vec![
        Arc::new(postgres::Postgres::new(config)),
        Arc::new(rabbitmq::RabbitMq::new(config, root)),
        Arc::new(openldap::OpenLdap::new(config)),
        Arc::new(keycloak::Keycloak::new(config)),
    ]
}

/// The infrastructure and the services, in the order in which they are shown.
#[must_use]
pub fn all(config: &Config, root: &Path) -> Vec<Arc<dyn Component>> {
    let mut components = infrastructure(config, root);
    components.extend(service::all(config).map(|service| Arc::new(service) as Arc<dyn Component>));
    components
}

/// A client for what runs on this machine, which is never anything but plain HTTP.
///
/// Without certificates: otherwise every new client reads and parses all that
/// the system trusts, some hundred files, and a probe makes a client ten times
/// a second while the components want the processor for themselves.
pub fn http_client() -> reqwest::ClientBuilder {
    reqwest::Client::builder().no_proxy().tls_certs_only([])
}

/// The last cause of an error: `connection refused` says more than `error sending request`.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// The specification that all components share: names, network, volume, ports.
#[must_use]
pub fn container(component: &dyn Component, site: &Site<'_>) -> ContainerSpec {
    let name = component.name();
    ContainerSpec {
        name: site.instance.container(name),
        component: name.to_owned(),
        image: String::new(),
        recipe: String::new(),
        key: DigestKey::default(),
        hostname: name.to_owned(),
        env: BTreeMap::new(),
        command: Vec::new(),
        files: Vec::new(),
        mounts: Vec::new(),
        ports: component
            .ports()
            .into_iter()
            .map(|wish| Port {
                name: wish.name.to_owned(),
                container: wish.container,
                host: host_port(site.ports, wish.name),
            })
            .collect(),
        network: site.instance.network(),
        memory: None,
        shm_size: None,
        stop_timeout: 10,
        sysctls: BTreeMap::new(),
        host: None,
        labels: BTreeMap::new(),
    }
}

/// The allocated port; 0, which nothing listens on, where there is none.
fn host_port(ports: &Ports, name: &str) -> u16 {
    ports.get(name).copied().unwrap_or_default()
}

/// The address of a component's pages on the host, as browsers and issuers write it:
/// without the port that `http` has by itself.
fn http_origin(host: &str, port: u16) -> String {
    match port {
        80 => format!("http://{host}"),
        port => format!("http://{host}:{port}"),
    }
}

/// Reads a fixture.
fn read(root: &Path, path: &Path, key: &'static str) -> Result<Vec<u8>, ComponentError> {
    let path = root.join(path);
    std::fs::read(&path).map_err(|error| ComponentError::File {
        path,
        key,
        source: Arc::new(error),
    })
}
