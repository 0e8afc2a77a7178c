//! The roles of the database server, saved and restored with a backup.
//!
//! A dump of a database names roles and does not create them. The configuration creates its own
//! roles: a restore does not, and their passwords are not saved. A role that the server lacks is
//! created before the database is restored, without login and privileges. It gets its attributes in
//! the transaction that swaps the databases. An existing role is left unchanged, because it reflects
//! a current decision.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, FromRow, PgConnection};

use super::BackupError;
use super::quote::{quote_identifier, quote_literal, set_clause};

/// The comment on a role that a restore has created and not granted its privileges yet.
const PENDING_ROLE_COMMENT: &str = "made by a restore of dm that is under way";

/// A role at the time of the backup.
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
    /// The verifier of the password; `None` for roles of the configuration.
    password: Option<String>,
    valid_until: Option<String>,
    comment: Option<String>,
    /// The settings in every database, each as `name=value`.
    settings: Vec<String>,
}

/// The membership of a role in another role.
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
    /// Reads the roles of the server, in the snapshot of a session.
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

    /// Creates the roles that the server lacks, without privileges.
    pub(super) async fn create_missing(
        &self,
        session: &mut PgConnection,
        configured_roles: &BTreeSet<String>,
    ) -> Result<MissingRoles, BackupError> {
        let existing = Self::read(session, configured_roles).await?;
        let existing_by_name: BTreeMap<&str, &DatabaseRole> = existing.by_name();
        let mut missing = MissingRoles::default();
        for role in &self.roles {
            if configured_roles.contains(&role.name) {
                continue;
            }
            match existing_by_name.get(role.name.as_str()) {
                None => {
                    let name = quote_identifier(&role.name);
                    let create = format!(
                        "BEGIN; CREATE ROLE {name} NOLOGIN;
                         COMMENT ON ROLE {name} IS {}; COMMIT",
                        quote_literal(PENDING_ROLE_COMMENT)
                    );
                    sqlx::raw_sql(AssertSqlSafe(create))
                        .execute(&mut *session)
                        .await?;
                    missing.created.insert(role.name.clone());
                }
                Some(current) if !role.has_same_attributes(current) => {
                    missing.differing.push(role.name.clone())
                }
                Some(_) => {}
            }
        }
        missing.grant_statements =
            self.grant_statements(&missing.created, configured_roles, &existing);
        let lost = self.memberships.iter().filter(|saved| {
            let is_new =
                missing.created.contains(&saved.role) || missing.created.contains(&saved.member);
            let mut current = existing.memberships.iter();
            !is_new && !current.any(|current| saved.has_same_roles(current))
        });
        missing.lost_memberships = lost
            .map(|lost| format!("{} is no longer a member of {}", lost.member, lost.role))
            .collect();
        missing.lost_memberships.dedup();
        Ok(missing)
    }

    fn by_name(&self) -> BTreeMap<&str, &DatabaseRole> {
        let roles = self.roles.iter();
        roles.map(|role| (role.name.as_str(), role)).collect()
    }

    /// Returns the statements that restore the attributes and memberships of the created roles, and
    /// the settings of all roles.
    fn grant_statements(
        &self,
        created: &BTreeSet<String>,
        configured_roles: &BTreeSet<String>,
        existing: &Self,
    ) -> Vec<String> {
        let mut statements = Vec::new();
        let existing = existing.by_name();
        for role in &self.roles {
            let name = quote_identifier(&role.name);
            if created.contains(&role.name) {
                statements.push(role.alter_statement());
                let comment = role
                    .comment
                    .as_deref()
                    .map_or("NULL".to_owned(), quote_literal);
                statements.push(format!("COMMENT ON ROLE {name} IS {comment}"));
            }
            let current = existing.get(role.name.as_str());
            for pair in &role.settings {
                // The configuration sets the search path of its roles.
                let is_configured =
                    configured_roles.contains(&role.name) && pair.starts_with("search_path=");
                let is_set = current.is_some_and(|current| current.settings.contains(pair));
                if !is_configured
                    && !is_set
                    && let Some(clause) = set_clause(pair)
                {
                    statements.push(format!("ALTER ROLE {name} {clause}"));
                }
            }
        }
        for membership in &self.memberships {
            if created.contains(&membership.role) || created.contains(&membership.member) {
                statements.push(membership.grant_statement());
            }
        }
        statements
    }
}

impl DatabaseRole {
    /// Returns whether two roles have the same attributes. Password, comment and settings may
    /// differ.
    fn has_same_attributes(&self, other: &Self) -> bool {
        let attributes = |role: &Self| Self {
            password: None,
            comment: None,
            settings: Vec::new(),
            ..role.clone()
        };
        attributes(self) == attributes(other)
    }

    fn alter_statement(&self) -> String {
        let option = |is_set: bool, name: &str| format!("{}{name}", if is_set { "" } else { "NO" });
        let mut text = format!(
            "ALTER ROLE {} WITH {} {} {} {} {} {} {} CONNECTION LIMIT {}",
            quote_identifier(&self.name),
            option(self.superuser, "SUPERUSER"),
            option(self.inherits, "INHERIT"),
            option(self.creates_roles, "CREATEROLE"),
            option(self.creates_databases, "CREATEDB"),
            option(self.can_log_in, "LOGIN"),
            option(self.replication, "REPLICATION"),
            option(self.bypasses_row_security, "BYPASSRLS"),
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

/// The roles of a backup that the server lacked or that differ.
#[derive(Debug, Default)]
pub(super) struct MissingRoles {
    /// The roles that were created, without privileges yet.
    created: BTreeSet<String>,
    /// The existing roles with other attributes than in the backup.
    differing: Vec<String>,
    /// The memberships of existing roles that were revoked after the backup.
    lost_memberships: Vec<String>,
    /// The statements that restore the created roles.
    pub(super) grant_statements: Vec<String>,
}

impl MissingRoles {
    /// Returns notes for the user.
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

    /// Returns the differences from the backup after the restore.
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

/// Removes the roles that an unfinished restore has created.
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
        // A role that owns objects in the meantime cannot be dropped.
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
    fn grant_statements_restore_created_roles_and_their_memberships() {
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
        let configured = BTreeSet::from(["orders_service".to_owned()]);
        let created = BTreeSet::from(["report ing".to_owned()]);
        let statements = roles.grant_statements(&created, &configured, &DatabaseRoles::default());
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
    fn has_same_attributes_ignores_the_password() {
        let (one, mut other) = (role("a"), role("a"));
        other.password = None;
        assert!(one.has_same_attributes(&other));
        other.creates_databases = true;
        assert!(!one.has_same_attributes(&other));
    }
}
