//! Bodies: as JSON, or as they came.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::response::IntoResponse as _;
use http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::ApiError;
use crate::telemetry::truncate;

/// How long a body may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);

/// A JSON body; `None` where it is empty or `null`, which is the endpoint's to
/// complain about. It must be an object; unknown fields are ignored, and so is the
/// content type.
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

/// A body as it came, within the limit.
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
    // A struct would also take a list of its fields: that is not what is documented.
    if !value.is_object() {
        return Err(invalid(&"the body is not an object"));
    }
    if has_nul(&value) {
        return Err(invalid(&"a text holds a NUL character"));
    }
    T::deserialize(value)
        .map(Some)
        .map_err(|error| invalid(&error))
}

impl ApiError {
    /// Says to a developer's log, at debug level alone, what the parser said.
    fn log_parse_error(self, reason: String) -> Self {
        tracing::debug!(reason = %truncate(&reason), "could not read a body");
        self
    }
}

/// PostgreSQL's texts can't hold it, so that it could only become a 500 later.
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
    fn nothing_and_null_are_no_body() {
        for body in ["", "  \r\n", "null", " null "] {
            assert_eq!(code(body.as_bytes()), Ok(None), "{body:?}");
        }
    }

    #[test]
    fn unknown_fields_are_ignored_and_wrong_types_are_not() {
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
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let never = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
        let body = axum::body::Body::from_stream(never);
        let request = Request::new(body);
        let error = RawBody::from_request(request, &()).await.unwrap_err();
        assert_eq!(error.status, StatusCode::REQUEST_TIMEOUT);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_body_or_invalid(bytes: Vec<u8>) {
            let _ = code(&bytes);
        }
    }
}
