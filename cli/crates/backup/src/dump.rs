//! The dump of a database, which its server runs.
//!
//! The server itself runs pg_dump (`COPY … TO PROGRAM`). pg_dump therefore has the version of the
//! server, the files stay in the server's container until they are read, and only a session of
//! the superuser is required: no engine, and no program on this side.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection};
use tokio::time::Instant;

use super::BackupError;
use super::row_counts::CopyStatistics;

/// The default level of zstd.
const COMPRESSION: &str = "zstd:3";
/// The number of tables that are dumped at a time.
pub(super) const PARALLEL_JOBS: &str = "2";
/// The path of dumps in the container of the database, before the id of the backup.
const DUMP_DIR_PREFIX: &str = "/tmp/dm-backup-";
/// The application name of the sessions of a dump.
pub(super) const APPLICATION_NAME: &str = "dm-backup";
/// How many bytes of the end of the output of pg_dump an error includes.
const MAX_STDERR_BYTES: usize = 1_000;

/// How long a terminated dump may take to end.
const TERMINATE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a terminated dump is checked.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The database to dump.
pub(super) struct DumpRequest<'a> {
    /// The superuser.
    pub(super) superuser: &'a str,
    /// The database.
    pub(super) database: &'a str,
    /// The exported snapshot to dump, which another session keeps open.
    pub(super) snapshot_id: &'a str,
    /// The id of the backup.
    pub(super) backup_id: &'a str,
}

impl DumpRequest<'_> {
    /// Returns the directory of the dump in the server's container.
    pub(super) fn directory(&self) -> String {
        format!("{DUMP_DIR_PREFIX}{}", self.backup_id)
    }

    /// Returns the file with the error output of pg_dump.
    fn log_file(&self) -> String {
        format!("{DUMP_DIR_PREFIX}{}.log", self.backup_id)
    }

    /// Returns the command for the shell.
    fn shell_command(&self) -> String {
        let words = [
            "pg_dump",
            "--format=directory",
            "--jobs",
            PARALLEL_JOBS,
            &format!("--compress={COMPRESSION}"),
            // Files are copied out of the container and synced at their destination.
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
        // Files of a killed call must not be in the way.
        format!(
            "rm -rf {DUMP_DIR_PREFIX}* && PGAPPNAME={APPLICATION_NAME} PGOPTIONS='{}' {words} 2> {}",
            CopyStatistics::PG_OPTIONS,
            shell_quote(&self.log_file())
        )
    }
}

/// Quotes a word for the shell.
fn shell_quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Lets the server run a program, and waits for its end.
async fn run_program(session: &mut PgConnection, command: &str) -> Result<(), sqlx::Error> {
    let statement = format!(
        "COPY (SELECT WHERE false) TO PROGRAM '{}'",
        command.replace('\'', "''")
    );
    let ran = sqlx::raw_sql(AssertSqlSafe(statement)).execute(session);
    ran.await.map(drop)
}

/// Dumps a database.
///
/// # Errors
/// Returns [`BackupError::Command`] with the output of pg_dump if it fails, and
/// [`BackupError::Sql`] if the database cannot be queried.
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
    let stderr = log.ok().flatten().unwrap_or_default();
    if stderr.is_empty() {
        return Err(error.into());
    }
    let start = stderr.len().saturating_sub(MAX_STDERR_BYTES);
    Err(BackupError::Command {
        command: "pg_dump".to_owned(),
        stderr: String::from_utf8_lossy(&stderr[start..]).trim().to_owned(),
    })
}

/// Terminates the dump of a killed or cancelled call, which continues on the server, and waits
/// for its end: files that it wrote afterwards would remain.
pub(super) async fn terminate_running(session: &mut PgConnection) -> Result<(), BackupError> {
    let deadline = Instant::now() + TERMINATE_TIMEOUT;
    let query_prefix =
        format!("COPY (SELECT WHERE false) TO PROGRAM 'rm -rf {DUMP_DIR_PREFIX}* &&");
    loop {
        sqlx::query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1",
        )
        .bind(APPLICATION_NAME)
        .execute(&mut *session)
        .await?;
        let is_running: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM pg_stat_activity
                             WHERE state = 'active' AND starts_with(query, $1))",
        )
        .bind(&query_prefix)
        .fetch_one(&mut *session)
        .await?;
        if !is_running || Instant::now() > deadline {
            return Ok(());
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Removes all dumps in the container of the server, which owns the files.
pub(super) async fn remove_dump_files(session: &mut PgConnection) -> Result<(), BackupError> {
    Ok(run_program(session, &format!("rm -rf {DUMP_DIR_PREFIX}*")).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dump_command_quotes_special_characters_in_names() {
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
