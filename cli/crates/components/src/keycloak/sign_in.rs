//! Signs a person in as a browser would, and returns the realm's tokens.
//!
//! The realm's clients have no direct grants, so there is no shortcut by
//! password: this is the authorization code flow with PKCE (RFC 6749 section
//! 4.1, RFC 7636) of the public client `warehouse-mobile`, through Keycloak's
//! own login page.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use reqwest::header::LOCATION;
use reqwest::redirect::Policy;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;
use url::Url;
use uuid::Uuid;

use super::root_cause;

/// The public client of the realm, and where it is sent back to.
const CLIENT_ID: &str = "warehouse-mobile";
const REDIRECT_URI: &str = "http://localhost:3004/auth/callback";

/// What the login page says where Keycloak could not ask the directory.
const DIRECTORY_FAILED: &str = "Unexpected error when handling authentication request";

/// What the token endpoint answers.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct TokenResponse {
    /// The bearer token for the gateway.
    pub access_token: String,
    /// Who signed in, for the client.
    #[serde(default)]
    pub id_token: Option<String>,
    /// Seconds until the access token expires.
    pub expires_in: u64,
}

/// What an access token says; the signature is the gateway's to check.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct AccessTokenClaims {
    /// Who issued it.
    #[serde(rename = "iss")]
    pub issuer: String,
    /// The user's name, e.g. `jhalpert`.
    #[serde(rename = "preferred_username", default)]
    pub username: Option<String>,
    /// The person's name, e.g. `Jim Halpert`.
    #[serde(default)]
    pub name: Option<String>,
    /// When it expires, in seconds of the Unix epoch.
    #[serde(rename = "exp")]
    pub expires_at: u64,
    /// The realm's roles.
    #[serde(default)]
    realm_access: RealmAccess,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
struct RealmAccess {
    #[serde(default)]
    roles: Vec<String>,
}

impl AccessTokenClaims {
    /// The realm roles, sorted, without those that Keycloak gives to everybody.
    #[must_use]
    pub fn roles(&self) -> Vec<&str> {
        let everybody = ["offline_access", "uma_authorization"];
        let mut roles: Vec<&str> = self
            .realm_access
            .roles
            .iter()
            .map(String::as_str)
            .filter(|role| !everybody.contains(role) && !role.starts_with("default-roles-"))
            .collect();
        roles.sort_unstable();
        roles
    }
}

/// Why somebody could not be signed in.
#[derive(Debug, Error)]
pub enum SignInError {
    /// Keycloak doesn't answer.
    #[error("could not reach Keycloak at {url}: {reason}")]
    Unreachable {
        /// Its address.
        url: String,
        /// Why not.
        reason: String,
    },
    /// The login page says no.
    #[error("could not sign in `{user}`: {reason}")]
    Rejected {
        /// Who was to be signed in.
        user: String,
        /// What the page says.
        reason: String,
    },
    /// The password is right, and Keycloak wants something else first.
    #[error("could not sign in `{user}`: Keycloak requires the user to {action} first")]
    ActionRequired {
        /// Who was to be signed in.
        user: String,
        /// What it wants, e.g. `choose a new password`.
        action: String,
    },
    /// An answer isn't what the protocol says.
    #[error("could not read the {response} of Keycloak: {reason}")]
    Protocol {
        /// Which answer.
        response: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl UserError for SignInError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Unreachable { .. } => ErrorCode::KeycloakUnreachable,
            Self::Rejected { .. } => ErrorCode::SignInRefused,
            Self::ActionRequired { .. } => ErrorCode::SignInActionRequired,
            Self::Protocol { .. } => ErrorCode::KeycloakProtocol,
        }
    }

    fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Rejected { .. } | Self::ActionRequired { .. } => ExitStatus::Findings,
            _ => ExitStatus::Component,
        }
    }

    fn suggestions(&self) -> Vec<String> {
        match self {
            Self::Unreachable { .. } => vec!["dm status".into(), "dm up --only keycloak".into()],
            Self::Rejected { reason, .. } if reason.contains(DIRECTORY_FAILED) => {
                vec!["dm logs keycloak openldap".into(), "dm status".into()]
            }
            Self::Rejected { .. } => vec![
                "use a user of fixtures/ldap, whose password is `password` or the value of --password or DM_TOKEN_PASSWORD".into(),
            ],
            Self::ActionRequired { .. } => vec![
                "complete the action in a browser: dm open gateway".into(),
                "or remove the required action in the console of Keycloak: dm open keycloak".into(),
            ],
            Self::Protocol { .. } => vec!["dm logs keycloak".into()],
        }
    }
}

/// Signs `user` in to the realm and returns the tokens.
///
/// # Errors
/// [`SignInError`] where Keycloak is away, refuses, or answers otherwise than it should.
pub async fn sign_in(
    base: &str,
    realm: &str,
    user: &str,
    password: &str,
) -> Result<TokenResponse, SignInError> {
    let endpoint = format!("{base}/realms/{realm}/protocol/openid-connect");
    let unreachable = |error: reqwest::Error| SignInError::Unreachable {
        url: base.to_owned(),
        reason: root_cause(&error),
    };
    let client = crate::http_client()
        .cookie_store(true)
        .redirect(Policy::none())
        .build()
        .map_err(unreachable)?;
    let state = Uuid::new_v4().simple().to_string();
    let verifier = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    let challenge = BASE64URL.encode(Sha256::digest(&verifier));

    let page = client
        .get(format!("{endpoint}/auth"))
        .query(&[
            ("client_id", CLIENT_ID),
            ("response_type", "code"),
            ("scope", "openid profile email"),
            ("redirect_uri", REDIRECT_URI),
            ("state", &state),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ])
        .send()
        .await
        .map_err(unreachable)?;
    let status = page.status();
    let text = page.text().await.map_err(unreachable)?;
    let action = login_form_action(&text).ok_or_else(|| SignInError::Protocol {
        response: "login page",
        reason: page_message(&text)
            .unwrap_or_else(|| format!("status {status}, and the page has no login form")),
    })?;

    let answer = client
        .post(action)
        .form(&[
            ("username", user),
            ("password", password),
            ("credentialId", ""),
        ])
        .send()
        .await
        .map_err(unreachable)?;
    let Some(location) = answer
        .headers()
        .get(LOCATION)
        .and_then(|value| value.to_str().ok())
    else {
        let text = answer.text().await.map_err(unreachable)?;
        return Err(match required_action_from_page(&text) {
            Some(wish) => SignInError::ActionRequired {
                user: user.to_owned(),
                action: wish,
            },
            None => SignInError::Rejected {
                user: user.to_owned(),
                reason: rejection_reason(&text),
            },
        });
    };
    if let Some(wish) = required_action_from_redirect(location) {
        return Err(SignInError::ActionRequired {
            user: user.to_owned(),
            action: wish,
        });
    }
    let code = authorization_code(location, &state)?;

    let answer = client
        .post(format!("{endpoint}/token"))
        .form(&[
            ("grant_type", "authorization_code"),
            ("client_id", CLIENT_ID),
            ("redirect_uri", REDIRECT_URI),
            ("code", &code),
            ("code_verifier", &verifier),
        ])
        .send()
        .await
        .map_err(unreachable)?;
    let status = answer.status();
    let body = answer.bytes().await.map_err(unreachable)?;
    serde_json::from_slice(&body).map_err(|_| SignInError::Protocol {
        response: "token response",
        reason: format!("{status}: {}", String::from_utf8_lossy(&body)),
    })
}

/// Reads the claims of an access token without checking its signature.
///
/// # Errors
/// [`SignInError::Protocol`] where it isn't a JSON web token.
pub fn decode_claims(token: &str) -> Result<AccessTokenClaims, SignInError> {
    let broken = |reason: String| SignInError::Protocol {
        response: "access token",
        reason,
    };
    let payload = token
        .split('.')
        .nth(1)
        .ok_or_else(|| broken("the token has no payload".into()))?;
    let bytes = BASE64URL
        .decode(payload)
        .map_err(|error| broken(error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))
}

/// The address that the login form is sent to.
#[must_use]
pub fn login_form_action(page: &str) -> Option<Url> {
    let form = &page[page.find("id=\"kc-form-login\"")?..];
    // The attributes of the form may come in any order: look in the whole tag.
    let tag_start = page[..page.len() - form.len()].rfind('<')?;
    let tag = &page[tag_start..];
    let tag = &tag[..tag.find('>')?];
    let action = tag.split_once("action=\"")?.1.split_once('"')?.0;
    Url::parse(&action.replace("&amp;", "&")).ok()
}

/// The message that one of Keycloak's pages shows.
#[must_use]
pub fn page_message(page: &str) -> Option<String> {
    let start = [
        "kc-feedback-text",
        "id=\"input-error",
        "id=\"kc-error-message\"",
        "class=\"instruction\"",
    ]
    .iter()
    .find_map(|marker| page.find(marker))?;
    // The first text after the marker that is not a tag.
    let text = page[start..]
        .split('<')
        .filter_map(|part| part.split_once('>'))
        .map(|(_, text)| text.trim())
        .find(|text| !text.is_empty())?;
    Some(
        text.replace("&#39;", "'")
            .replace("&quot;", "\"")
            .replace("&amp;", "&"),
    )
}

/// Why a login page refused somebody, in its own words.
#[must_use]
pub fn rejection_reason(page: &str) -> String {
    page_message(page)
        .or_else(|| page_title(page))
        .unwrap_or_else(|| "no reason given".into())
}

/// What Keycloak wants of a person before it signs them in, where it redirects to a page
/// that asks for it.
#[must_use]
pub fn required_action_from_redirect(location: &str) -> Option<String> {
    let url = Url::parse(location).ok()?;
    if !url.path().contains("/login-actions/") {
        return None;
    }
    let action = url
        .query_pairs()
        .find(|(key, _)| key == "execution")
        .map(|(_, action)| action.into_owned());
    Some(describe_required_action(
        action.as_deref().unwrap_or_default(),
    ))
}

/// The same, where it shows that page at once.
fn required_action_from_page(page: &str) -> Option<String> {
    let forms = [
        ("kc-passwd-update-form", "UPDATE_PASSWORD"),
        ("kc-update-profile-form", "VERIFY_PROFILE"),
        ("kc-totp-settings-form", "CONFIGURE_TOTP"),
        ("kc-terms-text", "TERMS_AND_CONDITIONS"),
        ("kc-otp-login-form", "otp"),
        ("kc-oauth", "OAUTH_GRANT"),
    ];
    forms
        .iter()
        .find(|(form, _)| page.contains(&format!("id=\"{form}\"")))
        .map(|(_, action)| describe_required_action(action))
}

/// A required action of Keycloak's in plain words.
fn describe_required_action(action: &str) -> String {
    match action {
        "UPDATE_PASSWORD" => "choose a new password (UPDATE_PASSWORD)".into(),
        "UPDATE_PROFILE" => "review the profile (UPDATE_PROFILE)".into(),
        "VERIFY_PROFILE" => {
            "complete the profile, which lacks a name or an e-mail address (VERIFY_PROFILE)".into()
        }
        "UPDATE_EMAIL" | "VERIFY_EMAIL" => format!("confirm the e-mail address ({action})"),
        "CONFIGURE_TOTP" => "set up one-time codes (CONFIGURE_TOTP)".into(),
        "TERMS_AND_CONDITIONS" => "accept the terms (TERMS_AND_CONDITIONS)".into(),
        "OAUTH_GRANT" => "grant the client its access (OAUTH_GRANT)".into(),
        "otp" => "enter a one-time code".into(),
        "" => "complete an action on one of its pages".into(),
        other => format!("complete {other}"),
    }
}

/// The title of one of Keycloak's pages.
fn page_title(page: &str) -> Option<String> {
    let start = page.find("id=\"kc-page-title\"")?;
    let text = page[start..].split_once('>')?.1.split_once('<')?.0.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The code in the address that the browser is sent back to.
fn authorization_code(location: &str, state: &str) -> Result<String, SignInError> {
    let broken = |reason: String| SignInError::Protocol {
        response: "redirect",
        reason,
    };
    let url = Url::parse(location).map_err(|error| broken(error.to_string()))?;
    let value = |name: &str| {
        url.query_pairs()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    };
    if value("state").as_deref() != Some(state) {
        return Err(broken(
            "its state differs from the one that was sent".into(),
        ));
    }
    value("code").ok_or_else(|| {
        broken(
            value("error_description")
                .or_else(|| value("error"))
                .unwrap_or_else(|| "it has no code".into()),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_found_whatever_the_order_of_its_attributes() {
        let page = r#"<p>x</p><form onsubmit="a" id="kc-form-login" class="f"
            action="http://localhost:8080/login?a=1&amp;b=2" method="post"><input>"#;
        assert_eq!(
            login_form_action(page).unwrap().as_str(),
            "http://localhost:8080/login?a=1&b=2"
        );
        let page = r#"<form action="http://localhost:8080/x" id="kc-form-login">"#;
        assert_eq!(login_form_action(page).unwrap().path(), "/x");
        assert!(login_form_action("<form action='x'>").is_none());
    }

    #[test]
    fn a_redirect_with_a_foreign_state_is_refused() {
        let location = "http://localhost:3004/auth/callback?state=s&code=c";
        assert_eq!(authorization_code(location, "s").unwrap(), "c");
        assert!(authorization_code(location, "t").is_err());
        let error = authorization_code("http://x/?state=s&error=access_denied", "s").unwrap_err();
        assert!(error.to_string().contains("access_denied"));
    }

    #[test]
    fn claims_show_the_roles_that_mean_something() {
        let payload = BASE64URL.encode(
            r#"{"iss":"i","exp":1,"preferred_username":"jhalpert","name":"Jim Halpert",
                "realm_access":{"roles":["offline_access","sales-associate","default-roles-x"]}}"#,
        );
        let claims = decode_claims(&format!("h.{payload}.s")).unwrap();
        assert_eq!(claims.roles(), ["sales-associate"]);
        assert_eq!(claims.name.as_deref(), Some("Jim Halpert"));
        assert!(decode_claims("nonsense").is_err());
    }

    #[test]
    fn what_keycloak_wants_first_is_said() {
        let redirect = "http://localhost:8080/realms/x/login-actions/required-action\
            ?execution=UPDATE_PASSWORD&client_id=c&tab_id=t";
        assert_eq!(
            required_action_from_redirect(redirect).unwrap(),
            "choose a new password (UPDATE_PASSWORD)"
        );
        let other = redirect.replace("UPDATE_PASSWORD", "webauthn-register");
        assert_eq!(
            required_action_from_redirect(&other).unwrap(),
            "do webauthn-register"
        );
        let back = "http://localhost:3004/auth/callback?state=s&code=c";
        assert_eq!(required_action_from_redirect(back), None);
        let page = r#"<form id="kc-update-profile-form" action="x">"#;
        assert!(
            required_action_from_page(page)
                .unwrap()
                .contains("complete the profile")
        );
        assert_eq!(
            required_action_from_page(r#"<form id="kc-form-login">"#),
            None
        );
        let page = r#"<h1 id="kc-page-title">  Account is disabled </h1>"#;
        assert_eq!(rejection_reason(page), "Account is disabled");
    }

    #[test]
    fn the_pages_own_words_are_the_reason() {
        let page = r#"<div class="item" id="input-error-username">
            <span class="text kc-feedback-text">
                Invalid username or password.
            </span></div>"#;
        assert_eq!(page_message(page).unwrap(), "Invalid username or password.");
    }
}
