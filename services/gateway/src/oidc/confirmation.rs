//! Whether the realm confirms that a user may stay signed in.

use http::StatusCode;
use serde::Deserialize;
use url::Url;

use super::provider::{OidcProvider, endpoint_url};
use super::realm_request::{EndpointError, send};
use super::realm_tokens::RealmTokens;
use crate::user::User;

/// The beginning of the description with which Keycloak refuses a token because the host name of
/// the request is not that of the user.
const WRONG_ISSUER: &str = "Invalid token issuer";

/// The response of the realm to the question whether a user may stay signed in.
#[derive(Debug)]
pub(crate) enum Confirmation<T> {
    /// The user may stay signed in.
    Confirmed(T),
    /// The user is disabled, signed out, or may not sign in for another reason.
    Refused(String),
    /// The realm could not be reached, or its response does not concern the user.
    Unknown(String),
}

impl OidcProvider {
    /// Refreshes the tokens of a session. Returns `None` if the realm has issued no refresh token.
    ///
    /// The new access token describes the user as the realm knows the user now.
    pub(crate) async fn refresh(
        &self,
        tokens: &RealmTokens,
    ) -> Option<Confirmation<(User, RealmTokens)>> {
        let refresh_token = tokens.refresh.as_deref()?;
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token),
            ("client_id", self.settings.client_id.as_str()),
            ("client_secret", self.settings.client_secret.expose()),
        ];
        let request = self
            .client
            .post(endpoint_url(&self.settings, "token"))
            .form(&form);
        let (status, body) = match send(request, &tokens.issuer).await {
            Ok(response) => response,
            Err(cause) => return Some(Confirmation::Unknown(cause)),
        };
        Some(match status {
            StatusCode::OK => self.read_refreshed(tokens, &body).await,
            _ => refused_refresh(status, &body),
        })
    }

    async fn read_refreshed(
        &self,
        tokens: &RealmTokens,
        body: &[u8],
    ) -> Confirmation<(User, RealmTokens)> {
        let refreshed: RefreshedTokens = match serde_json::from_slice(body) {
            Ok(refreshed) => refreshed,
            Err(error) => return Confirmation::Unknown(error.to_string()),
        };
        let client = self.settings.client_id.as_str();
        let access = self
            .verifier
            .verify_access_token(&refreshed.access_token, &[client])
            .await;
        match access {
            Ok(access) if access.sub.as_ref() == Some(&tokens.subject) => {
                let renewed = RealmTokens {
                    refresh: refreshed.refresh_token.or_else(|| tokens.refresh.clone()),
                    identity: refreshed
                        .id_token
                        .unwrap_or_else(|| tokens.identity.clone()),
                    access_expires_at: access.expires_at(),
                    ..tokens.clone()
                };
                Confirmation::Confirmed((access.into_user(), renewed))
            }
            Ok(_) => Confirmation::Refused("the token belongs to another user".to_owned()),
            Err(cause) => Confirmation::Unknown(cause.to_string()),
        }
    }

    /// Asks the realm whether it still accepts an access token, which this gateway has verified.
    pub(crate) async fn check_access_token(&self, token: &str, issuer: &str) -> Confirmation<()> {
        let url = endpoint_url(&self.settings, "userinfo");
        if !has_same_scheme(issuer, &url) {
            // Keycloak would compare the issuer with the URL of this request, and refuse it.
            return Confirmation::Unknown("the issuer has another scheme".to_owned());
        }
        match send(self.client.get(url).bearer_auth(token), issuer).await {
            Ok((StatusCode::OK, _)) => Confirmation::Confirmed(()),
            Ok((StatusCode::UNAUTHORIZED, body)) => {
                Confirmation::Refused(EndpointError::parse(&body).to_string())
            }
            // For example, the token was issued without the scope `openid`.
            Ok((status, body)) => {
                Confirmation::Unknown(format!("{status} {}", EndpointError::parse(&body)))
            }
            Err(cause) => Confirmation::Unknown(cause),
        }
    }
}

fn has_same_scheme(issuer: &str, url: &str) -> bool {
    let scheme = |text: &str| Url::parse(text).ok().map(|url| url.scheme().to_owned());
    scheme(issuer) == scheme(url)
}

/// Returns what a refused refresh says about the user. Only the errors of RFC 6749 section 5.2 that
/// concern the user end a session: a changed secret of the client, for example, must not.
fn refused_refresh<T>(status: StatusCode, body: &[u8]) -> Confirmation<T> {
    let refusal = EndpointError::parse(body);
    let concerns_user = matches!(refusal.error.as_str(), "invalid_grant" | "access_denied")
        && !refusal.error_description.starts_with(WRONG_ISSUER);
    if status.is_client_error() && concerns_user {
        Confirmation::Refused(refusal.to_string())
    } else {
        Confirmation::Unknown(format!("{status} {refusal}"))
    }
}

/// The response of the token endpoint to a refresh token.
#[derive(Deserialize)]
struct RefreshedTokens {
    access_token: String,
    refresh_token: Option<String>,
    id_token: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(status: u16, error: &str, description: &str) -> Confirmation<()> {
        let body = json!({"error": error, "error_description": description}).to_string();
        refused_refresh(StatusCode::from_u16(status).unwrap(), body.as_bytes())
    }

    #[test]
    fn refused_refresh_ends_a_session_only_because_of_its_user() {
        for (status, error, description) in [
            (400, "invalid_grant", "User disabled"),
            (400, "invalid_grant", "Session not active"),
            (400, "invalid_grant", "Token is not active"),
            (403, "access_denied", "Realm not enabled"),
        ] {
            let confirmation = refusal(status, error, description);
            assert!(
                matches!(confirmation, Confirmation::Refused(_)),
                "{confirmation:?}"
            );
        }
        for (status, error, description) in [
            (401, "invalid_client", "Invalid client secret"),
            (401, "unauthorized_client", ""),
            (
                400,
                "invalid_grant",
                "Invalid token issuer. Expected 'http://keycloak:8080/realms/scranton-branch'",
            ),
            (429, "slow_down", ""),
            (500, "unknown_error", ""),
            (503, "invalid_grant", ""),
        ] {
            let confirmation = refusal(status, error, description);
            assert!(
                matches!(confirmation, Confirmation::Unknown(_)),
                "{confirmation:?}"
            );
        }
        let page = refused_refresh::<()>(StatusCode::BAD_GATEWAY, b"<html>");
        assert!(matches!(page, Confirmation::Unknown(_)));
    }
}
