//! Signs a user in like a browser, and returns the realm's tokens.
//!
//! The realm's clients have no direct grants, so a password alone is not
//! sufficient: this is the authorization code flow with PKCE (RFC 6749 section
//! 4.1, RFC 7636) of the public client `warehouse-mobile`, through Keycloak's
//! own login page.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use reqwest::Client;
use reqwest::header::LOCATION;
use reqwest::redirect::Policy;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;
use url::Url;
use uuid::Uuid;

use super::root_cause;

/// The public client of the realm.
const CLIENT_ID: &str = "warehouse-mobile";
/// The redirect URI of the client.
const REDIRECT_URI: &str = "http://localhost:3004/auth/callback";

/// The message of the login page if Keycloak could not query the directory.
const DIRECTORY_FAILED: &str = "Unexpected error when handling authentication request";

/// The name of a required action in the address of its page.
const EXECUTION: &str = "execution";
/// The end of the path of the login page, if Keycloak redirects to it.
const LOGIN_PAGE_PATH: &str = "/login-actions/authenticate";
/// The message of the login page if another first sign-in of the user imports the user from the
/// directory at the same time.
const IMPORTED_MEANWHILE: &str = "Username already exists.";
/// The maximum number of times that the login form is sent.
const MAX_ATTEMPTS: u32 = 4;
/// The delay before the login form is sent again. An import takes some 100 ms.
const IMPORT_DELAY: Duration = Duration::from_millis(250);

/// The response of the token endpoint.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct TokenResponse {
    /// The bearer token for the gateway.
    pub access_token: String,
    /// The identity of the user, for the client.
    #[serde(default)]
    pub id_token: Option<String>,
    /// Seconds until the access token expires.
    pub expires_in: u64,
}

/// The claims of an access token. The gateway checks the signature.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct AccessTokenClaims {
    /// The issuer.
    #[serde(rename = "iss")]
    pub issuer: String,
    /// The username, e.g. `jhalpert`.
    #[serde(rename = "preferred_username", default)]
    pub username: Option<String>,
    /// The user's full name, e.g. `Jim Halpert`.
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
    /// Returns the realm roles, sorted, without those that Keycloak grants to all users.
    #[must_use]
    pub fn roles(&self) -> Vec<&str> {
        let common = ["offline_access", "uma_authorization"];
        let mut roles: Vec<&str> = self
            .realm_access
            .roles
            .iter()
            .map(String::as_str)
            .filter(|role| !common.contains(role) && !role.starts_with("default-roles-"))
            .collect();
        roles.sort_unstable();
        roles
    }
}

/// The reason why a user could not be signed in.
#[derive(Debug, Error)]
pub enum SignInError {
    /// Keycloak cannot be reached.
    #[error("could not reach Keycloak at {url}: {reason}")]
    Unreachable {
        /// Its address.
        url: String,
        /// The cause.
        reason: String,
    },
    /// The login page rejects the user or the password.
    #[error("could not sign in `{user}`: {reason}")]
    Rejected {
        /// The user.
        user: String,
        /// The message of the page.
        reason: String,
    },
    /// The password is correct, and Keycloak requires an action first.
    #[error("could not sign in `{user}`: Keycloak requires the user to {action} first")]
    ActionRequired {
        /// The user.
        user: String,
        /// The required action, e.g. `choose a new password`.
        action: String,
    },
    /// A response violates the protocol.
    #[error("could not read the {response} of Keycloak: {reason}")]
    Protocol {
        /// The kind of response.
        response: &'static str,
        /// The violation.
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
/// Returns [`SignInError`] if Keycloak cannot be reached, rejects the user, or violates the
/// protocol.
pub async fn sign_in(
    base_url: &str,
    realm: &str,
    user: &str,
    password: &str,
) -> Result<TokenResponse, SignInError> {
    let endpoint = format!("{base_url}/realms/{realm}/protocol/openid-connect");
    let unreachable = |error: reqwest::Error| SignInError::Unreachable {
        url: base_url.to_owned(),
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
    if login_form_action(&text).is_none() {
        return Err(SignInError::Protocol {
            response: "login page",
            reason: page_message(&text)
                .unwrap_or_else(|| format!("status {status}, and the page has no login form")),
        });
    }
    let location = submit_login_form(&client, &text, user, password).await?;
    let code = authorization_code(&location, &state)?;

    let response = client
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
    let status = response.status();
    let body = response.bytes().await.map_err(unreachable)?;
    serde_json::from_slice(&body).map_err(|_| SignInError::Protocol {
        response: "token response",
        reason: format!("{status}: {}", String::from_utf8_lossy(&body)),
    })
}

/// Sends the login form of `page` and returns the address to which Keycloak redirects the signed-in
/// user.
///
/// The first sign-in of a user imports the user from the directory. Of several first sign-ins at the
/// same time, Keycloak accepts one. It refuses the others, although the password is correct,
/// redirects them to the login page again, or fails. Their forms are sent again.
///
/// # Errors
/// Returns [`SignInError`] if the page has no login form, Keycloak cannot be reached or rejects the
/// user.
pub async fn submit_login_form(
    client: &Client,
    page: &str,
    user: &str,
    password: &str,
) -> Result<String, SignInError> {
    let mut page = page.to_owned();
    let mut attempts = 0;
    loop {
        let action = login_form_action(&page).ok_or_else(|| rejection(user, &page))?;
        let unreachable = |error: reqwest::Error| SignInError::Unreachable {
            url: action.origin().ascii_serialization(),
            reason: root_cause(&error),
        };
        let form = [
            ("username", user),
            ("password", password),
            ("credentialId", ""),
        ];
        let request = client.post(action.clone()).form(&form);
        let response = request.send().await.map_err(unreachable)?;
        let location = response.headers().get(LOCATION);
        let redirect = location.and_then(|value| value.to_str().ok());
        let (response, has_restarted) = match redirect {
            Some(location) if is_restart(location) => {
                let request = client.get(location);
                (request.send().await.map_err(unreachable)?, true)
            }
            Some(location) => return redirected(user, location),
            None => (response, false),
        };
        let status = response.status();
        let text = response.text().await.map_err(unreachable)?;
        attempts += 1;
        // An error of Keycloak itself says nothing about the password.
        if !status.is_success() && page_message(&text).is_none() {
            if attempts == MAX_ATTEMPTS {
                return Err(SignInError::Protocol {
                    response: "login page",
                    reason: format!("{status}: {text}"),
                });
            }
            tokio::time::sleep(IMPORT_DELAY).await;
            continue;
        }
        page = text;
        let is_import = has_restarted || page_message(&page).as_deref() == Some(IMPORTED_MEANWHILE);
        if !is_import || attempts == MAX_ATTEMPTS {
            return Err(if has_restarted {
                restart_failure(user, &page)
            } else {
                rejection(user, &page)
            });
        }
        tokio::time::sleep(IMPORT_DELAY).await;
    }
}

/// Returns the address to which Keycloak redirects the user, unless it is the page of an action.
fn redirected(user: &str, location: &str) -> Result<String, SignInError> {
    match required_action_from_redirect(location) {
        Some(action) => Err(SignInError::ActionRequired {
            user: user.to_owned(),
            action,
        }),
        None => Ok(location.to_owned()),
    }
}

/// Returns the error of a page that Keycloak shows instead of signing `user` in.
fn rejection(user: &str, page: &str) -> SignInError {
    let user = user.to_owned();
    match required_action_from_page(page) {
        Some(action) => SignInError::ActionRequired { user, action },
        None => SignInError::Rejected {
            user,
            reason: rejection_reason(page),
        },
    }
}

/// Returns the error of the page that Keycloak shows after a redirect to the login page. The login
/// page without a message says nothing about the password.
fn restart_failure(user: &str, page: &str) -> SignInError {
    if login_form_action(page).is_none() {
        return rejection(user, page);
    }
    SignInError::Protocol {
        response: "login page",
        reason: "Keycloak shows it again after every attempt".into(),
    }
}

/// Reads the claims of an access token without checking its signature.
///
/// # Errors
/// Returns [`SignInError::Protocol`] if it is not a JSON web token.
pub fn decode_claims(token: &str) -> Result<AccessTokenClaims, SignInError> {
    let invalid = |reason: String| SignInError::Protocol {
        response: "access token",
        reason,
    };
    let payload = token
        .split('.')
        .nth(1)
        .ok_or_else(|| invalid("the token has no payload".into()))?;
    let bytes = BASE64URL
        .decode(payload)
        .map_err(|error| invalid(error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))
}

/// Returns the address to which the login form is sent.
#[must_use]
pub fn login_form_action(page: &str) -> Option<Url> {
    let form = &page[page.find("id=\"kc-form-login\"")?..];
    // The attributes of the form may have any order: the whole tag is searched.
    let tag_start = page[..page.len() - form.len()].rfind('<')?;
    let tag = &page[tag_start..];
    let tag = &tag[..tag.find('>')?];
    let action = tag.split_once("action=\"")?.1.split_once('"')?.0;
    Url::parse(&action.replace("&amp;", "&")).ok()
}

/// Returns the message of one of Keycloak's pages.
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

/// Returns the reason for a rejection, as the login page words it.
fn rejection_reason(page: &str) -> String {
    page_message(page)
        .or_else(|| page_title(page))
        .unwrap_or_else(|| "no reason given".into())
}

/// Returns the address of one of Keycloak's pages for a sign-in that is not complete, if it is one.
fn login_action(location: &str) -> Option<Url> {
    let url = Url::parse(location).ok()?;
    url.path().contains("/login-actions/").then_some(url)
}

/// Returns whether Keycloak redirects to the login page again.
fn is_restart(location: &str) -> bool {
    login_action(location).is_some_and(|url| {
        url.path().ends_with(LOGIN_PAGE_PATH) && url.query_pairs().all(|(key, _)| key != EXECUTION)
    })
}

/// Returns the action that Keycloak requires before the sign-in, if it redirects to the page
/// of an action.
fn required_action_from_redirect(location: &str) -> Option<String> {
    if is_restart(location) {
        return None;
    }
    let url = login_action(location)?;
    let execution = url.query_pairs().find(|(key, _)| key == EXECUTION);
    Some(execution.map_or_else(
        || "complete an action on one of its pages".to_owned(),
        |(_, action)| describe_required_action(&action),
    ))
}

/// Returns the required action, if the response is already the page of an action.
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

/// Describes a required action of Keycloak.
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
        other => format!("complete {other}"),
    }
}

/// Returns the title of one of Keycloak's pages.
fn page_title(page: &str) -> Option<String> {
    let start = page.find("id=\"kc-page-title\"")?;
    let text = page[start..].split_once('>')?.1.split_once('<')?.0.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Returns the code in the address to which the browser is redirected.
fn authorization_code(location: &str, state: &str) -> Result<String, SignInError> {
    let invalid = |reason: String| SignInError::Protocol {
        response: "redirect",
        reason,
    };
    let url = Url::parse(location).map_err(|error| invalid(error.to_string()))?;
    let value = |name: &str| {
        url.query_pairs()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    };
    if value("state").as_deref() != Some(state) {
        return Err(invalid(
            "its state differs from the one that was sent".into(),
        ));
    }
    value("code").ok_or_else(|| {
        invalid(
            value("error_description")
                .or_else(|| value("error"))
                .unwrap_or_else(|| "it has no code".into()),
        )
    })
}

#[cfg(test)]
#[path = "login_form_tests.rs"]
mod login_form_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn login_form_action_ignores_the_order_of_attributes() {
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
    fn redirect_with_another_state_is_an_error() {
        let location = "http://localhost:3004/auth/callback?state=s&code=c";
        assert_eq!(authorization_code(location, "s").unwrap(), "c");
        assert!(authorization_code(location, "t").is_err());
        let error = authorization_code("http://x/?state=s&error=access_denied", "s").unwrap_err();
        assert!(error.to_string().contains("access_denied"));
    }

    #[test]
    fn claims_omit_roles_of_all_users() {
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
    fn required_action_is_described() {
        let redirect = "http://localhost:8080/realms/x/login-actions/required-action\
            ?execution=UPDATE_PASSWORD&client_id=c&tab_id=t";
        assert_eq!(
            required_action_from_redirect(redirect).unwrap(),
            "choose a new password (UPDATE_PASSWORD)"
        );
        let other = redirect.replace("UPDATE_PASSWORD", "webauthn-register");
        assert_eq!(
            required_action_from_redirect(&other).unwrap(),
            "complete webauthn-register"
        );
        let callback = "http://localhost:3004/auth/callback?state=s&code=c";
        assert_eq!(required_action_from_redirect(callback), None);
        assert!(!is_restart(callback) && !is_restart(redirect));
        let login_page = "http://localhost:8080/realms/x/login-actions/authenticate\
            ?client_id=c&tab_id=t&client_data=d";
        assert!(is_restart(login_page));
        assert_eq!(required_action_from_redirect(login_page), None);
        let other_page = login_page.replace("authenticate", "first-broker-login");
        assert!(!is_restart(&other_page));
        assert_eq!(
            required_action_from_redirect(&other_page).unwrap(),
            "complete an action on one of its pages"
        );
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
    fn suggestions_for_a_failed_directory_differ_from_those_for_a_wrong_password() {
        let suggestions = |reason: &str| {
            let error = SignInError::Rejected {
                user: "jhalpert".into(),
                reason: reason.into(),
            };
            error.suggestions()
        };
        let directory = suggestions(
            "Unexpected error when handling authentication request to identity provider.",
        );
        assert_eq!(directory, ["dm logs keycloak openldap", "dm status"]);
        let password = suggestions("Invalid username or password.");
        let [hint] = password.as_slice() else {
            panic!("{password:?}");
        };
        assert!(hint.contains("DM_TOKEN_PASSWORD"), "{hint}");
        // The same command would fail again.
        assert!(!hint.contains("dm token"), "{hint}");
    }

    #[test]
    fn page_message_is_the_text_of_the_page() {
        let page = r#"<div class="item" id="input-error-username">
            <span class="text kc-feedback-text">
                Invalid username or password.
            </span></div>"#;
        assert_eq!(page_message(page).unwrap(), "Invalid username or password.");
    }
}
