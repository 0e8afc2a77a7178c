//! A set's database, made beside the one that runs, and put in its place.
//!
//! What runs is not touched until all of the other one is there and has been counted. The
//! change of places is one transaction: whatever is killed, the stack has the one or the
//! other.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};

use super::create::JOBS;
use super::{BackupError, Opened, Server, counts};
use crate::components::database::Database;

/// What a database is called that is not in its place yet.
const RESTORING: &str = "dm_restoring_";
/// What a database is called that was in its place.
const REPLACED: &str = "dm_replaced_";
/// Where a set's files are put in the container.
const SCRATCH: &str = "/tmp";
/// What its files are called there, before an id.
const FILES: &str = "dm-restore-";
/// Where Keycloak notes how far it has brought its tables.
const KEYCLOAK_MODEL: &str = "keycloak.migration_model";
/// How often it is tried to be alone with a database.
const TRIES: u32 = 50;
/// How long to wait in between.
const PAUSE: Duration = Duration::from_millis(100);

/// Where a set's database goes.
pub struct Target<'a> {
    /// The database's container.
    pub postgres: Server<'a>,
    /// The database, as its superuser.
    pub options: PgConnectOptions,
    /// Its superuser.
    pub user: &'a str,
    /// Its name.
    pub name: &'a str,
    /// How it is set up.
    pub setup: &'a Database,
}

impl Target<'_> {
    /// A session with a database of the server; not with the one that changes places.
    async fn session(&self, database: &str) -> Result<PgConnection, BackupError> {
        Ok(self.options.clone().database(database).connect().await?)
    }
}

/// A database that is all there, and not in its place.
#[derive(Debug)]
pub struct Prepared {
    name: String,
    restore: String,
}

/// Makes a set's database beside the one that runs, with whatever the migrations have
/// added since, and counts what is in it.
///
/// # Errors
/// [`BackupError::Version`], [`BackupError::Counts`], or the server fails: nothing has
/// changed.
pub async fn prepare(target: &Target<'_>, opened: &Opened<'_>) -> Result<Prepared, BackupError> {
    let manifest = &opened.set.manifest;
    sweep(target).await?;
    let mut server = target.session("postgres").await?;
    let major: String =
        sqlx::query_scalar("SELECT (current_setting('server_version_num')::integer / 10000)::text")
            .fetch_one(&mut server)
            .await?;
    let older = |one: &str, other: &str| one.parse::<u32>().ok() < other.parse::<u32>().ok();
    if older(&major, manifest.postgres.major()) {
        return Err(BackupError::Version {
            id: manifest.id.clone(),
            server: "PostgreSQL",
            of: manifest.postgres.version.clone(),
            runs: major,
        });
    }
    let restore = uuid::Uuid::new_v4().simple().to_string();
    let name = format!("{RESTORING}{restore}");
    sqlx::raw_sql(AssertSqlSafe(format!(
        "CREATE DATABASE {name} TEMPLATE template0"
    )))
    .execute(&mut server)
    .await?;
    let folder = format!("{FILES}{restore}");
    let files = opened.below("postgres")?;
    let files = files
        .into_iter()
        .map(|(name, content)| (format!("{folder}/{name}"), content));
    target.postgres.put(files.collect(), SCRATCH).await?;
    let folder = format!("{SCRATCH}/{folder}");
    let command = [
        "pg_restore",
        "--exit-on-error",
        "--jobs",
        JOBS,
        "--username",
        target.user,
        "--dbname",
        &name,
        &folder,
    ];
    let restored = target.postgres.run(&command).await;
    let removed = target.postgres.run(&["rm", "-rf", &folder]).await;
    restored?;
    removed?;
    let mut session = target.session(&name).await?;
    let found = counts::all(&mut session).await?;
    if found != manifest.postgres.rows {
        let other = manifest.postgres.rows.iter().filter_map(|(table, rows)| {
            let found = found.get(table).copied().unwrap_or_default();
            (found != *rows).then(|| format!("{table} {found} and not {rows}"))
        });
        return Err(BackupError::Counts(other.collect()));
    }
    let restored = keycloak_model(&mut session).await?;
    session.close().await?;
    let mut session = target.session(target.name).await?;
    let runs = keycloak_model(&mut session).await?;
    session.close().await?;
    if let (Some(of), Some(runs)) = (restored, runs)
        && numbers(&runs) < numbers(&of)
    {
        return Err(BackupError::Version {
            id: manifest.id.clone(),
            server: "Keycloak",
            of,
            runs,
        });
    }
    // Rights on the database itself are in no dump, and the set may be older than some of
    // the migrations.
    target.setup.migrate_into(&target.options, &name).await?;
    let mut session = target.session(&name).await?;
    sqlx::query("INSERT INTO dm_ops.restores (restore_id, backup_id) VALUES ($1, $2)")
        .bind(&restore)
        .bind(&manifest.id)
        .execute(&mut session)
        .await?;
    session.close().await?;
    Ok(Prepared { name, restore })
}

/// Which version of Keycloak has brought its tables to where they are; an older one does not
/// start on them. Nothing where it never ran.
async fn keycloak_model(session: &mut PgConnection) -> Result<Option<String>, BackupError> {
    let found = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(KEYCLOAK_MODEL)
        .fetch_one(&mut *session);
    if !found.await? {
        return Ok(None);
    }
    let statement =
        format!("SELECT version FROM {KEYCLOAK_MODEL} ORDER BY update_time DESC LIMIT 1");
    Ok(sqlx::query_scalar(AssertSqlSafe(statement))
        .fetch_optional(session)
        .await?)
}

/// The numbers of a version, most important first.
fn numbers(version: &str) -> Vec<u32> {
    let parts = version.split('.');
    parts.map_while(|part| part.parse().ok()).collect()
}

/// Puts a database in its place. Whoever was in the other one has to go.
///
/// # Errors
/// The server fails, or somebody keeps coming back: nothing has changed.
pub async fn swap(target: &Target<'_>, prepared: &Prepared) -> Result<(), BackupError> {
    let mut server = target.session("postgres").await?;
    let (name, restoring) = (target.name, &prepared.name);
    let replaced = format!("{REPLACED}{}", prepared.restore);
    let statement = format!(
        "BEGIN;
         ALTER DATABASE \"{name}\" RENAME TO {replaced};
         ALTER DATABASE {restoring} RENAME TO \"{name}\";
         COMMIT"
    );
    let mut tried = 0;
    loop {
        sqlx::query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY($1)",
        )
        .bind([name, restoring.as_str()].as_slice())
        .execute(&mut server)
        .await?;
        match sqlx::raw_sql(AssertSqlSafe(statement.clone()))
            .execute(&mut server)
            .await
        {
            Ok(_) => break,
            Err(error) if tried < TRIES && is_in_use(&error) => {
                sqlx::raw_sql("ROLLBACK").execute(&mut server).await?;
                tried += 1;
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    server.close().await?;
    Ok(())
}

/// Replaces one schema by that of a prepared database, in one transaction. Nobody may use it
/// meanwhile.
///
/// # Errors
/// The server fails: nothing has changed.
pub async fn replace_schema(
    target: &Target<'_>,
    prepared: &Prepared,
    schema: &str,
) -> Result<(), BackupError> {
    // As what a killed call has left is named, which the next one removes.
    let script = format!("{SCRATCH}/{FILES}{}.sql", prepared.restore);
    let (selected, output) = (format!("--schema={schema}"), format!("--file={script}"));
    let dump = [
        "pg_dump",
        "--username",
        target.user,
        "--dbname",
        &prepared.name,
        &selected,
        &output,
    ];
    // Nothing of another schema hangs on it: what would goes along, and the law of the
    // services is that there is nothing.
    let drop = format!("DROP SCHEMA \"{schema}\" CASCADE");
    let load = [
        "psql",
        "--no-psqlrc",
        "--quiet",
        "--single-transaction",
        "--set=ON_ERROR_STOP=1",
        "--username",
        target.user,
        "--dbname",
        target.name,
        "--output=/dev/null",
        "--command",
        &drop,
        "--file",
        &script,
    ];
    let replaced = async {
        target.postgres.run(&dump).await?;
        target.postgres.run(&load).await
    };
    let replaced = replaced.await;
    let removed = target.postgres.run(&["rm", "-f", &script]).await;
    replaced?;
    removed?;
    sweep(target).await?;
    let mut session = target.session(target.name).await?;
    // The planner knows nothing of what was restored.
    sqlx::raw_sql("ANALYZE").execute(&mut session).await?;
    session.close().await?;
    Ok(())
}

/// `object_in_use`: somebody is in there
/// (<https://www.postgresql.org/docs/17/errcodes-appendix.html>).
fn is_in_use(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == "55006")
}

/// Removes what is in no place: the database that was replaced, and what a killed restore has
/// left.
///
/// # Errors
/// The server fails.
pub async fn sweep(target: &Target<'_>) -> Result<(), BackupError> {
    let mut server = target.session("postgres").await?;
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT datname FROM pg_database
          WHERE starts_with(datname, $1) OR starts_with(datname, $2)",
    )
    .bind(RESTORING)
    .bind(REPLACED)
    .fetch_all(&mut server)
    .await?;
    for name in names {
        sqlx::raw_sql(AssertSqlSafe(format!(
            "DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)"
        )))
        .execute(&mut server)
        .await?;
    }
    server.close().await?;
    let sweep = format!("rm -rf {SCRATCH}/{FILES}*");
    target.postgres.run(&["sh", "-c", &sweep]).await?;
    Ok(())
}

/// The set whose restore has brought the database back, and not yet the rest.
///
/// # Errors
/// The server fails.
pub async fn unfinished(options: &PgConnectOptions) -> Result<Option<String>, BackupError> {
    let mut session = options.connect().await?;
    let found = crate::components::database::unfinished_restore(&mut session).await?;
    session.close().await?;
    Ok(found)
}
