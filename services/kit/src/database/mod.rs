//! The service's own schema.

mod transaction;

use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use thiserror::Error;
use tracing::warn;

use crate::environment::Environment;

pub use transaction::{Database, Transaction};

/// The migrations of outbox and inbox, which the schema of every service has.
static EVENT_MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/events");

/// Why a schema can't be used.
#[derive(Debug, Error)]
pub enum SchemaCheckError {
    /// The database refused.
    #[error("could not query PostgreSQL: {0}")]
    Database(#[from] sqlx::Error),
    /// A migration that this build needs was not applied.
    #[error("migration {version} ({description}) is not in {record}: this service needs it")]
    MissingMigration {
        /// The table that records what was applied.
        record: &'static str,
        /// The migration's number.
        version: i64,
        /// What it does.
        description: String,
    },
    /// A migration was applied that this build doesn't know.
    #[error("{record} has migration {version}, which is newer than this service")]
    UnknownMigration {
        /// The table that records what was applied.
        record: &'static str,
        /// The migration's number.
        version: i64,
    },
    /// A migration was applied with other contents.
    #[error(
        "migration {version} of {record} was applied with other contents than this service was \
         built with"
    )]
    ChangedMigration {
        /// The table that records what was applied.
        record: &'static str,
        /// The migration's number.
        version: i64,
    },
}

/// A statement is planned a few times and that plan is kept, until the table's
/// statistics change. A service that begins on an empty table would so read all of it
/// for each question until somebody analyses it, and an outbox is empty and full from
/// one moment to the next. What a service asks is answered by an index, or is the
/// whole table; and no question of it is worth being compiled.
const PLANNER_SETTINGS: [(&str, &str); 2] = [("enable_seqscan", "off"), ("jit", "off")];

/// How to reach the database: `POSTGRES_*`.
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
    // A peer that is gone without a word is noticed by the server within some ten
    // seconds: its locks must not outlive it. While something that was sent to it is not
    // acknowledged the kernel sends no keepalives, so that they alone are not enough.
    options
        .options([
            ("tcp_keepalives_idle", "5"),
            ("tcp_keepalives_interval", "2"),
            ("tcp_keepalives_count", "3"),
            ("tcp_user_timeout", "10000"),
        ])
        .options(PLANNER_SETTINGS)
}

/// A pool that has connected once. Waits for a database that isn't there yet.
///
/// # Errors
/// The last refusal, after `patience`.
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
                warn!(%error, "PostgreSQL is not available yet");
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        }
    }
}

/// Whether the database answers and refuses the role or its password: waiting is no use.
fn is_authentication_error(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some("28P01" | "28000"))
}

/// Compares the applied migrations with those that the service was built with: its own, and
/// those of outbox and inbox.
///
/// # Errors
/// [`SchemaError`] where the schema is older, newer or another one.
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

/// Compares what is recorded, by number and checksum, with what should be.
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

/// Whether an error says that the database is away, and not that it dislikes
/// what it was asked.
#[must_use]
pub(crate) fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        // Class 08: connection; 53: out of resources, such as connections or disk;
        // 57P: it is shutting down, crashed, or still starting. Classes of
        // https://www.postgresql.org/docs/17/errcodes-appendix.html
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            ["08", "53", "57P"]
                .iter()
                .any(|class| code.starts_with(class))
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_as_the_service_was_built_for_or_refused() {
        let events = EVENT_MIGRATIONS.iter().next().unwrap();
        let checksum = events.checksum.to_vec();
        let refusal = |applied: &[(i64, Vec<u8>)]| {
            let compared = compare_migrations("event_migrations", applied, &EVENT_MIGRATIONS);
            compared.map_err(|error| error.to_string())
        };
        assert_eq!(refusal(&[(events.version, checksum.clone())]), Ok(()));
        assert_eq!(
            refusal(&[]).unwrap_err(),
            "migration 1 (events) is not in event_migrations: this service needs it"
        );
        assert_eq!(
            refusal(&[(events.version, vec![0])]).unwrap_err(),
            "migration 1 of event_migrations was applied with other contents than this service \
             was built with"
        );
        assert_eq!(
            refusal(&[(events.version, checksum), (9000, Vec::new())]).unwrap_err(),
            "event_migrations has migration 9000, which is newer than this service"
        );
    }
}
