//! Verification of tokens, and their claims.

use chrono::{DateTime, Utc};
use jsonwebtoken::{Validation, decode, decode_header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use url::Url;

use super::keys::{KeyError, PublicKey, RealmKeys};
use crate::user::User;

/// The permitted clock difference, in seconds.
const LEEWAY: u64 = 5;

/// The maximum length of a token.
const MAX_TOKEN_LENGTH: usize = 16 * 1024;

/// The reason for which a token is rejected. It is logged and not sent to the client.
#[derive(Debug, Error)]
pub(crate) enum TokenError {
    /// The token cannot be parsed, its signature is wrong, or it has expired.
    #[error("the token is not valid: {0}")]
    Invalid(#[from] jsonwebtoken::errors::Error),
    /// The token is too long, or has no key id.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// The key of the token is not available.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A claim is missing or has a wrong value.
    #[error("the {0} of the token is not valid")]
    InvalidClaim(&'static str),
}

impl TokenError {
    /// Returns whether the keys were not available, so that the token is undecided.
    #[must_use]
    pub(crate) const fn is_keys_unavailable(&self) -> bool {
        matches!(self, Self::Key(KeyError::Unavailable))
    }
}

/// The claims of an access token.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct AccessClaims {
    iss: String,
    typ: Option<String>,
    azp: Option<String>,
    /// The user id in Keycloak.
    pub sub: Option<String>,
    /// The expiry, in seconds since 1970.
    pub exp: f64,
    /// The time at which the token was issued, in seconds since 1970.
    pub iat: Option<f64>,
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
    /// Returns whether the token has a user name.
    #[must_use]
    pub(crate) fn has_username(&self) -> bool {
        non_blank(self.preferred_username.as_ref()).is_some()
    }

    /// Returns the issuer.
    #[must_use]
    pub(crate) fn issuer(&self) -> &str {
        &self.iss
    }

    /// Returns the expiry.
    #[must_use]
    pub(crate) fn expires_at(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(self.exp as i64, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// Returns the user of the token.
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

/// The claims of an identity token.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct IdClaims {
    iss: String,
    azp: Option<String>,
    /// The user id in Keycloak.
    pub sub: Option<String>,
    nonce: Option<String>,
}

/// Verifies tokens of one realm.
#[derive(Debug, Clone)]
pub(crate) struct TokenVerifier {
    keys: RealmKeys,
    issuer_path: String,
}

impl TokenVerifier {
    /// Creates a verifier of tokens of this realm.
    #[must_use]
    pub(crate) fn new(keys: RealmKeys, realm: &str) -> Self {
        Self {
            keys,
            issuer_path: format!("/realms/{realm}"),
        }
    }

    /// Verifies an access token that was issued to one of `clients`.
    ///
    /// # Errors
    /// Returns [`TokenError`] if the token is invalid or its key is not available.
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
        // Keycloak names the client in `azp`; the audience is `account` for all clients.
        let party = claims.azp.as_deref();
        if !clients.iter().any(|client| party == Some(client.as_ref())) {
            return Err(TokenError::InvalidClaim("authorized party"));
        }
        Ok(claims)
    }

    /// Verifies the identity token of a login with this nonce.
    ///
    /// # Errors
    /// Returns [`TokenError`] if the token is invalid or its key is not available.
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
            .ok_or(TokenError::Malformed("no key id"))?;
        let key = self.keys.find(&id).await?;
        Ok(decode_token(token, &key, audience)?)
    }

    /// Compares only the path: the realm is reached under several host names.
    fn check_issuer(&self, issuer: &str) -> Result<(), TokenError> {
        let is_realm = Url::parse(issuer).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.path() == self.issuer_path
                && url.query().is_none()
                && url.fragment().is_none()
        });
        is_realm
            .then_some(())
            .ok_or(TokenError::InvalidClaim("issuer"))
    }
}

fn decode_token<T: DeserializeOwned>(
    token: &str,
    key: &PublicKey,
    audience: Option<&str>,
) -> Result<T, jsonwebtoken::errors::Error> {
    // The key determines the algorithms: neither `none` nor a shared secret.
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
