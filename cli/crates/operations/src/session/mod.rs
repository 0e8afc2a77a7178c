//! The state that the operations of one call share: the selected instance, access to the
//! configuration, the engine and the stack, and the interrupt.
//!
//! ```text
//! project             the configuration, the instance and its state
//! progress            confirmations, and progress of runs
//! ports               the host ports of the instance and their allocation
//! stack_clients       access to the tables and queues of a running stack
//! running_components  the components that an operation has stopped
//! host_tools          programs that build images
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
use dm_core::error::{Error, Result, suggestion_for_instance};
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

pub(crate) use ports::{has_no_ports, require_containers};

use ports::{allocate, container_ports, held_ports, ignored_port_warnings, requested_ports};

/// The default time limit for the instance lock.
pub(crate) const LOCK_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// The selected instance and project, and the configuration overrides of this call.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InstanceSelection {
    /// The name of the instance.
    pub instance: String,
    /// The directory of `dm.toml`. Default: searched from the current directory upwards.
    pub project_directory: Option<PathBuf>,
    /// Keys with their values, in the format of `--set`.
    pub overrides: Vec<String>,
}

/// The state that the operations of one call share.
#[derive(Clone)]
pub struct Session {
    /// Cancelled by the first interrupt.
    pub interrupt: CancellationToken,
    /// The frontend for reports and questions.
    pub frontend: Arc<dyn Frontend>,
    selection: InstanceSelection,
    is_silent: bool,
    /// Whether the selected instance is a scratch instance.
    is_of_scratch_instance: bool,
}

impl Session {
    /// A session for one call.
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
            is_of_scratch_instance: false,
        }
    }

    /// Returns a session that prints no configuration warnings, for checks beside the command.
    #[must_use]
    pub fn without_warnings(&self) -> Self {
        Self {
            is_silent: true,
            ..self.clone()
        }
    }

    /// Returns a session with an interrupt of its own, for work that has to be done even if the
    /// command was interrupted.
    #[must_use]
    pub(crate) fn uninterruptible(&self) -> Self {
        Self {
            interrupt: CancellationToken::new(),
            ..self.clone()
        }
    }

    /// Returns a session with another selected instance, for a command that chooses its name.
    #[must_use]
    pub(crate) fn with_instance(&self, name: &str) -> Self {
        let mut session = self.clone();
        session.selection.instance = name.to_owned();
        session
    }

    /// Returns a session for a scratch instance, which the command removes. Its errors and failures
    /// suggest no command for an instance: it would act on another one.
    #[must_use]
    pub(crate) fn for_scratch_instance(&self, name: &str) -> Self {
        Self {
            is_of_scratch_instance: true,
            ..self.with_instance(name)
        }
    }

    /// Returns the name of the selected instance.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.selection.instance
    }

    /// Returns a `dm` command to suggest, e.g. for `down --volumes`. It names the instance
    /// unless that is the default one: copied as printed, the command must not affect another
    /// instance.
    #[must_use]
    pub fn dm_command(&self, arguments: &str) -> String {
        self.complete_hint(&format!("dm {arguments}"))
    }

    /// Returns a `dm` command to suggest for the time after this command, as in
    /// [`Session::dm_command`]. Returns `None` for a scratch instance, which is then removed.
    #[must_use]
    pub(crate) fn dm_command_for_later(&self, arguments: &str) -> Option<String> {
        (!self.is_of_scratch_instance).then(|| self.dm_command(arguments))
    }

    /// Adds the instance to the `dm` command in a sentence, as in [`Session::dm_command`]. The
    /// suggestions of errors and of failed components are completed where they are reported.
    #[must_use]
    pub fn complete_hint(&self, sentence: &str) -> String {
        match self.instance() {
            instance::DEFAULT_INSTANCE => sentence.to_owned(),
            name => suggestion_for_instance(sentence, name),
        }
    }

    /// Completes the suggestions of an error, as in [`Session::complete_hint`]. An error of a
    /// scratch instance keeps no suggested command for an instance.
    #[must_use]
    pub fn complete_error(&self, error: Error) -> Error {
        if self.is_of_scratch_instance {
            return error.of_scratch_instance();
        }
        match self.instance() {
            instance::DEFAULT_INSTANCE => error,
            name => error.for_instance(name),
        }
    }

    /// Loads the configuration and prints its warnings.
    ///
    /// # Errors
    /// If there is no project or the configuration is invalid.
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

    /// Loads the configuration and selects the instance.
    ///
    /// # Errors
    /// As [`Session::load_config`], or if the name of the instance is invalid.
    pub fn project(&self) -> Result<Project> {
        self.project_for_instance(&self.selection.instance)
    }

    /// Loads the project with another instance than the selected one.
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

    /// Returns the consent to change the machine: by `--yes`, the environment, or the user.
    #[must_use]
    pub fn consent(&self, assume_yes: bool) -> Arc<Consent> {
        let frontend = Arc::clone(&self.frontend);
        let prompt = frontend.can_ask().then(|| {
            Box::new(move |proposal: &ProposedChange| {
                let question = format!(
                    "dm would {} ({})",
                    proposal.summary,
                    proposal.commands.join("; ")
                );
                frontend.confirm(&question).unwrap_or(false)
            }) as Box<ConsentPrompt>
        });
        Arc::new(Consent::from_environment(assume_yes, prompt))
    }

    /// Connects to the engine.
    ///
    /// # Errors
    /// If no engine can be reached.
    pub async fn engine(&self, config: &Config) -> Result<Engine> {
        Ok(Engine::connect(&engine_settings(config)).await?)
    }

    /// Connects to the engine. Installs and starts it first if necessary and consent is given.
    ///
    /// # Errors
    /// If no engine can be reached and none can be started.
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

    /// Returns the stack of an instance on an engine, and the instance's containers, which
    /// determine its ports. The acquisition of images is reported to `progress`.
    ///
    /// # Errors
    /// If the settings cannot be read, a port is taken, or the engine fails.
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
        let port_use = match port_use {
            PortUse::ExistingOrAllocated if has_no_ports(project, &containers)? => {
                PortUse::Allocate {
                    free: false,
                    only: &[],
                }
            }
            other => other,
        };
        let ports = match port_use {
            PortUse::Existing | PortUse::ExistingOrAllocated => {
                container_ports(project, &containers)?
            }
            PortUse::Allocate { free, only } => {
                let published = held_ports(&containers);
                let requested = requested_ports(&components, only)?;
                let ports = allocate(project, &engine, free, &requested, &published).await?;
                for warning in ignored_port_warnings(&project.loaded, &ports) {
                    self.frontend.warn(&warning);
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
                interval: config.timeouts.probe_interval.as_duration(),
                timeout: config.timeouts.probe_timeout.as_duration(),
            },
            lock_timeout: config.timeouts.lock.as_duration(),
            engine,
        };
        Ok((stack, containers))
    }

    /// Returns the existing stack, for read-only commands.
    ///
    /// # Errors
    /// As `Session::stack`.
    pub async fn stack_for_inspection(&self, project: &Project) -> Result<Stack> {
        let engine = self.engine(project.config()).await?;
        Ok(self.existing_stack(project, engine).await?.0)
    }

    /// Returns the stack on its existing ports, and the instance's containers. Obtains no
    /// image.
    ///
    /// # Errors
    /// As [`Session::stack`].
    pub(crate) async fn existing_stack(
        &self,
        project: &Project,
        engine: Engine,
    ) -> Result<(Stack, Vec<Container>)> {
        let (progress, consent) = (Arc::new(NoImageProgress), self.consent(false));
        self.stack(project, engine, PortUse::Existing, progress, consent)
            .await
    }

    /// Returns the values of `--set`.
    #[must_use]
    pub fn overrides(&self) -> &[String] {
        &self.selection.overrides
    }

    /// Acquires the instance lock. A wait is reported with the lock holder.
    ///
    /// # Errors
    /// If the lock is not released in time or the wait is interrupted.
    pub async fn lock(&self, project: &Project, command: &str) -> Result<LockGuard> {
        self.lock_within(project, command, None).await
    }

    /// Like [`Session::lock`], with the `--wait-timeout` of the command as the time limit for
    /// the lock.
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
                    let holder = holder.map_or_else(
                        || "another dm process".to_owned(),
                        |holder| holder.to_string(),
                    );
                    frontend.note(&format!(
                        "waiting for {holder}, which holds the lock of the instance"
                    ));
                },
            )
            .await?;
        Ok(guard)
    }
}

/// Applies the setting `engine.install` to a consent.
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

/// Returns the engine settings of the configuration.
#[must_use]
pub fn engine_settings(config: &Config) -> EngineSettings {
    EngineSettings {
        host: config.engine.host.as_ref().map(ToString::to_string),
    }
}

/// Returns whether an operation failed because it was called outside a project.
#[must_use]
pub fn is_outside_project(error: &Error) -> bool {
    error.user_error().code() == ErrorCode::ConfigNoProject
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack_run::RunError;
    use crate::test_support::{self, ScriptedFrontend};

    #[test]
    fn complete_hint_names_every_instance_except_the_default_one() {
        let hint = |instance: &str| {
            let selection = InstanceSelection {
                instance: instance.to_owned(),
                project_directory: None,
                overrides: Vec::new(),
            };
            let frontend = ScriptedFrontend::with_answer(None);
            let session = Session::new(selection, frontend, CancellationToken::new());
            let sentence = "the container `backup` is not running: dm up";
            [session.complete_hint(sentence), session.dm_command("up")]
        };
        assert_eq!(
            hint("default"),
            ["the container `backup` is not running: dm up", "dm up"]
        );
        assert_eq!(
            hint("review"),
            [
                "the container `backup` is not running: dm --instance review up",
                "dm --instance review up"
            ]
        );
    }

    #[test]
    fn dm_command_for_later_is_not_suggested_for_a_scratch_instance() {
        let directory = tempfile::tempdir().unwrap();
        let session = test_support::session(ScriptedFrontend::with_answer(None), directory.path());
        let command = |session: Session| session.dm_command_for_later("reconcile --repair");
        assert_eq!(
            command(session.with_instance("review")).as_deref(),
            Some("dm --instance review reconcile --repair")
        );
        assert_eq!(command(session.for_scratch_instance("scratch")), None);
    }

    #[test]
    fn complete_error_names_the_selected_instance() {
        let directory = tempfile::tempdir().unwrap();
        let session = test_support::session(ScriptedFrontend::with_answer(None), directory.path());
        let first_suggestion = |session: &Session| {
            let error = session.complete_error(RunError::Interrupted.into());
            error.suggestions().remove(0)
        };
        assert_eq!(
            first_suggestion(&session),
            "started components keep running; continue: dm up"
        );
        assert_eq!(
            first_suggestion(&session.with_instance("review")),
            "started components keep running; continue: dm --instance review up"
        );
    }
}
