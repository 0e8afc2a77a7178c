//! Where schemas are come by: the running stack, a fresh one, the files.

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

/// What the sessions of a look are called.
const SESSION_NAME: &str = "schema";
/// What the databases that are made for a comparison begin with.
const SCRATCH_PREFIX: &str = "dm_schema_";

/// A place that schemas are come by.
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
    /// Whether it says what this is like. Of a realm the fixtures say only a part.
    #[must_use]
    pub fn covers(self, document: &SchemaDocument) -> bool {
        self != Self::Migrations
            || document.name != realm::DOCUMENT_NAME
            || document.format == SnapshotFormat::Sql
    }

    /// In words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "the running stack",
            Self::Snapshot => "the snapshots",
            Self::Migrations => "the migrations",
        }
    }
}

/// The ways to a stack.
pub struct SchemaSources<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// The database's container.
    pub postgres_container: &'a str,
    /// The database, as its superuser.
    pub database: PgConnectOptions,
    /// Its superuser.
    pub superuser: &'a str,
    /// Its name.
    pub database_name: &'a str,
    /// The schemas that the migrations make.
    pub schemas: Vec<String>,
    /// What the database is set up by.
    pub database_setup: &'a DatabaseSetup,
    /// The broker's interface.
    pub broker: &'a ManagementClient,
    /// The realm.
    pub realm: AdminClient<'a>,
    /// The broker's definitions, which a fresh one takes in.
    pub definitions: Value,
    /// How long it may take.
    pub limits: WorkLimits,
}

/// How much longer than `dm` the dump itself waits for a lock: it is the end of a dump whose
/// `dm` was killed.
const LOCK_TIMEOUT_MARGIN: Duration = Duration::from_secs(5);

/// What the running stack is like.
///
/// # Errors
/// A part of it is away, another session holds a lock, or it was interrupted.
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
    let (mut documents, topology, identity) = with_lock_watch(&watch, sources, reading).await?;
    documents.extend([topology, identity]);
    Ok(documents)
}

/// What a fresh stack would be like, as far as the migrations and fixtures say: all but the
/// realm, of which Keycloak knows more than its fixture.
///
/// # Errors
/// The migrations fail, the database is away, another session holds a lock, or it was
/// interrupted.
pub async fn load_from_migrations(
    sources: &SchemaSources<'_>,
) -> Result<Vec<SchemaDocument>, SchemaError> {
    let watch = LockWatch::new(&sources.database, SESSION_NAME);
    let name = format!("{SCRATCH_PREFIX}{}", Uuid::new_v4().simple());
    let made = with_lock_watch(
        &watch,
        sources,
        migrate_scratch_database(sources, &watch, &name),
    )
    .await;
    if made.is_err() {
        // A killed call leaves a database that nobody connects to; the next one removes it.
        let _ = drop_scratch_databases(sources, &name).await;
    }
    let mut documents = made?;
    documents.push(broker::to_document(&sources.definitions));
    Ok(documents)
}

async fn with_lock_watch<T>(
    watch: &LockWatch,
    sources: &SchemaSources<'_>,
    work: impl Future<Output = Result<T, SchemaError>>,
) -> Result<T, SchemaError> {
    match watch.run(&sources.limits, work).await {
        Ok(done) => done,
        Err(AbortReason::LockTimeout(blocked) | AbortReason::DeadlineExceeded(Some(blocked))) => {
            Err(SchemaError::LockTimeout(blocked))
        }
        Err(AbortReason::DeadlineExceeded(None) | AbortReason::Interrupted) => {
            Err(SchemaError::Interrupted)
        }
    }
}

/// The schemas of a database that the migrations have made.
async fn migrate_scratch_database(
    sources: &SchemaSources<'_>,
    watch: &LockWatch,
    name: &str,
) -> Result<Vec<SchemaDocument>, SchemaError> {
    let options = watch.connect_options();
    let mut session = options.connect().await?;
    // One at a time: each removes what others have left.
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

/// Removes what was made for a comparison, by this call or by one that was killed.
async fn drop_scratch_databases(sources: &SchemaSources<'_>, own: &str) -> Result<(), SchemaError> {
    let mut session = sources.database.connect().await?;
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT datname FROM pg_database
          WHERE datname = $1 OR datname LIKE 'dm\\_schema\\_%' AND NOT EXISTS (
                SELECT FROM pg_stat_activity WHERE pg_stat_activity.datname = pg_database.datname)",
    )
    .bind(own)
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

/// Everything in a database but Keycloak's own tables.
async fn dump_schemas(
    sources: &SchemaSources<'_>,
    watch: &LockWatch,
    database: &str,
) -> Result<Vec<SchemaDocument>, SchemaError> {
    let patience = sources
        .limits
        .lock_timeout
        .saturating_add(LOCK_TIMEOUT_MARGIN)
        .as_millis();
    let command = [
        "pg_dump",
        "--schema-only",
        // An archive has a table of contents, in which each object stands by itself.
        "--format=custom",
        "--compress=0",
        // The rights on the database and its settings, too.
        "--create",
        &format!("--exclude-schema={}", keycloak::DATABASE_ROLE),
        &format!("--lock-wait-timeout={patience}"),
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
        let told = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(SchemaError::PgDump(told));
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
