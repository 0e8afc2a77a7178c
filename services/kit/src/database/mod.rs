//! The database of a service: connections and the check of its schema.

mod lists;
mod totals;
mod transaction;

use std::borrow::Cow;
use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use thiserror::Error;
use tracing::warn;

use crate::environment::Environment;

pub(crate) use lists::Lists;
pub(crate) use totals::TotalCache;
pub use transaction::{Database, Transaction};

/// The migrations of outbox and inbox, which are applied to the schema of every service.
static EVENT_MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/events");

/// A schema that the service cannot use.
#[derive(Debug, Error)]
pub enum SchemaCheckError {
    /// A query failed.
    #[error("could not query PostgreSQL: {0}")]
    Database(#[from] sqlx::Error),
    /// A migration that this build requires was not applied.
    #[error("migration {version} ({description}) is not in {record}: this service needs it")]
    MissingMigration {
        /// The table of the applied migrations.
        record: &'static str,
        /// Version of the migration.
        version: i64,
        /// Description of the migration.
        description: String,
    },
    /// An applied migration is unknown to this build.
    #[error("{record} has migration {version}, which is newer than this service")]
    UnknownMigration {
        /// The table of the applied migrations.
        record: &'static str,
        /// Version of the migration.
        version: i64,
    },
    /// A migration was applied with other contents than those of this build.
    #[error(
        "migration {version} of {record} was applied with other contents than this service was \
         built with"
    )]
    ChangedMigration {
        /// The table of the applied migrations.
        record: &'static str,
        /// Version of the migration.
        version: i64,
    },
}

/// Settings of the query planner. PostgreSQL plans a prepared statement a few times and then
/// keeps the plan until the statistics of the table change. A service that starts with an empty
/// table would therefore scan it for each query until it is analysed, and an outbox alternates
/// between empty and full. Every query of a service uses an index or reads the whole table, and
/// none is worth JIT compilation.
const PLANNER_SETTINGS: [(&str, &str); 2] = [("enable_seqscan", "off"), ("jit", "off")];

/// Reads the connection options from the environment: `POSTGRES_*`.
#[must_use]
pub(crate) fn connect_options(environment: &mut Environment, service: &str) -> PgConnectOptions {
    let options = PgConnectOptions::new_without_pgpass()
        .host(&environment.text_or("POSTGRES_HOST", "postgres"))
        .port(environment.get("POSTGRES_PORT", 5432))
        .database(&environment.text_or("POSTGRES_DB", "dundermifflin"))
        .username(&environment.text_or("POSTGRES_USER", "dundermifflin"))
        .password(&environment.secret("POSTGRES_PASSWORD"))
        .application_name(service)
        .ssl_mode(sqlx::postgres::PgSslMode::Disable);
    // The server notices a client that is gone within about ten seconds, so that its locks are
    // released. Keepalives alone are not enough: the kernel sends none while data to the client
    // is unacknowledged.
    options
        .options([
            ("tcp_keepalives_idle", "5"),
            ("tcp_keepalives_interval", "2"),
            ("tcp_keepalives_count", "3"),
            ("tcp_user_timeout", "10000"),
        ])
        .options(PLANNER_SETTINGS)
}

/// Opens a pool and its first connection. Retries while the database is not available yet.
///
/// # Errors
/// Returns the last [`sqlx::Error`] after `timeout`, or at once if the authentication fails.
pub(crate) async fn connect(
    options: PgConnectOptions,
    connections: u32,
    timeout: Duration,
) -> Result<PgPool, sqlx::Error> {
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(Duration::from_secs(5))
        .connect_lazy_with(options);
    let deadline = tokio::time::Instant::now() + timeout;
    loop {
        match pool.acquire().await {
            Ok(_) => return Ok(pool),
            Err(error)
                if is_authentication_error(&error) || tokio::time::Instant::now() >= deadline =>
            {
                return Err(error);
            }
            Err(error) => {
                warn!(error.message = %error, "could not connect to PostgreSQL; retrying");
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        }
    }
}

/// Returns whether the database refuses the role or its password: a retry does not help.
fn is_authentication_error(error: &sqlx::Error) -> bool {
    matches!(sql_state(error).as_deref(), Some("28P01" | "28000"))
}

/// Returns the SQLSTATE code of an error that PostgreSQL reported.
#[must_use]
pub(crate) fn sql_state(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error().and_then(|error| error.code())
}

/// Compares the applied migrations with those of this build: those of the service, and those of
/// outbox and inbox.
///
/// # Errors
/// Returns [`SchemaCheckError`] if the schema is older, newer or different, or if a query fails.
pub(crate) async fn check_schema(
    pool: &PgPool,
    schema: &str,
    migrations: &Migrator,
) -> Result<(), SchemaCheckError> {
    check_migration_table(pool, schema, "event_migrations", &EVENT_MIGRATIONS).await?;
    check_migration_table(pool, schema, "schema_migrations", migrations).await
}

async fn check_migration_table(
    pool: &PgPool,
    schema: &str,
    record: &'static str,
    migrations: &Migrator,
) -> Result<(), SchemaCheckError> {
    let table = format!("{schema}.{record}");
    let exists: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(&table)
        .fetch_one(pool)
        .await?;
    let applied: Vec<(i64, Vec<u8>)> = if exists {
        let statement =
            format!("SELECT version, checksum FROM {table} WHERE success ORDER BY version");
        sqlx::query_as(AssertSqlSafe(statement))
            .fetch_all(pool)
            .await?
    } else {
        Vec::new()
    };
    compare_migrations(record, &applied, migrations)
}

/// Compares the applied migrations, by version and checksum, with the expected ones.
fn compare_migrations(
    record: &'static str,
    applied: &[(i64, Vec<u8>)],
    migrations: &Migrator,
) -> Result<(), SchemaCheckError> {
    for migration in migrations.iter() {
        let version = migration.version;
        match applied.iter().find(|(number, _)| *number == version) {
            None => {
                return Err(SchemaCheckError::MissingMigration {
                    record,
                    version,
                    description: migration.description.to_string(),
                });
            }
            Some((_, checksum)) if *checksum != *migration.checksum => {
                return Err(SchemaCheckError::ChangedMigration { record, version });
            }
            Some(_) => {}
        }
    }
    let newer = applied
        .iter()
        .find(|(version, _)| !migrations.version_exists(*version));
    match newer {
        Some(&(version, _)) => Err(SchemaCheckError::UnknownMigration { record, version }),
        None => Ok(()),
    }
}

/// Returns whether an error means that the database is unavailable, and not that it rejected
/// the statement.
#[must_use]
pub(crate) fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => {
            error.code().is_some_and(|code| is_unavailable_state(&code))
        }
        _ => false,
    }
}

/// Returns whether a SQLSTATE code means that the database is unavailable.
///
/// A consumer retries such an error without a limit, while the events behind it wait. Therefore
/// the cause must be the state of the server, never the statement.
fn is_unavailable_state(code: &str) -> bool {
    // https://www.postgresql.org/docs/17/errcodes-appendix.html
    // 53400 is not such a code: the statement exceeds a configured limit, such as
    // `temp_file_limit`, and may exceed it on every attempt. Its event is dead-lettered after the
    // last attempt.
    match code {
        // A resource that all sessions share is exhausted: files and buffers (53000), disk
        // (53100), memory and locks (53200), connections (53300). A statement of a service needs
        // little of them, so the next event would fail as well.
        "53000" | "53100" | "53200" | "53300" => true,
        // Class 08: connection. 57P: the server is shutting down, crashed, or still starting.
        _ => code.starts_with("08") || code.starts_with("57P"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schema_check_rejects_missing_changed_and_newer_migrations() {
        let events = EVENT_MIGRATIONS.iter().next().unwrap();
        let checksum = events.checksum.to_vec();
        let check = |applied: &[(i64, Vec<u8>)]| {
            let compared = compare_migrations("event_migrations", applied, &EVENT_MIGRATIONS);
            compared.map_err(|error| error.to_string())
        };
        assert_eq!(check(&[(events.version, checksum.clone())]), Ok(()));
        assert_eq!(
            check(&[]).unwrap_err(),
            "migration 1 (events) is not in event_migrations: this service needs it"
        );
        assert_eq!(
            check(&[(events.version, vec![0])]).unwrap_err(),
            "migration 1 of event_migrations was applied with other contents than this service \
             was built with"
        );
        assert_eq!(
            check(&[(events.version, checksum), (9000, Vec::new())]).unwrap_err(),
            "event_migrations has migration 9000, which is newer than this service"
        );
    }

    #[test]
    fn database_is_unavailable_for_states_of_the_server_only() {
        for code in [
            "08000", "08006", "53000", "53100", "53200", "53300", "57P01", "57P02", "57P03",
        ] {
            assert!(is_unavailable_state(code), "{code}");
        }
        // Limits that the statement exceeds, and errors of its data.
        for code in [
            "53400", "54000", "54001", "57014", "40001", "23505", "22021", "",
        ] {
            assert!(!is_unavailable_state(code), "{code}");
        }
        assert!(is_unavailable(&sqlx::Error::PoolTimedOut));
        assert!(!is_unavailable(&sqlx::Error::RowNotFound));
    }
}
