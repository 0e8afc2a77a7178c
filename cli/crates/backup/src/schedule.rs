//! Scheduled backups in a container of the stack: the input of the container and its report.
//!
//! Both are files in a directory on this machine that only this user can read and that is mounted
//! into the container: other users could read a secret in a command line or in a variable.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::partial_backup::fsync;
use super::{BackupError, RetentionPolicy, ServerAccess};

/// The path of that directory in the container.
pub const CONTAINER_SCHEDULE_DIR: &str = "/opt/dm/schedule";
/// The path of the instance's backups in the container.
pub const CONTAINER_BACKUPS_DIR: &str = "/opt/dm/backups";
/// The path of the instance's lock file in the container.
pub const CONTAINER_LOCK_FILE: &str = "/opt/dm/instance.lock";
/// The path of `dm` in the container.
pub(crate) const CONTAINER_PROGRAM: &str = "/opt/dm/dm";

/// The file with the [`ScheduleSpec`].
const SPEC_FILE: &str = "job.json";
/// The file with the [`SchedulerReport`].
const REPORT_FILE: &str = "state.json";
/// The file that the process in the container writes after its first report.
const STARTED_FILE: &str = "begun";

/// How long a server may be unreachable before a warning: it may be restarted.
const OUTAGE_THRESHOLD: TimeDelta = TimeDelta::seconds(60);
/// How long the process may write no report before a warning.
const HEARTBEAT_TIMEOUT: TimeDelta = TimeDelta::minutes(10);

/// The settings of scheduled backups.
#[derive(Clone, Serialize, Deserialize)]
pub struct ScheduleSpec {
    /// The interval between two backups.
    pub every: Duration,
    /// Which backups are kept.
    pub keep: RetentionPolicy,
    /// The age recipients that the backups are encrypted for.
    pub recipients: Vec<String>,
    /// The servers and the logins of their administrators.
    pub access: ServerAccess,
}

/// The state of scheduled backups, as the scheduler reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchedulerReport {
    /// When the report was written.
    pub seen_at: DateTime<Utc>,
    /// When the next backup is due.
    pub next_due: DateTime<Utc>,
    /// The last attempt.
    pub last_attempt: Option<BackupAttempt>,
    /// The outage that prevents backups, if there is one. Servers that are still starting are no
    /// outage.
    pub away: Option<ServerOutage>,
}

/// An attempt to create a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupAttempt {
    /// When the attempt ended.
    pub at: DateTime<Utc>,
    /// The id of the backup, if the attempt succeeded.
    pub id: Option<String>,
    /// Why the attempt failed.
    pub error: Option<String>,
}

/// A server that does not respond.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerOutage {
    /// When the outage began.
    pub since: DateTime<Utc>,
    /// The error of the connection.
    pub error: String,
}

impl SchedulerReport {
    /// Returns the problem that a user has to know about, if there is one.
    #[must_use]
    pub(crate) fn warning(&self, now: DateTime<Utc>) -> Option<String> {
        let failed = self.last_attempt.as_ref().and_then(|attempt| {
            let error = attempt.error.as_ref()?;
            let time = attempt.at.format("%Y-%m-%d %H:%M UTC");
            Some(format!("the last backup failed at {time}: {error}"))
        });
        let outage = self
            .away
            .as_ref()
            .filter(|outage| now - outage.since > OUTAGE_THRESHOLD);
        let unreachable = outage.map(|outage| {
            let since = outage.since.format("%Y-%m-%d %H:%M UTC");
            format!(
                "the scheduler has not reached the servers since {since}: {}",
                outage.error
            )
        });
        let silent = (now - self.seen_at > HEARTBEAT_TIMEOUT).then(|| {
            let time = self.seen_at.format("%Y-%m-%d %H:%M UTC");
            format!("the scheduler has not reported since {time}")
        });
        failed.or(unreachable).or(silent)
    }
}

/// The directory that the scheduler shares with this machine.
#[derive(Debug, Clone)]
pub struct ScheduleDir(PathBuf);

impl ScheduleDir {
    /// Returns the directory at this path, which need not exist.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Returns the path of the directory.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Prepares the directory for a process that is about to start.
    ///
    /// # Errors
    /// Returns [`BackupError::File`] if a file cannot be written.
    pub(crate) fn prepare(&self, spec: &ScheduleSpec) -> Result<(), BackupError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
            .map_err(BackupError::file("create", &self.0))?;
        self.write_atomically(SPEC_FILE, spec)?;
        match fs::remove_file(self.0.join(STARTED_FILE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(BackupError::file(
                "remove",
                self.0.join(STARTED_FILE),
            )(error)),
            _ => Ok(()),
        }
    }

    /// Returns the settings.
    ///
    /// # Errors
    /// Returns [`BackupError::File`] if the file is missing or was written by another version
    /// of `dm`.
    pub fn read_spec(&self) -> Result<ScheduleSpec, BackupError> {
        let path = self.0.join(SPEC_FILE);
        read_json(&path).map_err(BackupError::file("read", path))
    }

    /// Records that the process has started. Its first report must exist: otherwise, the report
    /// of an earlier process would be taken for its own.
    ///
    /// # Errors
    /// Returns [`BackupError::File`] if the file cannot be written.
    pub fn record_start(&self) -> Result<(), BackupError> {
        self.write_atomically(STARTED_FILE, &Utc::now())
    }

    /// Returns whether the process has started.
    #[must_use]
    pub(crate) fn has_started(&self) -> bool {
        self.0.join(STARTED_FILE).exists()
    }

    /// Returns the last report, if there is one.
    #[must_use]
    pub fn report(&self) -> Option<SchedulerReport> {
        read_json(&self.0.join(REPORT_FILE)).ok()
    }

    /// Writes a report.
    ///
    /// # Errors
    /// Returns [`BackupError::File`] if the file cannot be written.
    pub fn write_report(&self, report: &SchedulerReport) -> Result<(), BackupError> {
        self.write_atomically(REPORT_FILE, report)
    }

    /// Writes a file atomically that only its owner can read.
    fn write_atomically<T: Serialize>(&self, name: &str, value: &T) -> Result<(), BackupError> {
        let (path, new) = (self.0.join(name), self.0.join(format!("{name}.new")));
        let write_and_rename = || -> io::Result<()> {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&new)?;
            file.write_all(&serde_json::to_vec_pretty(value)?)?;
            file.sync_data()?;
            fs::rename(&new, &path)
        };
        write_and_rename().map_err(BackupError::file("write", &path))?;
        fsync(&self.0)
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use dm_config::{Config, LoadOptions};
    use dm_core::instance::Instance;

    use super::*;

    fn access() -> ServerAccess {
        let project = tempfile::tempdir().unwrap();
        fs::write(
            project.path().join("dm.toml"),
            "postgres.password = 'hun\"ter $2'\n",
        )
        .unwrap();
        let options = LoadOptions {
            project_dir: Some(project.path().to_owned()),
            current_dir: project.path().to_owned(),
            overrides: Vec::new(),
        };
        let loaded = Config::load(&options, std::iter::empty()).unwrap();
        let instance = Instance::new("p", "default", project.path()).unwrap();
        ServerAccess::from_config(&loaded.config, &instance)
    }

    #[test]
    fn prepared_spec_is_read_back_and_readable_by_its_owner_only() {
        let state = tempfile::tempdir().unwrap();
        let directory = ScheduleDir::new(state.path().join("schedules/p.default"));
        let spec = ScheduleSpec {
            every: Duration::from_secs(1),
            keep: RetentionPolicy {
                days: 7,
                safety: 5,
                manual_days: None,
            },
            recipients: vec!["age1".into()],
            access: access(),
        };
        directory.prepare(&spec).unwrap();
        assert!(!directory.has_started());
        assert!(directory.read_spec().unwrap().access == spec.access);
        assert!(!directory.has_started());
        directory.record_start().unwrap();
        assert!(directory.has_started());
        directory.prepare(&spec).unwrap();
        assert!(!directory.has_started());
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(directory.path()), 0o700);
        assert_eq!(mode(&directory.path().join(SPEC_FILE)), 0o600);
    }

    #[test]
    fn warning_names_failures_and_long_outages_only() {
        let now: DateTime<Utc> = "2026-11-28T12:00:00Z".parse().unwrap();
        let healthy = SchedulerReport {
            seen_at: now,
            next_due: now,
            last_attempt: None,
            away: None,
        };
        assert_eq!(healthy.warning(now), None);
        let with_outage = |seconds| SchedulerReport {
            away: Some(ServerOutage {
                since: now - TimeDelta::seconds(seconds),
                error: "no route".into(),
            }),
            ..healthy.clone()
        };
        assert_eq!(with_outage(20).warning(now), None);
        assert_eq!(
            with_outage(90).warning(now).unwrap(),
            "the scheduler has not reached the servers since 2026-11-28 11:58 UTC: no route"
        );
        let failed = SchedulerReport {
            last_attempt: Some(BackupAttempt {
                at: now,
                id: None,
                error: Some("no room".into()),
            }),
            ..healthy.clone()
        };
        assert_eq!(
            failed.warning(now).unwrap(),
            "the last backup failed at 2026-11-28 12:00 UTC: no room"
        );
        let later = now + TimeDelta::hours(1);
        assert!(healthy.warning(later).unwrap().contains("has not reported"));
        // A clock that was set back is not a fault of the scheduler.
        assert_eq!(healthy.warning(now - TimeDelta::days(3)), None);
    }
}
