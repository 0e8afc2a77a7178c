//! The database of a backup, prepared beside the one in use.
//!
//! The database in use is not changed until the staged one is complete: counted, migrated, and with
//! its roles and settings. Only a superuser can connect to it before the restore is finished
//! ([`super::post_swap`]): a service that runs outside the stack, which `dm` cannot stop, reaches
//! the old database or none.

use std::collections::BTreeSet;

use dm_components::database_setup::STAGED_DATABASE_PREFIX;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};

use super::dump::PARALLEL_JOBS;
use super::quote::quote_identifier;
use super::restore_target::RestoreTarget;
use super::server_metadata::{self, ServerMetadata};
use super::{BackupError, OpenBackup, RestoreScope, disk_space, roles, row_counts};

/// The prefix of the name of a replaced database.
pub(super) const REPLACED_PREFIX: &str = "dm_replaced_";
/// The directory in the container to which the files of a backup are copied.
pub(super) const CONTAINER_TEMP_DIR: &str = "/tmp";
/// The prefix of the names of these files, before an id.
pub(super) const TEMP_FILE_PREFIX: &str = "dm-restore-";
/// The table in which Keycloak records the version of its tables.
const KEYCLOAK_MIGRATION_TABLE: &str = "keycloak.migration_model";

/// A complete database that has not been swapped with the one in use.
#[derive(Debug)]
pub struct StagedDatabase {
    /// The name of the database.
    pub(super) name: String,
    /// The id of the restore.
    pub(super) restore_id: String,
    /// The id of the backup.
    pub(super) backup_id: String,
    /// The statements that grant the created roles their privileges, run with the swap.
    pub(super) grant_statements: Vec<String>,
    /// Notes for the user.
    pub(super) notes: Vec<String>,
    /// Differences from the backup.
    pub(super) warnings: Vec<String>,
}

/// Prepares the database of a backup beside the one in use, applies newer migrations, and checks
/// that it can replace the one in use.
///
/// # Errors
/// Returns [`BackupError::ServerTooOld`], [`BackupError::MissingExtensions`],
/// [`BackupError::InsufficientSpace`] or [`BackupError::RowCountMismatch`] if the backup does not
/// fit the stack, and another [`BackupError`] if the server fails. Nothing has changed then.
pub async fn stage_database(
    target: &RestoreTarget<'_>,
    opened: &OpenBackup<'_>,
    scope: RestoreScope<'_>,
) -> Result<StagedDatabase, BackupError> {
    let manifest = &opened.backup.manifest;
    drop_leftover_databases(target).await?;
    let mut server = target.connect_to("postgres").await?;
    check_server_version(&mut server, opened).await?;
    let metadata = read_server_metadata(opened)?;
    metadata.check_extensions(&mut server).await?;
    disk_space::check_free_space(target, manifest.postgres.bytes).await?;
    let configured_roles = target.setup.role_names();
    let missing = metadata
        .create_missing_roles(&mut server, &configured_roles)
        .await?;
    let tablespaces = metadata.missing_tablespaces(&mut server).await?;
    let restore_id = uuid::Uuid::new_v4().simple().to_string();
    let name = format!("{STAGED_DATABASE_PREFIX}{restore_id}");
    sqlx::raw_sql(AssertSqlSafe(
        metadata.create_statement(&name, &tablespaces),
    ))
    .execute(&mut server)
    .await?;
    load_dump(target, opened, &name, &restore_id, !tablespaces.is_empty()).await?;
    verify_content(target, opened, &name).await?;
    // A dump does not contain privileges on the database itself, and the backup may be older than
    // some migrations.
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
    warnings.extend(metadata.apply(&mut server, &name).await?);
    server.close().await?;
    if scope == RestoreScope::Full {
        let mut session = target.connect_to(&name).await?;
        sqlx::query("INSERT INTO dm_ops.restores (restore_id, backup_id) VALUES ($1, $2)")
            .bind(&restore_id)
            .bind(&manifest.id)
            .execute(&mut session)
            .await?;
        session.close().await?;
    }
    Ok(StagedDatabase {
        name,
        restore_id,
        backup_id: manifest.id.clone(),
        notes: missing.notes(),
        grant_statements: missing.grant_statements,
        warnings,
    })
}

/// Reads the metadata of the database from a backup.
pub(super) fn read_server_metadata(opened: &OpenBackup<'_>) -> Result<ServerMetadata, BackupError> {
    let path = opened.backup.path.join(server_metadata::FILE_NAME);
    serde_json::from_reader(opened.open_file(server_metadata::FILE_NAME)?)
        .map_err(std::io::Error::from)
        .map_err(BackupError::file("read", path))
}

/// Refuses a backup of a newer server.
async fn check_server_version(
    server: &mut PgConnection,
    opened: &OpenBackup<'_>,
) -> Result<(), BackupError> {
    let manifest = &opened.backup.manifest;
    let major: String =
        sqlx::query_scalar("SELECT (current_setting('server_version_num')::integer / 10000)::text")
            .fetch_one(server)
            .await?;
    let is_lower = |one: &str, other: &str| one.parse::<u32>().ok() < other.parse::<u32>().ok();
    if is_lower(&major, manifest.postgres.major_version()) {
        return Err(BackupError::ServerTooOld {
            id: manifest.id.clone(),
            server: "PostgreSQL",
            backup_version: manifest.postgres.version.clone(),
            running_version: major,
        });
    }
    Ok(())
}

/// Loads the dump of the backup into the staged database.
async fn load_dump(
    target: &RestoreTarget<'_>,
    opened: &OpenBackup<'_>,
    name: &str,
    restore_id: &str,
    without_tablespaces: bool,
) -> Result<(), BackupError> {
    let directory = format!("{TEMP_FILE_PREFIX}{restore_id}");
    let files = opened.read_directory("postgres")?;
    let files = files
        .into_iter()
        .map(|(name, content)| (format!("{directory}/{name}"), content));
    target
        .container
        .copy_files_into(files.collect(), CONTAINER_TEMP_DIR)
        .await?;
    let directory = format!("{CONTAINER_TEMP_DIR}/{directory}");
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
    command.push(&directory);
    let restored = target.container.run(&command).await;
    let removed = target.container.run(&["rm", "-rf", &directory]).await;
    restored?;
    removed?;
    Ok(())
}

/// Refuses a database with other row counts than the backup, or with tables of a newer Keycloak.
async fn verify_content(
    target: &RestoreTarget<'_>,
    opened: &OpenBackup<'_>,
    name: &str,
) -> Result<(), BackupError> {
    let manifest = &opened.backup.manifest;
    let mut session = target.connect_to(name).await?;
    let restored = row_counts::count_rows_in_session(&mut session).await?;
    if restored != manifest.postgres.rows {
        let saved = &manifest.postgres.rows;
        let tables: BTreeSet<&String> = restored.keys().chain(saved.keys()).collect();
        let count = |rows: Option<&i64>| rows.map_or("no".to_owned(), i64::to_string);
        let differences = tables.into_iter().filter_map(|table| {
            let (restored, saved) = (restored.get(table), saved.get(table));
            (restored != saved).then(|| {
                format!(
                    "{table}: {} rows instead of {}",
                    count(restored),
                    count(saved)
                )
            })
        });
        return Err(BackupError::RowCountMismatch(differences.collect()));
    }
    let backup_version = keycloak_schema_version(&mut session).await?;
    session.close().await?;
    let mut session = target.connect().await?;
    let schema_version = keycloak_schema_version(&mut session).await?;
    session.close().await?;
    let running_version = schema_version.or_else(|| target.keycloak_version.map(str::to_owned));
    if let (Some(backup_version), Some(running_version)) = (backup_version, running_version)
        && is_older(&running_version, &backup_version)
    {
        return Err(BackupError::ServerTooOld {
            id: manifest.id.clone(),
            server: "Keycloak",
            backup_version,
            running_version,
        });
    }
    Ok(())
}

/// Returns the version of Keycloak that last migrated its tables. An older Keycloak does not start
/// with them. Returns `None` if Keycloak has never run.
async fn keycloak_schema_version(
    session: &mut PgConnection,
) -> Result<Option<String>, BackupError> {
    let exists = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(KEYCLOAK_MIGRATION_TABLE)
        .fetch_one(&mut *session);
    if !exists.await? {
        return Ok(None);
    }
    let statement =
        format!("SELECT version FROM {KEYCLOAK_MIGRATION_TABLE} ORDER BY update_time DESC LIMIT 1");
    Ok(sqlx::query_scalar(AssertSqlSafe(statement))
        .fetch_optional(session)
        .await?)
}

/// Returns whether a version is older than another one, compared by the numbers that both have.
fn is_older(one: &str, other: &str) -> bool {
    let numbers = version_numbers(one).into_iter().zip(version_numbers(other));
    let mut differing = numbers.skip_while(|(one, other)| one == other);
    differing.next().is_some_and(|(one, other)| one < other)
}

/// Returns the numbers of a version, most significant first.
fn version_numbers(version: &str) -> Vec<u32> {
    let parts = version.split('.');
    parts.map_while(|part| part.parse().ok()).collect()
}

/// Removes the replaced database and the leftovers of killed restores.
///
/// # Errors
/// Returns [`BackupError`] if the database cannot be reached or the container cannot run a command.
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
    let remove = format!("rm -rf {CONTAINER_TEMP_DIR}/{TEMP_FILE_PREFIX}*");
    target.container.run(&["sh", "-c", &remove]).await?;
    Ok(())
}

/// Returns the id of the backup whose restore has swapped the database and has not been completed.
///
/// # Errors
/// Returns [`BackupError`] if the database cannot be reached.
pub async fn unfinished_restore(options: &PgConnectOptions) -> Result<Option<String>, BackupError> {
    let mut session = options.connect().await?;
    let backup_id = dm_components::database_setup::unfinished_restore(&mut session).await?;
    session.close().await?;
    Ok(backup_id)
}

#[cfg(test)]
mod tests {
    use super::is_older;

    #[test]
    fn is_older_compares_the_numbers_of_versions() {
        assert!(is_older("26.7.3", "26.10.0"));
        assert!(!is_older("26.7", "26.7.1"), "an image tag may omit numbers");
        assert!(!is_older("26.7.3", "26.7.3.Final"));
        assert!(is_older("25", "26.7.3"));
        assert!(!is_older("latest", "26.7.3"));
    }
}
