//! A project and the selected instance.

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

/// A project with its loaded configuration and the selected instance.
#[derive(Debug)]
pub struct Project {
    /// The loaded configuration.
    pub loaded: LoadedConfig,
    /// The selected instance.
    pub instance: Instance,
    /// The state directory of `dm`.
    pub state: StateDir,
}

impl Project {
    /// Returns the configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.loaded.config
    }

    /// Returns the recorded ports of the instance, or those of `dm.toml` if none are recorded.
    ///
    /// # Errors
    /// If the record cannot be read.
    pub(crate) fn ports(&self) -> Result<HostPorts> {
        let recorded = self.recorded_ports()?;
        Ok(recorded.unwrap_or_else(|| configured_ports(&self.loaded)))
    }

    /// Returns the recorded ports of the instance, or `None` if it has none: it has never run, or
    /// was removed with its data.
    ///
    /// # Errors
    /// If the record cannot be read.
    pub(super) fn recorded_ports(&self) -> Result<Option<HostPorts>> {
        let allocator = PortAllocator::new(self.state.clone());
        Ok(allocator.allocated_ports(&self.instance.project, &self.instance.name)?)
    }

    /// Returns the directory with the backups of all projects and instances.
    #[must_use]
    pub(crate) fn backups_dir(&self) -> PathBuf {
        let default = || self.state.path().join("backups");
        let configured = self.config().backup.directory.as_ref();
        configured.map_or_else(default, |path| path.in_project(&self.loaded.root))
    }

    /// Returns the directory with the backups of the instance.
    #[must_use]
    pub(crate) fn instance_backups_dir(&self) -> PathBuf {
        let instance = &self.instance;
        self.backups_dir()
            .join(&instance.project)
            .join(&instance.name)
    }

    /// Returns the directory of the instance's backup schedule.
    #[must_use]
    pub fn schedule_dir(&self) -> ScheduleDir {
        let name = format!("{}.{}", self.instance.project, self.instance.name);
        ScheduleDir::new(self.state.path().join("schedules").join(name))
    }

    /// Disables scheduled backups: an instance that is started for a benchmark or a check and
    /// then removed has no data to save.
    #[must_use]
    pub fn without_schedule(mut self) -> Self {
        self.loaded.config.backup.every = RepeatInterval::Off;
        self
    }

    /// Returns the components of the stack. A remote engine cannot mount local directories:
    /// there, the stack has no backup scheduler.
    #[must_use]
    pub fn components(&self, engine: Option<&Engine>) -> Vec<Arc<dyn Component>> {
        let mut components = dm_components::all_components(self.config(), &self.loaded.root);
        if engine.is_none_or(Engine::is_local) {
            let address = engine.map(|engine| engine.discovery().address.as_str());
            let mounts = HostMounts {
                program: background_process::current_executable()
                    .unwrap_or_else(|_| "/proc/self/exe".into()),
                schedule_dir: self.schedule_dir(),
                backups_dir: absolute_path(self.instance_backups_dir()),
                lock_file: self
                    .state
                    .instance_lock(&self.instance.project, &self.instance.name)
                    .path()
                    .to_owned(),
                // The usual socket directory of a rootless engine.
                rootless: address.is_some_and(|address| address.starts_with("unix:///run/user/")),
            };
            let scheduler = BackupScheduler::new(self.config(), &self.instance, mounts);
            components.extend(scheduler.map(|scheduler| Arc::new(scheduler) as Arc<dyn Component>));
        }
        components
    }

    /// Checks that the stack has a component with this name.
    ///
    /// # Errors
    /// If the component is unknown. The error suggests the nearest name.
    pub fn check_component(&self, name: &str) -> Result<()> {
        Ok(find_component(&self.components(None), name).map(drop)?)
    }

    /// Checks that each name is the name of a service.
    ///
    /// # Errors
    /// Returns [`StackError::UnknownService`], which suggests the nearest name.
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

    /// Opens the image store of the stack on an engine.
    ///
    /// # Errors
    /// If the certificates cannot be read or the cache directory cannot be created.
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

/// Returns the path in a form that does not depend on the current directory.
fn absolute_path(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dm_backup::scheduler;
    use dm_components::InstanceLayout;

    use super::*;
    use crate::test_support;

    #[test]
    fn scheduler_container_receives_overrides_in_a_file_only() {
        let directory = tempfile::tempdir().unwrap();
        let overrides = [
            "backup.every=2d",
            "postgres.password=hunter2",
            "services.order.environment.LICENSE_KEY=hunter2",
        ];
        let project = test_support::project_with(directory.path(), "", &overrides);
        let ports = HostPorts::new();
        let layout = InstanceLayout {
            instance: &project.instance,
            ports: &ports,
            root: &project.loaded.root,
            state_dir: project.state.path(),
        };
        let components = project.components(None);
        let component = find_component(&components, scheduler::NAME).unwrap();
        let spec = component.container_spec(&layout).unwrap();
        assert_eq!(spec.command, ["backup", "schedule", "--in-container"]);
        // Every user of the engine can read these.
        let visible = format!("{:?}", (&spec.env, &spec.labels, &spec.host));
        assert!(!visible.contains("hunter2"), "{visible}");
        component.prepare_host_paths().unwrap();
        let prepared = project.schedule_dir().read_spec().unwrap();
        assert_eq!(prepared.every, Duration::from_secs(2 * 24 * 60 * 60));
    }
}
