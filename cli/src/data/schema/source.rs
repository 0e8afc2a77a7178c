//! Where schemas are come by: the running stack, a fresh one, the files.

use serde_json::Value;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use uuid::Uuid;

use super::object::Document;
use super::{SchemaError, broker, dump, realm};
use crate::components::database::Database;
use crate::components::keycloak::admin::Admin;
use crate::components::rabbitmq::management::Management;
use crate::engine::Engine;
use crate::engine::exec::ExecSpec;
use crate::messaging::MessagingError;

/// A place that schemas are come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Source {
    /// The running stack.
    Live,
    /// What `docs/schemas` says.
    Snapshot,
    /// What a fresh database would have, by the migrations and fixtures.
    Migrations,
}

impl Source {
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
    /// The schemas, without Keycloak's, which is its own affair.
    pub schemas: Vec<String>,
    /// What the database is set up by.
    pub setup: &'a Database,
    /// The broker's interface.
    pub broker: &'a Management,
    /// The realm.
    pub realm: Admin<'a>,
    /// The broker's definitions, which a fresh one takes in.
    pub definitions: Value,
}

/// What the running stack is like.
///
/// # Errors
/// A part of it is away.
pub async fn live(site: &Site<'_>) -> Result<Vec<Document>, SchemaError> {
    let (database, topology, identity) = tokio::try_join!(
        schemas(site, site.name),
        topology(site),
        identity(&site.realm)
    )?;
    let mut documents = database;
    documents.extend([topology, identity]);
    Ok(documents)
}

/// What a fresh stack would be like, as far as the migrations and fixtures say: all but the
/// realm, of which Keycloak knows more than its fixture.
///
/// # Errors
/// The migrations fail, or the database is away.
pub async fn fresh(site: &Site<'_>) -> Result<Vec<Document>, SchemaError> {
    let mut session = site.database.connect().await?;
    // One at a time: each removes what others have left.
    sqlx::raw_sql("SELECT pg_advisory_lock(hashtext('dm schema'))")
        .execute(&mut session)
        .await?;
    let name = format!("dm_schema_{}", Uuid::new_v4().simple());
    sqlx::raw_sql(AssertSqlSafe(format!(
        "CREATE DATABASE {name} TEMPLATE template0"
    )))
    .execute(&mut session)
    .await?;
    let made = async {
        site.setup.migrate_into(&site.database, &name).await?;
        schemas(site, &name).await
    }
    .await;
    // Whatever became of it. A killed call leaves a database that nobody connects to; the
    // next one takes it away.
    let dropped = drop_scratch(&mut session).await;
    session.close().await?;
    let mut documents = made?;
    dropped?;
    documents.push(broker::of(&site.definitions));
    Ok(documents)
}

/// Takes away what was made for a comparison, by this call or by one that was killed.
async fn drop_scratch(session: &mut sqlx::PgConnection) -> Result<(), SchemaError> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT datname FROM pg_database
          WHERE datname LIKE 'dm\\_schema\\_%' AND NOT EXISTS (
                SELECT FROM pg_stat_activity WHERE pg_stat_activity.datname = pg_database.datname)",
    )
    .fetch_all(&mut *session)
    .await?;
    for name in names {
        sqlx::raw_sql(AssertSqlSafe(format!("DROP DATABASE IF EXISTS \"{name}\"")))
            .execute(&mut *session)
            .await?;
    }
    Ok(())
}

async fn schemas(site: &Site<'_>, database: &str) -> Result<Vec<Document>, SchemaError> {
    let mut command: Vec<String> = [
        "pg_dump",
        "--schema-only",
        // A dump has another key each time unless it is told one.
        "--restrict-key=dm",
        "--username",
        site.user,
        "--dbname",
        database,
    ]
    .map(str::to_owned)
    .to_vec();
    for schema in &site.schemas {
        command.extend(["--schema".to_owned(), schema.clone()]);
    }
    let spec = ExecSpec {
        command,
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
    let text = String::from_utf8_lossy(&output.out);
    Ok(dump::read(&text, &site.schemas))
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
