//! A project with the instance that an operation is about.

use std::path::PathBuf;
use std::sync::Arc;

use dm_backup::schedule::ScheduleDir;
use dm_backup::scheduler::{BackupScheduler, HostMounts};
use dm_components::{Component, HostPorts};
use dm_config::{Config, LoadedConfig, RepeatInterval};
use dm_core::error::Result;
use dm_core::instance::Instance;
use dm_engine::Engine;
use dm_host::background_process;
use dm_host::consent::Consent;
use dm_host::ports::PortAllocator;
use dm_host::state::StateDir;
use dm_images::{Catalog, ImageDirs, ImageProgress, ImageSettings, ImageStore, ServiceImages};
use dm_stack::{StackError, find_component};
use tokio_util::sync::CancellationToken;

use super::host_tools::HostTools;
use super::ports::configured_ports;

/// Everything that belongs to a project, once its configuration is read.
#[derive(Debug)]
pub struct Project {
    /// Its configuration.
    pub loaded: LoadedConfig,
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
    pub(crate) fn ports(&self) -> Result<HostPorts> {
        let allocator = PortAllocator::new(self.state.clone());
        let recorded = allocator.allocated_ports(&self.instance.project, &self.instance.name)?;
        Ok(recorded.unwrap_or_else(|| configured_ports(&self.loaded)))
    }

    /// Where the backups of all projects and instances are.
    #[must_use]
    pub(crate) fn backups_dir(&self) -> PathBuf {
        let own = || self.state.path().join("backups");
        let configured = self.config().backup.directory.as_ref();
        configured.map_or_else(own, |path| path.in_project(&self.loaded.root))
    }

    /// The backups of the instance.
    #[must_use]
    pub(crate) fn instance_backups_dir(&self) -> PathBuf {
        let instance = &self.instance;
        self.backups_dir()
            .join(&instance.project)
            .join(&instance.name)
    }

    /// The folder of the instance's schedule.
    #[must_use]
    pub fn schedule_dir(&self) -> ScheduleDir {
        let name = format!("{}.{}", self.instance.project, self.instance.name);
        ScheduleDir::new(self.state.path().join("schedules").join(name))
    }

    /// The same without backups that are made by themselves: an instance that is brought up
    /// to be measured, checked or removed again has nothing to save.
    #[must_use]
    pub fn without_schedule(mut self) -> Self {
        self.loaded.config.backup.every = RepeatInterval::Off;
        self
    }

    /// The components of the stack. An engine on another machine can't mount what is here:
    /// there the stack has no schedule.
    #[must_use]
    pub fn components(&self, engine: Option<&Engine>) -> Vec<Arc<dyn Component>> {
        let mut components = dm_components::all_components(self.config(), &self.loaded.root);
        if engine.is_none_or(Engine::is_local) {
            let address = engine.map(|it| it.discovery().address.as_str());
            let places = HostMounts {
                program: background_process::current_executable()
                    .unwrap_or_else(|_| "/proc/self/exe".into()),
                schedule_dir: self.schedule_dir(),
                backups_dir: absolute_path(self.instance_backups_dir()),
                lock_file: self
                    .state
                    .instance_lock(&self.instance.project, &self.instance.name)
                    .path()
                    .to_owned(),
                // The customary place of the socket of an engine that is a user's own.
                rootless: address.is_some_and(|it| it.starts_with("unix:///run/user/")),
            };
            let schedule = BackupScheduler::new(self.config(), &self.instance, places);
            components.extend(schedule.map(|it| Arc::new(it) as Arc<dyn Component>));
        }
        components
    }

    /// Checks that the stack has a component of that name.
    ///
    /// # Errors
    /// It has not; the nearest name is told.
    pub fn check_component(&self, name: &str) -> Result<()> {
        Ok(find_component(&self.components(None), name).map(drop)?)
    }

    /// Checks that each name is a service's.
    ///
    /// # Errors
    /// [`StackError::UnknownService`] with the nearest name.
    pub fn check_services(&self, names: &[String]) -> Result<()> {
        let known = self.config().services.all().map(|(name, _)| name);
        if let Some(name) = names.iter().find(|name| !known.contains(&name.as_str())) {
            return Err(StackError::UnknownService {
                name: name.clone(),
                known: known.map(str::to_owned).to_vec(),
            }
            .into());
        }
        Ok(())
    }

    /// The images of the stack on an engine.
    ///
    /// # Errors
    /// Unreadable certificates, or no folder for downloads.
    pub(crate) fn images(
        &self,
        engine: &Engine,
        progress: Arc<dyn ImageProgress>,
        consent: Arc<Consent>,
        cancel: CancellationToken,
    ) -> Result<ImageStore> {
        let settings = ImageSettings::from_config(self.config(), &self.loaded.root)?;
        let catalog = Catalog::from_settings(&settings)?;
        let dirs = ImageDirs {
            state_dir: self.state.path().to_owned(),
            cache_dir: dm_host::cache::open_cache_dir()?,
        };
        let names = self.config().services.all().map(|(name, _)| name);
        let services = ServiceImages::new(&self.loaded.root, names)
            .with_fail_points(self.config().images.fail_points);
        Ok(ImageStore::new(engine.clone(), catalog, settings, dirs)
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
fn absolute_path(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}
