//! The secrets that Keycloak stores in its database. It reads them from the configuration
//! only at its first start, so later ones are written to the database before it starts.

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
/// The client of observability tools.
const OBSERVABILITY_CLIENT: &str = "dunder-observability";

/// The iterations of the hash, which Keycloak replaces by its own at the next sign-in.
const HASH_ITERATIONS: u32 = 27_500;

/// The secrets of the configuration that Keycloak stores.
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
    /// Returns the secrets of a configuration.
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

    /// Returns all secrets as text, for a digest.
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

    /// Returns whether Keycloak's tables contain the secrets, as far as they are readable: a
    /// restored schema may have older ones. Returns true if the tables do not exist yet.
    ///
    /// # Errors
    /// Returns [`sqlx::Error`] if a statement fails.
    pub(crate) async fn is_applied(
        &self,
        connection: &mut PgConnection,
    ) -> Result<bool, sqlx::Error> {
        if !has_tables(connection).await? {
            return Ok(true);
        }
        let [
            (gateway, gateway_secret),
            (observability, observability_secret),
        ] = &self.clients;
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
        .bind(gateway_secret)
        .bind(observability)
        .bind(observability_secret)
        .bind(&self.bind_dn)
        .bind(&self.bind_password)
        .fetch_one(connection)
        .await
    }

    /// Writes the secrets into the tables of a Keycloak that has started before.
    ///
    /// # Errors
    /// Returns [`sqlx::Error`] if a statement fails.
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
        let (secret_data, credential_data) =
            hash_password(&self.admin_password, uuid::Uuid::new_v4().as_bytes());
        sqlx::query(
            "UPDATE keycloak.credential SET secret_data = $2, credential_data = $3
             FROM keycloak.user_entity
             JOIN keycloak.realm ON realm.id = user_entity.realm_id AND realm.name = 'master'
             WHERE credential.user_id = user_entity.id AND credential.type = 'password'
               AND user_entity.username = lower($1)",
        )
        .bind(&self.admin)
        .bind(secret_data)
        .bind(credential_data)
        .execute(connection)
        .await?;
        Ok(())
    }
}

/// Removes the generated keys of the realms and the sessions, which no other instance may share.
/// `realm_keys` creates those that each sign-in needs.
///
/// # Errors
/// Returns [`sqlx::Error`] if a statement fails.
pub(crate) async fn remove_keys_and_sessions(
    connection: &mut PgConnection,
) -> Result<(), sqlx::Error> {
    if !has_tables(connection).await? {
        return Ok(());
    }
    // The configuration of a key references it by a foreign key that does not cascade.
    sqlx::raw_sql(
        "WITH key AS (SELECT id FROM keycloak.component
                       WHERE provider_type = 'org.keycloak.keys.KeyProvider'
                         AND provider_id LIKE '%-generated'),
              configuration AS (DELETE FROM keycloak.component_config
                                 WHERE component_id IN (SELECT id FROM key))
         DELETE FROM keycloak.component WHERE id IN (SELECT id FROM key);
         DELETE FROM keycloak.offline_client_session;
         DELETE FROM keycloak.offline_user_session;",
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Returns whether the tables that are read or written here exist. Keycloak creates them one after
/// the other, and may have been killed in between.
pub(super) async fn has_tables(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT bool_and(to_regclass(format('%I.%I', $1::text, name)) IS NOT NULL)
         FROM unnest(ARRAY['client', 'component', 'component_config', 'credential',
                           'offline_client_session', 'offline_user_session', 'realm',
                           'user_entity']) AS name",
    )
    .bind(DATABASE_ROLE)
    .fetch_one(connection)
    .await
}

/// Hashes a password in the format of Keycloak's provider `pbkdf2-sha512`. Returns the secret and
/// the credential data.
fn hash_password(password: &str, salt: &[u8; 16]) -> (String, String) {
    let mut hash = [0; 64];
    let iterations =
        std::num::NonZeroU32::new(HASH_ITERATIONS).unwrap_or(std::num::NonZeroU32::MIN);
    let algorithm = pbkdf2::PBKDF2_HMAC_SHA512;
    pbkdf2::derive(algorithm, iterations, salt, password.as_bytes(), &mut hash);
    let secret_data = json!({
        "value": BASE64.encode(hash),
        "salt": BASE64.encode(salt),
        "additionalParameters": {},
    });
    let credential_data = json!({
        "hashIterations": iterations,
        "algorithm": "pbkdf2-sha512",
        "additionalParameters": {},
    });
    (secret_data.to_string(), credential_data.to_string())
}
