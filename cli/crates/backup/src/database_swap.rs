//! Two databases change places.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::time::Instant;

use super::BackupError;
use super::quote::quote_identifier;
use super::restore_target::RestoreTarget;
use super::staged_database::{REPLACED_PREFIX, StagedDatabase};

/// How often it is tried to be alone with the databases.
const MAX_ATTEMPTS: u32 = 50;
/// How long to wait in between.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);
/// How long the server may take to tell which database is in its place.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(60);

/// Puts a database in its place, and gives the roles that were made for it their rights, in
/// one transaction. Every session with the other one ends.
///
/// # Errors
/// The server fails, or a session keeps coming back: nothing has changed.
/// [`BackupError::Unknown`] where the server does not tell which database is in its place.
pub(super) async fn swap_databases(
    target: &RestoreTarget<'_>,
    prepared: &StagedDatabase,
) -> Result<(), BackupError> {
    let mut server = target.connect_to("postgres").await?;
    let session: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut server)
        .await?;
    let changed = rename_databases(&mut server, target, prepared).await;
    let Err(error) = changed else {
        // It is done: that the session ends badly changes nothing.
        let _ = server.close().await;
        return Ok(());
    };
    drop(server);
    // The server may have done it all the same, where the connection broke in the commit.
    match confirm_swap(target, prepared, session).await {
        Some(true) => Ok(()),
        Some(false) => Err(error),
        None => Err(BackupError::SwapUnconfirmed(Box::new(error))),
    }
}

async fn rename_databases(
    server: &mut PgConnection,
    target: &RestoreTarget<'_>,
    prepared: &StagedDatabase,
) -> Result<(), BackupError> {
    let (name, restoring) = (target.database, &prepared.name);
    let replaced = format!("{REPLACED_PREFIX}{}", prepared.restore_id);
    let mut statement = format!(
        "BEGIN;
         ALTER DATABASE {} RENAME TO {};
         ALTER DATABASE {} RENAME TO {};\n",
        quote_identifier(name),
        quote_identifier(&replaced),
        quote_identifier(restoring),
        quote_identifier(name),
    );
    for role in &prepared.grant_statements {
        statement.push_str(role);
        statement.push_str(";\n");
    }
    statement.push_str("COMMIT");
    let mut tried = 0;
    loop {
        sqlx::query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY($1)",
        )
        .bind([name, restoring.as_str()].as_slice())
        .execute(&mut *server)
        .await?;
        match sqlx::raw_sql(AssertSqlSafe(statement.clone()))
            .execute(&mut *server)
            .await
        {
            Ok(_) => return Ok(()),
            Err(error) if tried < MAX_ATTEMPTS && is_in_use(&error) => {
                sqlx::raw_sql("ROLLBACK").execute(&mut *server).await?;
                tried += 1;
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether the databases have changed places, once the session that was to do it has ended.
/// Nothing where the server does not tell.
async fn confirm_swap(
    target: &RestoreTarget<'_>,
    prepared: &StagedDatabase,
    session: i32,
) -> Option<bool> {
    let until = Instant::now() + CONFIRM_TIMEOUT;
    loop {
        match check_swapped(target, prepared, session).await {
            Ok(Some(done)) => return Some(done),
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "the server does not tell"),
        }
        if Instant::now() >= until {
            return None;
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

/// Nothing while the session goes on.
async fn check_swapped(
    target: &RestoreTarget<'_>,
    prepared: &StagedDatabase,
    session: i32,
) -> Result<Option<bool>, BackupError> {
    let mut server = target.connect_to("postgres").await?;
    // It has either committed or never will.
    let goes_on: bool = sqlx::query_scalar(
        "SELECT coalesce(bool_or(pg_terminate_backend(pid)), false) FROM pg_stat_activity
          WHERE pid = $1 AND pid <> pg_backend_pid() AND application_name = 'dm'",
    )
    .bind(session)
    .fetch_one(&mut server)
    .await?;
    let waits: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
            .bind(&prepared.name)
            .fetch_one(&mut server)
            .await?;
    server.close().await?;
    Ok((!goes_on).then_some(!waits))
}

/// `object_in_use`: a session is in there
/// (<https://www.postgresql.org/docs/17/errcodes-appendix.html>).
fn is_in_use(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == "55006")
}
