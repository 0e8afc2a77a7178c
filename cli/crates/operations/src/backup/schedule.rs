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
/// The delay of the first backup after the servers of a stack have started, even if it is due: a
/// start keeps the machine busy.
const INITIAL_DELAY: Duration = Duration::from_secs(5 * 60);
/// How long the servers may take to start before their absence is an outage. The scheduler
/// starts before them, and `dm up` builds images and compiles services meanwhile.
const SERVER_START_TIMEOUT: Duration = Duration::from_secs(60 * 60);
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
    /// The time until which the servers may be starting. `None` after they have been reached.
    servers_awaited_until: Option<Instant>,
    /// The directory for reports, if they are written.
    directory: Option<&'a ScheduleDir>,
    last_attempt: Option<BackupAttempt>,
    outage: Option<ServerOutage>,
}

impl<'a> ScheduleLoop<'a> {
    /// Returns the schedule of a container that has just started.
    fn in_container(
        store: &'a BackupStore,
        interval: Duration,
        directory: &'a ScheduleDir,
    ) -> Self {
        let now = Instant::now();
        Self {
            store,
            interval,
            not_before: now,
            servers_awaited_until: Some(now + SERVER_START_TIMEOUT),
            directory: Some(directory),
            last_attempt: directory.report().and_then(|report| report.last_attempt),
            outage: None,
        }
    }

    /// Writes the first report, and then records the start: `dm status` must not take the report
    /// of an earlier process for that of this one.
    fn record_start(&self) -> Result<()> {
        self.write_report(self.time_until_due(Utc::now())?)?;
        if let Some(directory) = self.directory {
            directory.record_start()?;
        }
        Ok(())
    }

    /// Returns whether the servers may still be starting. No backup is attempted then, and their
    /// absence is not reported.
    fn is_awaiting_servers(&self) -> bool {
        self.servers_awaited_until
            .is_some_and(|until| Instant::now() < until)
    }

    /// Returns the delay of the first backup.
    fn initial_delay(&self) -> Duration {
        INITIAL_DELAY.min(self.interval)
    }

    /// Returns the time until the next backup is due.
    fn time_until_due(&self, now: DateTime<Utc>) -> Result<Duration> {
        let due = remaining_interval(&self.store.readable_backups()?, self.interval, now);
        let earliest = if self.is_awaiting_servers() {
            self.initial_delay()
        } else {
            self.not_before.saturating_duration_since(Instant::now())
        };
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
            away: self.outage.clone().filter(|_| !self.is_awaiting_servers()),
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
        if error.is_none() {
            self.record_servers_reached();
        }
        let since = self
            .outage
            .as_ref()
            .map_or_else(Utc::now, |outage| outage.since);
        self.outage = error.map(|error| ServerOutage { since, error });
    }

    /// Records that all servers respond. The delay of the first backup begins if they have just
    /// started.
    fn record_servers_reached(&mut self) {
        if self.is_awaiting_servers() {
            self.not_before = Instant::now() + self.initial_delay();
        }
        self.servers_awaited_until = None;
    }
}

/// Returns the part of the interval that remains after the last scheduled backup. `backups` are
/// sorted by their time. Safety backups and manual ones do not count, nor do backups with a date
/// in the future: the clock was wrong.
fn remaining_interval(backups: &[Backup], interval: Duration, now: DateTime<Utc>) -> Duration {
    let last = backups.iter().rfind(|backup| {
        backup.manifest.purpose == Purpose::Scheduled && backup.manifest.taken_at <= now
    });
    last.map_or(Duration::ZERO, |backup| {
        let age = now - backup.manifest.taken_at;
        interval.saturating_sub(age.to_std().unwrap_or_default())
    })
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
        servers_awaited_until: None,
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
    } = directory.read_spec()?;
    let recipients = Recipients::parse(recipients.iter().map(String::as_str))?;
    let store = BackupStore::new(PathBuf::from(schedule::CONTAINER_BACKUPS_DIR));
    let mut schedule = ScheduleLoop::in_container(&store, every, &directory);
    schedule.record_start()?;
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

#[cfg(test)]
mod tests {
    use dm_backup::{Manifest, examples};

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    const STARTING: &str = "503 Service Unavailable";

    /// The files of a scheduler that has created no backup.
    struct Files {
        store: BackupStore,
        reports: ScheduleDir,
        _directory: tempfile::TempDir,
    }

    impl Files {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            Self {
                store: BackupStore::new(directory.path().join("backups")),
                reports: ScheduleDir::new(directory.path().to_owned()),
                _directory: directory,
            }
        }

        fn schedule(&self) -> ScheduleLoop<'_> {
            ScheduleLoop::in_container(&self.store, DAY, &self.reports)
        }

        /// Returns the outage that a schedule reports.
        fn reported_outage(&self, schedule: &ScheduleLoop<'_>) -> Option<ServerOutage> {
            schedule.write_report(Duration::ZERO).unwrap();
            self.reports.report().unwrap().away
        }
    }

    fn outage_of_ten_minutes() -> ServerOutage {
        ServerOutage {
            since: Utc::now() - TimeDelta::minutes(10),
            error: STARTING.to_owned(),
        }
    }

    #[test]
    fn servers_that_start_slowly_are_no_outage() {
        let files = Files::new();
        let mut schedule = files.schedule();
        schedule.outage = Some(outage_of_ten_minutes());
        schedule.record_health_check(Some(STARTING.to_owned()));
        assert_eq!(files.reported_outage(&schedule), None);
        schedule.record_health_check(None);
        assert_eq!(files.reported_outage(&schedule), None);
        // Servers that were reached before are expected to respond.
        schedule.record_health_check(Some("no route".to_owned()));
        assert_eq!(files.reported_outage(&schedule).unwrap().error, "no route");
    }

    #[test]
    fn servers_that_never_start_are_an_outage_since_the_first_check() {
        let files = Files::new();
        let mut schedule = files.schedule();
        let outage = outage_of_ten_minutes();
        schedule.outage = Some(outage.clone());
        schedule.servers_awaited_until = Some(Instant::now());
        schedule.record_health_check(Some(STARTING.to_owned()));
        assert_eq!(files.reported_outage(&schedule), Some(outage));
        assert_eq!(
            schedule.time_until_due(Utc::now()).unwrap(),
            Duration::ZERO,
            "a backup is attempted, which reports the cause"
        );
    }

    #[test]
    fn remaining_interval_counts_from_the_last_scheduled_backup() {
        let now: DateTime<Utc> = "2026-11-28T12:00:00Z".parse().unwrap();
        let taken_before = |purpose, hours| {
            let taken_at = now - TimeDelta::hours(hours);
            examples::backup(Manifest {
                purpose,
                ..examples::manifest("20261128T120000000Z", &taken_at.to_rfc3339())
            })
        };
        let remaining = |backups: &[Backup]| remaining_interval(backups, DAY, now);
        let hours = |hours: u64| Duration::from_secs(hours * 60 * 60);
        assert_eq!(remaining(&[]), Duration::ZERO);
        let without_scheduled = [
            taken_before(Purpose::Manual, 2),
            taken_before(Purpose::Safety, 1),
        ];
        assert_eq!(remaining(&without_scheduled), Duration::ZERO);
        let backups = [
            taken_before(Purpose::Scheduled, 30),
            taken_before(Purpose::Scheduled, 5),
            taken_before(Purpose::Manual, 2),
            taken_before(Purpose::Safety, 1),
            // The clock was wrong.
            taken_before(Purpose::Scheduled, -48),
        ];
        assert_eq!(remaining(&backups), hours(19));
        assert_eq!(remaining(&backups[..1]), Duration::ZERO, "overdue");
    }

    #[test]
    fn delay_of_the_first_backup_begins_when_the_servers_have_started() {
        let files = Files::new();
        let mut schedule = files.schedule();
        schedule.record_health_check(Some(STARTING.to_owned()));
        assert_eq!(schedule.time_until_due(Utc::now()).unwrap(), INITIAL_DELAY);
        schedule.record_health_check(None);
        assert!(schedule.not_before > Instant::now());
        // Later checks do not postpone the backup.
        let not_before = schedule.not_before;
        schedule.record_health_check(None);
        assert_eq!(schedule.not_before, not_before);
    }

    #[test]
    fn started_process_replaces_the_report_of_an_earlier_one() {
        let files = Files::new();
        let attempt = BackupAttempt {
            at: Utc::now() - TimeDelta::hours(1),
            id: None,
            error: Some("no space".to_owned()),
        };
        let earlier = SchedulerReport {
            seen_at: attempt.at,
            next_due: attempt.at,
            last_attempt: Some(attempt.clone()),
            away: Some(outage_of_ten_minutes()),
        };
        files.reports.write_report(&earlier).unwrap();
        files.schedule().record_start().unwrap();
        let report = files.reports.report().unwrap();
        assert!(report.seen_at > earlier.seen_at);
        assert_eq!(report.away, None);
        assert_eq!(report.last_attempt, Some(attempt));
    }
}
