//! Authentication and authorization of requests.

use std::sync::Arc;

use dm_kit::http::ApiError;
use http::{HeaderMap, header};
use tracing::debug;

use crate::Gateway;
use crate::access::Area;
use crate::sessions::{User, UserSession};

/// Returns the session of a request to an area.
///
/// # Errors
/// Returns [`ApiError`] with 401 if the request has no session, and with 403 if the user lacks
/// the role.
pub(crate) fn require_session(
    gateway: &Gateway,
    area: Area,
    headers: &HeaderMap,
) -> Result<Arc<UserSession>, ApiError> {
    let session = gateway.sessions.find(headers);
    let session =
        session.ok_or_else(|| ApiError::unauthenticated(area.unauthenticated_message()))?;
    check_role(area, &session.user)?;
    Ok(session)
}

/// Returns the user of a request to an area.
///
/// If the area accepts bearer tokens, a valid token takes precedence over the cookie, even
/// if its roles permit less. A token that is forged, foreign, expired or without a user name
/// is ignored: the cookie decides then.
///
/// # Errors
/// Returns [`ApiError`] with 401 if the request has neither session nor valid token, with 403
/// if the user lacks the role, and with 500 if a token cannot be verified because Keycloak's
/// keys were never fetched.
pub(crate) async fn require_user(
    gateway: &Gateway,
    area: Area,
    headers: &HeaderMap,
) -> Result<User, ApiError> {
    let bearer = bearer_token(headers).filter(|_| area.accepts_bearer());
    let verified = match bearer {
        Some(token) => Some(gateway.provider.verify_bearer(token).await),
        None => None,
    };
    match verified {
        Some(Ok(claims)) if claims.has_username() => {
            let user = claims.into_user();
            check_role(area, &user)?;
            return Ok(user);
        }
        Some(Ok(_)) => debug!("bearer token has no user name"),
        Some(Err(cause))
            if cause.is_keys_unavailable() && gateway.sessions.find(headers).is_none() =>
        {
            return Err(ApiError::internal(cause));
        }
        Some(Err(cause)) => debug!(error.message = %cause, "rejected the bearer token"),
        None => {}
    }
    require_session(gateway, area, headers).map(|session| session.user.clone())
}

fn check_role(area: Area, user: &User) -> Result<(), ApiError> {
    if area.permits(&user.roles) {
        Ok(())
    } else {
        Err(ApiError::forbidden(area.forbidden_message()))
    }
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
