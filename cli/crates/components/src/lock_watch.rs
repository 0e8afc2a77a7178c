//! Database work that waits for locks only for a limited time, and then names the sessions
//! that hold them.
//!
//! PostgreSQL lets a statement wait for a lock without limit and without a message.
//! Therefore a second session watches the first one. The watcher finds the session by its
//! `application_name`; this also works for a dump in the database's container.

use std::fmt;
use std::time::Duration;

use dm_config::values::format_exact_duration;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection};
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The interval at which waiting sessions are queried.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// How long the server may take to end a session.
const TERMINATE_TIMEOUT: Duration = Duration::from_secs(5);
/// The number of characters of a statement or an application name that are shown.
const MAX_SUMMARY_CHARS: usize = 120;
/// The number of sessions that are named.
const MAX_LISTED_SESSIONS: usize = 3;

/// A session that holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockingSession {
    /// The process of the server that serves it; 0 for a prepared transaction.
    pub pid: i32,
    /// Its role.
    pub user: String,
    /// Its application name.
    pub application: String,
    /// Its state, e.g. `idle in transaction`.
    pub state: String,
    /// How long it has been in this state, in seconds.
    pub state_seconds: i64,
    /// Its current or last statement.
    pub statement: String,
    /// Whether it waits for a lock itself.
    pub is_waiting: bool,
}

impl fmt::Display for BlockingSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pid == 0 {
            return write!(f, "a prepared transaction (see pg_prepared_xacts)");
        }
        write!(f, "session {} of role {}", self.pid, self.user)?;
        if !self.application.is_empty() {
            write!(f, " ({})", summarize(&self.application))?;
        }
        let state = if self.state.is_empty() {
            "active"
        } else {
            &self.state
        };
        let since = Duration::from_secs(u64::try_from(self.state_seconds).unwrap_or_default());
        write!(f, ", {state} for {}", format_exact_duration(since))?;
        if self.statement.is_empty() {
            return Ok(());
        }
        write!(f, ", statement: {}", summarize(&self.statement))
    }
}

/// Shortens a text to one line of limited length, without a password that a statement sets.
fn summarize(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let is_password = |word: &&str| word.eq_ignore_ascii_case("password");
    let summary = match words.iter().position(is_password) {
        Some(index) => format!("{} ***", words[..=index].join(" ")),
        None => words.join(" "),
    };
    match summary.char_indices().nth(MAX_SUMMARY_CHARS) {
        Some((end, _)) => format!("{}…", &summary[..end]),
        None => summary,
    }
}

/// A wait for a lock that another session held all the time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Error)]
#[error("{} for a lock that another session holds: {}", format_waited(*waited), format_holders(holders))]
pub struct LockWait {
    /// The duration of the wait.
    pub waited: Duration,
    /// The sessions that hold the lock; those that wait for no lock themselves come first.
    pub holders: Vec<BlockingSession>,
}

fn format_waited(waited: Duration) -> String {
    match waited.as_secs() {
        0 => "waiting".to_owned(),
        seconds => format!(
            "waited {}",
            format_exact_duration(Duration::from_secs(seconds))
        ),
    }
}

fn format_holders(holders: &[BlockingSession]) -> String {
    let named: Vec<String> = holders
        .iter()
        .take(MAX_LISTED_SESSIONS)
        .map(BlockingSession::to_string)
        .collect();
    let more = holders.len().saturating_sub(MAX_LISTED_SESSIONS);
    match more {
        0 => named.join("; "),
        more => format!("{}; and {more} more", named.join("; ")),
    }
}

impl LockWait {
    /// Returns the next steps.
    #[must_use]
    pub fn suggestions(&self) -> Vec<String> {
        let session = self.holders.iter().find(|holder| holder.pid != 0);
        let terminate = session.map(|holder| {
            format!(
                "end the session: dm psql -c \"select pg_terminate_backend({})\"",
                holder.pid
            )
        });
        let wait = "or wait until the session has ended, and run the command again".to_owned();
        terminate.into_iter().chain([wait]).collect()
    }
}

/// The reason why watched work was aborted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AbortReason {
    /// It waited too long for a lock.
    LockTimeout(LockWait),
    /// Its deadline passed. The wait is that for a lock at this time, if any.
    DeadlineExceeded(Option<LockWait>),
    /// It was interrupted.
    Interrupted,
}

/// The limits of watched work.
#[derive(Debug, Clone)]
pub struct WorkLimits {
    /// How long to wait for one lock.
    pub lock_timeout: Duration,
    /// Deadline for all of the work, if any.
    pub deadline: Option<Instant>,
    /// Aborts the work.
    pub interrupt: CancellationToken,
}

/// Watches the sessions with one application name.
#[derive(Debug, Clone)]
pub struct LockWatch {
    /// The connection options of the server.
    connect_options: PgConnectOptions,
    /// The application name of the watched sessions.
    application_name: String,
}

impl LockWatch {
    /// Creates a watch with a unique application name, which contains the name of the work.
    #[must_use]
    pub fn new(options: &PgConnectOptions, work: &str) -> Self {
        let id = Uuid::new_v4().simple().to_string();
        Self {
            connect_options: options.clone(),
            application_name: format!("dm {work} {}", &id[..12]),
        }
    }

    /// Creates a watch over all sessions with this application name.
    #[must_use]
    pub fn for_application(options: &PgConnectOptions, application: &str) -> Self {
        Self {
            connect_options: options.clone(),
            application_name: application.to_owned(),
        }
    }

    /// Returns the application name of the watched sessions.
    #[must_use]
    pub fn application_name(&self) -> &str {
        &self.application_name
    }

    /// Returns the connection options of a watched session.
    #[must_use]
    pub fn connect_options(&self) -> PgConnectOptions {
        self.connect_options
            .clone()
            .application_name(&self.application_name)
    }

    /// Runs work whose sessions are watched. If it is aborted, its sessions are terminated in
    /// the server: a statement that waits for a lock does not notice that its client is gone.
    ///
    /// # Errors
    /// Returns the [`AbortReason`] if the work was aborted.
    pub async fn run<T>(
        &self,
        limits: &WorkLimits,
        work: impl Future<Output = T>,
    ) -> Result<T, AbortReason> {
        let deadline = async {
            match limits.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let reason = tokio::select! {
            result = work => return Ok(result),
            wait = self.wait_for_lock_timeout(limits.lock_timeout) => {
                AbortReason::LockTimeout(wait)
            }
            () = deadline => {
                let wait = timeout(TERMINATE_TIMEOUT, self.current_lock_wait()).await;
                AbortReason::DeadlineExceeded(wait.ok().flatten())
            }
            () = limits.interrupt.cancelled() => AbortReason::Interrupted,
        };
        self.terminate_sessions().await;
        Err(reason)
    }

    /// Like [`LockWatch::run`], for work without a deadline that handles interrupts on its own:
    /// it is aborted if another session holds a lock that it needs for longer than
    /// `lock_timeout`.
    ///
    /// # Errors
    /// Returns the [`LockWait`] if the work was aborted.
    pub async fn run_until_lock_timeout<T>(
        &self,
        lock_timeout: Duration,
        work: impl Future<Output = T>,
    ) -> Result<T, LockWait> {
        let limits = WorkLimits {
            lock_timeout,
            deadline: None,
            interrupt: CancellationToken::new(),
        };
        match self.run(&limits, work).await {
            Ok(result) => Ok(result),
            Err(AbortReason::LockTimeout(wait) | AbortReason::DeadlineExceeded(Some(wait))) => {
                Err(wait)
            }
            Err(AbortReason::DeadlineExceeded(None) | AbortReason::Interrupted) => {
                Err(LockWait::default())
            }
        }
    }

    /// Returns once a session has waited for one lock for as long as `timeout`. Errors of the
    /// query are ignored: the work itself notices a server that does not respond.
    async fn wait_for_lock_timeout(&self, timeout: Duration) -> LockWait {
        let mut session: Option<PgConnection> = None;
        let mut since: Option<(i32, Instant)> = None;
        loop {
            sleep(POLL_INTERVAL).await;
            if session.is_none() {
                session = self.connect_options.connect().await.ok();
            }
            let Some(connection) = session.as_mut() else {
                continue;
            };
            let Ok(lock_wait) = find_lock_wait(connection, &self.application_name).await else {
                session = None;
                continue;
            };
            let Some((pid, holders)) = lock_wait else {
                since = None;
                continue;
            };
            let started_at = match since {
                Some((last_pid, started_at)) if last_pid == pid => started_at,
                _ => Instant::now(),
            };
            since = Some((pid, started_at));
            if started_at.elapsed() >= timeout {
                return LockWait {
                    waited: started_at.elapsed(),
                    holders,
                };
            }
        }
    }

    /// Returns the sessions that hold the lock for which the work waits at this moment.
    async fn current_lock_wait(&self) -> Option<LockWait> {
        let mut session = self.connect_options.connect().await.ok()?;
        let (_, holders) = find_lock_wait(&mut session, &self.application_name)
            .await
            .ok()??;
        Some(LockWait {
            waited: Duration::ZERO,
            holders,
        })
    }

    /// Terminates the watched sessions in the server.
    pub(crate) async fn terminate_sessions(&self) {
        let terminate = async {
            let mut session = self.connect_options.connect().await?;
            sqlx::query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                  WHERE application_name = $1",
            )
            .bind(&self.application_name)
            .execute(&mut session)
            .await
        };
        // If the server does not respond, its sessions end with it.
        let _ = timeout(TERMINATE_TIMEOUT, terminate).await;
    }
}

/// Returns the session of this application that waits for a lock, and the sessions that hold
/// it. Waits for other sessions of the same application do not count.
async fn find_lock_wait(
    session: &mut PgConnection,
    application: &str,
) -> Result<Option<(i32, Vec<BlockingSession>)>, sqlx::Error> {
    type Row = (i32, i32, String, String, String, i64, String, bool);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT waits.pid, holds.pid, coalesce(other.usename, ''),
                coalesce(nullif(other.application_name, ''), other.backend_type, ''),
                coalesce(other.state, ''),
                coalesce(extract(epoch FROM clock_timestamp() - coalesce(
                    CASE WHEN other.state = 'active' THEN other.query_start
                         ELSE other.state_change END, other.backend_start)), 0)::bigint,
                coalesce(other.query, ''), coalesce(other.wait_event_type = 'Lock', false)
           FROM (SELECT pid FROM pg_stat_activity
                  WHERE application_name = $1 AND wait_event_type = 'Lock' OFFSET 0) AS waits
          CROSS JOIN LATERAL (SELECT DISTINCT unnest(pg_blocking_pids(waits.pid)) AS pid) AS holds
           LEFT JOIN pg_stat_activity AS other ON other.pid = holds.pid
          WHERE other.application_name IS DISTINCT FROM $1
          ORDER BY waits.pid, 8, holds.pid",
    )
    .bind(application)
    .fetch_all(session)
    .await?;
    let Some(first) = rows.first().map(|row| row.0) else {
        return Ok(None);
    };
    let holders = rows.into_iter().filter(|row| row.0 == first).map(
        |(_, pid, user, application, state, state_seconds, statement, is_waiting)| {
            BlockingSession {
                pid,
                user,
                application,
                state,
                state_seconds,
                statement,
                is_waiting,
            }
        },
    );
    Ok(Some((first, holders.collect())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(pid: i32) -> BlockingSession {
        BlockingSession {
            pid,
            user: "dunder".into(),
            application: "psql".into(),
            state: "idle in transaction".into(),
            state_seconds: 123,
            statement: "lock table\n  orders.orders".into(),
            is_waiting: false,
        }
    }

    #[test]
    fn lock_wait_names_the_holder_and_next_steps() {
        let lock_wait = LockWait {
            waited: Duration::from_secs(10),
            holders: vec![holder(4711)],
        };
        assert_eq!(
            lock_wait.to_string(),
            "waited 10 s for a lock that another session holds: session 4711 of role dunder \
             (psql), idle in transaction for 2 min 3 s, statement: lock table orders.orders"
        );
        assert_eq!(
            lock_wait.suggestions()[0],
            "end the session: dm psql -c \"select pg_terminate_backend(4711)\""
        );
        let prepared = LockWait {
            waited: Duration::from_secs(10),
            holders: vec![BlockingSession {
                pid: 0,
                ..holder(0)
            }],
        };
        assert!(prepared.to_string().contains("a prepared transaction"));
        assert_eq!(prepared.suggestions().len(), 1);
    }

    #[test]
    fn statement_is_truncated_and_its_password_masked() {
        assert_eq!(
            summarize("ALTER ROLE x\nPASSWORD 'geheim'"),
            "ALTER ROLE x PASSWORD ***"
        );
        assert_eq!(
            summarize(&"é".repeat(500)).chars().count(),
            MAX_SUMMARY_CHARS + 1
        );
    }
}
