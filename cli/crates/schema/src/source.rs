//! Where schemas are come by: the running stack, a fresh one, the files.

use std::time::Duration;

use dm_components::database::Database;
use dm_components::keycloak::{self, admin::Admin};
use dm_components::locks::{Ended, Limits, Watch};
use dm_components::rabbitmq::management::Management;
use dm_engine::Engine;
use dm_engine::exec::ExecSpec;
use dm_messaging::MessagingError;
use serde_json::Value;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use uuid::Uuid;

use super::object::{Document, Form};
use super::{SchemaError, broker, dump, realm};

/// What the sessions of a look are called.
const WORK: &str = "schema";
/// What the databases that are made for a comparison begin with.
const SCRATCH: &str = "dm_schema_";

/// A place that schemas are come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Source {
    /// The running stack.
    Live,
    /// The snapshots.
    Snapshot,
    /// A new database with all migrations, and the fixtures of the broker.
    Migrations,
}

impl Source {
    /// Whether it says what this is like. Of a realm the fixtures say only a part.
    #[must_use]
    pub fn tells(self, document: &Document) -> bool {
        self != Self::Migrations || document.name != realm::NAME || document.form == Form::Sql
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
pub struct Site<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// The database's container.
    pub container: &'a str,
    /// The database, as its superuser.
    pub database: PgConnectOptions,
    /// Its superuser.
    pub user: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The schemas that the migrations make.
    pub schemas: Vec<String>,
    /// What the database is set up by.
    pub setup: &'a Database,
    /// The broker's interface.
    pub broker: &'a Management,
    /// The realm.
    pub realm: Admin<'a>,
    /// The broker's definitions, which a fresh one takes in.
    pub definitions: Value,
    /// How long it may take.
    pub limits: Limits,
}

/// How much longer than `dm` the dump itself waits for a lock: it is the end of a dump whose
/// `dm` was killed.
const LONGER: Duration = Duration::from_secs(5);

/// What the running stack is like.
///
/// # Errors
/// A part of it is away, another session holds a lock, or it was interrupted.
pub async fn live(site: &Site<'_>) -> Result<Vec<Document>, SchemaError> {
    let watch = Watch::new(&site.database, WORK);
    let reading = async {
        tokio::try_join!(
            schemas(site, &watch, site.name),
            topology(site),
            identity(&site.realm)
        )
    };
    let (mut documents, topology, identity) = watched(&watch, site, reading).await?;
    documents.extend([topology, identity]);
    Ok(documents)
}

/// What a fresh stack would be like, as far as the migrations and fixtures say: all but the
/// realm, of which Keycloak knows more than its fixture.
///
/// # Errors
/// The migrations fail, the database is away, another session holds a lock, or it was
/// interrupted.
pub async fn fresh(site: &Site<'_>) -> Result<Vec<Document>, SchemaError> {
    let watch = Watch::new(&site.database, WORK);
    let name = format!("{SCRATCH}{}", Uuid::new_v4().simple());
    let made = watched(&watch, site, made(site, &watch, &name)).await;
    if made.is_err() {
        // A killed call leaves a database that nobody connects to; the next one removes it.
        let _ = drop_scratch(site, &name).await;
    }
    let mut documents = made?;
    documents.push(broker::of(&site.definitions));
    Ok(documents)
}

async fn watched<T>(
    watch: &Watch,
    site: &Site<'_>,
    work: impl Future<Output = Result<T, SchemaError>>,
) -> Result<T, SchemaError> {
    match watch.over(&site.limits, work).await {
        Ok(done) => done,
        Err(Ended::Blocked(blocked) | Ended::Late(Some(blocked))) => {
            Err(SchemaError::Locked(blocked))
        }
        Err(Ended::Late(None) | Ended::Interrupted) => Err(SchemaError::Interrupted),
    }
}

/// The schemas of a database that the migrations have made.
async fn made(site: &Site<'_>, watch: &Watch, name: &str) -> Result<Vec<Document>, SchemaError> {
    let options = watch.options();
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
    site.setup.migrate_into(&options, name).await?;
    let documents = schemas(site, watch, name).await?;
    drop_scratch(site, name).await?;
    session.close().await?;
    Ok(documents)
}

/// Removes what was made for a comparison, by this call or by one that was killed.
async fn drop_scratch(site: &Site<'_>, own: &str) -> Result<(), SchemaError> {
    let mut session = site.database.connect().await?;
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
async fn schemas(
    site: &Site<'_>,
    watch: &Watch,
    database: &str,
) -> Result<Vec<Document>, SchemaError> {
    let patience = site.limits.lock.saturating_add(LONGER).as_millis();
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
        site.user,
        "--dbname",
        database,
    ]
    .map(str::to_owned)
    .to_vec();
    let spec = ExecSpec {
        command,
        env: vec![format!("PGAPPNAME={}", watch.application())],
        ..ExecSpec::default()
    };
    let output = site
        .engine
        .exec_collect_guarded(site.container, &spec)
        .await?;
    if output.code != 0 {
        let told = String::from_utf8_lossy(&output.err).trim().to_owned();
        return Err(SchemaError::Dump(told));
    }
    Ok(dump::read(&output.out, database, &site.schemas)?)
}

async fn topology(site: &Site<'_>) -> Result<Document, SchemaError> {
    Ok(broker::of(
        &site
            .broker
            .definitions()
            .await
            .map_err(MessagingError::from)?,
    ))
}

async fn identity(admin: &Admin<'_>) -> Result<Document, SchemaError> {
    Ok(realm::of(&admin.export().await?))
}
