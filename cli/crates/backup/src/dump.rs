//! The dump of a database, which its server makes.
//!
//! pg_dump is run by the server itself (`COPY … TO PROGRAM`), so that it is of the server's
//! version, its bytes stay in the server's container until they are read, and no more is
//! needed than a session of the superuser: no engine, and no program on this side.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection};
use tokio::time::Instant;

use super::BackupError;
use super::row_counts::CopyStatistics;

/// How much zstd makes of an effort: its own customary one.
const COMPRESSION: &str = "zstd:3";
/// How many tables are written at a time.
pub(super) const PARALLEL_JOBS: &str = "2";
/// Where dumps are written in the database's container, and what an id follows.
const DUMP_DIR_PREFIX: &str = "/tmp/dm-backup-";
/// What the server knows the sessions of a dump by.
pub(super) const APPLICATION_NAME: &str = "dm-backup";
/// How much of what pg_dump says last is told.
const MAX_STDERR_BYTES: usize = 1_000;

/// How long a dump that is ended may take to be gone.
const TERMINATE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often that is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// What is dumped.
pub(super) struct DumpRequest<'a> {
    /// The superuser.
    pub(super) superuser: &'a str,
    /// The database.
    pub(super) database: &'a str,
    /// The state of it, which a session keeps open.
    pub(super) snapshot_id: &'a str,
    /// The id of the set.
    pub(super) backup_id: &'a str,
}

impl DumpRequest<'_> {
    /// Where the dump is written, in the server's container.
    pub(super) fn directory(&self) -> String {
        format!("{DUMP_DIR_PREFIX}{}", self.backup_id)
    }

    /// What pg_dump says.
    fn log_file(&self) -> String {
        format!("{DUMP_DIR_PREFIX}{}.log", self.backup_id)
    }

    /// The command, for a shell.
    fn shell_command(&self) -> String {
        let words = [
            "pg_dump",
            "--format=directory",
            "--jobs",
            PARALLEL_JOBS,
            &format!("--compress={COMPRESSION}"),
            // What is copied out of the container is synced where it comes to.
            "--no-sync",
            "--snapshot",
            self.snapshot_id,
            "--username",
            self.superuser,
            "--dbname",
            self.database,
            "--no-password",
            "--file",
            &self.directory(),
        ]
        .map(shell_quote)
        .join(" ");
        // What a killed call has left there would be in the way.
        format!(
            "rm -rf {DUMP_DIR_PREFIX}* && PGAPPNAME={APPLICATION_NAME} PGOPTIONS='{}' {words} 2> {}",
            CopyStatistics::PG_OPTIONS,
            shell_quote(&self.log_file())
        )
    }
}

/// A word for a shell.
fn shell_quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Has the server run a program, and waits for its end.
async fn run_program(session: &mut PgConnection, command: &str) -> Result<(), sqlx::Error> {
    let statement = format!(
        "COPY (SELECT WHERE false) TO PROGRAM '{}'",
        command.replace('\'', "''")
    );
    let ran = sqlx::raw_sql(AssertSqlSafe(statement)).execute(session);
    ran.await.map(drop)
}

/// Dumps.
///
/// # Errors
/// [`BackupError::Command`] with what pg_dump says; the server fails.
pub(super) async fn run(
    session: &mut PgConnection,
    request: &DumpRequest<'_>,
) -> Result<(), BackupError> {
    let Err(error) = run_program(session, &request.shell_command()).await else {
        return Ok(());
    };
    let log: Result<Option<Vec<u8>>, sqlx::Error> =
        sqlx::query_scalar("SELECT pg_read_binary_file($1, 0, 1000000, true)")
            .bind(request.log_file())
            .fetch_one(session)
            .await;
    let told = log.ok().flatten().unwrap_or_default();
    if told.is_empty() {
        return Err(error.into());
    }
    let start = told.len().saturating_sub(MAX_STDERR_BYTES);
    Err(BackupError::Command {
        command: "pg_dump".to_owned(),
        stderr: String::from_utf8_lossy(&told[start..]).trim().to_owned(),
    })
}

/// Ends the dump of a call that was killed or given up, which goes on by itself, and waits for
/// its end: what it writes afterwards would be left.
pub(super) async fn terminate_running(session: &mut PgConnection) -> Result<(), BackupError> {
    let until = Instant::now() + TERMINATE_TIMEOUT;
    let begins = format!("COPY (SELECT WHERE false) TO PROGRAM 'rm -rf {DUMP_DIR_PREFIX}* &&");
    loop {
        sqlx::query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1",
        )
        .bind(APPLICATION_NAME)
        .execute(&mut *session)
        .await?;
        let runs: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM pg_stat_activity
                             WHERE state = 'active' AND starts_with(query, $1))",
        )
        .bind(&begins)
        .fetch_one(&mut *session)
        .await?;
        if !runs || Instant::now() > until {
            return Ok(());
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Has the server, whose they are, remove what dumps there are beside it.
pub(super) async fn remove_dump_files(session: &mut PgConnection) -> Result<(), BackupError> {
    Ok(run_program(session, &format!("rm -rf {DUMP_DIR_PREFIX}*")).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_whatever_is_in_them() {
        let request = DumpRequest {
            superuser: "o'hara $HOME",
            database: "d",
            snapshot_id: "1-2-3",
            backup_id: "20261126T100000000Z",
        };
        let command = request.shell_command();
        assert!(
            command.contains(r"'--username' 'o'\''hara $HOME' '--dbname' 'd'"),
            "{command}"
        );
        assert!(
            command.ends_with("2> '/tmp/dm-backup-20261126T100000000Z.log'"),
            "{command}"
        );
    }
}
