//! Scheduled backups: `dm` in a container of the stack.
//!
//! The container reaches the servers over the stack's network, as the services do. Of this
//! machine, the backups of its instance, the lock of the instance and the schedule's directory
//! are mounted into it. It has no access to the engine.

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

/// The name of the component.
pub const NAME: &str = "backup";

/// How long the process may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// The files of this machine that are mounted into the container.
#[derive(Debug, Clone)]
pub struct HostMounts {
    /// The executable of this `dm`.
    pub program: PathBuf,
    /// The directory of the schedule.
    pub schedule_dir: ScheduleDir,
    /// The backups of the instance.
    pub backups_dir: PathBuf,
    /// The lock file of the instance.
    pub lock_file: PathBuf,
    /// Whether the engine is rootless: root in a container is this user then.
    pub rootless: bool,
}

/// The component that creates backups when they are due.
#[derive(Clone)]
pub struct BackupScheduler {
    spec: ScheduleSpec,
    mounts: HostMounts,
}

impl fmt::Debug for BackupScheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the spec, which contains passwords.
        f.debug_struct("BackupScheduler")
            .field("mounts", &self.mounts)
            .finish_non_exhaustive()
    }
}

impl BackupScheduler {
    /// Returns the scheduler, if the configuration has a schedule.
    #[must_use]
    pub fn new(config: &Config, instance: &Instance, mounts: HostMounts) -> Option<Self> {
        let backup = &config.backup;
        let spec = ScheduleSpec {
            every: backup.every.as_duration()?,
            keep: RetentionPolicy::from_config(backup),
            recipients: backup.recipients.iter().map(str::to_owned).collect(),
            access: ServerAccess::from_config(config, instance),
        };
        Some(Self { spec, mounts })
    }

    /// Returns the digest of the settings. A change recreates the container.
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
        // This image exists already and has the C library that the program needs.
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

    fn container_spec(&self, layout: &InstanceLayout<'_>) -> Result<ContainerSpec, ComponentError> {
        let mounts = &self.mounts;
        let mut spec = base_container_spec(self, layout);
        let mount = |source: &std::path::Path, target: &str, writable| HostMount {
            source: source.display().to_string(),
            target: target.to_owned(),
            writable,
        };
        // The owner of the directories, which is this user if they do not exist yet.
        let user = if mounts.rootless {
            "0:0".to_owned()
        } else {
            let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
            format!("{}:{}", uid.as_raw(), gid.as_raw())
        };
        spec.host = Some(HostAccess {
            program: schedule::CONTAINER_PROGRAM.to_owned(),
            mounts: vec![
                mount(&mounts.program, schedule::CONTAINER_PROGRAM, false),
                mount(
                    mounts.schedule_dir.path(),
                    schedule::CONTAINER_SCHEDULE_DIR,
                    true,
                ),
                mount(&mounts.backups_dir, schedule::CONTAINER_BACKUPS_DIR, true),
                mount(&mounts.lock_file, schedule::CONTAINER_LOCK_FILE, true),
            ],
            user,
            contents: self.digest(),
        });
        spec.command = ["backup", "schedule", "--in-container"]
            .map(str::to_owned)
            .to_vec();
        // A running backup ends first.
        spec.stop_timeout = 30;
        Ok(spec)
    }

    fn prepare_host_paths(&self) -> Result<(), ComponentError> {
        let mounts = &self.mounts;
        let failed = |path: &std::path::Path| {
            let path = path.to_owned();
            move |source| ComponentError::HostPath { path, source }
        };
        // The engine would not create them, or would create them as root.
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&mounts.backups_dir)
            .map_err(failed(&mounts.backups_dir))?;
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(&mounts.lock_file)
            .map_err(failed(&mounts.lock_file))?;
        mounts
            .schedule_dir
            .prepare(&self.spec)
            .map_err(|source| ComponentError::InvalidFile {
                path: mounts.schedule_dir.path().to_owned(),
                reason: source.to_string(),
            })
    }

    /// Checks that the process has started. A stack is ready even if no backup can be created:
    /// [`Component::warning`] reports that.
    fn probe(&self, _ports: &HostPorts) -> ProbeFuture {
        let directory = self.mounts.schedule_dir.clone();
        Box::pin(async move {
            if directory.has_started() {
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
