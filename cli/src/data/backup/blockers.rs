//! Which sessions keep a lock that a backup or a restore waits for.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, FromRow, PgConnection};
use tokio::time::Instant;

use super::BackupError;

/// How often the server is asked.
const LOOK: Duration = Duration::from_millis(500);
/// How long one session may keep others waiting.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which of our sessions wait.
#[derive(Debug, Clone, Copy)]
pub(super) enum Waiting {
    /// Those of this name.
    Application(&'static str),
}

/// A session that keeps a lock.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, FromRow)]
struct Blocker {
    /// Its process on the server.
    pid: i32,
    role: Option<String>,
    application: Option<String>,
    state: Option<String>,
    /// How long its transaction has been open, in seconds.
    seconds: Option<i64>,
    /// What it said last.
    query: Option<String>,
}

impl std::fmt::Display for Blocker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |part: &Option<String>| part.clone().unwrap_or_default();
        let query: String = text(&self.query)
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .chars()
            .take(80)
            .collect();
        write!(
            f,
            "session {} of {} ({}, {} for {} s): {query}",
            self.pid,
            text(&self.role),
            text(&self.application),
            text(&self.state),
            self.seconds.unwrap_or_default(),
        )
    }
}

/// A watch over what our sessions wait for.
pub(super) struct Blockers<'a> {
    options: &'a PgConnectOptions,
    waiting: Waiting,
}

impl<'a> Blockers<'a> {
    /// A watch by sessions with these options.
    pub(super) const fn watch(options: &'a PgConnectOptions, waiting: Waiting) -> Self {
        Self { options, waiting }
    }

    /// Does the work, and gives up where another session keeps it waiting for too long. Work
    /// that failed over a lock tells whose it was.
    ///
    /// # Errors
    /// Those of the work; [`BackupError::Blocked`].
    pub(super) async fn during<T>(
        &self,
        work: impl Future<Output = Result<T, BackupError>>,
    ) -> Result<T, BackupError> {
        let mut work = std::pin::pin!(work);
        let mut session = None;
        let mut since: BTreeMap<i32, Instant> = BTreeMap::new();
        let mut seen: Vec<Blocker> = Vec::new();
        loop {
            tokio::select! {
                done = &mut work => {
                    return match done {
                        Err(error) if is_lock(&error) && !seen.is_empty() => {
                            Err(BackupError::blocked(&seen))
                        }
                        done => done,
                    };
                }
                () = tokio::time::sleep(LOOK) => {}
            }
            let Some(found) = self.look(&mut session).await else {
                continue;
            };
            since.retain(|pid, _| found.iter().any(|it| it.pid == *pid));
            for blocker in &found {
                since.entry(blocker.pid).or_insert_with(Instant::now);
            }
            if !found.is_empty() {
                seen = found;
            }
            if since.values().any(|since| since.elapsed() >= PATIENCE) {
                return Err(BackupError::blocked(&seen));
            }
        }
    }

    /// Who keeps our sessions waiting now. Nothing where the server does not tell.
    async fn look(&self, session: &mut Option<PgConnection>) -> Option<Vec<Blocker>> {
        if session.is_none() {
            *session = self.options.connect().await.ok();
        }
        let connection = session.as_mut()?;
        let Waiting::Application(application) = self.waiting;
        let found = sqlx::query_as(
            "SELECT DISTINCT other.pid, other.usename::text AS role,
                    other.application_name AS application, other.state,
                    extract(epoch FROM clock_timestamp() - other.xact_start)::bigint AS seconds,
                    other.query
               FROM pg_stat_activity AS ours,
                    unnest(pg_blocking_pids(ours.pid)) AS blocker (pid)
               JOIN pg_stat_activity AS other ON other.pid = blocker.pid
              WHERE ours.application_name = $1 AND ours.wait_event_type = 'Lock'
                AND other.application_name <> $1
              ORDER BY other.pid",
        )
        .bind(application)
        .fetch_all(connection)
        .await;
        if found.is_err()
            && let Some(broken) = session.take()
        {
            let _ = broken.close_hard().await;
        }
        found.ok()
    }
}

/// Whether work failed because a lock was not to be had.
fn is_lock(error: &BackupError) -> bool {
    match error {
        BackupError::Command { told, .. } => told.contains("lock timeout"),
        BackupError::Sql(error) => error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code)
            .is_some_and(|code| code == "55P03"),
        _ => false,
    }
}

impl BackupError {
    fn blocked(blockers: &[Blocker]) -> Self {
        Self::Blocked {
            sessions: blockers.iter().map(|it| it.pid).collect(),
            told: blockers.iter().map(ToString::to_string).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_named_on_one_line() {
        let blocker = Blocker {
            pid: 7,
            role: Some("dunder".to_owned()),
            application: Some("psql".to_owned()),
            state: Some("idle in transaction".to_owned()),
            seconds: Some(25),
            query: Some("lock table\n  orders.orders".to_owned()),
        };
        assert_eq!(
            blocker.to_string(),
            "session 7 of dunder (psql, idle in transaction for 25 s): lock table orders.orders"
        );
    }

    #[test]
    fn a_timeout_over_a_lock_is_known() {
        let error = |told: &str| BackupError::Command {
            command: "psql".to_owned(),
            told: told.to_owned(),
        };
        assert!(is_lock(&error(
            "ERROR:  canceling statement due to lock timeout"
        )));
        assert!(!is_lock(&error("ERROR:  syntax error")));
    }
}
