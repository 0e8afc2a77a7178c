//! A schedule in a container of the stack: what it is given, and what it tells of itself.
//!
//! Both are files of a folder that is this user's alone, on this machine, and is mounted in
//! the container: a secret in a command line or in a variable could be read by others.

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

/// Where the container has that folder.
pub const CONTAINER_SCHEDULE_DIR: &str = "/opt/dm/schedule";
/// Where it has the instance's backups.
pub const CONTAINER_BACKUPS_DIR: &str = "/opt/dm/backups";
/// Where it has the instance's lock.
pub const CONTAINER_LOCK_FILE: &str = "/opt/dm/instance.lock";
/// Where it has this program.
pub(crate) const CONTAINER_PROGRAM: &str = "/opt/dm/dm";

/// What is to be done.
const SPEC_FILE: &str = "job.json";
/// How that goes.
const REPORT_FILE: &str = "state.json";
/// That the container's process has begun.
const STARTED_FILE: &str = "begun";

/// How long servers may be away before that is told: some always are while a stack starts.
const OUTAGE_THRESHOLD: TimeDelta = TimeDelta::seconds(60);
/// How long the process may be silent before that is told.
const HEARTBEAT_TIMEOUT: TimeDelta = TimeDelta::minutes(10);

/// What a schedule does.
#[derive(Clone, Serialize, Deserialize)]
pub struct ScheduleSpec {
    /// How long after a backup the next one is due.
    pub every: Duration,
    /// Which ones stay.
    pub keep: RetentionPolicy,
    /// To whom they are encrypted, as age writes recipients.
    pub recipients: Vec<String>,
    /// What they are made with.
    pub access: ServerAccess,
}

/// How a schedule goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchedulerReport {
    /// When this was written.
    pub seen_at: DateTime<Utc>,
    /// When the next backup is due.
    pub next_due: DateTime<Utc>,
    /// The last try.
    pub last_attempt: Option<BackupAttempt>,
    /// Why backups can't be made now, and since when.
    pub away: Option<ServerOutage>,
}

/// A try to make a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupAttempt {
    /// When it ended.
    pub at: DateTime<Utc>,
    /// The backup that was made.
    pub id: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
}

/// A server that does not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerOutage {
    /// Since when.
    pub since: DateTime<Utc>,
    /// What it says.
    pub error: String,
}

impl SchedulerReport {
    /// What a person has to know of it that is not as it should be.
    #[must_use]
    pub(crate) fn warning(&self, now: DateTime<Utc>) -> Option<String> {
        let failed = self.last_attempt.as_ref().and_then(|it| {
            let error = it.error.as_ref()?;
            let at = it.at.format("%Y-%m-%d %H:%M UTC");
            Some(format!("the last backup failed at {at}: {error}"))
        });
        let away = self
            .away
            .as_ref()
            .filter(|it| now - it.since > OUTAGE_THRESHOLD);
        let away = away.map(|it| {
            let since = it.since.format("%Y-%m-%d %H:%M UTC");
            format!(
                "the scheduler has not reached the servers since {since}: {}",
                it.error
            )
        });
        let silent = (now - self.seen_at > HEARTBEAT_TIMEOUT).then(|| {
            let at = self.seen_at.format("%Y-%m-%d %H:%M UTC");
            format!("the scheduler has not reported since {at}")
        });
        failed.or(away).or(silent)
    }
}

/// The folder of a schedule.
#[derive(Debug, Clone)]
pub struct ScheduleDir(PathBuf);

impl ScheduleDir {
    /// That one, which need not be there.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Its path.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes it ready for a process that is about to begin.
    ///
    /// # Errors
    /// The disk is full, or the like.
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

    /// What is to be done. Notes that a process has begun with it.
    ///
    /// # Errors
    /// There is no such file, or it is another `dm`'s.
    pub fn start(&self) -> Result<ScheduleSpec, BackupError> {
        let path = self.0.join(SPEC_FILE);
        let job = read_json(&path).map_err(BackupError::file("read", path))?;
        self.write_atomically(STARTED_FILE, &Utc::now())?;
        Ok(job)
    }

    /// Whether a process has begun.
    #[must_use]
    pub(crate) fn has_started(&self) -> bool {
        self.0.join(STARTED_FILE).exists()
    }

    /// How it went when that was written last.
    #[must_use]
    pub fn report(&self) -> Option<SchedulerReport> {
        read_json(&self.0.join(REPORT_FILE)).ok()
    }

    /// Notes how it goes.
    ///
    /// # Errors
    /// The disk is full, or the like.
    pub fn write_report(&self, state: &SchedulerReport) -> Result<(), BackupError> {
        self.write_atomically(REPORT_FILE, state)
    }

    /// Writes a file that its owner alone can read, in one step.
    fn write_atomically<T: Serialize>(&self, name: &str, value: &T) -> Result<(), BackupError> {
        let (path, new) = (self.0.join(name), self.0.join(format!("{name}.new")));
        let written = || -> io::Result<()> {
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
        written().map_err(BackupError::file("write", &path))?;
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
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("dm.toml"),
            "postgres.password = 'hun\"ter $2'\n",
        )
        .unwrap();
        let options = LoadOptions {
            project_dir: Some(folder.path().to_owned()),
            current_dir: folder.path().to_owned(),
            overrides: Vec::new(),
        };
        let loaded = Config::load(&options, std::iter::empty()).unwrap();
        let instance = Instance::new("p", "default", folder.path()).unwrap();
        ServerAccess::from_config(&loaded.config, &instance)
    }

    #[test]
    fn a_job_is_read_back_and_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let folder = ScheduleDir::new(folder.path().join("schedules/p.default"));
        let job = ScheduleSpec {
            every: Duration::from_secs(1),
            keep: RetentionPolicy {
                days: 7,
                safety: 5,
                manual_days: None,
            },
            recipients: vec!["age1".into()],
            access: access(),
        };
        folder.prepare(&job).unwrap();
        assert!(!folder.has_started());
        assert!(folder.start().unwrap().access == job.access);
        assert!(folder.has_started());
        folder.prepare(&job).unwrap();
        assert!(!folder.has_started());
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(folder.path()), 0o700);
        assert_eq!(mode(&folder.path().join(SPEC_FILE)), 0o600);
    }

    #[test]
    fn what_goes_wrong_is_told_and_a_start_is_not() {
        let now: DateTime<Utc> = "2026-11-28T12:00:00Z".parse().unwrap();
        let good = SchedulerReport {
            seen_at: now,
            next_due: now,
            last_attempt: None,
            away: None,
        };
        assert_eq!(good.warning(now), None);
        let away = |seconds| SchedulerReport {
            away: Some(ServerOutage {
                since: now - TimeDelta::seconds(seconds),
                error: "no route".into(),
            }),
            ..good.clone()
        };
        assert_eq!(away(20).warning(now), None);
        assert_eq!(
            away(90).warning(now).unwrap(),
            "the scheduler has not reached the servers since 2026-11-28 11:58 UTC: no route"
        );
        let failed = SchedulerReport {
            last_attempt: Some(BackupAttempt {
                at: now,
                id: None,
                error: Some("no room".into()),
            }),
            ..good.clone()
        };
        assert_eq!(
            failed.warning(now).unwrap(),
            "the last backup failed at 2026-11-28 12:00 UTC: no room"
        );
        let later = now + TimeDelta::hours(1);
        assert!(good.warning(later).unwrap().contains("has not reported"));
        // A clock that was put back is no fault of the schedule's.
        assert_eq!(good.warning(now - TimeDelta::days(3)), None);
    }
}
