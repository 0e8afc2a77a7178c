//! Work in the database that waits for locks a bounded time, and then names the sessions that
//! hold them.
//!
//! PostgreSQL lets a statement wait for a lock as long as it takes and says nothing meanwhile.
//! So a second session watches the first one. It knows it by its `application_name`, which is
//! also how a dump in the database's container is known.

use std::fmt;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection};
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How often waiting sessions are looked for.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// How long the server may take to end a session.
const TERMINATE_TIMEOUT: Duration = Duration::from_secs(5);
/// How much of a statement is shown.
const MAX_STATEMENT_CHARS: usize = 120;
/// How many sessions are named.
const MAX_LISTED_SESSIONS: usize = 3;

/// A session that holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockingSession {
    /// The process of the server that serves it; 0 for a prepared transaction.
    pub pid: i32,
    /// Its role.
    pub user: String,
    /// What it calls itself.
    pub application: String,
    /// What it does, e.g. `idle in transaction`.
    pub state: String,
    /// For how long it has been doing that, in seconds.
    pub state_seconds: i64,
    /// What it runs, or ran last.
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
            write!(f, " ({})", summarize_statement(&self.application))?;
        }
        let (minutes, seconds) = (self.state_seconds / 60, self.state_seconds % 60);
        let state = if self.state.is_empty() {
            "active"
        } else {
            &self.state
        };
        match minutes {
            0 => write!(f, ", {state} for {seconds} s")?,
            _ => write!(f, ", {state} for {minutes} min {seconds} s")?,
        }
        if self.statement.is_empty() {
            return Ok(());
        }
        write!(f, ", statement: {}", summarize_statement(&self.statement))
    }
}

/// A text on one line, of bounded length, without a password that it sets.
fn summarize_statement(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let is_password = |word: &&str| word.eq_ignore_ascii_case("password");
    let told = match words.iter().position(is_password) {
        Some(place) => format!("{} ***", words[..=place].join(" ")),
        None => words.join(" "),
    };
    match told.char_indices().nth(MAX_STATEMENT_CHARS) {
        Some((end, _)) => format!("{}…", &told[..end]),
        None => told,
    }
}

/// Work waited for a lock, and another session held it all the time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Error)]
#[error("{} for a lock that another session holds: {}", format_waited(*waited), format_holders(holders))]
pub struct LockWait {
    /// How long it waited.
    pub waited: Duration,
    /// Who holds it; those that wait for none themselves come first.
    pub holders: Vec<BlockingSession>,
}

fn format_waited(waited: Duration) -> String {
    match waited.as_secs() {
        0 => "waiting".to_owned(),
        seconds => format!("waited {seconds} s"),
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
    /// What to do about it.
    #[must_use]
    pub fn suggestions(&self) -> Vec<String> {
        let first = self.holders.iter().find(|it| it.pid != 0);
        let end = first.map(|holder| {
            format!(
                "end the session: dm psql -c \"select pg_terminate_backend({})\"",
                holder.pid
            )
        });
        let wait = "or wait until the session has ended, and run the command again".to_owned();
        end.into_iter().chain([wait]).collect()
    }
}

/// Why watched work was ended before it was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AbortReason {
    /// It waited too long for a lock.
    LockTimeout(LockWait),
    /// Its time was over. Where it was waiting for a lock then, this is who holds it.
    DeadlineExceeded(Option<LockWait>),
    /// It was interrupted.
    Interrupted,
}

/// How long work may take.
#[derive(Debug, Clone)]
pub struct WorkLimits {
    /// How long it may wait for one lock.
    pub lock_timeout: Duration,
    /// When all of it has to be done, if it has to.
    pub deadline: Option<Instant>,
    /// Ends it.
    pub interrupt: CancellationToken,
}

/// Watches the sessions of one name.
#[derive(Debug, Clone)]
pub struct LockWatch {
    /// The database's server.
    connect_options: PgConnectOptions,
    /// The name of the sessions that are watched.
    application_name: String,
}

impl LockWatch {
    /// A watch over sessions that no other call has, for work called so.
    #[must_use]
    pub fn new(options: &PgConnectOptions, work: &str) -> Self {
        let id = Uuid::new_v4().simple().to_string();
        Self {
            connect_options: options.clone(),
            application_name: format!("dm {work} {}", &id[..12]),
        }
    }

    /// A watch over all sessions that call themselves this.
    #[must_use]
    pub fn for_application(options: &PgConnectOptions, application: &str) -> Self {
        Self {
            connect_options: options.clone(),
            application_name: application.to_owned(),
        }
    }

    /// What the watched sessions have to call themselves.
    #[must_use]
    pub fn application_name(&self) -> &str {
        &self.application_name
    }

    /// How a watched session connects.
    #[must_use]
    pub fn connect_options(&self) -> PgConnectOptions {
        self.connect_options
            .clone()
            .application_name(&self.application_name)
    }

    /// Does work whose sessions are watched. Where it is ended early, its sessions end in the
    /// server, too: a statement that waits for a lock does not notice that its client went.
    ///
    /// # Errors
    /// [`Ended`], where it was ended early.
    pub async fn run<T>(
        &self,
        limits: &WorkLimits,
        work: impl Future<Output = T>,
    ) -> Result<T, AbortReason> {
        let late = async {
            match limits.deadline {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            done = work => return Ok(done),
            blocked = self.wait_for_lock_timeout(limits.lock_timeout) => AbortReason::LockTimeout(blocked),
            () = late => {
                let now = timeout(TERMINATE_TIMEOUT, self.current_lock_wait()).await.ok().flatten();
                AbortReason::DeadlineExceeded(now)
            }
            () = limits.interrupt.cancelled() => AbortReason::Interrupted,
        };
        self.terminate_sessions().await;
        Err(ended)
    }

    /// As [`Watch::over`], of work that may take any time and ends in ways of its own: it is
    /// ended where another session holds a lock that it needs for longer than `lock`.
    ///
    /// # Errors
    /// [`Blocked`].
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
            Ok(done) => Ok(done),
            Err(
                AbortReason::LockTimeout(blocked) | AbortReason::DeadlineExceeded(Some(blocked)),
            ) => Err(blocked),
            Err(AbortReason::DeadlineExceeded(None) | AbortReason::Interrupted) => {
                Err(LockWait::default())
            }
        }
    }

    /// Returns once a session has waited so long for one lock. A server that can't be asked
    /// is not this one's affair: the work itself finds out.
    async fn wait_for_lock_timeout(&self, timeout: Duration) -> LockWait {
        let mut session: Option<PgConnection> = None;
        let mut since: Option<(i32, Instant)> = None;
        loop {
            sleep(POLL_INTERVAL).await;
            if session.is_none() {
                session = self.connect_options.connect().await.ok();
            }
            let Some(open) = session.as_mut() else {
                continue;
            };
            let Ok(found) = find_lock_wait(open, &self.application_name).await else {
                session = None;
                continue;
            };
            let Some((pid, holders)) = found else {
                since = None;
                continue;
            };
            let began = match since {
                Some((same, began)) if same == pid => began,
                _ => Instant::now(),
            };
            since = Some((pid, began));
            if began.elapsed() >= timeout {
                return LockWait {
                    waited: began.elapsed(),
                    holders,
                };
            }
        }
    }

    /// Who holds what the work waits for at this moment.
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

    /// Ends the watched sessions in the server.
    pub(crate) async fn terminate_sessions(&self) {
        let end = async {
            let mut session = self.connect_options.connect().await?;
            sqlx::query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                  WHERE application_name = $1",
            )
            .bind(&self.application_name)
            .execute(&mut session)
            .await
        };
        // Where the server does not answer, its sessions end with it.
        let _ = timeout(TERMINATE_TIMEOUT, end).await;
    }
}

/// The session of this name that waits for a lock, and who holds it; nothing where none waits,
/// or only for another one of that name.
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
        |(_, pid, user, application, state, seconds, statement, waits)| BlockingSession {
            pid,
            user,
            application,
            state,
            state_seconds: seconds,
            statement,
            is_waiting: waits,
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
    fn who_holds_a_lock_is_named_with_what_to_do() {
        let blocked = LockWait {
            waited: Duration::from_secs(10),
            holders: vec![holder(4711)],
        };
        assert_eq!(
            blocked.to_string(),
            "waited 10 s for a lock that another session holds: session 4711 of role dunder \
             (psql), idle in transaction for 2 min 3 s, statement: lock table orders.orders"
        );
        assert_eq!(
            blocked.suggestions()[0],
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
    fn a_statement_is_shown_in_part_and_without_its_password() {
        assert_eq!(
            summarize_statement("ALTER ROLE x\nPASSWORD 'geheim'"),
            "ALTER ROLE x PASSWORD ***"
        );
        assert_eq!(
            summarize_statement(&"é".repeat(500)).chars().count(),
            MAX_STATEMENT_CHARS + 1
        );
    }
}
