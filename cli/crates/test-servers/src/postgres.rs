//! Databases with the schema of a service.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use dm_engine::throwaway::ThrowawaySpec;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgSslMode};
use sqlx::{AssertSqlSafe, Connection, Executor};

use crate::server;

/// The migrations of outbox and inbox, which every service has.
static EVENT_MIGRATIONS: Migrator = sqlx::migrate!("../../../migrations/events");

/// How long the server may take to start on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(120);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The number of connections of a test.
const CONNECTIONS: u32 = 8;

/// The port of the server, or the error of its start. The first test starts it; others wait.
static SERVER: OnceLock<Result<u16, String>> = OnceLock::new();
static NEXT_DATABASE: AtomicU32 = AtomicU32::new(1);

/// Creates a database with this schema, to which the migrations of events and those of the
/// service were applied. The connections have the schema as their search path.
///
/// # Panics
/// Panics if there is no engine or image, with the command that provides it, and if the server
/// or a migration fails.
#[expect(clippy::panic, reason = "a test without its server fails")]
pub async fn create_database(schema: &str, migrations: &'static Migrator) -> PgPool {
    match try_create_database(schema, migrations).await {
        Ok(pool) => pool,
        Err(error) => panic!("could not create the database of a test: {error}"),
    }
}

async fn try_create_database(
    schema: &str,
    migrations: &'static Migrator,
) -> Result<PgPool, sqlx::Error> {
    let server = server_options().map_err(sqlx::Error::Configuration)?;
    let name = format!("test_{}", NEXT_DATABASE.fetch_add(1, Ordering::Relaxed));
    let mut connection = connect(&server).await?;
    connection
        .execute(AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .await?;
    connection.close().await?;

    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .connect_with(server.database(&name).options([("search_path", schema)]))
        .await?;
    pool.execute(AssertSqlSafe(format!("CREATE SCHEMA {schema}")))
        .await?;
    for (table, migrations) in [
        ("event_migrations", &EVENT_MIGRATIONS),
        ("_sqlx_migrations", migrations),
    ] {
        let mut migrator = Migrator {
            migrations: Cow::Borrowed(&migrations.migrations),
            ..Migrator::DEFAULT
        };
        migrator.dangerous_set_table_name(format!("{schema}.{table}"));
        migrator.run(&pool).await?;
    }
    Ok(pool)
}

fn server_options() -> Result<PgConnectOptions, Box<dyn std::error::Error + Send + Sync>> {
    let port = SERVER.get_or_init(start_server).clone()?;
    Ok(PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(port)
        .username("postgres")
        .database("postgres")
        .ssl_mode(PgSslMode::Disable))
}

fn start_server() -> Result<u16, String> {
    let settings = ["fsync=off", "full_page_writes=off", "max_connections=500"];
    let settings = settings.iter().flat_map(|setting| ["-c", setting]);
    let spec = ThrowawaySpec {
        env: vec!["POSTGRES_HOST_AUTH_METHOD=trust".into()],
        command: std::iter::once("postgres")
            .chain(settings)
            .map(str::to_owned)
            .collect(),
        port: 5432,
        ..ThrowawaySpec::default()
    };
    server::start("postgres", spec, None)
}

/// Connects to the server, which may be starting.
async fn connect(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        match PgConnection::connect_with(options).await {
            Err(_) if Instant::now() < deadline => tokio::time::sleep(POLL_INTERVAL).await,
            outcome => return outcome,
        }
    }
}
