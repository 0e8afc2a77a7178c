//! What tokens say, once their signature is proved.

use jsonwebtoken::{Validation, decode, decode_header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use url::Url;

use super::keys::{KeyError, PublicKey, RealmKeys};
use crate::sessions::User;

/// How far two clocks may be apart, in seconds.
const LEEWAY: u64 = 5;

/// Longer texts are no tokens of ours.
const MAX_TOKEN_LENGTH: usize = 16 * 1024;

/// Why a token is not taken. Nobody but the log is told.
#[derive(Debug, Error)]
pub(crate) enum TokenError {
    /// It is no token, its signature is not the key's, or its time is over.
    #[error("the token is not valid: {0}")]
    Invalid(#[from] jsonwebtoken::errors::Error),
    /// It is too long, or names no key.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// There is no key for it.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Something that it says is not as it must be.
    #[error("the {0} of the token is not valid")]
    InvalidClaim(&'static str),
}

impl TokenError {
    /// Whether the fault may be ours: then nothing is said about the token.
    #[must_use]
    pub(crate) const fn is_keys_unavailable(&self) -> bool {
        matches!(self, Self::Key(KeyError::Unavailable))
    }
}

/// What an access token says.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct AccessClaims {
    iss: String,
    typ: Option<String>,
    azp: Option<String>,
    /// Whose it is, for Keycloak.
    pub sub: Option<String>,
    preferred_username: Option<String>,
    name: Option<String>,
    given_name: Option<String>,
    #[serde(default)]
    realm_access: RealmAccess,
    #[serde(default)]
    groups: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct RealmAccess {
    #[serde(default)]
    roles: Vec<String>,
}

impl AccessClaims {
    /// Whether it has a user's name.
    #[must_use]
    pub(crate) fn has_username(&self) -> bool {
        non_blank(self.preferred_username.as_ref()).is_some()
    }

    /// Whose it is, for the gateway.
    #[must_use]
    pub(crate) fn into_user(self) -> User {
        let id = non_blank(self.preferred_username.as_ref())
            .unwrap_or("unknown-user")
            .to_owned();
        let display_name = non_blank(self.name.as_ref())
            .or_else(|| non_blank(self.given_name.as_ref()))
            .unwrap_or(&id)
            .to_owned();
        User {
            id,
            display_name,
            roles: self.realm_access.roles,
            groups: self.groups,
        }
    }
}

fn non_blank(text: Option<&String>) -> Option<&str> {
    text.map(|text| text.trim()).filter(|text| !text.is_empty())
}

/// What an identity token says.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct IdClaims {
    iss: String,
    azp: Option<String>,
    /// Whose it is, for Keycloak.
    pub sub: Option<String>,
    nonce: Option<String>,
}

/// Proves tokens of one realm.
#[derive(Debug, Clone)]
pub(crate) struct TokenVerifier {
    keys: RealmKeys,
    issuer_path: String,
}

impl TokenVerifier {
    /// Proves tokens of this realm.
    #[must_use]
    pub(crate) fn new(keys: RealmKeys, realm: &str) -> Self {
        Self {
            keys,
            issuer_path: format!("/realms/{realm}"),
        }
    }

    /// Proves an access token that was issued to one of `clients`.
    ///
    /// # Errors
    /// [`TokenError`].
    pub(crate) async fn verify_access_token<C: AsRef<str>>(
        &self,
        token: &str,
        clients: &[C],
    ) -> Result<AccessClaims, TokenError> {
        let claims: AccessClaims = self.verify_signature(token, None).await?;
        self.check_issuer(&claims.iss)?;
        // Keycloak's identity and refresh tokens are signed, too.
        if claims.typ.as_deref() != Some("Bearer") {
            return Err(TokenError::InvalidClaim("type"));
        }
        // Keycloak names the client here; its audience is `account` for all.
        let party = claims.azp.as_deref();
        if !clients.iter().any(|client| party == Some(client.as_ref())) {
            return Err(TokenError::InvalidClaim("authorized party"));
        }
        Ok(claims)
    }

    /// Proves the identity token that answers a login with this nonce.
    ///
    /// # Errors
    /// [`TokenError`].
    pub(crate) async fn verify_id_token(
        &self,
        token: &str,
        client: &str,
        nonce: &str,
    ) -> Result<IdClaims, TokenError> {
        let claims: IdClaims = self.verify_signature(token, Some(client)).await?;
        self.check_issuer(&claims.iss)?;
        if claims.azp.as_deref().is_some_and(|party| party != client) {
            return Err(TokenError::InvalidClaim("authorized party"));
        }
        if claims.nonce.as_deref() != Some(nonce) {
            return Err(TokenError::InvalidClaim("nonce"));
        }
        Ok(claims)
    }

    async fn verify_signature<T>(
        &self,
        token: &str,
        audience: Option<&str>,
    ) -> Result<T, TokenError>
    where
        T: DeserializeOwned,
    {
        if token.len() > MAX_TOKEN_LENGTH {
            return Err(TokenError::Malformed("too long"));
        }
        let id = decode_header(token)?
            .kid
            .ok_or(TokenError::Malformed("names no key"))?;
        let key = self.keys.find(&id).await?;
        Ok(decode_token(token, &key, audience)?)
    }

    /// The realm is reached by several host names: the path alone is known.
    fn check_issuer(&self, issuer: &str) -> Result<(), TokenError> {
        let ours = Url::parse(issuer).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.path() == self.issuer_path
                && url.query().is_none()
                && url.fragment().is_none()
        });
        ours.then_some(()).ok_or(TokenError::InvalidClaim("issuer"))
    }
}

fn decode_token<T: DeserializeOwned>(
    token: &str,
    key: &PublicKey,
    audience: Option<&str>,
) -> Result<T, jsonwebtoken::errors::Error> {
    // The key says which algorithms can be: neither `none` nor a shared secret.
    let mut validation = Validation::default();
    validation.algorithms.clone_from(&key.algorithms);
    validation.leeway = LEEWAY;
    validation.validate_nbf = true;
    match audience {
        Some(audience) => {
            validation.set_audience(&[audience]);
            validation.set_required_spec_claims(&["exp", "aud"]);
        }
        None => validation.validate_aud = false,
    }
    Ok(decode(token, &key.key, &validation)?.claims)
}
