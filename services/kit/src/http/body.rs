//! Extractors of request bodies: parsed as JSON, or raw.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::response::IntoResponse as _;
use http::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use super::error::ApiError;
use crate::telemetry::truncate;

/// Maximum time until a body is received.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);

/// A JSON body, which must be an object. It is `None` if the body is empty or `null`, which the
/// endpoint rejects. Unknown fields and the content type are ignored. Texts of known fields contain
/// no NUL character.
#[derive(Debug)]
pub struct JsonBody<T>(pub Option<T>);

impl<T, S> FromRequest<S> for JsonBody<T>
where
    T: DeserializeOwned + Serialize,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let RawBody(bytes) = RawBody::from_request(request, state).await?;
        let body = parse_json(&bytes)?;
        refuse_nul(&body)?;
        Ok(Self(body))
    }
}

/// A body like [`JsonBody`] for endpoints that store a part of it as JSON: fields of the type
/// [`RawValue`] keep the text of the request, which can contain any JSON.
#[derive(Debug)]
pub struct RawJsonBody<T>(pub Option<T>);

impl<T, S> FromRequest<S> for RawJsonBody<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let RawBody(bytes) = RawBody::from_request(request, state).await?;
        parse_raw_json(&bytes).map(Self)
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
    let value: Value = serde_json::from_slice(bytes).map_err(|error| invalid(&error))?;
    if value.is_null() {
        return Ok(None);
    }
    // A struct would also accept a list of its fields, which is not documented.
    if !value.is_object() {
        return Err(invalid(&"the body is not an object"));
    }
    T::deserialize(value)
        .map(Some)
        .map_err(|error| invalid(&error))
}

/// Parses an object without its values, so that [`RawValue`] fields of `T` get their text.
fn parse_raw_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<Option<T>, ApiError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    // Of a repeated field, the last one counts, as in other bodies.
    let fields: Option<BTreeMap<String, Box<RawValue>>> =
        serde_json::from_slice(bytes).map_err(|error| invalid(&error))?;
    let Some(fields) = fields else {
        return Ok(None);
    };
    serde_json::to_string(&fields)
        .and_then(|text| serde_json::from_str(&text))
        .map(Some)
        .map_err(|error| invalid(&error))
}

/// Refuses a body in which a text of a known field contains U+0000, which PostgreSQL cannot store:
/// it would cause a 500 later.
fn refuse_nul<T: Serialize>(body: &Option<T>) -> Result<(), ApiError> {
    let known = serde_json::to_value(body).map_err(|error| invalid(&error))?;
    if has_nul(&known) {
        return Err(invalid(&"a text contains a NUL character"));
    }
    Ok(())
}

/// Returns the error of an invalid body, and logs its cause at debug level.
fn invalid(cause: &dyn ToString) -> ApiError {
    let cause = cause.to_string();
    tracing::debug!(error.message = %truncate(&cause), "could not parse the request body");
    ApiError::invalid_json()
}

/// Returns whether a text contains U+0000.
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

    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Order {
        sku: Option<String>,
    }

    fn code(body: &[u8]) -> Result<Option<Order>, &'static str> {
        let parsed = parse_json(body).and_then(|order| refuse_nul(&order).map(|()| order));
        parsed.map_err(|error| error.code)
    }

    #[derive(Debug, Deserialize)]
    struct Note {
        text: Option<Box<RawValue>>,
    }

    #[test]
    fn raw_field_keeps_the_text_of_the_request() {
        let parse = |body: &str| {
            let note: Option<Note> = parse_raw_json(body.as_bytes()).map_err(|error| error.code)?;
            Ok(note.map(|note| note.text.map(|text| text.get().to_owned())))
        };
        for text in [
            "123456789012345678901234567890",
            "1e400",
            "-0",
            r#"{"a" : 1, "a":"\ud800\u0000", "$serde_json::private::RawValue": "1"}"#,
            "[[[1]]]",
        ] {
            let body = format!(r#"{{"other": 1e999, "text": 1, "text": {text} }}"#);
            assert_eq!(parse(&body), Ok(Some(Some(text.to_owned()))));
        }
        for body in ["", " null "] {
            assert_eq!(parse(body), Ok(None), "{body:?}");
        }
        assert_eq!(parse(r#"{"text": null}"#), Ok(Some(None)));
        for body in ["[]", "7", "{", r#"{"text": 01}"#, r#"{"text": nul}"#] {
            assert_eq!(parse(body), Err("INVALID_JSON"), "{body}");
        }
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
            code(br#"{"sku":"a","colour":["\u0000",{"\u0000":1}]}"#),
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
