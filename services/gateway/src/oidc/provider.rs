//! The authorization code flow (RFC 6749 section 4.1) with PKCE (RFC 7636) and
//! OpenID Connect's nonce.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use url::form_urlencoded;

use super::keys::{Keys, Pace};
use super::pending::{Login, Pending};
use super::tokens::{AccessClaims, TokenError, Verifier};
use crate::downstream::in_full;
use crate::origin::Origin;
use crate::random::{self, NoRandomness};
use crate::return_to::ReturnTo;
use crate::sessions::User;
use crate::settings::OidcSettings;

/// How long the exchange of a code may take.
const EXCHANGE: Duration = Duration::from_secs(10);

/// Where Keycloak sends the browser back to.
pub(crate) const CALLBACK: &str = "/login/oauth2/code/keycloak";

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
pub(crate) struct Provider {
    settings: OidcSettings,
    client: reqwest::Client,
    verifier: Verifier,
    /// Logins that have begun.
    pub pending: Pending,
}

impl Provider {
    /// Keycloak as it is set.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub(crate) fn new(
        settings: OidcSettings,
        client: reqwest::Client,
        login_life: Duration,
    ) -> Result<Self, NoRandomness> {
        let keys = Keys::at(
            client.clone(),
            endpoint(&settings, "certs"),
            Pace::default(),
        );
        let verifier = Verifier::new(keys, settings.realm.as_str());
        Ok(Self {
            settings,
            client,
            verifier,
            pending: Pending::new(login_life)?,
        })
    }

    /// Begins a login, and says where the browser goes.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub(crate) fn begin(
        &self,
        origin: &Origin,
        return_to: &ReturnTo,
    ) -> Result<(String, Login), NoRandomness> {
        let login = Login {
            state: random::text::<18>()?,
            return_to: return_to.as_str().to_owned(),
            redirect_uri: format!("{}{CALLBACK}", origin.to_text()),
            nonce: random::text::<18>()?,
            verifier: random::text::<32>()?,
            until: self.pending.end_of_new(),
        };
        Ok((self.authorization(origin, &login), login))
    }

    /// Ends a login with the code that Keycloak gave the browser.
    ///
    /// # Errors
    /// [`LoginError`].
    pub(crate) async fn end(&self, login: &Login, code: &str) -> Result<User, LoginError> {
        let tokens = self.exchange(login, code).await?;
        let client = self.settings.client.as_str();
        let identity = self
            .verifier
            .identity(&tokens.id_token, client, &login.nonce)
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
            .access(&tokens.access_token, &[client])
            .await
            .map_err(of_access)?;
        if access.sub.is_none() || access.sub != identity.sub {
            return Err(of_access(TokenError::Claim("subject")));
        }
        Ok(access.into_user())
    }

    /// Proves a bearer token of one of the clients that may bring one.
    ///
    /// # Errors
    /// [`TokenError`].
    pub(crate) async fn bearer(&self, token: &str) -> Result<AccessClaims, TokenError> {
        self.verifier
            .access(token, &self.settings.bearer_clients)
            .await
    }

    /// Where the browser goes: Keycloak on the visitor's own host name.
    fn authorization(&self, origin: &Origin, login: &Login) -> String {
        let keycloak = origin.with_port(self.settings.public_port).to_text();
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("client_id", &self.settings.client)
            .append_pair("response_type", "code")
            .append_pair("scope", "openid profile email")
            .append_pair("redirect_uri", &login.redirect_uri)
            .append_pair("state", &login.state)
            .append_pair("nonce", &login.nonce)
            .append_pair("code_challenge", &challenge(&login.verifier))
            .append_pair("code_challenge_method", "S256")
            .finish();
        let realm = self.settings.realm.as_str();
        format!("{keycloak}/realms/{realm}/protocol/openid-connect/auth?{query}")
    }

    async fn exchange(&self, login: &Login, code: &str) -> Result<Tokens, LoginError> {
        let unreachable = |error: reqwest::Error| LoginError::Unreachable(in_full(&error));
        let response = self
            .client
            .post(endpoint(&self.settings, "token"))
            .timeout(EXCHANGE)
            .form(&[
                ("grant_type", "authorization_code"),
                ("code", code),
                ("redirect_uri", &login.redirect_uri),
                ("client_id", &self.settings.client),
                ("client_secret", self.settings.secret.expose()),
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
            let refusal: Refusal = serde_json::from_slice(&body).unwrap_or_default();
            Err(refused(refusal.error))
        }
    }
}

/// What the token endpoint answers.
#[derive(Deserialize)]
struct Tokens {
    access_token: String,
    id_token: String,
}

/// What it answers where it doesn't take the code.
#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    error: String,
}

/// An endpoint of the realm as this process reaches it.
fn endpoint(settings: &OidcSettings, name: &str) -> String {
    let (base, realm) = (settings.internal.as_str(), settings.realm.as_str());
    format!("{base}/realms/{realm}/protocol/openid-connect/{name}")
}

/// What of the verifier is shown before the code is given (RFC 7636 section 4.2).
fn challenge(verifier: &str) -> String {
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

    fn provider() -> Provider {
        let settings = Settings::read(&mut Environment::default());
        let client = crate::downstream::client().unwrap();
        Provider::new(settings.oidc, client, settings.login_life).unwrap()
    }

    fn begin(provider: &Provider, host: &'static str) -> (Url, HashMap<String, String>, Login) {
        let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]);
        let origin = Origin::of_request(&headers).unwrap();
        let return_to = ReturnTo::new(Some("/portal?a=b"));
        let (text, login) = provider.begin(&origin, &return_to).unwrap();
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
        assert_eq!(challenge(&login.verifier), query["code_challenge"]);
        assert_ne!(login.verifier, query["code_challenge"]);
    }

    #[test]
    fn the_challenge_is_that_of_the_standard() {
        // RFC 7636, appendix B.
        assert_eq!(
            challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }
}
