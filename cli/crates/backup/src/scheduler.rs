//! Backups that are made by themselves: `dm`, in a container of the stack.
//!
//! The container reaches the servers over the stack's network, as the services do, and has of
//! this machine the backups of its instance, the instance's lock and a folder of its own. It
//! has no way to the engine.

use std::fmt;
use std::fs::OpenOptions;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::time::Duration;

use chrono::Utc;
use data_encoding::HEXLOWER;
use dm_components::{
    Component, ComponentError, HostPorts, InstanceLayout, PortSpec, ProbeFuture,
    base_container_spec, keycloak, openldap, postgres, rabbitmq,
};
use dm_config::Config;
use dm_core::instance::Instance;
use dm_engine::spec::{ContainerSpec, HostAccess, HostMount};
use sha2::{Digest as _, Sha256};

use super::schedule::{self, ScheduleDir, ScheduleSpec};
use super::{RetentionPolicy, ServerAccess};

/// The component's name.
pub const NAME: &str = "backup";

/// How long its process may take to begin.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// What the container has of this machine.
#[derive(Debug, Clone)]
pub struct HostMounts {
    /// The program that runs here.
    pub program: PathBuf,
    /// The schedule's own folder.
    pub schedule_dir: ScheduleDir,
    /// The backups of the instance.
    pub backups_dir: PathBuf,
    /// The lock of the instance.
    pub lock_file: PathBuf,
    /// Whether the engine runs without root's rights: its root is this user then.
    pub rootless: bool,
}

/// The one that makes backups whenever they are due.
#[derive(Clone)]
pub struct BackupScheduler {
    spec: ScheduleSpec,
    mounts: HostMounts,
}

impl fmt::Debug for BackupScheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the job: it has passwords.
        f.debug_struct("Schedule")
            .field("places", &self.mounts)
            .finish_non_exhaustive()
    }
}

impl BackupScheduler {
    /// The schedule of a configuration that has one.
    #[must_use]
    pub fn new(config: &Config, instance: &Instance, mounts: HostMounts) -> Option<Self> {
        let backup = &config.backup;
        let job = ScheduleSpec {
            every: backup.every.as_duration()?,
            keep: RetentionPolicy::from_config(backup),
            recipients: backup.recipients.iter().map(str::to_owned).collect(),
            access: ServerAccess::from_config(config, instance),
        };
        Some(Self { spec: job, mounts })
    }

    /// Everything that should lead to a new container when it changes.
    fn digest(&self) -> String {
        HEXLOWER.encode(&Sha256::digest(
            serde_json::to_vec(&self.spec).unwrap_or_default(),
        ))
    }
}

impl Component for BackupScheduler {
    fn name(&self) -> &'static str {
        NAME
    }

    fn image_name(&self) -> &'static str {
        // There already, and it has the C library that the program needs.
        postgres::NAME
    }

    fn is_optional(&self) -> bool {
        true
    }

    fn runtime_dependencies(&self) -> &'static [&'static str] {
        &[
            postgres::NAME,
            rabbitmq::NAME,
            openldap::NAME,
            keycloak::NAME,
        ]
    }

    fn ports(&self) -> Vec<PortSpec> {
        Vec::new()
    }

    fn container_spec(&self, site: &InstanceLayout<'_>) -> Result<ContainerSpec, ComponentError> {
        let places = &self.mounts;
        let mut spec = base_container_spec(self, site);
        let mount = |source: &std::path::Path, target: &str, writable| HostMount {
            source: source.display().to_string(),
            target: target.to_owned(),
            writable,
        };
        // Whoever the folders belong to. Before there are any, that is whoever makes them.
        let user = if places.rootless {
            "0:0".to_owned()
        } else {
            let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
            format!("{}:{}", uid.as_raw(), gid.as_raw())
        };
        spec.host = Some(HostAccess {
            program: schedule::CONTAINER_PROGRAM.to_owned(),
            mounts: vec![
                mount(&places.program, schedule::CONTAINER_PROGRAM, false),
                mount(
                    places.schedule_dir.path(),
                    schedule::CONTAINER_SCHEDULE_DIR,
                    true,
                ),
                mount(&places.backups_dir, schedule::CONTAINER_BACKUPS_DIR, true),
                mount(&places.lock_file, schedule::CONTAINER_LOCK_FILE, true),
            ],
            user,
            contents: self.digest(),
        });
        spec.command = ["backup", "schedule", "--in-container"]
            .map(str::to_owned)
            .to_vec();
        // A backup that is being made ends first.
        spec.stop_timeout = 30;
        Ok(spec)
    }

    fn prepare_host_paths(&self) -> Result<(), ComponentError> {
        let places = &self.mounts;
        let failed = |path: &std::path::Path| {
            let path = path.to_owned();
            move |source| ComponentError::HostPath { path, source }
        };
        // The engine would not make them, or as root's.
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&places.backups_dir)
            .map_err(failed(&places.backups_dir))?;
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(&places.lock_file)
            .map_err(failed(&places.lock_file))?;
        places
            .schedule_dir
            .prepare(&self.spec)
            .map_err(|source| ComponentError::InvalidFile {
                path: places.schedule_dir.path().to_owned(),
                reason: source.to_string(),
            })
    }

    /// That its process runs. Whether backups can be made is no condition for a stack to be
    /// ready: that is what [`Component::complaint`] tells.
    fn probe(&self, _ports: &HostPorts) -> ProbeFuture {
        let folder = self.mounts.schedule_dir.clone();
        Box::pin(async move {
            if folder.has_started() {
                Ok(())
            } else {
                Err("the scheduler has not started yet".to_owned().into())
            }
        })
    }

    fn warning(&self) -> Option<String> {
        self.mounts.schedule_dir.report()?.warning(Utc::now())
    }

    fn addresses(&self, _ports: &HostPorts) -> Vec<String> {
        Vec::new()
    }

    fn wait_timeout(&self) -> Option<Duration> {
        Some(START_TIMEOUT)
    }
}
