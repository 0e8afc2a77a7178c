//! The header `x-user-display-name`.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use dm_contracts::headers;
use http::HeaderName;
use http::request::Parts;

const DISPLAY_NAME: HeaderName = HeaderName::from_static(headers::USER_DISPLAY_NAME);

/// The display name of the caller, if the gateway sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DisplayName(pub(super) Option<String>);

impl<S: Sync> FromRequestParts<S> for DisplayName {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let name = parts
            .headers
            .get(DISPLAY_NAME)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned())
            .filter(|name| !name.is_empty());
        Ok(Self(name))
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};

    use super::*;

    async fn name(value: &[u8]) -> Option<String> {
        let (mut parts, ()) = Request::new(()).into_parts();
        let value = HeaderValue::from_bytes(value).unwrap();
        parts.headers.insert(DISPLAY_NAME, value);
        let Ok(DisplayName(name)) = DisplayName::from_request_parts(&mut parts, &()).await;
        name
    }

    #[tokio::test]
    async fn display_name_accepts_any_bytes_and_a_blank_one_is_none() {
        assert_eq!(name(b" Jim Halpert ").await.as_deref(), Some("Jim Halpert"));
        assert_eq!(name("Zoë".as_bytes()).await.as_deref(), Some("Zoë"));
        assert_eq!(name(b"Zo\xeb").await.as_deref(), Some("Zo\u{fffd}"));
        assert_eq!(name(b"  ").await, None);
    }
}
