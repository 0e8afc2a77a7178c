//! The header `Idempotency-Key`.

use axum::extract::FromRequestParts;
use dm_contracts::headers;
use dm_kit::http::ApiError;
use http::HeaderName;
use http::request::Parts;

use crate::domain::idempotency_key::{self, InvalidKey};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static(headers::IDEMPOTENCY_KEY);

/// The key of a request. Each endpoint decides when an invalid key is an error.
#[derive(Debug)]
pub(super) struct IdempotencyKey(Result<Option<String>, InvalidKey>);

impl IdempotencyKey {
    /// Returns the key, or `None` if it is missing or blank.
    pub(super) fn optional(self) -> Result<Option<String>, ApiError> {
        self.0.map_err(|error| ApiError::invalid(error.message()))
    }

    /// Returns the key, or an error if it is missing or blank.
    pub(super) fn required(self) -> Result<String, ApiError> {
        self.optional()?
            .ok_or_else(|| ApiError::invalid("Idempotency-Key header is required"))
    }
}

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let header = parts.headers.get(IDEMPOTENCY_KEY);
        Ok(Self(idempotency_key::parse_key(
            header.map(|value| value.as_bytes()),
        )))
    }
}
