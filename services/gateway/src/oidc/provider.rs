//! The authorization code flow (RFC 6749 section 4.1) with PKCE (RFC 7636) and
//! OpenID Connect's nonce.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use url::form_urlencoded;

use super::keys::{FetchIntervals, RealmKeys};
use super::login_cookie::{LoginCookies, PendingLogin};
use super::realm_tokens::RealmTokens;
use super::tokens::{AccessClaims, TokenError, TokenVerifier};
use crate::downstream::error_chain;
use crate::origin::RequestOrigin;
use crate::random::{self, RandomError};
use crate::return_to::ReturnTo;
use crate::settings::OidcSettings;
use crate::user::User;

/// Timeout for the exchange of a code.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// The path of the redirect URI.
pub(crate) const CALLBACK_PATH: &str = "/login/oauth2/code/keycloak";

/// The reason for which a login failed. It is logged and not sent to the client.
#[derive(Debug, Error)]
pub(crate) enum LoginError {
    /// Keycloak cannot be reached.
    #[error("could not reach Keycloak: {0}")]
    Unreachable(String),
    /// Keycloak rejected the code.
    #[error("Keycloak responded with {status} {reason}")]
    Refused {
        /// The status.
        status: u16,
        /// The OAuth error code, or the reason for which the response is invalid.
        reason: String,
    },
    /// A token of the response is invalid.
    #[error("{what}: {cause}")]
    Token {
        /// The kind of token.
        what: &'static str,
        /// The cause.
        cause: TokenError,
    },
}

/// The OpenID provider: Keycloak.
#[derive(Debug)]
pub(crate) struct OidcProvider {
    pub(super) settings: OidcSettings,
    pub(super) client: reqwest::Client,
    pub(super) verifier: TokenVerifier,
    /// Cookies of pending logins.
    pub login_cookies: LoginCookies,
}

impl OidcProvider {
    /// Creates the provider from its settings.
    ///
    /// # Errors
    /// Returns [`RandomError`] if the system has no random bytes.
    pub(crate) fn new(
        settings: OidcSettings,
        client: reqwest::Client,
        login_lifetime: Duration,
    ) -> Result<Self, RandomError> {
        let keys = RealmKeys::new(
            client.clone(),
            endpoint_url(&settings, "certs"),
            FetchIntervals::default(),
        );
        let verifier = TokenVerifier::new(keys, settings.realm.as_str());
        Ok(Self {
            settings,
            client,
            verifier,
            login_cookies: LoginCookies::new(login_lifetime)?,
        })
    }

    /// Begins a login and returns the authorization URL with it.
    ///
    /// # Errors
    /// Returns [`RandomError`] if the system has no random bytes.
    pub(crate) fn begin_login(
        &self,
        origin: &RequestOrigin,
        return_to: &ReturnTo,
    ) -> Result<(String, PendingLogin), RandomError> {
        let login = PendingLogin {
            state: random::token::<18>()?,
            return_to: return_to.as_str().to_owned(),
            redirect_uri: format!("{}{CALLBACK_PATH}", origin.to_text()),
            nonce: random::token::<18>()?,
            verifier: random::token::<32>()?,
            until: self.login_cookies.next_expiry(),
        };
        Ok((self.authorization_url(origin, &login), login))
    }

    /// Completes a login with the code from Keycloak. Returns the user, and the tokens of the
    /// session at the realm.
    ///
    /// # Errors
    /// Returns [`LoginError`] if Keycloak cannot be reached or rejects the code, or if a token
    /// is invalid.
    pub(crate) async fn complete_login(
        &self,
        login: &PendingLogin,
        code: &str,
    ) -> Result<(User, RealmTokens), LoginError> {
        let tokens = self.exchange_code(login, code).await?;
        let client = self.settings.client_id.as_str();
        let identity = self
            .verifier
            .verify_id_token(&tokens.id_token, client, &login.nonce)
            .await
            .map_err(|cause| LoginError::Token {
                what: "the identity token",
                cause,
            })?;
        let access_token_error = |cause| LoginError::Token {
            what: "the access token",
            cause,
        };
        let access = self
            .verifier
            .verify_access_token(&tokens.access_token, &[client])
            .await
            .map_err(access_token_error)?;
        let subject = access
            .sub
            .clone()
            .filter(|subject| identity.sub.as_ref() == Some(subject))
            .ok_or_else(|| access_token_error(TokenError::InvalidClaim("subject")))?;
        let realm_tokens = RealmTokens {
            refresh: tokens.refresh_token,
            identity: tokens.id_token,
            subject,
            issuer: access.issuer().to_owned(),
            access_expires_at: access.expires_at(),
        };
        Ok((access.into_user(), realm_tokens))
    }

    /// Verifies a bearer token of one of the permitted clients.
    ///
    /// # Errors
    /// Returns [`TokenError`] if the token is invalid or its key is not available.
    pub(crate) async fn verify_bearer(&self, token: &str) -> Result<AccessClaims, TokenError> {
        self.verifier
            .verify_access_token(token, &self.settings.bearer_clients)
            .await
    }

    /// Returns the authorization URL, with the host name of the request.
    fn authorization_url(&self, origin: &RequestOrigin, login: &PendingLogin) -> String {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("response_type", "code")
            .append_pair("scope", "openid profile email")
            .append_pair("redirect_uri", &login.redirect_uri)
            .append_pair("state", &login.state)
            .append_pair("nonce", &login.nonce)
            .append_pair("code_challenge", &code_challenge(&login.verifier))
            .append_pair("code_challenge_method", "S256")
            .finish();
        format!("{}?{query}", self.public_endpoint_url(origin, "auth"))
    }

    /// Returns the URL of an endpoint of the realm for a browser, with the host name of its
    /// request.
    pub(super) fn public_endpoint_url(&self, origin: &RequestOrigin, name: &str) -> String {
        let keycloak = origin.with_port(self.settings.public_port).to_text();
        let realm = self.settings.realm.as_str();
        format!("{keycloak}/realms/{realm}/protocol/openid-connect/{name}")
    }

    async fn exchange_code(
        &self,
        login: &PendingLogin,
        code: &str,
    ) -> Result<OidcTokens, LoginError> {
        let unreachable = |error: reqwest::Error| LoginError::Unreachable(error_chain(&error));
        let response = self
            .client
            .post(endpoint_url(&self.settings, "token"))
            .timeout(EXCHANGE_TIMEOUT)
            .form(&[
                ("grant_type", "authorization_code"),
                ("code", code),
                ("redirect_uri", &login.redirect_uri),
                ("client_id", &self.settings.client_id),
                ("client_secret", self.settings.client_secret.expose()),
                ("code_verifier", &login.verifier),
            ])
            .send()
            .await
            .map_err(unreachable)?;
        let status = response.status();
        let body = response.bytes().await.map_err(unreachable)?;
        let refused = |reason: String| LoginError::Refused {
            status: status.as_u16(),
            reason,
        };
        if status.is_success() {
            serde_json::from_slice(&body).map_err(|error| refused(error.to_string()))
        } else {
            let refusal: TokenEndpointError = serde_json::from_slice(&body).unwrap_or_default();
            Err(refused(refusal.error))
        }
    }
}

/// The response of the token endpoint to a code.
#[derive(Deserialize)]
struct OidcTokens {
    access_token: String,
    id_token: String,
    refresh_token: Option<String>,
}

/// The response of the token endpoint if it rejects the code.
#[derive(Default, Deserialize)]
struct TokenEndpointError {
    #[serde(default)]
    error: String,
}

/// Returns the internal URL of an endpoint of the realm.
pub(super) fn endpoint_url(settings: &OidcSettings, name: &str) -> String {
    let (base, realm) = (settings.internal_url.as_str(), settings.realm.as_str());
    format!("{base}/realms/{realm}/protocol/openid-connect/{name}")
}

/// Returns the code challenge of a verifier (RFC 7636 section 4.2).
fn code_challenge(verifier: &str) -> String {
    BASE64URL.encode(Sha256::digest(verifier))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use dm_kit::Environment;
    use http::{HeaderMap, HeaderValue, header};
    use url::Url;

    use super::*;
    use crate::settings::Settings;

    fn provider() -> OidcProvider {
        let settings = Settings::from_env(&mut Environment::default());
        let client = crate::downstream::build_client().unwrap();
        OidcProvider::new(settings.oidc, client, settings.login_lifetime).unwrap()
    }

    fn begin(
        provider: &OidcProvider,
        host: &'static str,
    ) -> (Url, HashMap<String, String>, PendingLogin) {
        let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]);
        let origin = RequestOrigin::from_headers(&headers).unwrap();
        let return_to = ReturnTo::new(Some("/portal?a=b"));
        let (text, login) = provider.begin_login(&origin, &return_to).unwrap();
        let url = Url::parse(&text).unwrap();
        let query = url.query_pairs().into_owned().collect();
        (url, query, login)
    }

    #[test]
    fn authorization_url_has_the_host_name_of_the_request() {
        let (url, query, _) = begin(&provider(), "host.docker.internal:8081");
        assert_eq!(
            url.as_str().split('?').next(),
            Some(
                "http://host.docker.internal:8080/realms/scranton-branch/protocol/openid-connect/auth"
            )
        );
        for (name, value) in [
            ("client_id", "dunder-mifflin-gateway"),
            ("response_type", "code"),
            ("scope", "openid profile email"),
            (
                "redirect_uri",
                "http://host.docker.internal:8081/login/oauth2/code/keycloak",
            ),
            ("code_challenge_method", "S256"),
        ] {
            assert_eq!(query[name], value, "{name}");
        }
        assert_eq!(query["state"].len(), 24);
    }

    #[test]
    fn authorization_url_has_the_parameters_of_the_login() {
        let (_, query, login) = begin(&provider(), "localhost:8081");
        assert_eq!(login.state, query["state"]);
        assert_eq!(login.return_to, "/portal?a=b");
        assert_eq!(login.nonce, query["nonce"]);
        assert_eq!(code_challenge(&login.verifier), query["code_challenge"]);
        assert_ne!(login.verifier, query["code_challenge"]);
    }

    #[test]
    fn code_challenge_matches_the_example_of_rfc_7636() {
        // RFC 7636, appendix B.
        assert_eq!(
            code_challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }
}
