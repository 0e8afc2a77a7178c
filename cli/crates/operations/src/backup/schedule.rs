//! Creates scheduled backups.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use dm_backup::schedule::{
    self, BackupAttempt, ScheduleDir, ScheduleSpec, SchedulerReport, ServerOutage,
};
use dm_backup::{Backup, BackupSource, BackupStore, Purpose, Recipients, RetentionPolicy};
use dm_components::client_location::ClientLocation;
use dm_core::error::{Error, Result};
use dm_host::lock::FileLock;
use tokio::time::Instant;

use super::{create, create_or_abort, prune, recipients};
use crate::session::{LOCK_TIMEOUT, Project, Session, StackClients};

/// The delay before the next attempt after a failed backup.
const RETRY_DELAY: Duration = Duration::from_secs(60);
/// The delay of the first backup after the start of a stack, even if it is due: a start keeps
/// the machine busy.
const INITIAL_DELAY: Duration = Duration::from_secs(5 * 60);
/// The longest sleep: the clock may be set, and the machine may be suspended.
const POLL_INTERVAL: Duration = Duration::from_secs(30);
/// The interval of the health checks of the servers.
const HEALTH_CHECK_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// The interval of the health checks while a server does not answer.
const HEALTH_CHECK_RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// The state of a schedule.
struct ScheduleLoop<'a> {
    store: &'a BackupStore,
    interval: Duration,
    /// The earliest time of the next backup.
    not_before: Instant,
    /// The directory for reports, if they are written.
    directory: Option<&'a ScheduleDir>,
    last_attempt: Option<BackupAttempt>,
    outage: Option<ServerOutage>,
}

impl ScheduleLoop<'_> {
    /// Returns the time until the next backup is due. Safety backups and manual ones do not
    /// count, nor do backups with a date in the future: the clock was wrong.
    fn time_until_due(&self, now: DateTime<Utc>) -> Result<Duration> {
        let last = self.store.readable_backups()?.into_iter().rfind(|backup| {
            backup.manifest.purpose == Purpose::Scheduled && backup.manifest.taken_at <= now
        });
        let due = last.map_or(Duration::ZERO, |backup| {
            remaining_interval(&backup, self.interval, now)
        });
        let earliest = self.not_before.saturating_duration_since(Instant::now());
        Ok(due.max(earliest))
    }

    /// Writes a report if the schedule has a directory.
    fn write_report(&self, wait: Duration) -> Result<()> {
        let Some(directory) = self.directory else {
            return Ok(());
        };
        let now = Utc::now();
        let wait = TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX);
        directory.write_report(&SchedulerReport {
            seen_at: now,
            next_due: now.checked_add_signed(wait).unwrap_or(now),
            last_attempt: self.last_attempt.clone(),
            away: self.outage.clone(),
        })?;
        Ok(())
    }

    /// Records the result of an attempt: the id of the backup, or the error.
    fn record_attempt(&mut self, result: std::result::Result<String, String>) {
        if result.is_err() {
            self.not_before = Instant::now() + RETRY_DELAY.min(self.interval);
        }
        self.last_attempt = Some(BackupAttempt {
            at: Utc::now(),
            error: result.as_ref().err().cloned(),
            id: result.ok(),
        });
        self.outage = None;
    }

    /// Records the result of a health check.
    fn record_health_check(&mut self, error: Option<String>) {
        let since = self
            .outage
            .as_ref()
            .map_or_else(Utc::now, |outage| outage.since);
        self.outage = error.map(|error| ServerOutage { since, error });
    }
}

/// Returns the part of the interval that remains after a backup.
fn remaining_interval(backup: &Backup, interval: Duration, now: DateTime<Utc>) -> Duration {
    let age = now - backup.manifest.taken_at;
    interval.saturating_sub(age.to_std().unwrap_or_default())
}

fn error_text(error: &Error) -> String {
    error.error_chain().join(": ")
}

/// Creates backups from the host until interrupted.
///
/// # Errors
/// If the directory of the backups cannot be read.
pub async fn run(
    session: &Session,
    project: &Project,
    store: &BackupStore,
    interval: Duration,
    policy: RetentionPolicy,
) -> Result<()> {
    let mut schedule = ScheduleLoop {
        store,
        interval,
        not_before: Instant::now(),
        directory: None,
        last_attempt: None,
        outage: None,
    };
    let create_backup = async || {
        let clients = StackClients::for_project(
            session,
            session.project_for_instance(&project.instance.name)?,
        )
        .await?;
        let _guard = session.lock(&clients.project, "dm backup schedule").await?;
        let recipients = recipients(&clients.project)?;
        let backup = create(session, &clients, store, &recipients, Purpose::Scheduled).await?;
        prune::prune_unattended(session, store, policy)?;
        Ok(backup)
    };
    let check_servers = async || Ok(());
    run_loop(session, &mut schedule, create_backup, check_servers).await
}

/// Creates backups from a container of the stack until interrupted.
///
/// # Errors
/// If the files that `dm up` has written for the schedule cannot be read.
pub async fn run_in_container(session: &Session) -> Result<()> {
    let directory = ScheduleDir::new(PathBuf::from(schedule::CONTAINER_SCHEDULE_DIR));
    let ScheduleSpec {
        every,
        keep,
        recipients,
        access,
    } = directory.start()?;
    let recipients = Recipients::parse(recipients.iter().map(String::as_str))?;
    let store = BackupStore::new(PathBuf::from(schedule::CONTAINER_BACKUPS_DIR));
    let mut schedule = ScheduleLoop {
        store: &store,
        interval: every,
        not_before: Instant::now() + INITIAL_DELAY.min(every),
        directory: Some(&directory),
        last_attempt: directory.report().and_then(|report| report.last_attempt),
        outage: None,
    };
    let frontend = &session.frontend;
    let lock = FileLock::new(
        format!("instance {}", access.instance),
        Path::new(schedule::CONTAINER_LOCK_FILE),
    );
    let create_backup = async || {
        let on_wait = |holder: Option<_>| {
            let holder = holder.map_or_else(
                || "another dm process".to_owned(),
                |holder| format!("{holder}"),
            );
            frontend.note(&format!(
                "waiting for {holder}, which holds the lock of the instance"
            ));
        };
        let _guard = lock
            .lock(
                "dm backup schedule",
                LOCK_TIMEOUT,
                &session.interrupt,
                on_wait,
            )
            .await?;
        let servers = access.connect(ClientLocation::StackNetwork).await?;
        let source = BackupSource {
            servers: &servers,
            recipients: &recipients,
            report: &|item| frontend.note(&format!("saving {item}")),
        };
        let backup = create_or_abort(session, &source, &store, Purpose::Scheduled).await?;
        prune::prune_unattended(session, &store, keep)?;
        Ok(backup)
    };
    let check_servers = async || {
        Ok(access
            .check_connections(ClientLocation::StackNetwork)
            .await?)
    };
    run_loop(session, &mut schedule, create_backup, check_servers).await
}

/// Creates a backup whenever one is due, and checks the servers at intervals.
async fn run_loop(
    session: &Session,
    schedule: &mut ScheduleLoop<'_>,
    create_backup: impl AsyncFn() -> Result<Backup>,
    check_servers: impl AsyncFn() -> Result<()>,
) -> Result<()> {
    let frontend = &session.frontend;
    let mut next_check = Instant::now();
    loop {
        let wait = schedule.time_until_due(Utc::now())?;
        schedule.write_report(wait)?;
        if wait.is_zero() {
            match with_heartbeat(schedule, create_backup()).await {
                Ok(backup) => {
                    frontend.done(&format!("backup {} was created", backup.manifest.id));
                    schedule.record_attempt(Ok(backup.manifest.id));
                }
                Err(_) if session.interrupt.is_cancelled() => return Ok(()),
                Err(error) => {
                    frontend.warn(&format!(
                        "could not create a backup: {}",
                        error_text(&error)
                    ));
                    schedule.record_attempt(Err(error_text(&error)));
                }
            }
            continue;
        }
        if schedule.directory.is_some() && Instant::now() >= next_check {
            let result = tokio::select! {
                result = check_servers() => result,
                () = session.interrupt.cancelled() => return Ok(()),
            };
            schedule.record_health_check(result.err().map(|error| error_text(&error)));
            let interval = if schedule.outage.is_some() {
                HEALTH_CHECK_RETRY_INTERVAL
            } else {
                HEALTH_CHECK_INTERVAL
            };
            next_check = Instant::now() + interval;
            continue;
        }
        let until_check = next_check.saturating_duration_since(Instant::now());
        let until_check = schedule.directory.map_or(POLL_INTERVAL, |_| until_check);
        tokio::select! {
            () = tokio::time::sleep(wait.min(POLL_INTERVAL).min(until_check)) => {}
            () = session.interrupt.cancelled() => return Ok(()),
        }
    }
}

/// Waits for a backup and writes reports meanwhile.
async fn with_heartbeat<T>(schedule: &ScheduleLoop<'_>, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        match tokio::time::timeout(POLL_INTERVAL, &mut work).await {
            Ok(result) => return result,
            // If the disk is full, the backup will fail as well and report it.
            Err(_) => drop(schedule.write_report(Duration::ZERO)),
        }
    }
}
