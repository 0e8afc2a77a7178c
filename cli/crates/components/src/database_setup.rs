//! The job that gives the database its roles, schemas and tables.
//!
//! A role a service with rights on its own schema alone, and an owner a schema,
//! under which migrations run and which no service can become. Everything is
//! idempotent: the job may be killed anywhere and simply runs again.

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

use super::lock_watch::{AbortReason, LockWait, LockWatch, WorkLimits};
use super::quote::{quote_identifier, quote_literal};
use super::{HostPorts, keycloak, node_names, postgres};

/// The job's name in the graph.
pub const NAME: &str = node_names::DATABASE;

/// The schema of `dm` itself.
pub const OPS_SCHEMA: &str = "dm_ops";

/// What a database is called that a restore makes beside the one that is served.
pub const STAGED_DATABASE_PREFIX: &str = "dm_restoring_";

/// The folder of the numbered migrations, one folder a schema below it.
const MIGRATIONS_DIR: &str = "migrations";

/// The folder below it of what the schema of every service has: outbox and inbox.
const EVENT_MIGRATIONS_DIR: &str = "events";

/// A schema with its owner and the role that uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SchemaSpec {
    name: String,
    /// Owns the schema and all in it; can't log in unless it is the user.
    owner: String,
    /// Logs in and may read and write rows; none for the schema of `dm` itself.
    user: Option<(String, String)>,
    /// Whether it is a service's, and so has an outbox and an inbox.
    has_events: bool,
}

/// Numbered migrations of a schema.
#[derive(Debug, PartialEq, Eq)]
struct MigrationSet {
    /// Their folder below that of all migrations.
    directory: String,
    /// The schema's table that records which of them were applied.
    tracking_table: &'static str,
}

impl SchemaSpec {
    /// The migrations that make the schema's tables, in the order in which they are applied.
    /// What all services share is numbered and recorded by itself: a migration that is added
    /// to it takes no number of a service's own.
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

/// What the database should hold.
#[derive(Debug, Clone)]
pub struct DatabaseSetup {
    config: dm_config::PostgresConfig,
    schemas: Vec<SchemaSpec>,
    migrations_dir: PathBuf,
    keycloak_secrets: keycloak::stored_secrets::StoredSecrets,
    digest_key: DigestKey,
}

/// What becomes of the roles, which are those of the whole server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RolePasswords {
    /// They get the passwords of the configuration.
    Apply,
    /// They stay as they are: it is about another database of a server that is in use.
    LeaveUnchanged,
}

/// Why the database could not be set up.
#[derive(Debug, Error)]
pub enum DatabaseError {
    /// The server refused or went away.
    #[error("could not set up the database: {0}")]
    Sql(#[from] sqlx::Error),
    /// A migration could not be read or applied.
    #[error("could not apply the migrations of schema `{schema}`: {source}")]
    Migrate {
        /// The schema.
        schema: String,
        /// The migrations' folder below that of all migrations.
        directory: String,
        /// Why.
        source: MigrateError,
    },
    /// Another session holds a lock.
    #[error("could not set up the database")]
    LockTimeout(#[source] LockWait),
    /// The time allowed ran out.
    #[error("could not set up the database within the time limit")]
    TimedOut(#[source] Option<LockWait>),
    /// The run was interrupted.
    #[error("interrupted")]
    Interrupted,
    /// A restore has brought the database back, and not yet the rest of the stack.
    #[error("the restore of backup `{0}` has not been completed")]
    UnfinishedRestore(String),
    /// The folder of migrations can't be read.
    #[error("could not read {}: {source}", path.display())]
    MigrationsDirectory {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl From<AbortReason> for DatabaseError {
    fn from(ended: AbortReason) -> Self {
        match ended {
            AbortReason::LockTimeout(blocked) => Self::LockTimeout(blocked),
            AbortReason::DeadlineExceeded(blocked) => Self::TimedOut(blocked),
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
            Self::TimedOut(_) => ExitStatus::TimedOut,
            Self::Interrupted => ExitStatus::Interrupted,
            _ => ExitStatus::Component,
        }
    }

    fn suggestions(&self) -> Vec<String> {
        match self {
            Self::Sql(_) => vec!["dm logs postgres".into()],
            Self::Migrate {
                directory: folder, ..
            } => vec![
                format!("correct {MIGRATIONS_DIR}/{folder}, then: dm up"),
                "or discard the existing data: dm reset".into(),
            ],
            Self::LockTimeout(blocked) | Self::TimedOut(Some(blocked)) => blocked.suggestions(),
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

/// The backup whose restore was cut short when the database was back, and not yet the rest
/// of the stack.
///
/// # Errors
/// The server fails.
pub async fn unfinished_restore(
    connection: &mut PgConnection,
) -> Result<Option<String>, sqlx::Error> {
    let known: bool = sqlx::query_scalar("SELECT to_regclass('dm_ops.restores') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    if !known {
        return Ok(None);
    }
    sqlx::query_scalar("SELECT backup_id FROM dm_ops.restores WHERE finished_at IS NULL ORDER BY restored_at DESC LIMIT 1")
        .fetch_optional(connection)
        .await
}

/// Removes what restores that were killed have made beside the database. None is running: a
/// restore has the instance's lock.
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

/// The database role of a service.
#[must_use]
pub fn service_role(service: &str) -> String {
    format!("{}_service", service.replace('-', "_"))
}

/// The role that owns a schema.
#[must_use]
pub(crate) fn owner_role(schema: &str) -> String {
    format!("{schema}_owner")
}

/// The role that uses each schema, by schema.
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
    /// The database of a configuration.
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
        let own = [
            // Keycloak makes and changes its own tables.
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
            schemas: services.chain(own).collect(),
            migrations_dir: root.join(MIGRATIONS_DIR),
            keycloak_secrets: keycloak::stored_secrets::StoredSecrets::new(config),
            digest_key: DigestKey::default(),
        }
    }

    /// The same, whose digests are keyed: they stand in the database, beside what they are of.
    #[must_use]
    pub fn with_digest_key(mut self, key: DigestKey) -> Self {
        self.digest_key = key;
        self
    }

    /// All that the job would do, as text. It holds secrets.
    ///
    /// # Errors
    /// [`DatabaseError::Folder`] where a migration can't be read.
    pub fn digest_input(&self) -> Result<Vec<u8>, DatabaseError> {
        let mut text =
            self.roles_and_schemas_sql(self.config.database.as_str(), RolePasswords::Apply);
        text.push_str(&self.keycloak_secrets.digest_input());
        let mut text = text.into_bytes();
        for file in self.migration_files()? {
            text.extend(format!("{} {}", file.schema.name, file.name).into_bytes());
            text.extend(file.contents);
        }
        Ok(text)
    }

    /// Sets up the database unless it is set up already, within these limits. True where it
    /// was.
    ///
    /// # Errors
    /// [`DatabaseError`] where the server or a migration fails, another session holds a lock,
    /// or the time is over.
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
            Ok(applied) => applied,
            Err(ended) => Err(ended.into()),
        }
    }

    async fn set_up(&self, options: &PgConnectOptions) -> Result<bool, DatabaseError> {
        let text = self.digest_input()?;
        let mut connection = PgConnection::connect_with(options).await?;
        if let Some(backup) = unfinished_restore(&mut connection).await? {
            return Err(DatabaseError::UnfinishedRestore(backup));
        }
        drop_staged_databases(&mut connection).await?;
        let digest = self.digest(&text, &mut connection).await?;
        if applied_digest(&mut connection).await?.as_deref() == Some(&digest)
            && self.keycloak_secrets.is_applied(&mut connection).await?
        {
            connection.close().await?;
            return Ok(true);
        }
        // Held by the session: a second run waits, and a killed one lets go.
        connection
            .execute("SELECT pg_advisory_lock(hashtext('dm database'))")
            .await?;
        connection.execute(postgres::DISABLE_STATEMENT_LOG).await?;
        let mut transaction = connection.begin().await?;
        transaction
            .execute(AssertSqlSafe(self.roles_and_schemas_sql(
                self.config.database.as_str(),
                RolePasswords::Apply,
            )))
            .await?;
        transaction.commit().await?;
        for schema in &self.schemas {
            self.migrate_schema(&mut connection, schema).await?;
        }
        self.keycloak_secrets.apply(&mut connection).await?;
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

    /// A digest of what the job does and of the passwords that the roles have, as the server
    /// keeps them: a password that was changed by hand is not the one of the configuration.
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
        let kept: String = sqlx::query_scalar(
            "SELECT coalesce(string_agg(rolname || ' ' || coalesce(rolpassword, ''), E'\\n'
                                        ORDER BY rolname), '')
             FROM pg_authid WHERE rolname = ANY($1)",
        )
        .bind(&roles)
        .fetch_one(connection)
        .await?;
        Ok(self.digest_key.digest(&[text, kept.as_bytes()].concat()))
    }

    /// Makes in an empty database of the same server what a fresh one would have.
    ///
    /// # Errors
    /// [`DatabaseError`] where the server or a migration fails.
    pub async fn migrate_into(
        &self,
        server: &PgConnectOptions,
        name: &str,
    ) -> Result<(), DatabaseError> {
        let mut connection = PgConnection::connect_with(&server.clone().database(name)).await?;
        let mut transaction = connection.begin().await?;
        let script = self.roles_and_schemas_sql(name, RolePasswords::LeaveUnchanged);
        transaction.execute(AssertSqlSafe(script)).await?;
        transaction.commit().await?;
        for schema in &self.schemas {
            self.migrate_schema(&mut connection, schema).await?;
        }
        connection.close().await?;
        Ok(())
    }

    /// The roles that the configuration makes: superuser, owners and users.
    #[must_use]
    pub fn role_names(&self) -> BTreeSet<String> {
        let users = self.schemas.iter().filter_map(|it| it.user.as_ref());
        let users = users.map(|(user, _)| user.clone());
        let owners = self.schemas.iter().map(|it| it.owner.clone());
        let superuser = [self.config.user.to_string()];
        users.chain(owners).chain(superuser).collect()
    }

    /// The schemas that migrations make, `dm`'s own among them.
    #[must_use]
    pub fn migrated_schemas(&self) -> Vec<String> {
        let migrated = |schema: &&SchemaSpec| !self.existing_migration_sets(schema).is_empty();
        let schemas = self.schemas.iter().filter(migrated);
        schemas.map(|schema| schema.name.clone()).collect()
    }

    /// The schema's migrations, as far as there are any.
    fn existing_migration_sets(&self, schema: &SchemaSpec) -> Vec<MigrationSet> {
        let mut sets = schema.migrations();
        sets.retain(|set| self.migrations_dir.join(&set.directory).is_dir());
        sets
    }

    /// Prepares the data directory for its golden image: without the realm's keys, which
    /// every instance makes for itself, and as small as it gets. Keycloak has stopped.
    ///
    /// # Errors
    /// [`DatabaseError::Sql`] where the server refuses.
    pub async fn prepare_golden(&self, ports: &HostPorts) -> Result<(), DatabaseError> {
        let options = postgres::superuser_connect_options(&self.config, ports);
        let mut connection = PgConnection::connect_with(&options).await?;
        keycloak::stored_secrets::remove_realm_keys(&mut connection).await?;
        // Two calls: a vacuum can't share an implicit transaction.
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
        // A service compares what was applied; to say so is not its business.
        let user = quote_identifier(user);
        for MigrationSet {
            tracking_table: record,
            ..
        } in &sets
        {
            connection
                .execute(AssertSqlSafe(format!(
                    "REVOKE INSERT, UPDATE, DELETE ON {name}.{record} FROM {user}"
                )))
                .await?;
        }
        Ok(())
    }

    /// Applies what is missing of the migrations, as the session's role.
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
        let folder = self.migrations_dir.join(&set.directory);
        let mut migrator = Migrator::new(folder.as_path()).await.map_err(failed)?;
        // Beside the tables that it speaks of, so that a dump of the schema has both.
        migrator.dangerous_set_table_name(format!("{schema}.{}", set.tracking_table));
        // The session's own lock is held already.
        migrator.set_locking(false);
        migrator
            .run_direct(None, connection, false)
            .await
            .map_err(failed)
    }

    /// All that [`Database::apply`] would do to an empty database, as one script
    /// for `psql`; without the record of applied migrations.
    ///
    /// # Errors
    /// [`DatabaseError::Folder`] where a migration can't be read.
    pub fn init_script(&self) -> Result<String, DatabaseError> {
        let mut sql =
            self.roles_and_schemas_sql(self.config.database.as_str(), RolePasswords::Apply);
        for MigrationFile {
            schema, contents, ..
        } in self.migration_files()?
        {
            let (owner, name) = (
                quote_identifier(&schema.owner),
                quote_identifier(&schema.name),
            );
            // Writing to a string can't fail.
            let _ = writeln!(
                sql,
                "SET ROLE {owner}; SET search_path = {name};\n{}\nRESET ROLE; RESET search_path;",
                String::from_utf8_lossy(&contents)
            );
        }
        Ok(sql)
    }

    /// The SQL that makes roles and schemas and gives each its rights.
    fn roles_and_schemas_sql(&self, database: &str, roles: RolePasswords) -> String {
        let mut sql = String::new();
        let database = quote_identifier(database);
        let mut line = |text: std::fmt::Arguments<'_>| {
            // Writing to a string can't fail.
            let _ = writeln!(sql, "{text}");
        };
        line(format_args!(
            "REVOKE ALL ON DATABASE {database} FROM PUBLIC;"
        ));
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
            if roles == RolePasswords::Apply {
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

    /// The migrations of every schema, in the order in which they are applied.
    fn migration_files(&self) -> Result<Vec<MigrationFile<'_>>, DatabaseError> {
        let mut all = Vec::new();
        for schema in &self.schemas {
            for set in self.existing_migration_sets(schema) {
                let folder = self.migrations_dir.join(&set.directory);
                let failed = |source| DatabaseError::MigrationsDirectory {
                    path: folder.clone(),
                    source,
                };
                let mut files = Vec::new();
                for entry in std::fs::read_dir(&folder).map_err(failed)? {
                    let path = entry.map_err(failed)?.path();
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    files.push(MigrationFile {
                        schema,
                        name: format!("{}/{name}", set.directory),
                        contents: std::fs::read(&path).map_err(failed)?,
                    });
                }
                files.sort_by(|one, other| one.name.cmp(&other.name));
                all.extend(files);
            }
        }
        Ok(all)
    }
}

/// A migration of a schema.
struct MigrationFile<'a> {
    schema: &'a SchemaSpec,
    /// Its path below the folder of all migrations.
    name: String,
    contents: Vec<u8>,
}

/// The digest that was applied last, or `None` on a database without any.
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

/// `CREATE ROLE` has no `IF NOT EXISTS`.
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

    #[test]
    fn a_service_has_outbox_and_inbox_before_its_own_tables() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        let options = dm_config::LoadOptions {
            project_dir: Some(root.clone()),
            ..dm_config::LoadOptions::default()
        };
        let config = Config::load(&options, []).unwrap().config;
        let database = DatabaseSetup::new(&config, &root);
        let files = database.migration_files().unwrap();
        let of = |schema: &str| -> Vec<&str> {
            let files = files.iter().filter(|file| file.schema.name == schema);
            files.map(|file| file.name.as_str()).collect()
        };
        assert_eq!(
            of("inventory"),
            [
                "events/0001_events.sql",
                "inventory/0002_warehouse.sql",
                "inventory/0003_stock.sql"
            ]
        );
        assert_eq!(of(OPS_SCHEMA)[0], "dm_ops/0001_database_setup.sql");
        assert!(of(keycloak::DATABASE_ROLE).is_empty());
    }

    #[test]
    fn roles_are_named_by_their_owners() {
        assert_eq!(service_role("order"), "order_service");
        assert_eq!(owner_role("orders"), "orders_owner");
    }
}
