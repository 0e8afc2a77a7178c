//! The sources of schemas: the running stack, the snapshots, the migrations.

use std::time::Duration;

use dm_components::database_setup::DatabaseSetup;
use dm_components::keycloak::{self, admin_client::AdminClient};
use dm_components::lock_watch::{AbortReason, LockWatch, WorkLimits};
use dm_components::rabbitmq::management::ManagementClient;
use dm_engine::Engine;
use dm_engine::exec::ExecSpec;
use dm_messaging::MessagingError;
use serde_json::Value;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use uuid::Uuid;

use super::object::{SchemaDocument, SnapshotFormat};
use super::{SchemaError, broker, pg_dump, realm};

/// The name of the sessions that read schemas.
const SESSION_NAME: &str = "schema";
/// The prefix of the names of databases that are created for a comparison.
const SCRATCH_PREFIX: &str = "dm_schema_";

/// A source of schemas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum SchemaSource {
    /// The running stack.
    Live,
    /// The snapshots.
    Snapshot,
    /// A new database with all migrations, and the fixtures of the broker.
    Migrations,
}

impl SchemaSource {
    /// Returns whether the source contains a document completely. The fixtures contain only a part
    /// of the realm.
    #[must_use]
    pub fn covers(self, document: &SchemaDocument) -> bool {
        self != Self::Migrations
            || document.name != realm::DOCUMENT_NAME
            || document.format == SnapshotFormat::Sql
    }

    /// Returns the name of the source in texts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "the running stack",
            Self::Snapshot => "the snapshots",
            Self::Migrations => "the migrations",
        }
    }
}

/// The servers of a stack, and limits for reading from them.
pub struct SchemaSources<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// The container of PostgreSQL.
    pub postgres_container: &'a str,
    /// The connection options of the database, as its superuser.
    pub database: PgConnectOptions,
    /// The name of the superuser.
    pub superuser: &'a str,
    /// The name of the database.
    pub database_name: &'a str,
    /// The schemas that the migrations create.
    pub schemas: Vec<String>,
    /// The roles, schemas and migrations of the database.
    pub database_setup: &'a DatabaseSetup,
    /// The client of the management API of the broker.
    pub broker: &'a ManagementClient,
    /// The client of the realm.
    pub realm: AdminClient<'a>,
    /// The definitions that a new broker imports.
    pub definitions: Value,
    /// The time limits.
    pub limits: WorkLimits,
}

/// How much longer than `dm` pg_dump itself waits for a lock. This ends a pg_dump whose `dm` was
/// killed.
const LOCK_TIMEOUT_MARGIN: Duration = Duration::from_secs(5);

/// Loads the schemas, the topology and the realm of the running stack.
///
/// # Errors
/// Returns [`SchemaError::LockTimeout`] if another session holds a lock,
/// [`SchemaError::Interrupted`] if the command is interrupted, and another [`SchemaError`] if a
/// server cannot be reached.
pub async fn load_from_stack(
    sources: &SchemaSources<'_>,
) -> Result<Vec<SchemaDocument>, SchemaError> {
    let watch = LockWatch::new(&sources.database, SESSION_NAME);
    let reading = async {
        tokio::try_join!(
            dump_schemas(sources, &watch, sources.database_name),
            export_topology(sources),
            export_realm(&sources.realm)
        )
    };
    let (mut documents, topology, realm) = with_lock_watch(&watch, sources, reading).await?;
    documents.extend([topology, realm]);
    Ok(documents)
}

/// Loads the schemas and the topology of a new stack from the migrations and fixtures. The realm is
/// omitted, because Keycloak adds to its fixture.
///
/// # Errors
/// Returns [`SchemaError::Migrations`] if a migration fails, [`SchemaError::LockTimeout`] if another
/// session holds a lock, [`SchemaError::Interrupted`] if the command is interrupted, and another
/// [`SchemaError`] if PostgreSQL cannot be reached.
pub async fn load_from_migrations(
    sources: &SchemaSources<'_>,
) -> Result<Vec<SchemaDocument>, SchemaError> {
    let watch = LockWatch::new(&sources.database, SESSION_NAME);
    let name = format!("{SCRATCH_PREFIX}{}", Uuid::new_v4().simple());
    let loaded = with_lock_watch(
        &watch,
        sources,
        migrate_scratch_database(sources, &watch, &name),
    )
    .await;
    if loaded.is_err() {
        // A killed call leaves a database without sessions, which the next call removes.
        let _ = drop_scratch_databases(sources, &name).await;
    }
    let mut documents = loaded?;
    documents.push(broker::to_document(&sources.definitions));
    Ok(documents)
}

async fn with_lock_watch<T>(
    watch: &LockWatch,
    sources: &SchemaSources<'_>,
    work: impl Future<Output = Result<T, SchemaError>>,
) -> Result<T, SchemaError> {
    match watch.run(&sources.limits, work).await {
        Ok(result) => result,
        Err(AbortReason::LockTimeout(wait) | AbortReason::DeadlineExceeded(Some(wait))) => {
            Err(SchemaError::LockTimeout(wait))
        }
        Err(AbortReason::DeadlineExceeded(None) | AbortReason::Interrupted) => {
            Err(SchemaError::Interrupted)
        }
    }
}

/// Returns the schemas of a new database with all migrations.
async fn migrate_scratch_database(
    sources: &SchemaSources<'_>,
    watch: &LockWatch,
    name: &str,
) -> Result<Vec<SchemaDocument>, SchemaError> {
    let options = watch.connect_options();
    let mut session = options.connect().await?;
    // One call at a time, because each removes the leftovers of others.
    sqlx::raw_sql("SELECT pg_advisory_lock(hashtext('dm schema'))")
        .execute(&mut session)
        .await?;
    sqlx::raw_sql(AssertSqlSafe(format!(
        "CREATE DATABASE {name} TEMPLATE template0"
    )))
    .execute(&mut session)
    .await?;
    sources.database_setup.migrate_into(&options, name).await?;
    let documents = dump_schemas(sources, watch, name).await?;
    drop_scratch_databases(sources, name).await?;
    session.close().await?;
    Ok(documents)
}

/// Removes the databases that this call or a killed call created for a comparison.
async fn drop_scratch_databases(
    sources: &SchemaSources<'_>,
    name: &str,
) -> Result<(), SchemaError> {
    let mut session = sources.database.connect().await?;
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT datname FROM pg_database
          WHERE datname = $1 OR datname LIKE 'dm\\_schema\\_%' AND NOT EXISTS (
                SELECT FROM pg_stat_activity WHERE pg_stat_activity.datname = pg_database.datname)",
    )
    .bind(name)
    .fetch_all(&mut session)
    .await?;
    for name in names {
        sqlx::raw_sql(AssertSqlSafe(format!(
            "DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)"
        )))
        .execute(&mut session)
        .await?;
    }
    Ok(session.close().await?)
}

/// Dumps all schemas of a database except the schema of Keycloak.
async fn dump_schemas(
    sources: &SchemaSources<'_>,
    watch: &LockWatch,
    database: &str,
) -> Result<Vec<SchemaDocument>, SchemaError> {
    let lock_timeout = sources
        .limits
        .lock_timeout
        .saturating_add(LOCK_TIMEOUT_MARGIN)
        .as_millis();
    let command = [
        "pg_dump",
        "--schema-only",
        // An archive has a table of contents, in which each object is an entry.
        "--format=custom",
        "--compress=0",
        // Includes the privileges on the database and its settings.
        "--create",
        &format!("--exclude-schema={}", keycloak::DATABASE_ROLE),
        &format!("--lock-wait-timeout={lock_timeout}"),
        "--username",
        sources.superuser,
        "--dbname",
        database,
    ]
    .map(str::to_owned)
    .to_vec();
    let spec = ExecSpec {
        command,
        env: vec![format!("PGAPPNAME={}", watch.application_name())],
        ..ExecSpec::default()
    };
    let output = sources
        .engine
        .exec_output_guarded(sources.postgres_container, &spec)
        .await?;
    if output.exit_code != 0 {
        let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(SchemaError::PgDump(stderr));
    }
    Ok(pg_dump::read_documents(
        &output.stdout,
        database,
        &sources.schemas,
    )?)
}

async fn export_topology(sources: &SchemaSources<'_>) -> Result<SchemaDocument, SchemaError> {
    Ok(broker::to_document(
        &sources
            .broker
            .export_definitions()
            .await
            .map_err(MessagingError::from)?,
    ))
}

async fn export_realm(admin: &AdminClient<'_>) -> Result<SchemaDocument, SchemaError> {
    Ok(realm::to_document(&admin.export_realm().await?))
}
