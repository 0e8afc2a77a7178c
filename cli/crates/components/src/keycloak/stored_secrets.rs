//! The secrets that Keycloak keeps in its database. It takes them from the configuration at
//! its first start alone, so that later ones are put there before it starts.

use aws_lc_rs::pbkdf2;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use dm_config::Config;
use serde_json::json;
use sqlx::postgres::PgConnection;

use super::DATABASE_ROLE;
use crate::openldap;

/// The client of the gateway.
const GATEWAY_CLIENT: &str = "dunder-mifflin-gateway";
/// The client of those who look at the stack.
const OBSERVABILITY_CLIENT: &str = "dunder-observability";

/// Rounds of the hash that Keycloak replaces by its own at the next sign-in.
const HASH_ITERATIONS: u32 = 27_500;

/// What Keycloak keeps of the configuration's secrets.
#[derive(Debug, Clone)]
pub(crate) struct StoredSecrets {
    realm: String,
    clients: [(&'static str, String); 2],
    bind_dn: String,
    bind_password: String,
    admin: String,
    admin_password: String,
}

impl StoredSecrets {
    /// The secrets of a configuration.
    #[must_use]
    pub(crate) fn new(config: &Config) -> Self {
        let keycloak = &config.keycloak;
        let revealed = |secret: &dm_config::Secret| secret.reveal().to_owned();
        Self {
            realm: keycloak.realm.to_string(),
            clients: [
                (GATEWAY_CLIENT, revealed(&keycloak.gateway_client_secret)),
                (
                    OBSERVABILITY_CLIENT,
                    revealed(&keycloak.observability_client_secret),
                ),
            ],
            bind_dn: openldap::admin_dn(config.openldap.domain.as_str()),
            bind_password: revealed(&config.openldap.admin_password),
            admin: keycloak.admin_user.to_string(),
            admin_password: revealed(&keycloak.admin_password),
        }
    }

    /// All of it as text, for a digest.
    #[must_use]
    pub(crate) fn digest_input(&self) -> String {
        let clients = &self.clients;
        json!([
            self.realm,
            clients,
            self.bind_dn,
            self.bind_password,
            self.admin,
            self.admin_password
        ])
        .to_string()
    }

    /// Whether its tables have them, as far as that can be read: a restored schema may have
    /// older ones. True where there are no tables yet.
    ///
    /// # Errors
    /// The server fails.
    pub(crate) async fn is_applied(
        &self,
        connection: &mut PgConnection,
    ) -> Result<bool, sqlx::Error> {
        if !has_tables(connection).await? {
            return Ok(true);
        }
        let [(gateway, secret), (observability, other)] = &self.clients;
        sqlx::query_scalar(
            "SELECT NOT EXISTS (
                 SELECT FROM keycloak.client JOIN keycloak.realm ON realm.id = client.realm_id
                 WHERE realm.name = $1
                   AND client.client_id IN ($2, $4)
                   AND client.secret IS DISTINCT FROM
                       CASE client.client_id WHEN $2 THEN $3 ELSE $5 END)
             AND NOT EXISTS (
                 SELECT FROM keycloak.component
                 JOIN keycloak.realm ON realm.id = component.realm_id AND realm.name = $1
                 JOIN keycloak.component_config AS bind ON bind.component_id = component.id
                  AND bind.name = 'bindDn' AND bind.value = $6
                 JOIN keycloak.component_config AS password
                   ON password.component_id = component.id AND password.name = 'bindCredential'
                 WHERE component.provider_id = 'ldap' AND password.value IS DISTINCT FROM $7)",
        )
        .bind(&self.realm)
        .bind(gateway)
        .bind(secret)
        .bind(observability)
        .bind(other)
        .bind(&self.bind_dn)
        .bind(&self.bind_password)
        .fetch_one(connection)
        .await
    }

    /// Puts them into the tables of a Keycloak that has started before.
    ///
    /// # Errors
    /// The server fails.
    pub(crate) async fn apply(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if !has_tables(connection).await? {
            return Ok(());
        }
        for (client, secret) in &self.clients {
            sqlx::query(
                "UPDATE keycloak.client SET secret = $3
                 FROM keycloak.realm
                 WHERE realm.id = client.realm_id AND realm.name = $1 AND client.client_id = $2
                   AND client.secret IS DISTINCT FROM $3",
            )
            .bind(&self.realm)
            .bind(client)
            .bind(secret)
            .execute(&mut *connection)
            .await?;
        }
        sqlx::query(
            "UPDATE keycloak.component_config AS password SET value = $3
             FROM keycloak.component
             JOIN keycloak.realm ON realm.id = component.realm_id AND realm.name = $1
             JOIN keycloak.component_config AS bind ON bind.component_id = component.id
              AND bind.name = 'bindDn' AND bind.value = $2
             WHERE component.provider_id = 'ldap' AND password.component_id = component.id
               AND password.name = 'bindCredential' AND password.value IS DISTINCT FROM $3",
        )
        .bind(&self.realm)
        .bind(&self.bind_dn)
        .bind(&self.bind_password)
        .execute(&mut *connection)
        .await?;
        let (secret, about) = hash_password(&self.admin_password, uuid::Uuid::new_v4().as_bytes());
        sqlx::query(
            "UPDATE keycloak.credential SET secret_data = $2, credential_data = $3
             FROM keycloak.user_entity
             JOIN keycloak.realm ON realm.id = user_entity.realm_id AND realm.name = 'master'
             WHERE credential.user_id = user_entity.id AND credential.type = 'password'
               AND user_entity.username = lower($1)",
        )
        .bind(&self.admin)
        .bind(secret)
        .bind(about)
        .execute(connection)
        .await?;
        Ok(())
    }
}

/// Removes the keys that realms have made for themselves. Keycloak makes new ones when it first
/// needs one (`KeyProviderFactory.createFallbackKeys`).
///
/// # Errors
/// The server fails.
pub(crate) async fn remove_realm_keys(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    if !has_tables(connection).await? {
        return Ok(());
    }
    // Their configuration hangs on them by a foreign key that does not cascade.
    sqlx::query(
        "WITH key AS (SELECT id FROM keycloak.component
                       WHERE provider_type = 'org.keycloak.keys.KeyProvider'
                         AND provider_id LIKE '%-generated'),
              configuration AS (DELETE FROM keycloak.component_config
                                 WHERE component_id IN (SELECT id FROM key))
         DELETE FROM keycloak.component WHERE id IN (SELECT id FROM key)",
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether there are the tables of a Keycloak.
async fn has_tables(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(format!("{DATABASE_ROLE}.credential"))
        .fetch_one(connection)
        .await
}

/// A password as Keycloak's provider `pbkdf2-sha512` keeps it: the hash, and how it was made.
fn hash_password(password: &str, salt: &[u8; 16]) -> (String, String) {
    let mut hash = [0; 64];
    let rounds = std::num::NonZeroU32::new(HASH_ITERATIONS).unwrap_or(std::num::NonZeroU32::MIN);
    let algorithm = pbkdf2::PBKDF2_HMAC_SHA512;
    pbkdf2::derive(algorithm, rounds, salt, password.as_bytes(), &mut hash);
    let secret = json!({
        "value": BASE64.encode(hash),
        "salt": BASE64.encode(salt),
        "additionalParameters": {},
    });
    let about = json!({
        "hashIterations": rounds,
        "algorithm": "pbkdf2-sha512",
        "additionalParameters": {},
    });
    (secret.to_string(), about.to_string())
}
