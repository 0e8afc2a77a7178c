//! Creates the keys of realms that have none, as those from a golden image.
//!
//! Keycloak creates a missing key during the request that needs it. For an RSA key, a Java process that
//! has just started takes seconds, and on a busy machine the request for the first token times out.
//! And of several requests at the same time, each creates keys, which the others may not know yet.

use aws_lc_rs::error::Unspecified;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD as BASE64URL};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tokio::task::JoinSet;
use uuid::Uuid;

/// A kind of key that each sign-in needs. Those for other algorithms are left to Keycloak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyKind {
    /// Signs access tokens (RS256).
    Rsa,
    /// Signs cookies and refresh tokens (HS512).
    Hmac,
    /// Encrypts cookies.
    Aes,
}

/// The length of the secret of an HMAC key in bytes (`GeneratedHmacKeyProviderFactory`).
const HMAC_SECRET_BYTES: usize = 128;
/// The length of the secret of an AES key in bytes (`GeneratedAesKeyProviderFactory`).
const AES_SECRET_BYTES: usize = 32;

impl KeyKind {
    const ALL: [Self; 3] = [Self::Rsa, Self::Hmac, Self::Aes];

    /// Returns the name that Keycloak gives to such a key of a new realm (`DefaultKeyProviders`).
    const fn name(self) -> &'static str {
        match self {
            Self::Rsa => "rsa-generated",
            Self::Hmac => "hmac-generated-hs512",
            Self::Aes => "aes-generated",
        }
    }

    /// Returns the id of Keycloak's provider of such a key.
    const fn provider(self) -> &'static str {
        match self {
            Self::Rsa => "rsa-generated",
            Self::Hmac => "hmac-generated",
            Self::Aes => "aes-generated",
        }
    }

    /// Returns the providers with which a realm needs no such key.
    const fn sufficient_providers(self) -> &'static [&'static str] {
        match self {
            Self::Rsa => &["rsa", "rsa-generated", "java-keystore"],
            Self::Hmac => &["hmac-generated"],
            Self::Aes => &["aes-generated"],
        }
    }

    /// Generates a key of a realm, as the configuration of its provider.
    fn generate(self, realm: &str) -> Result<Configuration, GenerateError> {
        let mut configuration = match self {
            Self::Rsa => rsa_configuration(realm)?,
            Self::Hmac => {
                let mut configuration = secret_configuration::<HMAC_SECRET_BYTES>()?;
                configuration.push(("algorithm", "HS512".into()));
                configuration
            }
            Self::Aes => secret_configuration::<AES_SECRET_BYTES>()?,
        };
        configuration.push(("priority", "100".into()));
        Ok(configuration)
    }
}

/// The configuration of a provider: names and values.
type Configuration = Vec<(&'static str, String)>;

/// A key could not be generated.
#[derive(Debug)]
struct GenerateError;

impl From<rcgen::Error> for GenerateError {
    fn from(_: rcgen::Error) -> Self {
        Self
    }
}

impl From<Unspecified> for GenerateError {
    fn from(_: Unspecified) -> Self {
        Self
    }
}

/// Generates an RSA key like Keycloak (`AbstractGeneratedRsaKeyProviderFactory`): 2048 bits, with a
/// certificate that names the realm.
fn rsa_configuration(realm: &str) -> Result<Configuration, GenerateError> {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters
        .distinguished_name
        .push(DnType::CommonName, realm);
    let certificate = parameters.self_signed(&key)?;
    Ok(vec![
        ("keyUse", "SIG".into()),
        ("privateKey", BASE64.encode(key.serialized_der())),
        ("certificate", BASE64.encode(certificate.der())),
    ])
}

/// Generates a secret of `N` bytes like Keycloak (`AbstractGeneratedSecretKeyProviderFactory`).
fn secret_configuration<const N: usize>() -> Result<Configuration, GenerateError> {
    let mut secret = [0; N];
    aws_lc_rs::rand::fill(&mut secret)?;
    Ok(vec![
        ("kid", Uuid::new_v4().to_string()),
        ("secret", BASE64URL.encode(secret)),
    ])
}

/// A realm of Keycloak.
#[derive(Debug, sqlx::FromRow)]
struct Realm {
    id: String,
    name: String,
}

/// Creates the keys that realms miss. Returns whether it has created any.
///
/// Keycloak may run: it reads the keys with the realm, and creates keys itself if it has read the
/// realm before. The connection must not log statements.
///
/// # Errors
/// Returns [`sqlx::Error`] if a statement fails.
pub(crate) async fn create_missing(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    if !super::stored_secrets::has_tables(connection).await? {
        return Ok(false);
    }
    let mut generating = JoinSet::new();
    for kind in KeyKind::ALL {
        for realm in realms_without(connection, kind).await? {
            generating.spawn_blocking(move || {
                let configuration = kind.generate(&realm.name)?;
                Ok::<_, GenerateError>((realm, kind, configuration))
            });
        }
    }
    if generating.is_empty() {
        return Ok(false);
    }
    let mut has_created = false;
    let mut transaction = connection.begin().await?;
    while let Some(generated) = generating.join_next().await {
        // Otherwise Keycloak creates the key.
        if let Ok(Ok((realm, kind, configuration))) = generated {
            store(&mut transaction, &realm, kind, configuration).await?;
            has_created = true;
        }
    }
    transaction.commit().await?;
    Ok(has_created)
}

/// Returns the realms without a key of this kind.
async fn realms_without(
    connection: &mut PgConnection,
    kind: KeyKind,
) -> Result<Vec<Realm>, sqlx::Error> {
    sqlx::query_as(
        "SELECT id, name FROM keycloak.realm
         WHERE NOT EXISTS (
             SELECT FROM keycloak.component
             WHERE component.realm_id = realm.id
               AND component.provider_type = 'org.keycloak.keys.KeyProvider'
               AND component.provider_id = ANY($1))",
    )
    .bind(kind.sufficient_providers())
    .fetch_all(connection)
    .await
}

/// Stores a key.
async fn store(
    connection: &mut PgConnection,
    realm: &Realm,
    kind: KeyKind,
    configuration: Configuration,
) -> Result<(), sqlx::Error> {
    let (names, values): (Vec<_>, Vec<_>) = configuration.into_iter().unzip();
    sqlx::query(
        "WITH key AS (
             INSERT INTO keycloak.component
                 (id, name, parent_id, realm_id, provider_id, provider_type)
             VALUES (gen_random_uuid(), $1, $2, $2, $3, 'org.keycloak.keys.KeyProvider')
             RETURNING id)
         INSERT INTO keycloak.component_config (id, component_id, name, value)
         SELECT gen_random_uuid(), key.id, entry.name, entry.value
         FROM key, unnest($4::text[], $5::text[]) AS entry (name, value)",
    )
    .bind(kind.name())
    .bind(&realm.id)
    .bind(kind.provider())
    .bind(names)
    .bind(values)
    .execute(connection)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value<'a>(configuration: &'a Configuration, name: &str) -> &'a str {
        let mut entries = configuration.iter();
        &entries.find(|(entry, _)| *entry == name).unwrap().1
    }

    #[test]
    fn generated_keys_differ_and_have_the_length_of_keycloaks() {
        for (kind, length) in [(KeyKind::Hmac, 171), (KeyKind::Aes, 43)] {
            let keys = [(); 2].map(|()| kind.generate("scranton-branch").unwrap());
            for key in &keys {
                assert_eq!(value(key, "secret").len(), length);
                assert_eq!(value(key, "priority"), "100");
            }
            assert_ne!(value(&keys[0], "secret"), value(&keys[1], "secret"));
            assert_ne!(value(&keys[0], "kid"), value(&keys[1], "kid"));
        }
        let keys = [(); 2].map(|()| KeyKind::Rsa.generate("scranton-branch").unwrap());
        let private = keys.map(|key| BASE64.decode(value(&key, "privateKey")).unwrap());
        assert_ne!(private[0], private[1]);
        for key in private {
            let key = aws_lc_rs::rsa::KeyPair::from_pkcs8(&key).unwrap();
            assert_eq!(key.public_modulus_len(), 256);
        }
    }
}
