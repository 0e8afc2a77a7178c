//! What a database has from its server and no dump of it holds: roles, its own settings and
//! rights, its collation, its comment, the extensions that it needs.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, FromRow, PgConnection};

use super::BackupError;
use super::quote::{quote_identifier, quote_literal, set_clause};
use super::roles::{DatabaseRoles, MissingRoles};

/// The file of a set that has it.
pub(super) const FILE_NAME: &str = "server.json";

/// What a database has from its server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ServerMetadata {
    pub(super) roles: DatabaseRoles,
    database: DatabaseProperties,
    settings: Vec<DatabaseSetting>,
    rights: Vec<DatabaseGrant>,
    extensions: Vec<Extension>,
    /// The tablespaces that something of it is in, but the customary one.
    tablespaces: Vec<String>,
}

/// The database itself.
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

/// A right on the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, FromRow)]
struct DatabaseGrant {
    /// Who has it; everybody where there is no name.
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
    /// That of the session's database, as the session sees it. `own` are the roles of the
    /// configuration.
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

    /// Checks that the session's server has what can't be made.
    ///
    /// # Errors
    /// [`BackupError::NoExtension`] for extensions that it lacks.
    pub(super) async fn check_extensions(
        &self,
        session: &mut PgConnection,
    ) -> Result<(), BackupError> {
        let there: BTreeSet<String> =
            sqlx::query_scalar("SELECT name::text FROM pg_available_extensions")
                .fetch_all(session)
                .await?
                .into_iter()
                .collect();
        let needed = self.extensions.iter().map(|it| &it.name);
        let missing: Vec<String> = needed.filter(|it| !there.contains(*it)).cloned().collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(BackupError::MissingExtensions(missing))
        }
    }

    /// The tablespaces that the session's server lacks.
    pub(super) async fn missing_tablespaces(
        &self,
        session: &mut PgConnection,
    ) -> Result<Vec<String>, BackupError> {
        let there: BTreeSet<String> = sqlx::query_scalar("SELECT spcname::text FROM pg_tablespace")
            .fetch_all(session)
            .await?
            .into_iter()
            .collect();
        let needed = self.tablespaces.iter().chain([&self.database.tablespace]);
        let missing: BTreeSet<&String> = needed.filter(|it| !there.contains(*it)).collect();
        Ok(missing.into_iter().cloned().collect())
    }

    /// How many sessions may be in the database, unless it is closed.
    pub(super) const fn connection_limit(&self) -> i32 {
        self.database.connection_limit
    }

    /// What makes the empty database. Only a superuser is let in before it is opened.
    pub(super) fn create_statement(&self, name: &str, missing_tablespaces: &[String]) -> String {
        let it = &self.database;
        let mut text = format!(
            "CREATE DATABASE {} TEMPLATE template0 OWNER {} ENCODING {} LOCALE_PROVIDER {}
                 LC_COLLATE {} LC_CTYPE {} CONNECTION LIMIT 0",
            quote_identifier(name),
            quote_identifier(&it.owner),
            quote_literal(&it.encoding),
            it.provider,
            quote_literal(&it.collate),
            quote_literal(&it.ctype),
        );
        if let Some(locale) = &it.locale {
            let word = if it.provider == "icu" {
                "ICU_LOCALE"
            } else {
                "BUILTIN_LOCALE"
            };
            text.push_str(&format!(" {word} {}", quote_literal(locale)));
        }
        if let Some(rules) = &it.icu_rules {
            text.push_str(&format!(" ICU_RULES {}", quote_literal(rules)));
        }
        if !missing_tablespaces.contains(&it.tablespace) {
            text.push_str(&format!(" TABLESPACE {}", quote_identifier(&it.tablespace)));
        }
        text
    }

    /// Gives a database its settings, rights and comment. Answers what the server does not
    /// take.
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
                    let what = statement.replace(&quote_identifier(name), "the database");
                    refused.push(format!("{what}: {}", error.message()));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(refused)
    }

    fn property_statements(&self, name: &str) -> Vec<String> {
        let name = quote_identifier(name);
        let mut statements = Vec::new();
        for right in &self.rights {
            let to = right
                .grantee
                .as_deref()
                .map_or("PUBLIC".to_owned(), quote_identifier);
            let option = if right.grantable {
                " WITH GRANT OPTION"
            } else {
                ""
            };
            statements.push(format!(
                "GRANT {} ON DATABASE {name} TO {to}{option}",
                right.privilege
            ));
        }
        if let Some(comment) = &self.database.comment {
            statements.push(format!(
                "COMMENT ON DATABASE {name} IS {}",
                quote_literal(comment)
            ));
        }
        // Last: they hold for sessions that come later.
        for setting_of in &self.settings {
            for set in setting_of.values.iter().filter_map(|pair| set_clause(pair)) {
                statements.push(match &setting_of.role {
                    Some(role) => {
                        let role = quote_identifier(role);
                        format!("ALTER ROLE {role} IN DATABASE {name} {set}")
                    }
                    None => format!("ALTER DATABASE {name} {set}"),
                });
            }
        }
        statements
    }

    /// Makes the roles that the session's server lacks, without any right.
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

    fn side() -> ServerMetadata {
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
    fn a_database_is_made_as_it_was_and_closed() {
        let made = side().create_statement("d", &[]);
        assert!(made.contains("CONNECTION LIMIT 0"), "{made}");
        assert!(made.contains("ICU_LOCALE 'en-US'"), "{made}");
        assert!(made.ends_with("TABLESPACE \"fast\""), "{made}");
        let elsewhere = side().create_statement("d", &["fast".to_owned()]);
        assert!(!elsewhere.contains("TABLESPACE"), "{elsewhere}");
    }

    #[test]
    fn settings_rights_and_comment_are_said_again() {
        assert_eq!(
            side().property_statements("d"),
            [
                "GRANT TEMPORARY ON DATABASE \"d\" TO PUBLIC",
                "COMMENT ON DATABASE \"d\" IS 'it''s ours'",
                "ALTER DATABASE \"d\" SET \"timezone\" TO 'Europe/Berlin'",
                "ALTER ROLE \"order_service\" IN DATABASE \"d\" SET \"work_mem\" TO '64MB'",
            ]
        );
    }
}
