//! What the operations of one call share: the instance that they are about, the way to the
//! configuration, the engine and the stack, and how they end early.
//!
//! ```text
//! project   the configuration, the instance and its state
//! follow    the frontend asked, and following a run
//! ports     the ports that the instance has, or gets
//! desk      the ways to the tables and queues of a stack that runs
//! stopped   which components a command has stopped
//! tools     programs that images are made with
//! ```

mod host_tools;
mod ports;
mod progress;
mod project;
mod running_components;
mod stack_clients;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dm_components::database_setup::DatabaseSetup;
use dm_config::{Config, ConfigOverride, InstallPolicy, LoadOptions, LoadedConfig};
use dm_core::error::{Result, suggestion_for_instance};
use dm_core::error_code::ErrorCode;
use dm_core::instance::{self, Instance};
use dm_engine::containers::Container;
use dm_engine::spec::DigestKey;
use dm_engine::{Engine, EngineSettings};
use dm_host::consent::{Consent, ConsentPrompt, ProposedChange};
use dm_host::digest_key::load_or_create_digest_key;
use dm_host::lock::LockGuard;
use dm_host::privilege::Privilege;
use dm_host::state::{self, StateDir};
use dm_images::{ImageProgress, NoImageProgress};
use dm_provision::engine_setup::EngineSetup;
use dm_stack::Stack;
use dm_stack::readiness::ProbeTiming;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::frontend::Frontend;

pub use ports::{PortUse, existing_ports};
pub use project::Project;
pub use running_components::RunningComponents;
pub use stack_clients::StackClients;

use ports::{allocate, container_ports, held_ports, ignored_port_warnings, requested_ports};

/// How long a run waits for another one on the same instance.
pub(crate) const LOCK_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// Which instance of which project, and what was set for this call alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InstanceSelection {
    /// The instance.
    pub instance: String,
    /// The folder of `dm.toml`; otherwise it is looked for from the current folder upwards.
    pub project_directory: Option<PathBuf>,
    /// Keys with their values, as `--set` takes them.
    pub overrides: Vec<String>,
}

/// What the operations of one call share.
#[derive(Clone)]
pub struct Session {
    /// Cancelled by the first interrupt.
    pub interrupt: CancellationToken,
    /// Where they report and ask.
    pub frontend: Arc<dyn Frontend>,
    selection: InstanceSelection,
    is_silent: bool,
}

impl Session {
    /// The session of a call.
    #[must_use]
    pub fn new(
        selection: InstanceSelection,
        frontend: Arc<dyn Frontend>,
        interrupt: CancellationToken,
    ) -> Self {
        Self {
            interrupt,
            frontend,
            selection,
            is_silent: false,
        }
    }

    /// The same, without a word about the configuration: for a look beside the command.
    #[must_use]
    pub fn without_warnings(&self) -> Self {
        Self {
            is_silent: true,
            ..self.clone()
        }
    }

    /// The same, for what has to be done even where the command was interrupted.
    #[must_use]
    pub(crate) fn uninterruptible(&self) -> Self {
        Self {
            interrupt: CancellationToken::new(),
            ..self.clone()
        }
    }

    /// The instance that was named, or the default one.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.selection.instance
    }

    /// A command of `dm` to type next, e.g. `down --volumes`: it names the instance where that
    /// is not the default one. Typed as it stands, it must not reach another instance's data.
    #[must_use]
    pub fn dm_command(&self, arguments: &str) -> String {
        let command = format!("dm {arguments}");
        match self.instance() {
            instance::DEFAULT_INSTANCE => command,
            name => suggestion_for_instance(&command, name),
        }
    }

    /// Reads the configuration.
    ///
    /// # Errors
    /// No project, or something wrong in one of the layers.
    pub fn load_config(&self) -> Result<LoadedConfig> {
        let options = LoadOptions {
            project_dir: self.selection.project_directory.clone(),
            current_dir: std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")),
            overrides: self
                .selection
                .overrides
                .iter()
                .map(|pair| ConfigOverride::from_set_option(pair))
                .collect(),
        };
        let loaded = Config::load(&options, std::env::vars_os())?;
        let warnings = loaded.warnings.iter().filter(|_| !self.is_silent);
        for warning in warnings {
            self.frontend.warn(&warning.to_string());
        }
        Ok(loaded)
    }

    /// Reads the configuration and finds the instance.
    ///
    /// # Errors
    /// As [`Session::loaded`], and a name that no instance can have.
    pub fn project(&self) -> Result<Project> {
        self.project_for_instance(&self.selection.instance)
    }

    /// The project with another instance than the call's.
    ///
    /// # Errors
    /// As [`Session::project`].
    pub fn project_for_instance(&self, instance: &str) -> Result<Project> {
        let loaded = self.load_config()?;
        let id = state::project_id(&loaded.root, loaded.config.project.name.as_str());
        let instance = Instance::new(id, instance, &loaded.root)?;
        Ok(Project {
            loaded,
            instance,
            state: StateDir::open()?,
        })
    }

    /// Consent to change the machine: by `--yes`, the environment, or a person.
    #[must_use]
    pub fn consent(&self, assume_yes: bool) -> Arc<Consent> {
        let frontend = Arc::clone(&self.frontend);
        let ask = frontend.can_ask().then(|| {
            Box::new(move |proposal: &ProposedChange| {
                let question = format!(
                    "dm would {} ({})",
                    proposal.summary,
                    proposal.commands.join("; ")
                );
                frontend.confirm(&question).unwrap_or(false)
            }) as Box<ConsentPrompt>
        });
        Arc::new(Consent::from_environment(assume_yes, ask))
    }

    /// Connects to the engine that there is.
    ///
    /// # Errors
    /// None answers.
    pub async fn engine(&self, config: &Config) -> Result<Engine> {
        Ok(Engine::connect(&engine_settings(config)).await?)
    }

    /// Connects to the engine, which is installed and started first where there
    /// is none and consent is given.
    ///
    /// # Errors
    /// None answers and none may be, or can be, started.
    pub async fn engine_or_start(
        &self,
        project: &Project,
        consent: &Arc<Consent>,
    ) -> Result<Engine> {
        let settings = engine_settings(project.config());
        let consent = &engine_consent(project.config().engine.install, consent.clone());
        let frontend = Arc::clone(&self.frontend);
        let setup = EngineSetup {
            settings: &settings,
            consent,
            state: &project.state,
            cancel: &self.interrupt,
            progress: &move |line| frontend.note(line),
        };
        let (engine, outcome) = setup.ensure_engine().await?;
        for note in &outcome.notes {
            self.frontend.note(note);
        }
        Ok(engine)
    }

    /// The stack of an instance on an engine, with the instance's containers: they hold its
    /// ports. `progress` hears how its images are obtained.
    ///
    /// # Errors
    /// Unreadable fixtures, a taken port, a failing engine.
    pub(crate) async fn stack(
        &self,
        project: &Project,
        engine: Engine,
        port_use: PortUse<'_>,
        progress: Arc<dyn ImageProgress>,
        consent: Arc<Consent>,
    ) -> Result<(Stack, Vec<Container>)> {
        let config = project.config();
        let images_cancel = self.interrupt.child_token();
        let images = project.images(&engine, progress, consent, images_cancel.clone())?;
        let containers = engine
            .list_containers(&project.instance.label_filter())
            .await?;
        let components = project.components(Some(&engine));
        let ports = match port_use {
            PortUse::Existing => container_ports(project, &containers)?,
            PortUse::Allocate { free, only } => {
                let ours = held_ports(&containers);
                let wanted = requested_ports(&components, only)?;
                let ports = allocate(project, &engine, free, &wanted, &ours).await?;
                for ignored in ignored_port_warnings(&project.loaded, &ports) {
                    self.frontend.warn(&ignored);
                }
                ports
            }
        };
        let key = DigestKey::new(load_or_create_digest_key(project.state.path())?);
        let stack = Stack {
            images,
            images_cancel,
            instance: project.instance.clone(),
            ports,
            wait_timeout: config.timeouts.wait.as_duration(),
            root: project.loaded.root.clone(),
            state_dir: project.state.path().to_owned(),
            components,
            database: DatabaseSetup::new(config, &project.loaded.root).with_digest_key(key.clone()),
            digest_key: key,
            probe_timing: ProbeTiming {
                interval: config.timeouts.poll.as_duration(),
                timeout: config.timeouts.probe.as_duration(),
            },
            lock_timeout: config.timeouts.lock.as_duration(),
            engine,
        };
        Ok((stack, containers))
    }

    /// The stack as it is, for commands that only look.
    ///
    /// # Errors
    /// As `Session::stack`.
    pub async fn stack_for_inspection(&self, project: &Project) -> Result<Stack> {
        let engine = self.engine(project.config()).await?;
        Ok(self.existing_stack(project, engine).await?.0)
    }

    /// The stack on the ports that it has, with the instance's containers. No image is
    /// obtained.
    ///
    /// # Errors
    /// As [`Session::stack`].
    pub(crate) async fn existing_stack(
        &self,
        project: &Project,
        engine: Engine,
    ) -> Result<(Stack, Vec<Container>)> {
        let (quiet, consent) = (Arc::new(NoImageProgress), self.consent(false));
        self.stack(project, engine, PortUse::Existing, quiet, consent)
            .await
    }

    /// What `--set` gave to this call.
    #[must_use]
    pub fn overrides(&self) -> &[String] {
        &self.selection.overrides
    }

    /// Takes the instance's lock, telling whom it waits for.
    ///
    /// # Errors
    /// It stays taken, or the wait is interrupted.
    pub async fn lock(&self, project: &Project, command: &str) -> Result<LockGuard> {
        self.lock_within(project, command, None).await
    }

    /// As [`Session::lock`], for a command that was given a `--wait-timeout`: that is also the
    /// longest time to wait for another command.
    ///
    /// # Errors
    /// As [`Session::lock`].
    pub async fn lock_within(
        &self,
        project: &Project,
        command: &str,
        wait_timeout: Option<Duration>,
    ) -> Result<LockGuard> {
        let frontend = Arc::clone(&self.frontend);
        let guard = project
            .state
            .lock_instance(
                &project.instance.project,
                &project.instance.name,
                command,
                wait_timeout.unwrap_or(LOCK_TIMEOUT),
                &self.interrupt,
                move |holder| {
                    let who =
                        holder.map_or_else(|| "another dm process".to_owned(), |it| it.to_string());
                    frontend.note(&format!(
                        "waiting for {who}, which holds the lock of the instance"
                    ));
                },
            )
            .await?;
        Ok(guard)
    }
}

/// What the configuration makes of a consent where it is about the engine.
#[must_use]
pub fn engine_consent(install: InstallPolicy, consent: Arc<Consent>) -> Arc<Consent> {
    const KEY: &str = "engine.install";
    match install {
        InstallPolicy::Never => Arc::new(Consent::Refused { by: KEY }),
        InstallPolicy::Yes if Privilege::current() == Privilege::Root => {
            Arc::new(Consent::Granted { by: KEY })
        }
        InstallPolicy::Yes | InstallPolicy::Ask => consent,
    }
}

/// What the configuration says of the engine.
#[must_use]
pub fn engine_settings(config: &Config) -> EngineSettings {
    EngineSettings {
        host: config.engine.host.as_ref().map(ToString::to_string),
    }
}

/// Whether an operation failed only because it was called outside any project.
#[must_use]
pub fn is_outside_project(error: &dm_core::error::Error) -> bool {
    error.user_error().code() == ErrorCode::ConfigNoProject
}
