//! Properties of a database that are not in its dump: roles, settings and privileges of the
//! database, its collation, its comment, and the extensions that it requires.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, FromRow, PgConnection};

use super::BackupError;
use super::quote::{quote_identifier, quote_literal, set_clause};
use super::roles::{DatabaseRoles, MissingRoles};

/// The file in a backup.
pub(super) const FILE_NAME: &str = "server.json";

/// Properties of a database that are not in its dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ServerMetadata {
    pub(super) roles: DatabaseRoles,
    database: DatabaseProperties,
    settings: Vec<DatabaseSetting>,
    rights: Vec<DatabaseGrant>,
    extensions: Vec<Extension>,
    /// The tablespaces that the database uses, except the default one.
    tablespaces: Vec<String>,
}

/// The properties of the database itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, FromRow)]
struct DatabaseProperties {
    owner: String,
    encoding: String,
    provider: String,
    collate: String,
    ctype: String,
    locale: Option<String>,
    icu_rules: Option<String>,
    connection_limit: i32,
    tablespace: String,
    comment: Option<String>,
}

/// Settings of the database, for all or for one role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, FromRow)]
struct DatabaseSetting {
    role: Option<String>,
    /// Each as `name=value`.
    values: Vec<String>,
}

/// A privilege on the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, FromRow)]
struct DatabaseGrant {
    /// The role with the privilege, or `None` for `PUBLIC`.
    grantee: Option<String>,
    privilege: String,
    grantable: bool,
}

/// An extension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, FromRow)]
struct Extension {
    name: String,
    version: String,
}

impl ServerMetadata {
    /// Reads the metadata of the database of a session, in its snapshot.
    pub(super) async fn read(
        session: &mut PgConnection,
        configured_roles: &BTreeSet<String>,
    ) -> Result<Self, BackupError> {
        let roles = DatabaseRoles::read(session, configured_roles).await?;
        let database = sqlx::query_as(
            "SELECT pg_get_userbyid(datdba)::text AS owner,
                    pg_encoding_to_char(encoding)::text AS encoding,
                    CASE datlocprovider WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin'
                                        ELSE 'libc' END AS provider,
                    datcollate::text AS collate, datctype::text AS ctype,
                    to_jsonb(it)->>'datlocale' AS locale,
                    to_jsonb(it)->>'daticurules' AS icu_rules,
                    datconnlimit AS connection_limit, spcname::text AS tablespace,
                    shobj_description(it.oid, 'pg_database') AS comment
               FROM pg_database AS it JOIN pg_tablespace AS space ON space.oid = dattablespace
              WHERE datname = current_database()",
        )
        .fetch_one(&mut *session)
        .await?;
        let settings = sqlx::query_as(
            "SELECT rolname::text AS role, setconfig AS values
               FROM pg_db_role_setting LEFT JOIN pg_roles ON pg_roles.oid = setrole
              WHERE setdatabase = (SELECT oid FROM pg_database
                                    WHERE datname = current_database())
              ORDER BY rolname",
        )
        .fetch_all(&mut *session)
        .await?;
        let rights = sqlx::query_as(
            "SELECT rolname::text AS grantee, privilege_type AS privilege,
                    is_grantable AS grantable
               FROM pg_database,
                    aclexplode(coalesce(datacl, acldefault('d', datdba))) AS given
               LEFT JOIN pg_roles ON pg_roles.oid = grantee
              WHERE datname = current_database() AND grantee <> datdba
              ORDER BY 1, 2",
        )
        .fetch_all(&mut *session)
        .await?;
        let extensions = sqlx::query_as(
            "SELECT extname::text AS name, extversion AS version FROM pg_extension
              ORDER BY extname",
        )
        .fetch_all(&mut *session)
        .await?;
        let tablespaces = sqlx::query_scalar(
            "SELECT DISTINCT spcname::text FROM pg_class
               JOIN pg_tablespace ON pg_tablespace.oid = reltablespace
              WHERE spcname !~ '^pg_' ORDER BY 1",
        )
        .fetch_all(session)
        .await?;
        Ok(Self {
            roles,
            database,
            settings,
            rights,
            extensions,
            tablespaces,
        })
    }

    /// Checks that the server has the extensions, which a restore cannot create.
    ///
    /// # Errors
    /// Returns [`BackupError::MissingExtensions`] if the server lacks extensions.
    pub(super) async fn check_extensions(
        &self,
        session: &mut PgConnection,
    ) -> Result<(), BackupError> {
        let available: BTreeSet<String> =
            sqlx::query_scalar("SELECT name::text FROM pg_available_extensions")
                .fetch_all(session)
                .await?
                .into_iter()
                .collect();
        let required = self.extensions.iter().map(|extension| &extension.name);
        let missing = required.filter(|name| !available.contains(*name));
        let missing: Vec<String> = missing.cloned().collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(BackupError::MissingExtensions(missing))
        }
    }

    /// Returns the tablespaces that the server lacks.
    pub(super) async fn missing_tablespaces(
        &self,
        session: &mut PgConnection,
    ) -> Result<Vec<String>, BackupError> {
        let available: BTreeSet<String> =
            sqlx::query_scalar("SELECT spcname::text FROM pg_tablespace")
                .fetch_all(session)
                .await?
                .into_iter()
                .collect();
        let required = self.tablespaces.iter().chain([&self.database.tablespace]);
        let missing = required.filter(|name| !available.contains(*name));
        let missing: BTreeSet<&String> = missing.collect();
        Ok(missing.into_iter().cloned().collect())
    }

    /// Returns the connection limit of the database.
    pub(super) const fn connection_limit(&self) -> i32 {
        self.database.connection_limit
    }

    /// Returns the statement that creates the empty database. Until the restore is finished, only a
    /// superuser can connect to it.
    pub(super) fn create_statement(&self, name: &str, missing_tablespaces: &[String]) -> String {
        let database = &self.database;
        let mut text = format!(
            "CREATE DATABASE {} TEMPLATE template0 OWNER {} ENCODING {} LOCALE_PROVIDER {}
                 LC_COLLATE {} LC_CTYPE {} CONNECTION LIMIT 0",
            quote_identifier(name),
            quote_identifier(&database.owner),
            quote_literal(&database.encoding),
            database.provider,
            quote_literal(&database.collate),
            quote_literal(&database.ctype),
        );
        if let Some(locale) = &database.locale {
            let keyword = if database.provider == "icu" {
                "ICU_LOCALE"
            } else {
                "BUILTIN_LOCALE"
            };
            text.push_str(&format!(" {keyword} {}", quote_literal(locale)));
        }
        if let Some(rules) = &database.icu_rules {
            text.push_str(&format!(" ICU_RULES {}", quote_literal(rules)));
        }
        if !missing_tablespaces.contains(&database.tablespace) {
            text.push_str(&format!(
                " TABLESPACE {}",
                quote_identifier(&database.tablespace)
            ));
        }
        text
    }

    /// Applies settings, privileges and comment to a database. Returns the refusals of the server.
    pub(super) async fn apply(
        &self,
        session: &mut PgConnection,
        name: &str,
    ) -> Result<Vec<String>, BackupError> {
        let mut refused = Vec::new();
        for statement in self.property_statements(name) {
            match sqlx::raw_sql(AssertSqlSafe(statement.clone()))
                .execute(&mut *session)
                .await
            {
                Ok(_) => {}
                Err(sqlx::Error::Database(error)) => {
                    let statement = statement.replace(&quote_identifier(name), "the database");
                    refused.push(format!("{statement}: {}", error.message()));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(refused)
    }

    fn property_statements(&self, name: &str) -> Vec<String> {
        let name = quote_identifier(name);
        let mut statements = Vec::new();
        for grant in &self.rights {
            let to = grant
                .grantee
                .as_deref()
                .map_or("PUBLIC".to_owned(), quote_identifier);
            let option = if grant.grantable {
                " WITH GRANT OPTION"
            } else {
                ""
            };
            statements.push(format!(
                "GRANT {} ON DATABASE {name} TO {to}{option}",
                grant.privilege
            ));
        }
        if let Some(comment) = &self.database.comment {
            statements.push(format!(
                "COMMENT ON DATABASE {name} IS {}",
                quote_literal(comment)
            ));
        }
        // Settings come last, because they apply to later sessions.
        for setting in &self.settings {
            for clause in setting.values.iter().filter_map(|pair| set_clause(pair)) {
                statements.push(match &setting.role {
                    Some(role) => {
                        let role = quote_identifier(role);
                        format!("ALTER ROLE {role} IN DATABASE {name} {clause}")
                    }
                    None => format!("ALTER DATABASE {name} {clause}"),
                });
            }
        }
        statements
    }

    /// Creates the roles that the server lacks, without privileges.
    pub(super) async fn create_missing_roles(
        &self,
        session: &mut PgConnection,
        configured_roles: &BTreeSet<String>,
    ) -> Result<MissingRoles, BackupError> {
        self.roles.create_missing(session, configured_roles).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> ServerMetadata {
        ServerMetadata {
            roles: DatabaseRoles::default(),
            database: DatabaseProperties {
                owner: "dunder".to_owned(),
                encoding: "UTF8".to_owned(),
                provider: "icu".to_owned(),
                collate: "C.UTF-8".to_owned(),
                ctype: "C.UTF-8".to_owned(),
                locale: Some("en-US".to_owned()),
                icu_rules: None,
                connection_limit: 7,
                tablespace: "fast".to_owned(),
                comment: Some("it's ours".to_owned()),
            },
            settings: vec![
                DatabaseSetting {
                    role: None,
                    values: vec!["timezone=Europe/Berlin".to_owned()],
                },
                DatabaseSetting {
                    role: Some("order_service".to_owned()),
                    values: vec!["work_mem=64MB".to_owned()],
                },
            ],
            rights: vec![DatabaseGrant {
                grantee: None,
                privilege: "TEMPORARY".to_owned(),
                grantable: false,
            }],
            extensions: Vec::new(),
            tablespaces: Vec::new(),
        }
    }

    #[test]
    fn create_statement_keeps_the_locale_and_refuses_connections() {
        let statement = metadata().create_statement("d", &[]);
        assert!(statement.contains("CONNECTION LIMIT 0"), "{statement}");
        assert!(statement.contains("ICU_LOCALE 'en-US'"), "{statement}");
        assert!(statement.ends_with("TABLESPACE \"fast\""), "{statement}");
        let without_tablespace = metadata().create_statement("d", &["fast".to_owned()]);
        assert!(
            !without_tablespace.contains("TABLESPACE"),
            "{without_tablespace}"
        );
    }

    #[test]
    fn property_statements_restore_grants_comment_and_settings() {
        assert_eq!(
            metadata().property_statements("d"),
            [
                "GRANT TEMPORARY ON DATABASE \"d\" TO PUBLIC",
                "COMMENT ON DATABASE \"d\" IS 'it''s ours'",
                "ALTER DATABASE \"d\" SET \"timezone\" TO 'Europe/Berlin'",
                "ALTER ROLE \"order_service\" IN DATABASE \"d\" SET \"work_mem\" TO '64MB'",
            ]
        );
    }
}
