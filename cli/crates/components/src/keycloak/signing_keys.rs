//! Creates the signing keys of realms that have none, as those from a golden image.
//!
//! Keycloak creates a missing key when it first signs a token. A Java process that has just started
//! takes seconds for it, and on a busy machine the request for the first token times out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use thiserror::Error;
use tokio::task::{JoinError, JoinSet};

use crate::postgres;

/// The reason why a signing key could not be created.
#[derive(Debug, Error)]
pub enum SigningKeyError {
    /// The key or its certificate could not be generated.
    #[error("could not generate a signing key: {0}")]
    Generate(#[from] rcgen::Error),
    /// The generation panicked.
    #[error("could not generate a signing key: {0}")]
    Panicked(#[from] JoinError),
    /// A statement failed.
    #[error("could not store a signing key: {0}")]
    Sql(#[from] sqlx::Error),
}

/// A realm of Keycloak.
#[derive(Debug, sqlx::FromRow)]
struct Realm {
    id: String,
    name: String,
}

/// A key in the format of Keycloak's provider `rsa-generated`: DER in Base64.
struct SigningKey {
    private_key: String,
    certificate: String,
}

/// Creates an RSA key for each realm that has none. Returns whether a realm had none. Keycloak must
/// be stopped, or read its realms again afterwards.
///
/// # Errors
/// Returns [`SigningKeyError`] if a key cannot be generated or stored.
pub(crate) async fn create_missing(connection: &mut PgConnection) -> Result<bool, SigningKeyError> {
    let realms = realms_without_key(connection).await?;
    if realms.is_empty() {
        return Ok(false);
    }
    let mut generating = JoinSet::new();
    for realm in realms {
        generating.spawn_blocking(move || generate(&realm.name).map(|key| (realm, key)));
    }
    let mut transaction = connection.begin().await?;
    sqlx::raw_sql(postgres::DISABLE_STATEMENT_LOG)
        .execute(&mut *transaction)
        .await?;
    while let Some(generated) = generating.join_next().await {
        let (realm, key) = generated??;
        store(&mut transaction, &realm, &key).await?;
    }
    transaction.commit().await?;
    Ok(true)
}

/// Returns the realms without an RSA key, once Keycloak has created its tables.
async fn realms_without_key(connection: &mut PgConnection) -> Result<Vec<Realm>, sqlx::Error> {
    if !super::stored_secrets::has_tables(connection).await? {
        return Ok(Vec::new());
    }
    sqlx::query_as(
        "SELECT id, name FROM keycloak.realm
         WHERE NOT EXISTS (
             SELECT FROM keycloak.component
             WHERE component.realm_id = realm.id
               AND component.provider_type = 'org.keycloak.keys.KeyProvider'
               AND component.provider_id IN ('rsa', 'rsa-generated', 'java-keystore'))",
    )
    .fetch_all(connection)
    .await
}

/// Generates a key like Keycloak (`AbstractGeneratedRsaKeyProviderFactory.generateKeys`): 2048 bits,
/// with a certificate that names the realm.
fn generate(realm: &str) -> Result<SigningKey, rcgen::Error> {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters
        .distinguished_name
        .push(DnType::CommonName, realm);
    Ok(SigningKey {
        certificate: BASE64.encode(parameters.self_signed(&key)?.der()),
        private_key: BASE64.encode(key.serialized_der()),
    })
}

/// Stores a key like one that Keycloak has created with the realm (`DefaultKeyProviders`).
async fn store(
    connection: &mut PgConnection,
    realm: &Realm,
    key: &SigningKey,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "WITH key AS (
             INSERT INTO keycloak.component
                 (id, name, parent_id, realm_id, provider_id, provider_type)
             VALUES (gen_random_uuid(), 'rsa-generated', $1, $1, 'rsa-generated',
                     'org.keycloak.keys.KeyProvider')
             RETURNING id)
         INSERT INTO keycloak.component_config (id, component_id, name, value)
         SELECT gen_random_uuid(), key.id, entry.name, entry.value
         FROM key, (VALUES ('priority', '100'), ('keyUse', 'SIG'),
                           ('privateKey', $2), ('certificate', $3)) AS entry (name, value)",
    )
    .bind(&realm.id)
    .bind(&key.private_key)
    .bind(&key.certificate)
    .execute(connection)
    .await?;
    Ok(())
}
