//! Backups are made when they are due.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use dm_backup::job::{self, Attempt, Away, Folder, Job, State};
use dm_backup::{Keep, Purpose, Recipients, Set, Source, Store};
use dm_components::reach::Reach;
use dm_core::error::{Error, Result};
use dm_host::lock::FileLock;
use tokio::time::Instant;

use super::{create, make, prune, recipients};
use crate::session::{Desk, LOCK_PATIENCE, Project, Session};

/// How long after a backup that failed the next one is tried.
const RETRY: Duration = Duration::from_secs(60);
/// How long after the start of a stack the first one is made, though it is due: a start keeps
/// the machine busy.
const FIRST: Duration = Duration::from_secs(5 * 60);
/// How long to sleep at most: the clock may be set, and the machine may sleep as well.
const LOOK: Duration = Duration::from_secs(30);
/// How often the servers are asked whether they answer.
const ASK: Duration = Duration::from_secs(5 * 60);
/// The same while one of them does not.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// When backups are due.
struct Schedule<'a> {
    store: &'a Store,
    every: Duration,
    /// Before that none is made.
    not_before: Instant,
    /// Where to note how it goes.
    folder: Option<&'a Folder>,
    last_attempt: Option<Attempt>,
    away: Option<Away>,
}

impl Schedule<'_> {
    /// How long it is until the next backup is due. Safety copies and manual ones are none of
    /// the schedule's, and neither is one that is dated later than now: the clock was wrong.
    fn wait(&self, now: DateTime<Utc>) -> Result<Duration> {
        let last = self.store.sets()?.into_iter().rfind(|set| {
            set.manifest.purpose == Purpose::Scheduled && set.manifest.taken_at <= now
        });
        let due = last.map_or(Duration::ZERO, |set| remaining(&set, self.every, now));
        let earliest = self.not_before.saturating_duration_since(Instant::now());
        Ok(due.max(earliest))
    }

    /// Notes how it goes, where that is asked for.
    fn note(&self, wait: Duration) -> Result<()> {
        let Some(folder) = self.folder else {
            return Ok(());
        };
        let now = Utc::now();
        let wait = TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX);
        folder.note(&State {
            seen_at: now,
            next_due: now.checked_add_signed(wait).unwrap_or(now),
            last_attempt: self.last_attempt.clone(),
            away: self.away.clone(),
        })?;
        Ok(())
    }

    /// Notes what came of a try.
    fn tried(&mut self, made: std::result::Result<String, String>) {
        if made.is_err() {
            self.not_before = Instant::now() + RETRY.min(self.every);
        }
        self.last_attempt = Some(Attempt {
            at: Utc::now(),
            error: made.as_ref().err().cloned(),
            id: made.ok(),
        });
        self.away = None;
    }

    /// Notes whether the servers answer.
    fn asked(&mut self, error: Option<String>) {
        let since = self.away.as_ref().map_or_else(Utc::now, |away| away.since);
        self.away = error.map(|error| Away { since, error });
    }
}

/// How long it is until this long after a backup.
fn remaining(set: &Set, every: Duration, now: DateTime<Utc>) -> Duration {
    let age = now - set.manifest.taken_at;
    every.saturating_sub(age.to_std().unwrap_or_default())
}

fn words(error: &Error) -> String {
    error.chain().join(": ")
}

/// Makes backups from this machine until interrupted.
///
/// # Errors
/// The folder of the backups can't be read.
pub async fn run(
    session: &Session,
    project: &Project,
    store: &Store,
    every: Duration,
    keep: Keep,
) -> Result<()> {
    let mut schedule = Schedule {
        store,
        every,
        not_before: Instant::now(),
        folder: None,
        last_attempt: None,
        away: None,
    };
    let make = async || {
        let desk = Desk::of(session, session.project_of(&project.instance.name)?).await?;
        let _guard = session.lock(&desk.project, "dm backup schedule").await?;
        let recipients = recipients(&desk.project)?;
        let set = create(session, &desk, store, &recipients, Purpose::Scheduled).await?;
        prune::quietly(session, store, keep)?;
        Ok(set)
    };
    let answers = async || Ok(());
    go_on(session, &mut schedule, make, answers).await
}

/// Makes backups from a container of the stack until interrupted.
///
/// # Errors
/// What `dm up` has written for it can't be read.
pub async fn run_in_container(session: &Session) -> Result<()> {
    let folder = Folder::new(PathBuf::from(job::FOLDER));
    let Job {
        every,
        keep,
        recipients,
        access,
    } = folder.begin()?;
    let recipients = Recipients::parse(recipients.iter().map(String::as_str))?;
    let store = Store::new(PathBuf::from(job::BACKUPS));
    let mut schedule = Schedule {
        store: &store,
        every,
        not_before: Instant::now() + FIRST.min(every),
        folder: Some(&folder),
        last_attempt: folder.state().and_then(|state| state.last_attempt),
        away: None,
    };
    let frontend = &session.frontend;
    let lock = FileLock::new(
        format!("instance {}", access.instance),
        Path::new(job::LOCK),
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
                LOCK_PATIENCE,
                &session.interrupt,
                waits,
            )
            .await?;
        let servers = access.open(Reach::Network).await?;
        let source = Source {
            servers: &servers,
            recipients: &recipients,
            told: &|what| frontend.note(&format!("saving {what}")),
        };
        let set = make(session, &source, &store, Purpose::Scheduled).await?;
        prune::quietly(session, &store, keep)?;
        Ok(set)
    };
    let answers = async || Ok(access.answers(Reach::Network).await?);
    go_on(session, &mut schedule, make, answers).await
}

/// Makes a backup whenever one is due, and asks now and then whether the servers answer.
async fn go_on(
    session: &Session,
    schedule: &mut Schedule<'_>,
    make: impl AsyncFn() -> Result<Set>,
    answers: impl AsyncFn() -> Result<()>,
) -> Result<()> {
    let frontend = &session.frontend;
    let mut ask_at = Instant::now();
    loop {
        let wait = schedule.wait(Utc::now())?;
        schedule.note(wait)?;
        if wait.is_zero() {
            match working(schedule, make()).await {
                Ok(set) => {
                    frontend.done(&format!("backup {} was created", set.manifest.id));
                    schedule.tried(Ok(set.manifest.id));
                }
                Err(_) if session.interrupt.is_cancelled() => return Ok(()),
                Err(error) => {
                    frontend.warn(&format!("could not create a backup: {}", words(&error)));
                    schedule.tried(Err(words(&error)));
                }
            }
            continue;
        }
        if schedule.folder.is_some() && Instant::now() >= ask_at {
            let asked = tokio::select! {
                asked = answers() => asked,
                () = session.interrupt.cancelled() => return Ok(()),
            };
            schedule.asked(asked.err().map(|error| words(&error)));
            let pause = if schedule.away.is_some() {
                ASK_AGAIN
            } else {
                ASK
            };
            ask_at = Instant::now() + pause;
            continue;
        }
        let asks = ask_at.saturating_duration_since(Instant::now());
        let asks = schedule.folder.map_or(LOOK, |_| asks);
        tokio::select! {
            () = tokio::time::sleep(wait.min(LOOK).min(asks)) => {}
            () = session.interrupt.cancelled() => return Ok(()),
        }
    }
}

/// Waits for a backup, and goes on saying that it does.
async fn working<T>(schedule: &Schedule<'_>, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        match tokio::time::timeout(LOOK, &mut work).await {
            Ok(done) => return done,
            // What the disk lacks for this, the backup will lack, too, and say so.
            Err(_) => drop(schedule.note(Duration::ZERO)),
        }
    }
}
