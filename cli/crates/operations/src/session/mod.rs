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

mod desk;
mod follow;
mod ports;
mod project;
mod stopped;
mod tools;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dm_components::database::Database;
use dm_config::{Config, Install, LoadOptions, Loaded, Override};
use dm_core::error::{Result, step_on};
use dm_core::error_code::ErrorCode;
use dm_core::instance::{self, Instance};
use dm_engine::containers::Container;
use dm_engine::spec::DigestKey;
use dm_engine::{Engine, EngineSettings};
use dm_host::consent::{Ask, Consent, Proposal};
use dm_host::digest_key::digest_key;
use dm_host::lock::Guard;
use dm_host::privilege::Privilege;
use dm_host::state::{self, StateDir};
use dm_images::{Progress, Silent};
use dm_provision::setup::Setup;
use dm_stack::Stack;
use dm_stack::readiness::Pace;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::frontend::Frontend;

pub use desk::Desk;
pub use ports::{PortUse, existing_ports};
pub use project::Project;
pub use stopped::Running;

use ports::{allocate, held_ports, ignored_ports, ports_of, ports_of_selected};

/// How long a run waits for another one on the same instance.
pub(crate) const LOCK_PATIENCE: Duration = Duration::from_secs(30 * 60);

/// Which instance of which project, and what was set for this call alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Selection {
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
    selection: Selection,
    is_silent: bool,
}

impl Session {
    /// The session of a call.
    #[must_use]
    pub fn new(
        selection: Selection,
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
    pub fn silent(&self) -> Self {
        Self {
            is_silent: true,
            ..self.clone()
        }
    }

    /// The same, for what has to be done even where the command was interrupted.
    #[must_use]
    pub(crate) fn undisturbed(&self) -> Self {
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
    pub fn command(&self, arguments: &str) -> String {
        let command = format!("dm {arguments}");
        match self.instance() {
            instance::DEFAULT => command,
            name => step_on(&command, name),
        }
    }

    /// Reads the configuration.
    ///
    /// # Errors
    /// No project, or something wrong in one of the layers.
    pub fn loaded(&self) -> Result<Loaded> {
        let options = LoadOptions {
            project_dir: self.selection.project_directory.clone(),
            current_dir: std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")),
            overrides: self
                .selection
                .overrides
                .iter()
                .map(|pair| Override::set(pair))
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
        self.project_of(&self.selection.instance)
    }

    /// The project with another instance than the call's.
    ///
    /// # Errors
    /// As [`Session::project`].
    pub fn project_of(&self, instance: &str) -> Result<Project> {
        let loaded = self.loaded()?;
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
            Box::new(move |proposal: &Proposal| {
                let question = format!(
                    "dm would {} ({})",
                    proposal.what,
                    proposal.commands.join("; ")
                );
                frontend.confirm(&question).unwrap_or(false)
            }) as Box<Ask>
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
        let setup = Setup {
            settings: &settings,
            consent,
            state: &project.state,
            cancel: &self.interrupt,
            progress: &move |line| frontend.note(line),
        };
        let (engine, outcome) = setup.ensure().await?;
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
        ports: PortUse<'_>,
        progress: Arc<dyn Progress>,
        consent: Arc<Consent>,
    ) -> Result<(Stack, Vec<Container>)> {
        let config = project.config();
        let images_cancel = self.interrupt.child_token();
        let images = project.images(&engine, progress, consent, images_cancel.clone())?;
        let containers = engine.containers(&project.instance.filter()).await?;
        let components = project.components(Some(&engine));
        let ports = match ports {
            PortUse::Existing => ports_of(project, &containers)?,
            PortUse::Allocate { free, only } => {
                let ours = held_ports(&containers);
                let wanted = ports_of_selected(&components, only)?;
                let ports = allocate(project, &engine, free, &wanted, &ours).await?;
                for ignored in ignored_ports(&project.loaded, &ports) {
                    self.frontend.warn(&ignored);
                }
                ports
            }
        };
        let key = DigestKey::new(digest_key(project.state.path())?);
        let stack = Stack {
            images,
            images_cancel,
            instance: project.instance.clone(),
            ports,
            wait: config.timeouts.wait.get(),
            root: project.loaded.root.clone(),
            state: project.state.path().to_owned(),
            components,
            database: Database::new(config, &project.loaded.root).keyed(key.clone()),
            key,
            pace: Pace {
                poll: config.timeouts.poll.get(),
                probe: config.timeouts.probe.get(),
            },
            lock_patience: config.timeouts.lock.get(),
            engine,
        };
        Ok((stack, containers))
    }

    /// The stack as it is, for commands that only look.
    ///
    /// # Errors
    /// As `Session::stack`.
    pub async fn quiet_stack(&self, project: &Project) -> Result<Stack> {
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
        let (quiet, consent) = (Arc::new(Silent), self.consent(false));
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
    pub async fn lock(&self, project: &Project, command: &str) -> Result<Guard> {
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
        wait: Option<Duration>,
    ) -> Result<Guard> {
        let frontend = Arc::clone(&self.frontend);
        let guard = project
            .state
            .lock_instance(
                &project.instance.project,
                &project.instance.name,
                command,
                wait.unwrap_or(LOCK_PATIENCE),
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
pub fn engine_consent(install: Install, consent: Arc<Consent>) -> Arc<Consent> {
    const KEY: &str = "engine.install";
    match install {
        Install::Never => Arc::new(Consent::Refused { by: KEY }),
        Install::Yes if Privilege::current() == Privilege::Root => {
            Arc::new(Consent::Given { by: KEY })
        }
        Install::Yes | Install::Ask => consent,
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
    error.coded().code() == ErrorCode::ConfigNoProject
}
