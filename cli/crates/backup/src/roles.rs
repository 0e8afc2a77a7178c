//! The roles of a database's server, saved with a set and brought back with it.
//!
//! A dump of a database names roles and does not make them. Those that the configuration
//! makes stay out of it, passwords included. A role that is missing on the server is made
//! before the database is restored, as one that can't log in and has no rights; it becomes
//! what it was in the very transaction in which the database takes its place. A role that is
//! there is somebody's decision of today, and stays as it is.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, FromRow, PgConnection};

use super::BackupError;
use super::quote::{quote_identifier, quote_literal, set_clause};

/// What a role is commented with that a restore has made and not given its rights yet.
const PENDING_ROLE_COMMENT: &str = "made by a restore of dm that is under way";

/// A role, as it was when the set was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, FromRow)]
pub(super) struct DatabaseRole {
    name: String,
    superuser: bool,
    inherits: bool,
    creates_roles: bool,
    creates_databases: bool,
    can_log_in: bool,
    replication: bool,
    bypasses_row_security: bool,
    connection_limit: i32,
    /// The verifier of its password; never that of a role of the configuration.
    password: Option<String>,
    valid_until: Option<String>,
    comment: Option<String>,
    /// Its settings in every database, each as `name=value`.
    settings: Vec<String>,
}

/// That a role has the rights of another one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, FromRow)]
pub(super) struct RoleMembership {
    role: String,
    member: String,
    admin: bool,
    inherit: bool,
    set: bool,
}

/// The roles of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DatabaseRoles {
    roles: Vec<DatabaseRole>,
    memberships: Vec<RoleMembership>,
}

impl DatabaseRoles {
    /// The roles of the session's server, as the session sees them. `own` are those of the
    /// configuration.
    pub(super) async fn read(
        session: &mut PgConnection,
        configured_roles: &BTreeSet<String>,
    ) -> Result<Self, BackupError> {
        let mut roles: Vec<DatabaseRole> = sqlx::query_as(
            "SELECT rolname::text AS name, rolsuper AS superuser, rolinherit AS inherits,
                    rolcreaterole AS creates_roles, rolcreatedb AS creates_databases,
                    rolcanlogin AS can_log_in, rolreplication AS replication,
                    rolbypassrls AS bypasses_row_security, rolconnlimit AS connection_limit,
                    rolpassword AS password, rolvaliduntil::text AS valid_until,
                    shobj_description(role.oid, 'pg_authid') AS comment,
                    coalesce(setconfig, '{}') AS settings
               FROM pg_authid AS role
               LEFT JOIN pg_db_role_setting ON setrole = role.oid AND setdatabase = 0
              WHERE rolname !~ '^pg_' ORDER BY rolname",
        )
        .fetch_all(&mut *session)
        .await?;
        for role in &mut roles {
            if configured_roles.contains(&role.name) {
                role.password = None;
            }
        }
        let memberships = sqlx::query_as(
            "SELECT role.rolname::text AS role, member.rolname::text AS member,
                    admin_option AS admin,
                    coalesce((to_jsonb(granted)->>'inherit_option')::boolean, true) AS inherit,
                    coalesce((to_jsonb(granted)->>'set_option')::boolean, true) AS set
               FROM pg_auth_members AS granted
               JOIN pg_roles AS role ON role.oid = roleid
               JOIN pg_roles AS member ON member.oid = member
              WHERE member.rolname !~ '^pg_'
              ORDER BY 1, 2, 3, 4, 5",
        )
        .fetch_all(session)
        .await?;
        Ok(Self { roles, memberships })
    }

    /// Makes those that the session's server lacks, without any right.
    pub(super) async fn create_missing(
        &self,
        session: &mut PgConnection,
        configured_roles: &BTreeSet<String>,
    ) -> Result<MissingRoles, BackupError> {
        let there = Self::read(session, configured_roles).await?;
        let known: BTreeMap<&str, &DatabaseRole> = there.by_name();
        let mut missing = MissingRoles::default();
        for role in &self.roles {
            if configured_roles.contains(&role.name) {
                continue;
            }
            match known.get(role.name.as_str()) {
                None => {
                    let name = quote_identifier(&role.name);
                    let made = format!(
                        "BEGIN; CREATE ROLE {name} NOLOGIN;
                         COMMENT ON ROLE {name} IS {}; COMMIT",
                        quote_literal(PENDING_ROLE_COMMENT)
                    );
                    sqlx::raw_sql(AssertSqlSafe(made))
                        .execute(&mut *session)
                        .await?;
                    missing.created.insert(role.name.clone());
                }
                Some(today) if !role.has_same_attributes(today) => {
                    missing.differing.push(role.name.clone())
                }
                Some(_) => {}
            }
        }
        missing.grant_statements =
            self.grant_statements(&missing.created, configured_roles, &there);
        let lost = self.memberships.iter().filter(|it| {
            let is_new = missing.created.contains(&it.role) || missing.created.contains(&it.member);
            !is_new && !there.memberships.iter().any(|now| it.has_same_roles(now))
        });
        missing.lost_memberships = lost
            .map(|it| format!("{} is no longer a member of {}", it.member, it.role))
            .collect();
        missing.lost_memberships.dedup();
        Ok(missing)
    }

    fn by_name(&self) -> BTreeMap<&str, &DatabaseRole> {
        let roles = self.roles.iter();
        roles.map(|role| (role.name.as_str(), role)).collect()
    }

    /// What makes of these roles what they were, and of the settings of all roles.
    fn grant_statements(
        &self,
        made: &BTreeSet<String>,
        configured_roles: &BTreeSet<String>,
        there: &Self,
    ) -> Vec<String> {
        let mut statements = Vec::new();
        let today = there.by_name();
        for role in &self.roles {
            let name = quote_identifier(&role.name);
            if made.contains(&role.name) {
                statements.push(role.alter_statement());
                let comment = role
                    .comment
                    .as_deref()
                    .map_or("NULL".to_owned(), quote_literal);
                statements.push(format!("COMMENT ON ROLE {name} IS {comment}"));
            }
            let now = today.get(role.name.as_str());
            for pair in &role.settings {
                // The configuration gives its roles the path of their schema.
                let is_own =
                    configured_roles.contains(&role.name) && pair.starts_with("search_path=");
                let is_set = now.is_some_and(|now| now.settings.contains(pair));
                if !is_own
                    && !is_set
                    && let Some(set) = set_clause(pair)
                {
                    statements.push(format!("ALTER ROLE {name} {set}"));
                }
            }
        }
        for granted in &self.memberships {
            if made.contains(&granted.role) || made.contains(&granted.member) {
                statements.push(granted.grant_statement());
            }
        }
        statements
    }
}

impl DatabaseRole {
    /// Whether another one may do the same. A password may have been changed since.
    fn has_same_attributes(&self, other: &Self) -> bool {
        let plain = |role: &Self| Self {
            password: None,
            comment: None,
            settings: Vec::new(),
            ..role.clone()
        };
        plain(self) == plain(other)
    }

    fn alter_statement(&self) -> String {
        let word = |yes: bool, word: &str| format!("{}{word}", if yes { "" } else { "NO" });
        let mut text = format!(
            "ALTER ROLE {} WITH {} {} {} {} {} {} {} CONNECTION LIMIT {}",
            quote_identifier(&self.name),
            word(self.superuser, "SUPERUSER"),
            word(self.inherits, "INHERIT"),
            word(self.creates_roles, "CREATEROLE"),
            word(self.creates_databases, "CREATEDB"),
            word(self.can_log_in, "LOGIN"),
            word(self.replication, "REPLICATION"),
            word(self.bypasses_row_security, "BYPASSRLS"),
            self.connection_limit,
        );
        if let Some(password) = &self.password {
            text.push_str(&format!(" PASSWORD {}", quote_literal(password)));
        }
        if let Some(until) = &self.valid_until {
            text.push_str(&format!(" VALID UNTIL {}", quote_literal(until)));
        }
        text
    }
}

impl RoleMembership {
    fn has_same_roles(&self, other: &Self) -> bool {
        self.role == other.role && self.member == other.member
    }

    fn grant_statement(&self) -> String {
        format!(
            "GRANT {} TO {} WITH ADMIN {}, INHERIT {}, SET {}",
            quote_identifier(&self.role),
            quote_identifier(&self.member),
            self.admin,
            self.inherit,
            self.set,
        )
    }
}

/// What the server lacked of a set's roles.
#[derive(Debug, Default)]
pub(super) struct MissingRoles {
    /// Those that were made, without any right yet.
    created: BTreeSet<String>,
    /// Those that are there and may do something else than they might.
    differing: Vec<String>,
    /// Memberships of roles that are there, and that somebody has ended since.
    lost_memberships: Vec<String>,
    /// What gives the new ones their rights.
    pub(super) grant_statements: Vec<String>,
}

impl MissingRoles {
    /// What a user should know of it.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.created.is_empty() {
            let names: Vec<&str> = self.created.iter().map(String::as_str).collect();
            notes.push(format!(
                "roles created as in the backup: {}",
                names.join(", ")
            ));
        }
        notes
    }

    /// What differs from the backup afterwards.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.differing.is_empty() {
            warnings.push(format!(
                "roles that keep other attributes than in the backup: {}",
                self.differing.join(", ")
            ));
        }
        if !self.lost_memberships.is_empty() {
            warnings.push(format!(
                "role memberships of the backup that were not restored: {}",
                self.lost_memberships.join(", ")
            ));
        }
        warnings
    }
}

/// Removes the roles that a restore has made and not come to use.
pub(super) async fn drop_leftover_roles(session: &mut PgConnection) -> Result<(), BackupError> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT rolname::text FROM pg_roles
          WHERE NOT rolcanlogin AND shobj_description(oid, 'pg_authid') = $1",
    )
    .bind(PENDING_ROLE_COMMENT)
    .fetch_all(&mut *session)
    .await?;
    for name in names {
        let drop = format!("DROP ROLE IF EXISTS {}", quote_identifier(&name));
        // One that somebody has given something since is in use.
        if let Err(error) = sqlx::raw_sql(AssertSqlSafe(drop))
            .execute(&mut *session)
            .await
        {
            tracing::debug!(%error, name, "could not remove a role");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str) -> DatabaseRole {
        DatabaseRole {
            name: name.to_owned(),
            superuser: false,
            inherits: true,
            creates_roles: false,
            creates_databases: false,
            can_log_in: true,
            replication: false,
            bypasses_row_security: false,
            connection_limit: -1,
            password: Some("SCRAM-SHA-256$4096:a'b".to_owned()),
            valid_until: None,
            comment: Some("it's read-only".to_owned()),
            settings: vec!["search_path=orders, public".to_owned()],
        }
    }

    #[test]
    fn a_role_that_was_made_becomes_what_it_was() {
        let roles = DatabaseRoles {
            roles: vec![role("orders_service"), role("report ing")],
            memberships: vec![RoleMembership {
                role: "pg_read_all_data".to_owned(),
                member: "report ing".to_owned(),
                admin: false,
                inherit: true,
                set: false,
            }],
        };
        let own = BTreeSet::from(["orders_service".to_owned()]);
        let made = BTreeSet::from(["report ing".to_owned()]);
        let statements = roles.grant_statements(&made, &own, &DatabaseRoles::default());
        assert_eq!(
            statements,
            [
                "ALTER ROLE \"report ing\" WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN \
                 NOREPLICATION NOBYPASSRLS CONNECTION LIMIT -1 PASSWORD 'SCRAM-SHA-256$4096:a''b'",
                "COMMENT ON ROLE \"report ing\" IS 'it''s read-only'",
                "ALTER ROLE \"report ing\" SET \"search_path\" TO orders, public",
                "GRANT \"pg_read_all_data\" TO \"report ing\" WITH ADMIN false, INHERIT true, \
                 SET false",
            ]
        );
    }

    #[test]
    fn a_changed_password_is_no_difference() {
        let (one, mut other) = (role("a"), role("a"));
        other.password = None;
        assert!(one.has_same_attributes(&other));
        other.creates_databases = true;
        assert!(!one.has_same_attributes(&other));
    }
}
