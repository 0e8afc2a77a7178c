//! Extractors of request bodies: parsed as JSON, or raw.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::response::IntoResponse as _;
use http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::ApiError;
use crate::telemetry::truncate;

/// Maximum time until a body is received.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);

/// A JSON body, which must be an object. It is `None` if the body is empty or `null`, which the
/// endpoint rejects. Unknown fields and the content type are ignored.
#[derive(Debug)]
pub struct JsonBody<T>(pub Option<T>);

impl<T, S> FromRequest<S> for JsonBody<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let RawBody(bytes) = RawBody::from_request(request, state).await?;
        parse_json(&bytes).map(Self)
    }
}

/// A raw body, within the size limit.
#[derive(Debug)]
pub struct RawBody(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for RawBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let bytes = Bytes::from_request(request, state);
        let Ok(bytes) = tokio::time::timeout(BODY_TIMEOUT, bytes).await else {
            return Err(ApiError::new(
                StatusCode::REQUEST_TIMEOUT,
                "REQUEST_TIMEOUT",
                "Request body did not come in time",
            ));
        };
        bytes.map(Self).map_err(|rejection| {
            if rejection.into_response().status() == StatusCode::PAYLOAD_TOO_LARGE {
                ApiError::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "PAYLOAD_TOO_LARGE",
                    "Request body is too large",
                )
            } else {
                ApiError::invalid_json()
            }
        })
    }
}

fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<Option<T>, ApiError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let invalid = |error: &dyn ToString| {
        ApiError {
            cause: None,
            ..ApiError::invalid_json()
        }
        .log_parse_error(error.to_string())
    };
    let value: Value = serde_json::from_slice(bytes).map_err(|error| invalid(&error))?;
    if value.is_null() {
        return Ok(None);
    }
    // A struct would also accept a list of its fields, which is not documented.
    if !value.is_object() {
        return Err(invalid(&"the body is not an object"));
    }
    if has_nul(&value) {
        return Err(invalid(&"a text contains a NUL character"));
    }
    T::deserialize(value)
        .map(Some)
        .map_err(|error| invalid(&error))
}

impl ApiError {
    /// Logs the error of the parser, at debug level.
    fn log_parse_error(self, error: String) -> Self {
        tracing::debug!(error.message = %truncate(&error), "could not parse the request body");
        self
    }
}

/// Returns whether a text contains U+0000, which PostgreSQL cannot store: it would cause a 500
/// later.
fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(fields) => fields
            .iter()
            .any(|(name, value)| name.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Order {
        sku: Option<String>,
    }

    fn code(body: &[u8]) -> Result<Option<Order>, &'static str> {
        parse_json(body).map_err(|error| error.code)
    }

    #[test]
    fn empty_and_null_body_is_none() {
        for body in ["", "  \r\n", "null", " null "] {
            assert_eq!(code(body.as_bytes()), Ok(None), "{body:?}");
        }
    }

    #[test]
    fn unknown_field_is_ignored_and_wrong_type_rejected() {
        assert_eq!(
            code(br#"{"sku":"a","colour":1}"#),
            Ok(Some(Order {
                sku: Some("a".into())
            }))
        );
        for body in [
            &br#"{"sku":1}"#[..],
            b"{",
            b"[]",
            b"[\"a\"]",
            b"7",
            b"\"x\"",
            b"{\"sku\":\"\\u0000\"}",
            b"\xff\xfe",
        ] {
            assert_eq!(code(body), Err("INVALID_JSON"), "{body:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn body_that_does_not_arrive_times_out() {
        let pending = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
        let body = axum::body::Body::from_stream(pending);
        let request = Request::new(body);
        let error = RawBody::from_request(request, &()).await.unwrap_err();
        assert_eq!(error.status, StatusCode::REQUEST_TIMEOUT);
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_rejected(bytes: Vec<u8>) {
            let _ = code(&bytes);
        }
    }
}
