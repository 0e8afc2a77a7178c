//! A set's database, made beside the one that is served.
//!
//! What is served is not touched until all of the other one is there, counted, migrated, and
//! has from the server what it needs. Only a superuser is let into it before the restore is
//! finished ([`super::rest::finish`]): a service that runs outside the stack, and that
//! nothing here can stop, finds the old database or none.

use std::collections::BTreeSet;

use dm_components::database_setup::STAGED_DATABASE_PREFIX;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};

use super::dump::PARALLEL_JOBS;
use super::quote::quote_identifier;
use super::restore_target::RestoreTarget;
use super::server_metadata::{self, ServerMetadata};
use super::{BackupError, OpenBackup, RestoreScope, disk_space, roles, row_counts};

/// What a database is called that was in its place.
pub(super) const REPLACED_PREFIX: &str = "dm_replaced_";
/// Where a set's files are put in the container.
pub(super) const CONTAINER_TEMP_DIR: &str = "/tmp";
/// What its files are called there, before an id.
pub(super) const TEMP_FILE_PREFIX: &str = "dm-restore-";
/// Where Keycloak notes how far it has brought its tables.
const KEYCLOAK_MIGRATION_TABLE: &str = "keycloak.migration_model";

/// A database that is all there, and not in its place.
#[derive(Debug)]
pub struct StagedDatabase {
    /// What it is called.
    pub(super) name: String,
    /// Which restore it is of.
    pub(super) restore_id: String,
    /// The backup that it is from.
    pub(super) backup_id: String,
    /// What gives the roles that were made for it their rights, once it is in its place.
    pub(super) grant_statements: Vec<String>,
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
pub async fn stage_database(
    target: &RestoreTarget<'_>,
    opened: &OpenBackup<'_>,
    extent: RestoreScope<'_>,
) -> Result<StagedDatabase, BackupError> {
    let manifest = &opened.backup.manifest;
    drop_leftover_databases(target).await?;
    let mut server = target.connect_to("postgres").await?;
    check_server_version(&mut server, opened).await?;
    let side = read_server_metadata(opened)?;
    side.check_extensions(&mut server).await?;
    disk_space::check_free_space(target, manifest.postgres.bytes).await?;
    let own = target.setup.role_names();
    let missing = side.create_missing_roles(&mut server, &own).await?;
    let tablespaces = side.missing_tablespaces(&mut server).await?;
    let restore = uuid::Uuid::new_v4().simple().to_string();
    let name = format!("{STAGED_DATABASE_PREFIX}{restore}");
    sqlx::raw_sql(AssertSqlSafe(side.create_statement(&name, &tablespaces)))
        .execute(&mut server)
        .await?;
    load_dump(target, opened, &name, &restore, !tablespaces.is_empty()).await?;
    verify_content(target, opened, &name).await?;
    // Rights on the database itself are in no dump, and the set may be older than some of
    // the migrations.
    target
        .setup
        .migrate_into(&target.session_options(), &name)
        .await?;
    let mut warnings = missing.warnings();
    if !tablespaces.is_empty() {
        warnings.push(format!(
            "missing tablespaces: {}; their tables were restored to the default tablespace",
            tablespaces.join(", ")
        ));
    }
    warnings.extend(side.apply(&mut server, &name).await?);
    server.close().await?;
    if extent == RestoreScope::Full {
        let mut session = target.connect_to(&name).await?;
        sqlx::query("INSERT INTO dm_ops.restores (restore_id, backup_id) VALUES ($1, $2)")
            .bind(&restore)
            .bind(&manifest.id)
            .execute(&mut session)
            .await?;
        session.close().await?;
    }
    Ok(StagedDatabase {
        name,
        restore_id: restore,
        backup_id: manifest.id.clone(),
        notes: missing.notes(),
        grant_statements: missing.grant_statements,
        warnings,
    })
}

/// What the set's database had from its server.
pub(super) fn read_server_metadata(opened: &OpenBackup<'_>) -> Result<ServerMetadata, BackupError> {
    let path = opened.backup.path.join(server_metadata::FILE_NAME);
    serde_json::from_reader(opened.open_file(server_metadata::FILE_NAME)?)
        .map_err(std::io::Error::from)
        .map_err(BackupError::file("read", path))
}

/// Refuses a set of a newer server.
async fn check_server_version(
    server: &mut PgConnection,
    opened: &OpenBackup<'_>,
) -> Result<(), BackupError> {
    let manifest = &opened.backup.manifest;
    let major: String =
        sqlx::query_scalar("SELECT (current_setting('server_version_num')::integer / 10000)::text")
            .fetch_one(server)
            .await?;
    let older = |one: &str, other: &str| one.parse::<u32>().ok() < other.parse::<u32>().ok();
    if older(&major, manifest.postgres.major_version()) {
        return Err(BackupError::ServerTooOld {
            id: manifest.id.clone(),
            server: "PostgreSQL",
            backup_version: manifest.postgres.version.clone(),
            running_version: major,
        });
    }
    Ok(())
}

/// Loads the set's dump into its database.
async fn load_dump(
    target: &RestoreTarget<'_>,
    opened: &OpenBackup<'_>,
    name: &str,
    restore: &str,
    without_tablespaces: bool,
) -> Result<(), BackupError> {
    let folder = format!("{TEMP_FILE_PREFIX}{restore}");
    let files = opened.read_directory("postgres")?;
    let files = files
        .into_iter()
        .map(|(name, content)| (format!("{folder}/{name}"), content));
    target
        .container
        .copy_files_into(files.collect(), CONTAINER_TEMP_DIR)
        .await?;
    let folder = format!("{CONTAINER_TEMP_DIR}/{folder}");
    let mut command = vec![
        "pg_restore",
        "--exit-on-error",
        "--jobs",
        PARALLEL_JOBS,
        "--username",
        target.superuser,
        "--dbname",
        name,
    ];
    if without_tablespaces {
        command.push("--no-tablespaces");
    }
    command.push(&folder);
    let restored = target.container.run(&command).await;
    let removed = target.container.run(&["rm", "-rf", &folder]).await;
    restored?;
    removed?;
    Ok(())
}

/// Refuses a database with other rows than were saved, or whose realm a newer Keycloak has
/// changed.
async fn verify_content(
    target: &RestoreTarget<'_>,
    opened: &OpenBackup<'_>,
    name: &str,
) -> Result<(), BackupError> {
    let manifest = &opened.backup.manifest;
    let mut session = target.connect_to(name).await?;
    let found = row_counts::count_rows_in_session(&mut session).await?;
    if found != manifest.postgres.rows {
        let saved = &manifest.postgres.rows;
        let tables: BTreeSet<&String> = found.keys().chain(saved.keys()).collect();
        let count = |rows: Option<&i64>| rows.map_or("no".to_owned(), i64::to_string);
        let other = tables.into_iter().filter_map(|table| {
            let (found, saved) = (found.get(table), saved.get(table));
            (found != saved)
                .then(|| format!("{table}: {} rows instead of {}", count(found), count(saved)))
        });
        return Err(BackupError::RowCountMismatch(other.collect()));
    }
    let of = keycloak_schema_version(&mut session).await?;
    session.close().await?;
    let mut session = target.connect().await?;
    let served = keycloak_schema_version(&mut session).await?;
    session.close().await?;
    let runs = served.or_else(|| target.keycloak_version.map(str::to_owned));
    if let (Some(of), Some(runs)) = (of, runs)
        && is_older(&runs, &of)
    {
        return Err(BackupError::ServerTooOld {
            id: manifest.id.clone(),
            server: "Keycloak",
            backup_version: of,
            running_version: runs,
        });
    }
    Ok(())
}

/// Which version of Keycloak has brought its tables to where they are; an older one does not
/// start on them. Nothing where it never ran.
async fn keycloak_schema_version(
    session: &mut PgConnection,
) -> Result<Option<String>, BackupError> {
    let found = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(KEYCLOAK_MIGRATION_TABLE)
        .fetch_one(&mut *session);
    if !found.await? {
        return Ok(None);
    }
    let statement =
        format!("SELECT version FROM {KEYCLOAK_MIGRATION_TABLE} ORDER BY update_time DESC LIMIT 1");
    Ok(sqlx::query_scalar(AssertSqlSafe(statement))
        .fetch_optional(session)
        .await?)
}

/// Whether a version comes before another one, as far as both say.
fn is_older(one: &str, other: &str) -> bool {
    let numbers = version_numbers(one).into_iter().zip(version_numbers(other));
    let mut differing = numbers.skip_while(|(one, other)| one == other);
    differing.next().is_some_and(|(one, other)| one < other)
}

/// The numbers of a version, most important first.
fn version_numbers(version: &str) -> Vec<u32> {
    let parts = version.split('.');
    parts.map_while(|part| part.parse().ok()).collect()
}

/// Removes what is in no place: the database that was replaced, and what a killed restore has
/// left.
///
/// # Errors
/// The server fails.
pub async fn drop_leftover_databases(target: &RestoreTarget<'_>) -> Result<(), BackupError> {
    let mut server = target.connect_to("postgres").await?;
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT datname::text FROM pg_database
          WHERE starts_with(datname, $1) OR starts_with(datname, $2)",
    )
    .bind(STAGED_DATABASE_PREFIX)
    .bind(REPLACED_PREFIX)
    .fetch_all(&mut server)
    .await?;
    for name in names {
        sqlx::raw_sql(AssertSqlSafe(format!(
            "DROP DATABASE IF EXISTS {} WITH (FORCE)",
            quote_identifier(&name)
        )))
        .execute(&mut server)
        .await?;
    }
    roles::drop_leftover_roles(&mut server).await?;
    server.close().await?;
    let sweep = format!("rm -rf {CONTAINER_TEMP_DIR}/{TEMP_FILE_PREFIX}*");
    target.container.run(&["sh", "-c", &sweep]).await?;
    Ok(())
}

/// The set whose restore has brought the database back, and not yet the rest.
///
/// # Errors
/// The server fails.
pub async fn unfinished_restore(options: &PgConnectOptions) -> Result<Option<String>, BackupError> {
    let mut session = options.connect().await?;
    let found = dm_components::database_setup::unfinished_restore(&mut session).await?;
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
