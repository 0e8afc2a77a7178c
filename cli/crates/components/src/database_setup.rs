//! The job that creates the roles, schemas and tables of the database.
//!
//! Each service has a role with rights only on its own schema. Each schema has an
//! owner, under which migrations run and which no service can become. All steps are
//! idempotent: the job may be killed at any point and is run again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use dm_config::Config;
use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use dm_engine::spec::DigestKey;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use thiserror::Error;

use super::keycloak::realm_keys;
use super::lock_watch::{AbortReason, LockWait, LockWatch, WorkLimits};
use super::quote::{quote_identifier, quote_literal};
use super::{HostPorts, keycloak, node_names, postgres};

/// The job's name in the graph.
pub const NAME: &str = node_names::DATABASE;

/// The schema of `dm` itself.
pub const OPS_SCHEMA: &str = "dm_ops";

/// The prefix of the staged database that a restore creates beside the one in use.
pub const STAGED_DATABASE_PREFIX: &str = "dm_restoring_";

/// Revokes the privileges of `PUBLIC` on the databases that every server has. `dm` connects to
/// them as the superuser, and no other role needs them.
const REVOKE_OTHER_DATABASES: &str = "DO $$ DECLARE other name; BEGIN \
     FOR other IN SELECT datname FROM pg_database WHERE datname IN ('postgres', 'template1') \
     LOOP EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', other); END LOOP; END $$;";

/// The directory of the numbered migrations, with one directory per schema below it.
const MIGRATIONS_DIR: &str = "migrations";

/// The directory below it with the tables of every service's schema: outbox and inbox.
const EVENT_MIGRATIONS_DIR: &str = "events";

/// A schema with its owner and the role that uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SchemaSpec {
    name: String,
    /// Owns the schema and all objects in it; cannot log in unless it is the user.
    owner: String,
    /// The role that logs in and may read and write rows, with its password; `None` for the schema
    /// of `dm` itself.
    user: Option<(String, String)>,
    /// Whether it belongs to a service, and thus has an outbox and an inbox.
    has_events: bool,
}

/// A set of numbered migrations of a schema.
#[derive(Debug, PartialEq, Eq)]
struct MigrationSet {
    /// Their directory below that of all migrations.
    directory: String,
    /// The schema's table that records the applied ones.
    tracking_table: &'static str,
}

impl SchemaSpec {
    /// Returns the migrations that create the schema's tables, in the order of application.
    /// The shared migrations of all services are numbered and recorded separately: a new one
    /// takes no number of a service's own migrations.
    fn migrations(&self) -> Vec<MigrationSet> {
        let events = self.has_events.then(|| MigrationSet {
            directory: EVENT_MIGRATIONS_DIR.into(),
            tracking_table: "event_migrations",
        });
        let own = MigrationSet {
            directory: self.name.clone(),
            tracking_table: "schema_migrations",
        };
        events.into_iter().chain([own]).collect()
    }
}

/// The desired roles, schemas and tables of the database.
#[derive(Debug, Clone)]
pub struct DatabaseSetup {
    config: dm_config::PostgresConfig,
    schemas: Vec<SchemaSpec>,
    migrations_dir: PathBuf,
    keycloak_secrets: keycloak::stored_secrets::StoredSecrets,
    digest_key: DigestKey,
}

/// Whether the job may change what belongs to the whole server: the passwords and settings of
/// roles, and the privileges on other databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ServerChanges {
    /// Apply those of the configuration.
    Apply,
    /// Apply none: the job prepares another database of a server in use.
    Omit,
}

/// The reason why the database could not be set up.
#[derive(Debug, Error)]
pub enum DatabaseError {
    /// A connection or a statement failed.
    #[error("could not set up the database: {0}")]
    Sql(#[from] sqlx::Error),
    /// A migration could not be read or applied.
    #[error("could not apply the migrations of schema `{schema}`: {source}")]
    Migrate {
        /// The schema.
        schema: String,
        /// The migrations' directory below that of all migrations.
        directory: String,
        /// The cause.
        source: MigrateError,
    },
    /// Another session holds a lock.
    #[error("could not set up the database")]
    LockTimeout(#[source] LockWait),
    /// The time limit was exceeded.
    #[error("could not set up the database within the time limit")]
    TimedOut(#[source] Option<LockWait>),
    /// The run was interrupted.
    #[error("interrupted")]
    Interrupted,
    /// A restore has replaced the database, and not yet the rest of the stack.
    #[error("the restore of backup `{0}` has not been completed")]
    UnfinishedRestore(String),
    /// A directory of migrations cannot be read.
    #[error("could not read {}: {source}", path.display())]
    MigrationsDirectory {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

impl From<AbortReason> for DatabaseError {
    fn from(reason: AbortReason) -> Self {
        match reason {
            AbortReason::LockTimeout(wait) => Self::LockTimeout(wait),
            AbortReason::DeadlineExceeded(wait) => Self::TimedOut(wait),
            AbortReason::Interrupted => Self::Interrupted,
        }
    }
}

impl UserError for DatabaseError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Sql(_) => ErrorCode::DatabaseQuery,
            Self::Migrate { .. } => ErrorCode::MigrationFailed,
            Self::LockTimeout(_) => ErrorCode::DatabaseLocked,
            Self::TimedOut(_) => ErrorCode::TimedOut,
            Self::Interrupted => ErrorCode::Interrupted,
            Self::UnfinishedRestore(_) => ErrorCode::RestoreUnfinished,
            Self::MigrationsDirectory { .. } => ErrorCode::MigrationsUnreadable,
        }
    }

    fn exit_status(&self) -> ExitStatus {
        match self {
            Self::MigrationsDirectory { .. } => ExitStatus::Usage,
            Self::LockTimeout(_) | Self::TimedOut(_) => ExitStatus::TimedOut,
            Self::Interrupted => ExitStatus::Interrupted,
            _ => ExitStatus::Component,
        }
    }

    fn suggestions(&self) -> Vec<String> {
        match self {
            Self::Sql(_) => vec!["dm logs postgres".into()],
            Self::Migrate { directory, .. } => vec![
                format!("correct {MIGRATIONS_DIR}/{directory}, then: dm up"),
                "or discard the existing data: dm reset".into(),
            ],
            Self::LockTimeout(wait) | Self::TimedOut(Some(wait)) => wait.suggestions(),
            Self::TimedOut(None) => {
                vec!["dm up --wait-timeout 10m".into(), "dm logs postgres".into()]
            }
            Self::Interrupted => vec!["dm up".into()],
            Self::UnfinishedRestore(_) => vec![
                "dm backup restore --resume".into(),
                "or discard the existing data: dm reset".into(),
            ],
            Self::MigrationsDirectory { .. } => Vec::new(),
        }
    }
}

/// Returns the backup whose restore was interrupted after it had replaced the database, and
/// before the rest of the stack.
///
/// # Errors
/// Returns [`sqlx::Error`] if the query fails.
pub async fn unfinished_restore(
    connection: &mut PgConnection,
) -> Result<Option<String>, sqlx::Error> {
    let exists: bool = sqlx::query_scalar("SELECT to_regclass('dm_ops.restores') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    if !exists {
        return Ok(None);
    }
    sqlx::query_scalar("SELECT backup_id FROM dm_ops.restores WHERE finished_at IS NULL ORDER BY restored_at DESC LIMIT 1")
        .fetch_optional(connection)
        .await
}

/// Drops the staged databases of killed restores. No restore is running, because it holds the
/// instance's lock.
async fn drop_staged_databases(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let staged: Vec<String> =
        sqlx::query_scalar("SELECT datname::text FROM pg_database WHERE starts_with(datname, $1)")
            .bind(STAGED_DATABASE_PREFIX)
            .fetch_all(&mut *connection)
            .await?;
    for name in staged {
        let statement = format!(
            "DROP DATABASE IF EXISTS {} WITH (FORCE)",
            quote_identifier(&name)
        );
        connection.execute(AssertSqlSafe(statement)).await?;
    }
    Ok(())
}

/// Returns the database role of a service.
#[must_use]
pub fn service_role(service: &str) -> String {
    format!("{}_service", service.replace('-', "_"))
}

/// Returns the role that owns a schema.
#[must_use]
pub(crate) fn owner_role(schema: &str) -> String {
    format!("{schema}_owner")
}

/// Returns the role that uses each schema, by schema.
#[must_use]
pub fn schema_users(config: &Config) -> BTreeMap<String, String> {
    DatabaseSetup::new(config, Path::new(""))
        .schemas
        .into_iter()
        .map(|schema| {
            let user = schema.user.map_or(schema.owner, |(user, _)| user);
            (schema.name, user)
        })
        .collect()
}

impl DatabaseSetup {
    /// Creates the setup of a configuration.
    #[must_use]
    pub fn new(config: &Config, root: &Path) -> Self {
        let services = config
            .services
            .all()
            .into_iter()
            .filter_map(|(name, service)| {
                let schema = service.schema.as_ref()?.to_string();
                let password = service
                    .database_password
                    .as_ref()?
                    .to_postgres_password()
                    .into_owned();
                Some(SchemaSpec {
                    owner: owner_role(&schema),
                    name: schema,
                    user: Some((service_role(name), password)),
                    has_events: true,
                })
            });
        let others = [
            // Keycloak creates and migrates its own tables.
            SchemaSpec {
                name: keycloak::DATABASE_ROLE.into(),
                owner: keycloak::DATABASE_ROLE.into(),
                user: Some((
                    keycloak::DATABASE_ROLE.into(),
                    config
                        .keycloak
                        .database_password
                        .to_postgres_password()
                        .into_owned(),
                )),
                has_events: false,
            },
            SchemaSpec {
                name: OPS_SCHEMA.into(),
                owner: owner_role(OPS_SCHEMA),
                user: None,
                has_events: false,
            },
        ];
        Self {
            config: config.postgres.clone(),
            schemas: services.chain(others).collect(),
            migrations_dir: root.join(MIGRATIONS_DIR),
            keycloak_secrets: keycloak::stored_secrets::StoredSecrets::new(config),
            digest_key: DigestKey::default(),
        }
    }

    /// Sets the key of its digests, which are stored in the database beside their inputs.
    #[must_use]
    pub fn with_digest_key(mut self, key: DigestKey) -> Self {
        self.digest_key = key;
        self
    }

    /// Returns all changes of the job as text. It contains secrets.
    ///
    /// # Errors
    /// Returns [`DatabaseError::MigrationsDirectory`] if a migration cannot be read.
    pub fn digest_input(&self) -> Result<Vec<u8>, DatabaseError> {
        let mut text =
            self.roles_and_schemas_sql(self.config.database.as_str(), ServerChanges::Apply);
        text.push_str(&self.keycloak_secrets.digest_input());
        let mut text = text.into_bytes();
        for file in self.migration_files()? {
            text.extend(format!("{} {}", file.schema.name, file.name).into_bytes());
            text.extend(file.contents);
        }
        Ok(text)
    }

    /// Sets up the database within these limits, unless it is set up already. Returns whether
    /// nothing had to be done.
    ///
    /// # Errors
    /// Returns [`DatabaseError`] if a statement or a migration fails, another session holds a
    /// lock, or the time limit is exceeded.
    pub async fn apply(
        &self,
        ports: &HostPorts,
        limits: &WorkLimits,
    ) -> Result<bool, DatabaseError> {
        let options = postgres::superuser_connect_options(&self.config, ports);
        let watch = LockWatch::new(&options, NAME);
        match watch
            .run(limits, self.set_up(&watch.connect_options()))
            .await
        {
            Ok(result) => result,
            Err(reason) => Err(reason.into()),
        }
    }

    async fn set_up(&self, options: &PgConnectOptions) -> Result<bool, DatabaseError> {
        let text = self.digest_input()?;
        let mut connection = PgConnection::connect_with(options).await?;
        connection.execute(postgres::DISABLE_STATEMENT_LOG).await?;
        if let Some(backup) = unfinished_restore(&mut connection).await? {
            return Err(DatabaseError::UnfinishedRestore(backup));
        }
        drop_staged_databases(&mut connection).await?;
        let digest = self.digest(&text, &mut connection).await?;
        if applied_digest(&mut connection).await?.as_deref() == Some(&digest)
            && self.keycloak_secrets.is_applied(&mut connection).await?
        {
            let has_created = realm_keys::create_missing(&mut connection).await?;
            connection.close().await?;
            return Ok(!has_created);
        }
        // A session lock: a second run waits, and a killed one releases it.
        connection
            .execute("SELECT pg_advisory_lock(hashtext('dm database'))")
            .await?;
        let mut transaction = connection.begin().await?;
        transaction
            .execute(AssertSqlSafe(self.roles_and_schemas_sql(
                self.config.database.as_str(),
                ServerChanges::Apply,
            )))
            .await?;
        transaction.commit().await?;
        for schema in &self.schemas {
            self.migrate_schema(&mut connection, schema).await?;
        }
        self.keycloak_secrets.apply(&mut connection).await?;
        realm_keys::create_missing(&mut connection).await?;
        let digest = self.digest(&text, &mut connection).await?;
        sqlx::query(
            "INSERT INTO dm_ops.database_setup (only_row, digest) VALUES (true, $1)
             ON CONFLICT (only_row) DO UPDATE SET digest = excluded.digest, applied_at = now()",
        )
        .bind(&digest)
        .execute(&mut connection)
        .await?;
        connection.close().await?;
        Ok(false)
    }

    /// Computes the digest of the job's input and of the roles' passwords as the server stores
    /// them: a password that was changed by hand differs from the configured one.
    async fn digest(
        &self,
        text: &[u8],
        connection: &mut PgConnection,
    ) -> Result<String, sqlx::Error> {
        let users = self
            .schemas
            .iter()
            .filter_map(|schema| schema.user.as_ref());
        let roles: Vec<&str> = users.map(|(role, _)| role.as_str()).collect();
        let stored_passwords: String = sqlx::query_scalar(
            "SELECT coalesce(string_agg(rolname || ' ' || coalesce(rolpassword, ''), E'\\n'
                                        ORDER BY rolname), '')
             FROM pg_authid WHERE rolname = ANY($1)",
        )
        .bind(&roles)
        .fetch_one(connection)
        .await?;
        Ok(self
            .digest_key
            .digest(&[text, stored_passwords.as_bytes()].concat()))
    }

    /// Sets up an empty database of the same server like a fresh one.
    ///
    /// # Errors
    /// Returns [`DatabaseError`] if a statement or a migration fails.
    pub async fn migrate_into(
        &self,
        server: &PgConnectOptions,
        name: &str,
    ) -> Result<(), DatabaseError> {
        let mut connection = PgConnection::connect_with(&server.clone().database(name)).await?;
        let mut transaction = connection.begin().await?;
        let script = self.roles_and_schemas_sql(name, ServerChanges::Omit);
        transaction.execute(AssertSqlSafe(script)).await?;
        transaction.commit().await?;
        for schema in &self.schemas {
            self.migrate_schema(&mut connection, schema).await?;
        }
        connection.close().await?;
        Ok(())
    }

    /// Returns the roles of the configuration: superuser, owners and users.
    #[must_use]
    pub fn role_names(&self) -> BTreeSet<String> {
        let users = self
            .schemas
            .iter()
            .filter_map(|schema| schema.user.as_ref());
        let users = users.map(|(user, _)| user.clone());
        let owners = self.schemas.iter().map(|schema| schema.owner.clone());
        let superuser = [self.config.user.to_string()];
        users.chain(owners).chain(superuser).collect()
    }

    /// Returns the schemas that have migrations, including that of `dm`.
    #[must_use]
    pub fn migrated_schemas(&self) -> Vec<String> {
        let has_migrations =
            |schema: &&SchemaSpec| !self.existing_migration_sets(schema).is_empty();
        let schemas = self.schemas.iter().filter(has_migrations);
        schemas.map(|schema| schema.name.clone()).collect()
    }

    /// Returns the schema's migrations whose directory exists.
    fn existing_migration_sets(&self, schema: &SchemaSpec) -> Vec<MigrationSet> {
        let mut sets = schema.migrations();
        sets.retain(|set| self.migrations_dir.join(&set.directory).is_dir());
        sets
    }

    /// Prepares the data directory for its golden image: removes the realm's keys, which every
    /// instance creates for itself, and the sessions, and minimizes its size. Keycloak must be
    /// stopped.
    ///
    /// # Errors
    /// Returns [`DatabaseError::Sql`] if a statement fails.
    pub async fn prepare_golden(&self, ports: &HostPorts) -> Result<(), DatabaseError> {
        let options = postgres::superuser_connect_options(&self.config, ports);
        let mut connection = PgConnection::connect_with(&options).await?;
        keycloak::stored_secrets::remove_keys_and_sessions(&mut connection).await?;
        // Two calls: VACUUM cannot run in an implicit transaction with another statement.
        connection.execute("VACUUM (FREEZE, ANALYZE)").await?;
        connection.execute("CHECKPOINT").await?;
        connection.close().await?;
        Ok(())
    }

    /// Applies the schema's migrations under its owner.
    async fn migrate_schema(
        &self,
        connection: &mut PgConnection,
        schema: &SchemaSpec,
    ) -> Result<(), DatabaseError> {
        let sets = self.existing_migration_sets(schema);
        if sets.is_empty() {
            return Ok(());
        }
        let (owner, name) = (
            quote_identifier(&schema.owner),
            quote_identifier(&schema.name),
        );
        connection
            .execute(AssertSqlSafe(format!(
                "SET ROLE {owner}; SET search_path = {name}"
            )))
            .await?;
        let mut applied = Ok(());
        for set in &sets {
            applied = self.run_migrations(set, connection, &schema.name).await;
            if applied.is_err() {
                break;
            }
        }
        connection.execute("RESET ROLE; RESET search_path").await?;
        applied?;
        let Some((user, _)) = schema
            .user
            .as_ref()
            .filter(|(user, _)| *user != schema.owner)
        else {
            return Ok(());
        };
        // A service reads the record of applied migrations; it must not change it.
        let user = quote_identifier(user);
        for MigrationSet { tracking_table, .. } in &sets {
            connection
                .execute(AssertSqlSafe(format!(
                    "REVOKE INSERT, UPDATE, DELETE ON {name}.{tracking_table} FROM {user}"
                )))
                .await?;
        }
        Ok(())
    }

    /// Applies the missing migrations, as the session's role.
    async fn run_migrations(
        &self,
        set: &MigrationSet,
        connection: &mut PgConnection,
        schema: &str,
    ) -> Result<(), DatabaseError> {
        let failed = |source| DatabaseError::Migrate {
            schema: schema.to_owned(),
            directory: set.directory.clone(),
            source,
        };
        let directory = self.migrations_dir.join(&set.directory);
        let mut migrator = Migrator::new(directory.as_path()).await.map_err(failed)?;
        // In the schema of the migrated tables, so that a dump of the schema contains both.
        migrator.dangerous_set_table_name(format!("{schema}.{}", set.tracking_table));
        // The session already holds its own lock.
        migrator.set_locking(false);
        migrator
            .run_direct(None, connection, false)
            .await
            .map_err(failed)
    }

    /// Returns all changes of [`DatabaseSetup::apply`] to an empty database as one script
    /// for `psql`, without the record of applied migrations.
    ///
    /// # Errors
    /// Returns [`DatabaseError::MigrationsDirectory`] if a migration cannot be read.
    pub fn init_script(&self) -> Result<String, DatabaseError> {
        let mut sql =
            self.roles_and_schemas_sql(self.config.database.as_str(), ServerChanges::Apply);
        for MigrationFile {
            schema, contents, ..
        } in self.migration_files()?
        {
            let (owner, name) = (
                quote_identifier(&schema.owner),
                quote_identifier(&schema.name),
            );
            // Writing to a string cannot fail.
            let _ = writeln!(
                sql,
                "SET ROLE {owner}; SET search_path = {name};\n{}\nRESET ROLE; RESET search_path;",
                String::from_utf8_lossy(&contents)
            );
        }
        Ok(sql)
    }

    /// Returns the SQL that creates roles and schemas and grants their rights.
    fn roles_and_schemas_sql(&self, database: &str, server_changes: ServerChanges) -> String {
        let mut sql = String::new();
        let database = quote_identifier(database);
        let mut line = |text: std::fmt::Arguments<'_>| {
            // Writing to a string cannot fail.
            let _ = writeln!(sql, "{text}");
        };
        line(format_args!(
            "REVOKE ALL ON DATABASE {database} FROM PUBLIC;"
        ));
        if server_changes == ServerChanges::Apply {
            // A staged or scratch database is prepared without the job's lock. Two sessions that
            // change the privileges on a database at the same time could fail.
            line(format_args!("{REVOKE_OTHER_DATABASES}"));
        }
        // The right to create large objects is not revoked. The reason is in docs/datastores.md.
        line(format_args!("REVOKE ALL ON SCHEMA public FROM PUBLIC;"));
        for schema in &self.schemas {
            let name = quote_identifier(&schema.name);
            let owner = quote_identifier(&schema.owner);
            line(format_args!(
                "{}",
                create_role_if_missing_sql(&schema.owner)
            ));
            line(format_args!(
                "CREATE SCHEMA IF NOT EXISTS {name} AUTHORIZATION {owner};"
            ));
            line(format_args!("ALTER SCHEMA {name} OWNER TO {owner};"));
            line(format_args!("REVOKE ALL ON SCHEMA {name} FROM PUBLIC;"));
            let Some((user, password)) = &schema.user else {
                continue;
            };
            let password = quote_literal(password);
            if *user != schema.owner {
                line(format_args!("{}", create_role_if_missing_sql(user)));
            }
            let user = quote_identifier(user);
            if server_changes == ServerChanges::Apply {
                line(format_args!("ALTER ROLE {user} LOGIN PASSWORD {password};"));
                line(format_args!("ALTER ROLE {user} SET search_path = {name};"));
            }
            line(format_args!(
                "GRANT CONNECT ON DATABASE {database} TO {user};"
            ));
            if user == owner {
                continue;
            }
            line(format_args!("GRANT USAGE ON SCHEMA {name} TO {user};"));
            for (kind, rights) in [
                ("TABLES", "SELECT, INSERT, UPDATE, DELETE"),
                ("SEQUENCES", "USAGE, SELECT"),
            ] {
                line(format_args!(
                    "GRANT {rights} ON ALL {kind} IN SCHEMA {name} TO {user};"
                ));
                line(format_args!(
                    "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {name} \
                     GRANT {rights} ON {kind} TO {user};"
                ));
            }
        }
        sql
    }

    /// Reads the migrations of every schema, in the order of application.
    fn migration_files(&self) -> Result<Vec<MigrationFile<'_>>, DatabaseError> {
        let mut all = Vec::new();
        for schema in &self.schemas {
            for set in self.existing_migration_sets(schema) {
                let directory = self.migrations_dir.join(&set.directory);
                let failed = |source| DatabaseError::MigrationsDirectory {
                    path: directory.clone(),
                    source,
                };
                let mut files = Vec::new();
                for entry in std::fs::read_dir(&directory).map_err(failed)? {
                    let path = entry.map_err(failed)?.path();
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    files.push(MigrationFile {
                        schema,
                        name: format!("{}/{name}", set.directory),
                        contents: std::fs::read(&path).map_err(failed)?,
                    });
                }
                files.sort_by(|a, b| a.name.cmp(&b.name));
                all.extend(files);
            }
        }
        Ok(all)
    }
}

/// A migration of a schema.
struct MigrationFile<'a> {
    schema: &'a SchemaSpec,
    /// Its path below the directory of all migrations.
    name: String,
    contents: Vec<u8>,
}

/// Returns the digest that was applied last, or `None` for a new database.
async fn applied_digest(connection: &mut PgConnection) -> Result<Option<String>, sqlx::Error> {
    let exists: bool =
        sqlx::query_scalar("SELECT to_regclass('dm_ops.database_setup') IS NOT NULL")
            .fetch_one(&mut *connection)
            .await?;
    if !exists {
        return Ok(None);
    }
    sqlx::query_scalar("SELECT digest FROM dm_ops.database_setup")
        .fetch_optional(connection)
        .await
}

/// Returns the SQL that creates a role: `CREATE ROLE` has no `IF NOT EXISTS`.
fn create_role_if_missing_sql(role: &str) -> String {
    format!(
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {}) \
         THEN CREATE ROLE {} NOLOGIN; END IF; END $$;",
        quote_literal(role),
        quote_identifier(role)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the setup of this repository.
    fn repository_setup() -> DatabaseSetup {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        let options = dm_config::LoadOptions {
            project_dir: Some(root.clone()),
            ..dm_config::LoadOptions::default()
        };
        let config = Config::load(&options, []).unwrap().config;
        DatabaseSetup::new(&config, &root)
    }

    #[test]
    fn setup_of_a_staged_database_changes_no_passwords_and_no_other_databases() {
        let setup = repository_setup();
        let own = setup.roles_and_schemas_sql("dundermifflin", ServerChanges::Apply);
        let staged = setup.roles_and_schemas_sql("staged", ServerChanges::Omit);
        for part in [REVOKE_OTHER_DATABASES, "LOGIN PASSWORD", "SET search_path"] {
            assert!(own.contains(part), "{part}");
            assert!(!staged.contains(part), "{part}");
        }
    }

    #[test]
    fn event_migrations_precede_those_of_the_service() {
        let database = repository_setup();
        let files = database.migration_files().unwrap();
        let names = |schema: &str| -> Vec<&str> {
            let files = files.iter().filter(|file| file.schema.name == schema);
            files.map(|file| file.name.as_str()).collect()
        };
        assert_eq!(
            names("inventory"),
            [
                "events/0001_events.sql",
                "inventory/0002_warehouse.sql",
                "inventory/0003_stock.sql",
                "inventory/0006_cancellation_and_lists.sql",
            ]
        );
        assert_eq!(names(OPS_SCHEMA)[0], "dm_ops/0001_database_setup.sql");
        assert!(names(keycloak::DATABASE_ROLE).is_empty());
    }

    #[test]
    fn lock_of_another_session_is_an_exceeded_time_limit() {
        for error in [
            DatabaseError::from(AbortReason::LockTimeout(LockWait::default())),
            DatabaseError::from(AbortReason::DeadlineExceeded(None)),
        ] {
            assert_eq!(error.exit_status(), ExitStatus::TimedOut);
        }
    }

    #[test]
    fn role_names_contain_service_or_schema() {
        assert_eq!(service_role("order"), "order_service");
        assert_eq!(owner_role("orders"), "orders_owner");
    }
}
