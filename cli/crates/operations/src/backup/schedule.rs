//! Backups are made when they are due.

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

/// How long after a backup that failed the next one is tried.
const RETRY_DELAY: Duration = Duration::from_secs(60);
/// How long after the start of a stack the first one is made, though it is due: a start keeps
/// the machine busy.
const INITIAL_DELAY: Duration = Duration::from_secs(5 * 60);
/// How long to sleep at most: the clock may be set, and the machine may sleep as well.
const POLL_INTERVAL: Duration = Duration::from_secs(30);
/// How often the servers are asked whether they answer.
const HEALTH_CHECK_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// The same while one of them does not.
const HEALTH_CHECK_RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// When backups are due.
struct ScheduleLoop<'a> {
    store: &'a BackupStore,
    interval: Duration,
    /// Before that none is made.
    not_before: Instant,
    /// Where to note how it goes.
    directory: Option<&'a ScheduleDir>,
    last_attempt: Option<BackupAttempt>,
    outage: Option<ServerOutage>,
}

impl ScheduleLoop<'_> {
    /// How long it is until the next backup is due. Safety copies and manual ones are none of
    /// the schedule's, and neither is one that is dated later than now: the clock was wrong.
    fn time_until_due(&self, now: DateTime<Utc>) -> Result<Duration> {
        let last = self.store.readable_backups()?.into_iter().rfind(|set| {
            set.manifest.purpose == Purpose::Scheduled && set.manifest.taken_at <= now
        });
        let due = last.map_or(Duration::ZERO, |set| {
            remaining_interval(&set, self.interval, now)
        });
        let earliest = self.not_before.saturating_duration_since(Instant::now());
        Ok(due.max(earliest))
    }

    /// Notes how it goes, where that is asked for.
    fn write_report(&self, wait: Duration) -> Result<()> {
        let Some(folder) = self.directory else {
            return Ok(());
        };
        let now = Utc::now();
        let wait = TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX);
        folder.write_report(&SchedulerReport {
            seen_at: now,
            next_due: now.checked_add_signed(wait).unwrap_or(now),
            last_attempt: self.last_attempt.clone(),
            away: self.outage.clone(),
        })?;
        Ok(())
    }

    /// Notes what came of a try.
    fn record_attempt(&mut self, made: std::result::Result<String, String>) {
        if made.is_err() {
            self.not_before = Instant::now() + RETRY_DELAY.min(self.interval);
        }
        self.last_attempt = Some(BackupAttempt {
            at: Utc::now(),
            error: made.as_ref().err().cloned(),
            id: made.ok(),
        });
        self.outage = None;
    }

    /// Notes whether the servers answer.
    fn record_health_check(&mut self, error: Option<String>) {
        let since = self
            .outage
            .as_ref()
            .map_or_else(Utc::now, |away| away.since);
        self.outage = error.map(|error| ServerOutage { since, error });
    }
}

/// How long it is until this long after a backup.
fn remaining_interval(set: &Backup, every: Duration, now: DateTime<Utc>) -> Duration {
    let age = now - set.manifest.taken_at;
    every.saturating_sub(age.to_std().unwrap_or_default())
}

fn error_text(error: &Error) -> String {
    error.error_chain().join(": ")
}

/// Makes backups from this machine until interrupted.
///
/// # Errors
/// The folder of the backups can't be read.
pub async fn run(
    session: &Session,
    project: &Project,
    store: &BackupStore,
    every: Duration,
    policy: RetentionPolicy,
) -> Result<()> {
    let mut schedule = ScheduleLoop {
        store,
        interval: every,
        not_before: Instant::now(),
        directory: None,
        last_attempt: None,
        outage: None,
    };
    let make = async || {
        let desk = StackClients::for_project(
            session,
            session.project_for_instance(&project.instance.name)?,
        )
        .await?;
        let _guard = session.lock(&desk.project, "dm backup schedule").await?;
        let recipients = recipients(&desk.project)?;
        let set = create(session, &desk, store, &recipients, Purpose::Scheduled).await?;
        prune::prune_unattended(session, store, policy)?;
        Ok(set)
    };
    let answers = async || Ok(());
    run_loop(session, &mut schedule, make, answers).await
}

/// Makes backups from a container of the stack until interrupted.
///
/// # Errors
/// What `dm up` has written for it can't be read.
pub async fn run_in_container(session: &Session) -> Result<()> {
    let folder = ScheduleDir::new(PathBuf::from(schedule::CONTAINER_SCHEDULE_DIR));
    let ScheduleSpec {
        every,
        keep,
        recipients,
        access,
    } = folder.start()?;
    let recipients = Recipients::parse(recipients.iter().map(String::as_str))?;
    let store = BackupStore::new(PathBuf::from(schedule::CONTAINER_BACKUPS_DIR));
    let mut schedule = ScheduleLoop {
        store: &store,
        interval: every,
        not_before: Instant::now() + INITIAL_DELAY.min(every),
        directory: Some(&folder),
        last_attempt: folder.report().and_then(|state| state.last_attempt),
        outage: None,
    };
    let frontend = &session.frontend;
    let lock = FileLock::new(
        format!("instance {}", access.instance),
        Path::new(schedule::CONTAINER_LOCK_FILE),
    );
    let make = async || {
        let waits = |holder: Option<_>| {
            let who = holder.map_or_else(|| "another dm process".to_owned(), |it| format!("{it}"));
            frontend.note(&format!(
                "waiting for {who}, which holds the lock of the instance"
            ));
        };
        let _guard = lock
            .lock(
                "dm backup schedule",
                LOCK_TIMEOUT,
                &session.interrupt,
                waits,
            )
            .await?;
        let servers = access.connect(ClientLocation::StackNetwork).await?;
        let source = BackupSource {
            servers: &servers,
            recipients: &recipients,
            report: &|what| frontend.note(&format!("saving {what}")),
        };
        let set = create_or_abort(session, &source, &store, Purpose::Scheduled).await?;
        prune::prune_unattended(session, &store, keep)?;
        Ok(set)
    };
    let answers = async || {
        Ok(access
            .check_connections(ClientLocation::StackNetwork)
            .await?)
    };
    run_loop(session, &mut schedule, make, answers).await
}

/// Makes a backup whenever one is due, and asks now and then whether the servers answer.
async fn run_loop(
    session: &Session,
    schedule: &mut ScheduleLoop<'_>,
    make: impl AsyncFn() -> Result<Backup>,
    check_servers: impl AsyncFn() -> Result<()>,
) -> Result<()> {
    let frontend = &session.frontend;
    let mut ask_at = Instant::now();
    loop {
        let wait = schedule.time_until_due(Utc::now())?;
        schedule.write_report(wait)?;
        if wait.is_zero() {
            match with_heartbeat(schedule, make()).await {
                Ok(set) => {
                    frontend.done(&format!("backup {} was created", set.manifest.id));
                    schedule.record_attempt(Ok(set.manifest.id));
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
        if schedule.directory.is_some() && Instant::now() >= ask_at {
            let asked = tokio::select! {
                asked = check_servers() => asked,
                () = session.interrupt.cancelled() => return Ok(()),
            };
            schedule.record_health_check(asked.err().map(|error| error_text(&error)));
            let pause = if schedule.outage.is_some() {
                HEALTH_CHECK_RETRY_INTERVAL
            } else {
                HEALTH_CHECK_INTERVAL
            };
            ask_at = Instant::now() + pause;
            continue;
        }
        let asks = ask_at.saturating_duration_since(Instant::now());
        let asks = schedule.directory.map_or(POLL_INTERVAL, |_| asks);
        tokio::select! {
            () = tokio::time::sleep(wait.min(POLL_INTERVAL).min(asks)) => {}
            () = session.interrupt.cancelled() => return Ok(()),
        }
    }
}

/// Waits for a backup, and goes on saying that it does.
async fn with_heartbeat<T>(schedule: &ScheduleLoop<'_>, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        match tokio::time::timeout(POLL_INTERVAL, &mut work).await {
            Ok(done) => return done,
            // What the disk lacks for this, the backup will lack, too, and say so.
            Err(_) => drop(schedule.write_report(Duration::ZERO)),
        }
    }
}
