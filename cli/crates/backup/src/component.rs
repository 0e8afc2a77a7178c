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
    Component, ComponentError, PortWish, Ports, Probe, Site, container, keycloak, openldap,
    postgres, rabbitmq,
};
use dm_config::Config;
use dm_core::instance::Instance;
use dm_engine::spec::{ContainerSpec, HostAccess, HostMount};
use sha2::{Digest as _, Sha256};

use super::job::{self, Folder, Job};
use super::{Access, Keep};

/// The component's name.
pub const NAME: &str = "backup";

/// How long its process may take to begin.
const BEGIN: Duration = Duration::from_secs(60);

/// What the container has of this machine.
#[derive(Debug, Clone)]
pub struct Places {
    /// The program that runs here.
    pub program: PathBuf,
    /// The schedule's own folder.
    pub folder: Folder,
    /// The backups of the instance.
    pub backups: PathBuf,
    /// The lock of the instance.
    pub lock: PathBuf,
    /// Whether the engine runs without root's rights: its root is this user then.
    pub rootless: bool,
}

/// The one that makes backups whenever they are due.
#[derive(Clone)]
pub struct Schedule {
    job: Job,
    places: Places,
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the job: it has passwords.
        f.debug_struct("Schedule")
            .field("places", &self.places)
            .finish_non_exhaustive()
    }
}

impl Schedule {
    /// The schedule of a configuration that has one.
    #[must_use]
    pub fn new(config: &Config, instance: &Instance, places: Places) -> Option<Self> {
        let backup = &config.backup;
        let job = Job {
            every: backup.every.get()?,
            keep: Keep::of(backup),
            recipients: backup.recipients.iter().map(str::to_owned).collect(),
            access: Access::of(config, instance),
        };
        Some(Self { job, places })
    }

    /// Everything that should lead to a new container when it changes.
    fn digest(&self) -> String {
        HEXLOWER.encode(&Sha256::digest(
            serde_json::to_vec(&self.job).unwrap_or_default(),
        ))
    }
}

impl Component for Schedule {
    fn name(&self) -> &'static str {
        NAME
    }

    fn image(&self) -> &'static str {
        // There already, and it has the C library that the program needs.
        postgres::NAME
    }

    fn is_dispensable(&self) -> bool {
        true
    }

    fn needs(&self) -> &'static [&'static str] {
        &[
            postgres::NAME,
            rabbitmq::NAME,
            openldap::NAME,
            keycloak::NAME,
        ]
    }

    fn ports(&self) -> Vec<PortWish> {
        Vec::new()
    }

    fn specify(&self, site: &Site<'_>) -> Result<ContainerSpec, ComponentError> {
        let places = &self.places;
        let mut spec = container(self, site);
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
            program: job::PROGRAM.to_owned(),
            mounts: vec![
                mount(&places.program, job::PROGRAM, false),
                mount(places.folder.path(), job::FOLDER, true),
                mount(&places.backups, job::BACKUPS, true),
                mount(&places.lock, job::LOCK, true),
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

    fn prepare(&self) -> Result<(), ComponentError> {
        let places = &self.places;
        let failed = |path: &std::path::Path| {
            let path = path.to_owned();
            move |source| ComponentError::Place { path, source }
        };
        // The engine would not make them, or as root's.
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&places.backups)
            .map_err(failed(&places.backups))?;
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(&places.lock)
            .map_err(failed(&places.lock))?;
        places
            .folder
            .prepare(&self.job)
            .map_err(|source| ComponentError::Content {
                path: places.folder.path().to_owned(),
                reason: source.to_string(),
            })
    }

    /// That its process runs. Whether backups can be made is no condition for a stack to be
    /// ready: that is what [`Component::complaint`] tells.
    fn probe(&self, _ports: &Ports) -> Probe {
        let folder = self.places.folder.clone();
        Box::pin(async move {
            if folder.has_begun() {
                Ok(())
            } else {
                Err("the scheduler has not started yet".to_owned().into())
            }
        })
    }

    fn complaint(&self) -> Option<String> {
        self.places.folder.state()?.complaint(Utc::now())
    }

    fn addresses(&self, _ports: &Ports) -> Vec<String> {
        Vec::new()
    }

    fn wait_timeout(&self) -> Option<Duration> {
        Some(BEGIN)
    }
}
