//! What the commands share: the configuration, the engine and the stack, each
//! opened when it is first needed.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dm_backup::component::{Places, Schedule};
use dm_backup::job::Folder;
use dm_components::database::Database;
use dm_components::{Component, Ports};
use dm_config::{Cadence, Config, Install, LoadOptions, Loaded, Origin, Override};
use dm_core::error::{Result, step_on};
use dm_core::instance::{self, Instance};
use dm_core::keys::port_key;
use dm_engine::containers::{Container, State};
use dm_engine::spec::DigestKey;
use dm_engine::{Engine, EngineSettings};
use dm_host::consent::Consent;
use dm_host::detach;
use dm_host::digest_key::digest_key;
use dm_host::lock::Guard;
use dm_host::ports::{Allocator, Mode, PortError, Request};
use dm_host::privilege::Privilege;
use dm_host::state::{self, StateDir};
use dm_images::{Catalog, Dirs, ImageSettings, Images, Progress, ServiceImages, Silent};
use dm_provision::setup::Setup;
use dm_stack::readiness::Pace;
use dm_stack::{Stack, find_component, select};
use dm_terminal::Printer;
use tokio_util::sync::CancellationToken;

use super::Globals;
use super::tools::HostTools;

/// How long a run waits for another one on the same instance.
pub(super) const LOCK_PATIENCE: Duration = Duration::from_secs(30 * 60);

/// What a command was called with, and the way to everything else.
pub struct Context {
    /// Where to print.
    pub printer: Printer,
    /// Cancelled by the first interrupt.
    pub interrupt: CancellationToken,
    globals: Globals,
    is_silent: bool,
}

/// How a command needs the instance's ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortUse<'a> {
    /// Allocate them.
    Allocate {
        /// Free ones where those of `dm.toml` are taken; every instance but the
        /// default one gets free ones anyway.
        free: bool,
        /// For these components and what they need; for all where empty.
        only: &'a [String],
    },
    /// Those that the instance has.
    Existing,
}

/// Everything that belongs to a project, once its configuration is read.
#[derive(Debug)]
pub struct Project {
    /// Its configuration.
    pub loaded: Loaded,
    /// The instance that the command is about.
    pub instance: Instance,
    /// Where `dm` keeps what it must remember.
    pub state: StateDir,
}

impl Project {
    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.loaded.config
    }

    /// The instance's ports: the recorded ones, or else those of `dm.toml`.
    ///
    /// # Errors
    /// An unreadable record.
    pub fn ports(&self) -> Result<Ports> {
        let allocator = Allocator::new(self.state.clone());
        let recorded = allocator.recorded(&self.instance.project, &self.instance.name)?;
        Ok(recorded.unwrap_or_else(|| wanted_ports(&self.loaded)))
    }

    /// Where the backups of all projects and instances are.
    #[must_use]
    pub fn backups(&self) -> PathBuf {
        let own = || self.state.path().join("backups");
        let configured = self.config().backup.directory.as_ref();
        configured.map_or_else(own, |path| path.in_project(&self.loaded.root))
    }

    /// The backups of the instance.
    #[must_use]
    pub fn instance_backups(&self) -> PathBuf {
        let instance = &self.instance;
        self.backups().join(&instance.project).join(&instance.name)
    }

    /// The folder of the instance's schedule.
    #[must_use]
    pub fn schedule_folder(&self) -> Folder {
        let name = format!("{}.{}", self.instance.project, self.instance.name);
        Folder::new(self.state.path().join("schedules").join(name))
    }

    /// The same without backups that are made by themselves: an instance that is brought up
    /// to be measured, checked or removed again has nothing to save.
    #[must_use]
    pub fn without_schedule(mut self) -> Self {
        self.loaded.config.backup.every = Cadence::Off;
        self
    }

    /// The components of the stack. An engine on another machine can't mount what is here:
    /// there the stack has no schedule.
    #[must_use]
    pub fn components(&self, engine: Option<&Engine>) -> Vec<Arc<dyn Component>> {
        let mut components = dm_components::all(self.config(), &self.loaded.root);
        if engine.is_none_or(Engine::is_local) {
            let address = engine.map(|it| it.found().address.as_str());
            let places = Places {
                program: detach::own_program().unwrap_or_else(|_| "/proc/self/exe".into()),
                folder: self.schedule_folder(),
                backups: absolute(self.instance_backups()),
                lock: self
                    .state
                    .instance_lock(&self.instance.project, &self.instance.name)
                    .path()
                    .to_owned(),
                // The customary place of the socket of an engine that is a user's own.
                rootless: address.is_some_and(|it| it.starts_with("unix:///run/user/")),
            };
            let schedule = Schedule::new(self.config(), &self.instance, places);
            components.extend(schedule.map(|it| Arc::new(it) as Arc<dyn Component>));
        }
        components
    }

    /// The images of the stack on an engine.
    ///
    /// # Errors
    /// Unreadable certificates, or no folder for downloads.
    pub fn images(
        &self,
        engine: &Engine,
        progress: Arc<dyn Progress>,
        consent: Arc<Consent>,
        cancel: CancellationToken,
    ) -> Result<Images> {
        let settings = ImageSettings::from_config(self.config(), &self.loaded.root)?;
        let catalog = Catalog::of_stack(&settings)?;
        let dirs = Dirs {
            state: self.state.path().to_owned(),
            cache: dm_host::cache::dir()?,
        };
        let names = self.config().services.all().map(|(name, _)| name);
        let services = ServiceImages::new(&self.loaded.root, names)
            .with_fail_points(self.config().images.fail_points);
        Ok(Images::new(engine.clone(), catalog, settings, dirs)
            .with_services(services)
            .with_tools(Arc::new(HostTools::new(
                consent,
                progress.clone(),
                cancel.clone(),
            )))
            .with_progress(progress)
            .with_cancel(cancel))
    }
}

/// A path that holds wherever it is read.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

impl Context {
    /// The context of a call.
    pub(super) fn new(printer: Printer, globals: Globals, interrupt: CancellationToken) -> Self {
        Self {
            printer,
            interrupt,
            globals,
            is_silent: false,
        }
    }

    /// The same, without a word about the configuration: for a look beside the command.
    #[must_use]
    pub fn silent(&self) -> Self {
        Self {
            printer: self.printer.clone(),
            interrupt: self.interrupt.clone(),
            globals: self.globals.clone(),
            is_silent: true,
        }
    }

    /// The same, for what has to be done even where the command was interrupted.
    #[must_use]
    pub fn undisturbed(&self) -> Self {
        Self {
            printer: self.printer.clone(),
            interrupt: CancellationToken::new(),
            globals: self.globals.clone(),
            is_silent: self.is_silent,
        }
    }

    /// The instance that was named, or the default one.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.globals.instance
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
            project_dir: self.globals.project_directory.clone(),
            current_dir: std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")),
            overrides: self
                .globals
                .set
                .iter()
                .map(|pair| Override::set(pair))
                .collect(),
        };
        let loaded = Config::load(&options, std::env::vars_os())?;
        let warnings = loaded.warnings.iter().filter(|_| !self.is_silent);
        for warning in warnings {
            self.printer.warn(&warning.to_string());
        }
        Ok(loaded)
    }

    /// Reads the configuration and finds the instance.
    ///
    /// # Errors
    /// As [`Context::loaded`], and a name that no instance can have.
    pub fn project(&self) -> Result<Project> {
        self.project_of(&self.globals.instance)
    }

    /// The project with another instance than the call's.
    ///
    /// # Errors
    /// As [`Context::project`].
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
        let printer = self.printer.clone();
        let ask = self.printer.can_ask().then(|| {
            Box::new(move |proposal: &dm_host::consent::Proposal| {
                let question = format!(
                    "dm would {} ({})",
                    proposal.what,
                    proposal.commands.join("; ")
                );
                printer.confirm(&question).unwrap_or(false)
            }) as Box<dm_host::consent::Ask>
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
        let printer = self.printer.clone();
        let setup = Setup {
            settings: &settings,
            consent,
            state: &project.state,
            cancel: &self.interrupt,
            progress: &move |line| printer.note(line),
        };
        let (engine, outcome) = setup.ensure().await?;
        for note in &outcome.notes {
            self.printer.note(note);
        }
        Ok(engine)
    }

    /// The stack of an instance on an engine, with the instance's containers: they hold its
    /// ports. Its images are obtained with `progress` told.
    ///
    /// # Errors
    /// Unreadable fixtures, a taken port, a failing engine.
    pub async fn stack(
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
                    self.printer.warn(&ignored);
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
    /// As [`Context::stack`].
    pub async fn quiet_stack(&self, project: &Project) -> Result<Stack> {
        let engine = self.engine(project.config()).await?;
        let consent = self.consent(false);
        let quiet = Arc::new(Silent);
        let opened = self.stack(project, engine, PortUse::Existing, quiet, consent);
        Ok(opened.await?.0)
    }

    /// Checks that the stack has a component of that name.
    ///
    /// # Errors
    /// It has not; the nearest name is told.
    pub fn check_component(&self, project: &Project, name: &str) -> Result<()> {
        Ok(find_component(&project.components(None), name).map(drop)?)
    }

    /// What `--set` gave to this call.
    #[must_use]
    pub fn overrides(&self) -> &[String] {
        &self.globals.set
    }

    /// Takes the instance's lock, telling whom it waits for.
    ///
    /// # Errors
    /// It stays taken, or the wait is interrupted.
    pub async fn lock(&self, project: &Project, command: &str) -> Result<Guard> {
        self.lock_within(project, command, None).await
    }

    /// As [`Context::lock`], for a command that was given a `--wait-timeout`: that is also the
    /// longest time to wait for another command.
    ///
    /// # Errors
    /// As [`Context::lock`].
    pub async fn lock_within(
        &self,
        project: &Project,
        command: &str,
        wait: Option<Duration>,
    ) -> Result<Guard> {
        let printer = self.printer.clone();
        let guard = project
            .state
            .lock_instance(
                &project.instance.project,
                &project.instance.name,
                command,
                wait.unwrap_or(LOCK_PATIENCE),
                &self.interrupt,
                move |holder| {
                    let who = holder.map_or_else(|| "another dm".to_owned(), |it| it.to_string());
                    printer.note(&format!(
                        "waiting for {who}, which is at work on this instance"
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

/// Whether a command failed only because it was called outside any project.
#[must_use]
pub fn is_outside_project(error: &dm_core::error::Error) -> bool {
    error.coded().code() == "config-no-project"
}

/// What the configuration says of the engine.
#[must_use]
pub fn engine_settings(config: &Config) -> EngineSettings {
    EngineSettings {
        host: config.engine.host.as_ref().map(ToString::to_string),
    }
}

/// The ports that `dm.toml` asks for, by name.
#[must_use]
pub fn wanted_ports(loaded: &Loaded) -> Ports {
    dm_components::all(&loaded.config, &loaded.root)
        .iter()
        .flat_map(|component| component.ports())
        .map(|wish| (wish.name.to_owned(), wish.host))
        .collect()
}

/// What was said of ports for this call alone and has no effect, since the instance got
/// others.
fn ignored_ports(loaded: &Loaded, ports: &Ports) -> Vec<String> {
    let entries = loaded.show(None, false).unwrap_or_default();
    let explicit = |name: &str| {
        let key = port_key(name);
        entries.iter().find(|entry| {
            entry.key == key
                && matches!(
                    entry.origin,
                    Some(Origin::Flag { .. } | Origin::Variable { .. })
                )
        })
    };
    ports
        .iter()
        .filter_map(|(name, port)| {
            let entry = explicit(name)?;
            (entry.value != *port).then(|| {
                let (key, value) = (&entry.key, &entry.value);
                format!(
                    "{key} = {value} has no effect: an instance with ports of its own has {port}"
                )
            })
        })
        .collect()
}

/// The ports of the instance's containers, which are the truth; those recorded
/// where there are no containers.
pub async fn existing_ports(project: &Project, engine: &Engine) -> Result<Ports> {
    let containers = engine.containers(&project.instance.filter()).await?;
    ports_of(project, &containers)
}

/// The ports of these containers; those recorded where they have none.
fn ports_of(project: &Project, containers: &[Container]) -> Result<Ports> {
    let mut ports = project.ports()?;
    for container in containers {
        ports.extend(container.ports.clone());
    }
    Ok(ports)
}

/// The ports that these containers hold. A paused one does just as a running one.
fn held_ports(containers: &[Container]) -> BTreeSet<u16> {
    let holding = [State::Running, State::Paused, State::Restarting];
    containers
        .iter()
        .filter(|container| holding.contains(&container.state))
        .flat_map(|container| container.ports.values().copied())
        .collect()
}

/// The ports that these components and what they need ask for; those of all where none is
/// named.
fn ports_of_selected(components: &[Arc<dyn Component>], only: &[String]) -> Result<Ports> {
    let selected = select(components, only)?;
    Ok(components
        .iter()
        .filter(|component| selected.contains(component.name()))
        .flat_map(|component| component.ports())
        .map(|wish| (wish.name.to_owned(), wish.host))
        .collect())
}

async fn allocate(
    project: &Project,
    engine: &Engine,
    free: bool,
    wanted: &Ports,
    ours: &BTreeSet<u16>,
) -> Result<Ports> {
    let mode = if free || !project.instance.is_default() {
        Mode::Auto {
            customary: project.instance.is_default(),
        }
    } else {
        Mode::Fixed
    };
    let request = Request {
        project: &project.instance.project,
        root: &project.instance.root,
        instance: &project.instance.name,
        wanted,
        mode,
        ours,
    };
    match Allocator::new(project.state.clone()).allocate(&request) {
        Ok(ports) => Ok(ports),
        Err(error @ PortError::Taken { .. }) => {
            // The engine's own forwarder is nobody that a person could stop.
            let published = engine.published_ports().await?;
            let container = |port| published.get(&port).map(|it| it.container.clone());
            Err(error.with_container(container).into())
        }
        Err(error) => Err(error.into()),
    }
}
