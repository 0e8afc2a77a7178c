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
use super::tokens::{AccessClaims, TokenError, TokenVerifier};
use crate::downstream::error_chain;
use crate::origin::RequestOrigin;
use crate::random::{self, RandomError};
use crate::return_to::ReturnTo;
use crate::sessions::User;
use crate::settings::OidcSettings;

/// How long the exchange of a code may take.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// Where Keycloak sends the browser back to.
pub(crate) const CALLBACK_PATH: &str = "/login/oauth2/code/keycloak";

/// Why a login can't be ended. Nobody but the log is told.
#[derive(Debug, Error)]
pub(crate) enum LoginError {
    /// Keycloak doesn't answer.
    #[error("could not reach Keycloak: {0}")]
    Unreachable(String),
    /// Keycloak doesn't take the code.
    #[error("Keycloak responded with {status} {reason}")]
    Refused {
        /// The status.
        status: u16,
        /// Its word for why.
        reason: String,
    },
    /// What it answered is not what it should be.
    #[error("{what}: {cause}")]
    Token {
        /// Which token.
        what: &'static str,
        /// What is wrong.
        cause: TokenError,
    },
}

/// Keycloak.
#[derive(Debug)]
pub(crate) struct OidcProvider {
    settings: OidcSettings,
    client: reqwest::Client,
    verifier: TokenVerifier,
    /// Logins that have begun.
    pub login_cookies: LoginCookies,
}

impl OidcProvider {
    /// Keycloak as it is set.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub(crate) fn new(
        settings: OidcSettings,
        client: reqwest::Client,
        login_life: Duration,
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
            login_cookies: LoginCookies::new(login_life)?,
        })
    }

    /// Begins a login, and says where the browser goes.
    ///
    /// # Errors
    /// [`NoRandomness`].
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

    /// Ends a login with the code that Keycloak gave the browser.
    ///
    /// # Errors
    /// [`LoginError`].
    pub(crate) async fn complete_login(
        &self,
        login: &PendingLogin,
        code: &str,
    ) -> Result<User, LoginError> {
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
        let of_access = |cause| LoginError::Token {
            what: "the access token",
            cause,
        };
        let access = self
            .verifier
            .verify_access_token(&tokens.access_token, &[client])
            .await
            .map_err(of_access)?;
        if access.sub.is_none() || access.sub != identity.sub {
            return Err(of_access(TokenError::InvalidClaim("subject")));
        }
        Ok(access.into_user())
    }

    /// Proves a bearer token of one of the clients that may bring one.
    ///
    /// # Errors
    /// [`TokenError`].
    pub(crate) async fn verify_bearer(&self, token: &str) -> Result<AccessClaims, TokenError> {
        self.verifier
            .verify_access_token(token, &self.settings.bearer_clients)
            .await
    }

    /// Where the browser goes: Keycloak on the visitor's own host name.
    fn authorization_url(&self, origin: &RequestOrigin, login: &PendingLogin) -> String {
        let keycloak = origin.with_port(self.settings.public_port).to_text();
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
        let realm = self.settings.realm.as_str();
        format!("{keycloak}/realms/{realm}/protocol/openid-connect/auth?{query}")
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

/// What the token endpoint answers.
#[derive(Deserialize)]
struct OidcTokens {
    access_token: String,
    id_token: String,
}

/// What it answers where it doesn't take the code.
#[derive(Default, Deserialize)]
struct TokenEndpointError {
    #[serde(default)]
    error: String,
}

/// An endpoint of the realm as this process reaches it.
fn endpoint_url(settings: &OidcSettings, name: &str) -> String {
    let (base, realm) = (settings.internal_url.as_str(), settings.realm.as_str());
    format!("{base}/realms/{realm}/protocol/openid-connect/{name}")
}

/// What of the verifier is shown before the code is given (RFC 7636 section 4.2).
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
    fn the_browser_is_sent_to_keycloak_on_the_visitors_host_name() {
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
    fn what_was_sent_out_belongs_to_the_login() {
        let (_, query, login) = begin(&provider(), "localhost:8081");
        assert_eq!(login.state, query["state"]);
        assert_eq!(login.return_to, "/portal?a=b");
        assert_eq!(login.nonce, query["nonce"]);
        assert_eq!(code_challenge(&login.verifier), query["code_challenge"]);
        assert_ne!(login.verifier, query["code_challenge"]);
    }

    #[test]
    fn the_challenge_is_that_of_the_standard() {
        // RFC 7636, appendix B.
        assert_eq!(
            code_challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }
}
