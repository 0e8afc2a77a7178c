//! A set's database, made beside the one that is served.
//!
//! What is served is not touched until all of the other one is there, counted, migrated, and
//! has from the server what it needs. Only a superuser is let into it before the restore is
//! finished ([`super::rest::finish`]): a service that runs outside the stack, and that
//! nothing here can stop, finds the old database or none.

use std::collections::BTreeSet;

use dm_components::database::STAGED;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};

use super::dump::JOBS;
use super::quote::identifier;
use super::server_side::{self, ServerSide};
use super::target::Target;
use super::{BackupError, Extent, Opened, counts, roles, space};

/// What a database is called that was in its place.
pub(super) const REPLACED: &str = "dm_replaced_";
/// Where a set's files are put in the container.
pub(super) const SCRATCH: &str = "/tmp";
/// What its files are called there, before an id.
pub(super) const FILES: &str = "dm-restore-";
/// Where Keycloak notes how far it has brought its tables.
const KEYCLOAK_MODEL: &str = "keycloak.migration_model";

/// A database that is all there, and not in its place.
#[derive(Debug)]
pub struct Prepared {
    /// What it is called.
    pub(super) name: String,
    /// Which restore it is of.
    pub(super) restore: String,
    /// The backup that it is from.
    pub(super) backup: String,
    /// What gives the roles that were made for it their rights, once it is in its place.
    pub(super) statements: Vec<String>,
    /// What a user should know.
    pub(super) notes: Vec<String>,
    /// What is not as it was in the backup.
    pub(super) warnings: Vec<String>,
}

/// Makes a set's database beside the one that is served, with whatever the migrations have
/// added since, and checks that it can take its place.
///
/// # Errors
/// [`BackupError::Version`], [`BackupError::NoExtension`], [`BackupError::NoSpace`],
/// [`BackupError::Counts`], or the server fails: nothing has changed.
pub async fn prepare(
    target: &Target<'_>,
    opened: &Opened<'_>,
    extent: Extent<'_>,
) -> Result<Prepared, BackupError> {
    let manifest = &opened.set.manifest;
    sweep(target).await?;
    let mut server = target.session("postgres").await?;
    check_server(&mut server, opened).await?;
    let side = server_side(opened)?;
    side.check(&mut server).await?;
    space::check(target, manifest.postgres.bytes).await?;
    let own = target.setup.roles();
    let missing = side.make_roles(&mut server, &own).await?;
    let tablespaces = side.missing_tablespaces(&mut server).await?;
    let restore = uuid::Uuid::new_v4().simple().to_string();
    let name = format!("{STAGED}{restore}");
    sqlx::raw_sql(AssertSqlSafe(side.create(&name, &tablespaces)))
        .execute(&mut server)
        .await?;
    load(target, opened, &name, &restore, !tablespaces.is_empty()).await?;
    check_content(target, opened, &name).await?;
    // Rights on the database itself are in no dump, and the set may be older than some of
    // the migrations.
    target.setup.migrate_into(&target.plain(), &name).await?;
    let mut warnings = missing.warnings();
    if !tablespaces.is_empty() {
        warnings.push(format!(
            "missing tablespaces: {}; their tables were restored to the default tablespace",
            tablespaces.join(", ")
        ));
    }
    warnings.extend(side.apply(&mut server, &name).await?);
    server.close().await?;
    if extent == Extent::Whole {
        let mut session = target.session(&name).await?;
        sqlx::query("INSERT INTO dm_ops.restores (restore_id, backup_id) VALUES ($1, $2)")
            .bind(&restore)
            .bind(&manifest.id)
            .execute(&mut session)
            .await?;
        session.close().await?;
    }
    Ok(Prepared {
        name,
        restore,
        backup: manifest.id.clone(),
        notes: missing.notes(),
        statements: missing.statements,
        warnings,
    })
}

/// What the set's database had from its server.
pub(super) fn server_side(opened: &Opened<'_>) -> Result<ServerSide, BackupError> {
    let path = opened.set.path.join(server_side::FILE);
    serde_json::from_reader(opened.read(server_side::FILE)?)
        .map_err(std::io::Error::from)
        .map_err(BackupError::file("read", path))
}

/// Refuses a set of a newer server.
async fn check_server(server: &mut PgConnection, opened: &Opened<'_>) -> Result<(), BackupError> {
    let manifest = &opened.set.manifest;
    let major: String =
        sqlx::query_scalar("SELECT (current_setting('server_version_num')::integer / 10000)::text")
            .fetch_one(server)
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
    Ok(())
}

/// Loads the set's dump into its database.
async fn load(
    target: &Target<'_>,
    opened: &Opened<'_>,
    name: &str,
    restore: &str,
    without_tablespaces: bool,
) -> Result<(), BackupError> {
    let folder = format!("{FILES}{restore}");
    let files = opened.below("postgres")?;
    let files = files
        .into_iter()
        .map(|(name, content)| (format!("{folder}/{name}"), content));
    target.postgres.put(files.collect(), SCRATCH).await?;
    let folder = format!("{SCRATCH}/{folder}");
    let mut command = vec![
        "pg_restore",
        "--exit-on-error",
        "--jobs",
        JOBS,
        "--username",
        target.user,
        "--dbname",
        name,
    ];
    if without_tablespaces {
        command.push("--no-tablespaces");
    }
    command.push(&folder);
    let restored = target.postgres.run(&command).await;
    let removed = target.postgres.run(&["rm", "-rf", &folder]).await;
    restored?;
    removed?;
    Ok(())
}

/// Refuses a database with other rows than were saved, or whose realm a newer Keycloak has
/// changed.
async fn check_content(
    target: &Target<'_>,
    opened: &Opened<'_>,
    name: &str,
) -> Result<(), BackupError> {
    let manifest = &opened.set.manifest;
    let mut session = target.session(name).await?;
    let found = counts::all(&mut session).await?;
    if found != manifest.postgres.rows {
        let saved = &manifest.postgres.rows;
        let tables: BTreeSet<&String> = found.keys().chain(saved.keys()).collect();
        let count = |rows: Option<&i64>| rows.map_or("no".to_owned(), i64::to_string);
        let other = tables.into_iter().filter_map(|table| {
            let (found, saved) = (found.get(table), saved.get(table));
            (found != saved)
                .then(|| format!("{table}: {} rows instead of {}", count(found), count(saved)))
        });
        return Err(BackupError::Counts(other.collect()));
    }
    let of = keycloak_model(&mut session).await?;
    session.close().await?;
    let mut session = target.own_session().await?;
    let served = keycloak_model(&mut session).await?;
    session.close().await?;
    let runs = served.or_else(|| target.keycloak.map(str::to_owned));
    if let (Some(of), Some(runs)) = (of, runs)
        && is_older(&runs, &of)
    {
        return Err(BackupError::Version {
            id: manifest.id.clone(),
            server: "Keycloak",
            of,
            runs,
        });
    }
    Ok(())
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

/// Whether a version comes before another one, as far as both say.
fn is_older(one: &str, other: &str) -> bool {
    let numbers = numbers(one).into_iter().zip(numbers(other));
    let mut differing = numbers.skip_while(|(one, other)| one == other);
    differing.next().is_some_and(|(one, other)| one < other)
}

/// The numbers of a version, most important first.
fn numbers(version: &str) -> Vec<u32> {
    let parts = version.split('.');
    parts.map_while(|part| part.parse().ok()).collect()
}

/// Removes what is in no place: the database that was replaced, and what a killed restore has
/// left.
///
/// # Errors
/// The server fails.
pub async fn sweep(target: &Target<'_>) -> Result<(), BackupError> {
    let mut server = target.session("postgres").await?;
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT datname::text FROM pg_database
          WHERE starts_with(datname, $1) OR starts_with(datname, $2)",
    )
    .bind(STAGED)
    .bind(REPLACED)
    .fetch_all(&mut server)
    .await?;
    for name in names {
        sqlx::raw_sql(AssertSqlSafe(format!(
            "DROP DATABASE IF EXISTS {} WITH (FORCE)",
            identifier(&name)
        )))
        .execute(&mut server)
        .await?;
    }
    roles::sweep(&mut server).await?;
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
    let found = dm_components::database::unfinished_restore(&mut session).await?;
    session.close().await?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::is_older;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(is_older("26.7.3", "26.10.0"));
        assert!(!is_older("26.7", "26.7.1"), "an image's tag says no more");
        assert!(!is_older("26.7.3", "26.7.3.Final"));
        assert!(is_older("25", "26.7.3"));
        assert!(!is_older("latest", "26.7.3"));
    }
}
