//! Who comes in, and whether they may.

use std::sync::Arc;

use dm_kit::http::ApiError;
use http::{HeaderMap, header};
use tracing::debug;

use crate::Gateway;
use crate::access::Area;
use crate::sessions::{User, UserSession};

/// The session of a request to an area.
///
/// # Errors
/// 401 where nobody is signed in, 403 without the role.
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

/// The user of a request to an area.
///
/// Where bearers are taken, a usable one wins over the cookie, even one with worse
/// roles. One that is forged, foreign, expired or without a user's name is not
/// usable: then the cookie counts, as if there were no bearer.
///
/// # Errors
/// 401 where nobody is signed in, 403 without the role, 500 where a bearer can't be
/// proved because Keycloak's keys could never be had.
pub(crate) async fn require_user(
    gateway: &Gateway,
    area: Area,
    headers: &HeaderMap,
) -> Result<User, ApiError> {
    let bearer = bearer_token(headers).filter(|_| area.accepts_bearer());
    let proved = match bearer {
        Some(token) => Some(gateway.provider.verify_bearer(token).await),
        None => None,
    };
    match proved {
        Some(Ok(claims)) if claims.has_username() => {
            let user = claims.into_user();
            check_role(area, &user)?;
            return Ok(user);
        }
        Some(Ok(_)) => debug!("a bearer token names no user"),
        Some(Err(cause))
            if cause.is_keys_unavailable() && gateway.sessions.find(headers).is_none() =>
        {
            return Err(ApiError::internal(cause));
        }
        Some(Err(cause)) => debug!(%cause, "a bearer token is not usable"),
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
    fn the_scheme_is_read_in_any_case() {
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
