//! The layer that keeps the session of a request alive: activity extends it, and the realm is asked
//! from time to time whether its user may stay signed in.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::cors::API_PREFIX;
use crate::{Gateway, cookies, revalidation};

/// The challenge to a client whose bearer token was not accepted (RFC 6750 section 3).
const INVALID_TOKEN: HeaderValue = HeaderValue::from_static("Bearer error=\"invalid_token\"");

/// Applies the layer to all routes.
pub(crate) fn wrap_router(router: Router, gateway: Arc<Gateway>) -> Router {
    router.layer(from_fn_with_state(gateway, keep_session))
}

async fn keep_session(
    State(gateway): State<Arc<Gateway>>,
    request: Request,
    next: Next,
) -> Response {
    let found = gateway.sessions.find_with_cookie(request.headers());
    if let Some((_, session)) = &found {
        // First, so that the routes no longer find the session of a disabled user.
        revalidation::check_session(&gateway, session).await;
        gateway.sessions.extend(session);
    }
    let has_token = request.headers().contains_key(header::AUTHORIZATION);
    let is_api = request.uri().path().starts_with(API_PREFIX);
    let mut response = next.run(request).await;
    if has_token && response.status() == StatusCode::UNAUTHORIZED {
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, INVALID_TOKEN);
    }
    // A response that sets cookies itself begins or ends a session.
    if let Some((name, session)) = found
        && !response.headers().contains_key(header::SET_COOKIE)
        && is_uncached(response.headers(), is_api)
        && let Some(lifetime) = gateway.sessions.renewed_cookie_lifetime(&session)
        && let Some(cookie) = cookies::set_cookie_header(&name, &session.id, lifetime)
    {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// Returns whether no cache stores the response, together with its cookie. A response of the API
/// without directives gets them outside this layer.
fn is_uncached(headers: &HeaderMap, is_api: bool) -> bool {
    headers.get(header::CACHE_CONTROL).map_or(is_api, |value| {
        value
            .to_str()
            .is_ok_and(|directives| directives.contains("no-store"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn response_that_a_cache_may_store_is_not_uncached() {
        for (directives, is_api, expected) in [
            (Some("no-store"), false, true),
            (Some("private, max-age=60, must-revalidate"), true, false),
            (Some("private, no-cache"), false, false),
            (Some("public, max-age=31536000, immutable"), false, false),
            (None, true, true),
            (None, false, false),
        ] {
            let headers: HeaderMap = directives
                .map(|text| (header::CACHE_CONTROL, HeaderValue::from_static(text)))
                .into_iter()
                .collect();
            assert_eq!(is_uncached(&headers, is_api), expected, "{directives:?}");
        }
    }
}
