//! Who calls.

use axum::extract::FromRequestParts;
use http::HeaderName;
use http::request::Parts;

use super::error::ApiError;

/// The header in which the gateway says who is signed in.
pub const USER_ID: HeaderName = HeaderName::from_static("x-user-id");

/// The signed-in user, as the gateway says. Services are reached through it alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller(pub String);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        parts
            .headers
            .get(USER_ID)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned())
            .filter(|user| !user.is_empty())
            .map(Self)
            .ok_or_else(|| ApiError::unauthenticated("Missing x-user-id header"))
    }
}
