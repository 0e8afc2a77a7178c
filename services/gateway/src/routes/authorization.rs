//! Authentication and authorization of requests.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use dm_kit::http::ApiError;
use http::{HeaderMap, header};
use tokio::sync::Semaphore;
use tracing::debug;

use crate::access::Area;
use crate::bearer::BearerToken;
use crate::sessions::UserSession;
use crate::user::User;
use crate::{Gateway, revalidation};

/// The authenticated sender of a request: a user with a session or a bearer token, which are
/// equivalent.
#[derive(Debug, Clone)]
pub(crate) enum Identity {
    /// A session.
    Session(Arc<UserSession>),
    /// A bearer token.
    Bearer(Arc<BearerToken>),
}

impl Identity {
    /// Returns the user.
    #[must_use]
    pub(crate) fn user(&self) -> &User {
        match self {
            Self::Session(session) => &session.user,
            Self::Bearer(bearer) => &bearer.user,
        }
    }

    /// Returns the latest end of the session, or the expiry of the token.
    #[must_use]
    pub(crate) fn expires_at(&self) -> DateTime<Utc> {
        match self {
            Self::Session(session) => session.expires_at,
            Self::Bearer(bearer) => bearer.expires_at,
        }
    }

    /// Returns the end without further activity.
    #[must_use]
    pub(crate) fn idle_expires_at(&self) -> DateTime<Utc> {
        match self {
            Self::Session(session) => session.idle_expires_at(),
            Self::Bearer(bearer) => bearer.expires_at,
        }
    }

    /// Returns the permits for streams.
    #[must_use]
    pub(crate) fn streams(&self) -> &Arc<Semaphore> {
        match self {
            Self::Session(session) => session.streams(),
            Self::Bearer(bearer) => bearer.streams(),
        }
    }

    /// Waits until the session ends, or the token expires or is revoked.
    pub(crate) async fn ended(&self) {
        match self {
            Self::Session(session) => session.ended().await,
            Self::Bearer(bearer) => bearer.ended().await,
        }
    }

    /// Returns whether the user may still enter an area. The realm is asked from time to time, as
    /// for a request. A session is not extended.
    pub(crate) async fn still_permits(&self, gateway: &Gateway, area: Area) -> bool {
        match self {
            Self::Session(session) => {
                revalidation::check_session(gateway, session).await;
                let current = gateway.sessions.current(session);
                current.is_some_and(|session| area.permits(&session.user.roles))
            }
            Self::Bearer(bearer) => {
                revalidation::check_bearer(gateway, bearer).await;
                !bearer.is_revoked() && area.permits(&bearer.user.roles)
            }
        }
    }

    fn check_role(&self, area: Area) -> Result<(), ApiError> {
        if area.permits(&self.user().roles) {
            return Ok(());
        }
        Err(match self {
            Self::Session(_) => ApiError::forbidden(area.forbidden_message()),
            Self::Bearer(_) => ApiError::forbidden(area.forbidden_token_message()),
        })
    }
}

/// Returns the identity of a request, or `None` if it has none.
///
/// A valid bearer token takes precedence over the cookie, even if its roles permit less. A token
/// that is forged, foreign, expired, revoked or without a user name is ignored: the cookie decides
/// then.
///
/// # Errors
/// Returns [`ApiError`] with 500 if there is no session, and the token cannot be verified because
/// Keycloak's keys were never fetched.
pub(crate) async fn identify(
    gateway: &Gateway,
    headers: &HeaderMap,
) -> Result<Option<Identity>, ApiError> {
    let session = || gateway.sessions.find(headers);
    if let Some(token) = bearer_token(headers) {
        match gateway.provider.verify_bearer(token).await {
            Ok(claims) if claims.has_username() => {
                let bearer = gateway.bearers.admit(token, claims);
                revalidation::check_bearer(gateway, &bearer).await;
                if !bearer.is_revoked() {
                    return Ok(Some(Identity::Bearer(bearer)));
                }
                debug!("the realm has revoked the bearer token");
            }
            Ok(_) => debug!("bearer token has no user name"),
            Err(cause) if cause.is_keys_unavailable() && session().is_none() => {
                return Err(ApiError::internal(cause));
            }
            Err(cause) => debug!(error.message = %cause, "rejected the bearer token"),
        }
    }
    Ok(session().map(Identity::Session))
}

/// Returns the identity of a request to an area.
///
/// # Errors
/// Returns [`ApiError`] with 401 if the request has neither session nor valid token, with 403 if
/// the user lacks the role, and like [`identify`].
pub(crate) async fn require_identity(
    gateway: &Gateway,
    area: Area,
    headers: &HeaderMap,
) -> Result<Identity, ApiError> {
    let identity = identify(gateway, headers).await?;
    let identity =
        identity.ok_or_else(|| ApiError::unauthenticated(area.unauthenticated_message()))?;
    identity.check_role(area)?;
    Ok(identity)
}

/// Returns the user of a request to an area.
///
/// # Errors
/// Returns [`ApiError`] like [`require_identity`].
pub(crate) async fn require_user(
    gateway: &Gateway,
    area: Area,
    headers: &HeaderMap,
) -> Result<User, ApiError> {
    let identity = require_identity(gateway, area, headers).await?;
    Ok(identity.user().clone())
}

/// The token of `Authorization: Bearer <token>`.
fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn bearer_token_ignores_the_case_of_the_scheme() {
        for (value, token) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("Basic abc", None),
            ("Bearer", None),
            ("Bearer ", None),
            ("", None),
        ] {
            let value = HeaderValue::from_static(value);
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
            assert_eq!(bearer_token(&headers), token);
        }
    }
}
