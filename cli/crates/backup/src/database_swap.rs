//! The swap of the staged database with the one in use.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::time::Instant;

use super::BackupError;
use super::quote::quote_identifier;
use super::restore_target::RestoreTarget;
use super::staged_database::{REPLACED_PREFIX, StagedDatabase};

/// The maximum number of attempts to swap without other sessions.
const MAX_ATTEMPTS: u32 = 50;
/// How long to wait between two attempts.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);
/// How long the server may take to confirm which database is in use.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(60);

/// Swaps the staged database with the one in use, and grants the created roles their privileges,
/// in one transaction. Every session with either database is terminated.
///
/// # Errors
/// Returns [`BackupError::SwapUnconfirmed`] if the server does not confirm which database is in
/// use. After any other error, e.g. if a session reconnects each time, nothing has changed.
pub(super) async fn swap_databases(
    target: &RestoreTarget<'_>,
    staged: &StagedDatabase,
) -> Result<(), BackupError> {
    let mut server = target.connect_to("postgres").await?;
    let session: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut server)
        .await?;
    let renamed = rename_databases(&mut server, target, staged).await;
    let Err(error) = renamed else {
        // The swap is committed: an error of closing the session does not matter.
        let _ = server.close().await;
        return Ok(());
    };
    drop(server);
    // If the connection broke during the commit, the server may have committed.
    match confirm_swap(target, staged, session).await {
        Some(true) => Ok(()),
        Some(false) => Err(error),
        None => Err(BackupError::SwapUnconfirmed(Box::new(error))),
    }
}

async fn rename_databases(
    server: &mut PgConnection,
    target: &RestoreTarget<'_>,
    staged: &StagedDatabase,
) -> Result<(), BackupError> {
    let (name, staged_name) = (target.database, &staged.name);
    let replaced = format!("{REPLACED_PREFIX}{}", staged.restore_id);
    let mut statement = format!(
        "BEGIN;
         ALTER DATABASE {} RENAME TO {};
         ALTER DATABASE {} RENAME TO {};\n",
        quote_identifier(name),
        quote_identifier(&replaced),
        quote_identifier(staged_name),
        quote_identifier(name),
    );
    for grant in &staged.grant_statements {
        statement.push_str(grant);
        statement.push_str(";\n");
    }
    statement.push_str("COMMIT");
    let mut attempts = 0;
    loop {
        sqlx::query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY($1)",
        )
        .bind([name, staged_name.as_str()].as_slice())
        .execute(&mut *server)
        .await?;
        match sqlx::raw_sql(AssertSqlSafe(statement.clone()))
            .execute(&mut *server)
            .await
        {
            Ok(_) => return Ok(()),
            Err(error) if attempts < MAX_ATTEMPTS && is_in_use(&error) => {
                sqlx::raw_sql("ROLLBACK").execute(&mut *server).await?;
                attempts += 1;
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Returns whether the databases have been swapped, after the session of the swap has ended.
/// Returns `None` if the server does not respond.
async fn confirm_swap(
    target: &RestoreTarget<'_>,
    staged: &StagedDatabase,
    session: i32,
) -> Option<bool> {
    let deadline = Instant::now() + CONFIRM_TIMEOUT;
    loop {
        match check_swapped(target, staged, session).await {
            Ok(Some(is_swapped)) => return Some(is_swapped),
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(%error, "could not check whether the databases are swapped")
            }
        }
        if Instant::now() >= deadline {
            return None;
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

/// Terminates the session of the swap and returns whether the databases have been swapped. Returns
/// `None` as long as the session exists.
async fn check_swapped(
    target: &RestoreTarget<'_>,
    staged: &StagedDatabase,
    session: i32,
) -> Result<Option<bool>, BackupError> {
    let mut server = target.connect_to("postgres").await?;
    // A terminated session has either committed or never will.
    let is_running: bool = sqlx::query_scalar(
        "SELECT coalesce(bool_or(pg_terminate_backend(pid)), false) FROM pg_stat_activity
          WHERE pid = $1 AND pid <> pg_backend_pid() AND application_name = 'dm'",
    )
    .bind(session)
    .fetch_one(&mut server)
    .await?;
    let is_staged: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
            .bind(&staged.name)
            .fetch_one(&mut server)
            .await?;
    server.close().await?;
    Ok((!is_running).then_some(!is_staged))
}

/// Returns whether a database has sessions: `object_in_use`
/// (<https://www.postgresql.org/docs/17/errcodes-appendix.html>).
fn is_in_use(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == "55006")
}
