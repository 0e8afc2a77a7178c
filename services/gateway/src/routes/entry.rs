//! Who comes in, and whether they may.

use std::sync::Arc;

use dm_kit::http::ApiError;
use http::{HeaderMap, header};
use tracing::debug;

use crate::Gateway;
use crate::access::Area;
use crate::sessions::{Session, User};

/// The session of a request to an area.
///
/// # Errors
/// 401 where nobody is signed in, 403 without the role.
pub(crate) fn permit(
    gateway: &Gateway,
    area: Area,
    headers: &HeaderMap,
) -> Result<Arc<Session>, ApiError> {
    let session = gateway.sessions.of_request(headers);
    let session = session.ok_or_else(|| ApiError::unauthenticated(area.unauthenticated()))?;
    check(area, &session.user)?;
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
pub(crate) async fn enter(
    gateway: &Gateway,
    area: Area,
    headers: &HeaderMap,
) -> Result<User, ApiError> {
    let bearer = bearer(headers).filter(|_| area.takes_bearers());
    let proved = match bearer {
        Some(token) => Some(gateway.provider.bearer(token).await),
        None => None,
    };
    match proved {
        Some(Ok(claims)) if claims.names_a_user() => {
            let user = claims.into_user();
            check(area, &user)?;
            return Ok(user);
        }
        Some(Ok(_)) => debug!("a bearer token names no user"),
        Some(Err(cause))
            if cause.is_undecided() && gateway.sessions.of_request(headers).is_none() =>
        {
            return Err(ApiError::internal(cause));
        }
        Some(Err(cause)) => debug!(%cause, "a bearer token is not usable"),
        None => {}
    }
    permit(gateway, area, headers).map(|session| session.user.clone())
}

fn check(area: Area, user: &User) -> Result<(), ApiError> {
    if area.permits(&user.roles) {
        Ok(())
    } else {
        Err(ApiError::forbidden(area.forbidden()))
    }
}

/// The token of `Authorization: Bearer <token>`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
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
            assert_eq!(bearer(&headers), token);
        }
    }
}
