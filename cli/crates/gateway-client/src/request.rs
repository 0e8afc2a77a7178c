//! A request with its own trace id, and checks of the response.

use dm_contracts::headers;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use super::RequestFailure;

/// The number of characters of a response body that a failure contains.
const BODY_EXCERPT_CHARS: usize = 600;

/// A response with its request line and trace id.
#[derive(Debug, Clone)]
pub struct TracedResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: String,
    request_line: String,
    trace_id: String,
}

/// Returns a new trace id.
#[must_use]
pub fn new_trace_id() -> String {
    Uuid::new_v4().simple().to_string()
}

/// A request below a base address, with its own trace id.
#[derive(Debug)]
pub struct TracedRequest {
    builder: RequestBuilder,
    request_line: String,
    trace_id: String,
}

impl TracedRequest {
    /// Creates a request without a body.
    #[must_use]
    pub(crate) fn new(client: &Client, method: Method, base: &str, path: &str) -> Self {
        let trace_id = new_trace_id();
        Self {
            request_line: format!("{method} {path}"),
            builder: client
                .request(method, format!("{base}{path}"))
                .header(headers::TRACE_ID, &trace_id),
            trace_id,
        }
    }

    /// Sets the JSON body.
    #[must_use]
    pub fn json(mut self, body: &Value) -> Self {
        self.builder = self.builder.json(body);
        self
    }

    /// Sets a body that is not JSON.
    #[must_use]
    pub fn body(mut self, content_type: &str, body: Vec<u8>) -> Self {
        self.builder = self.builder.header(CONTENT_TYPE, content_type).body(body);
        self
    }

    /// Sets a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        self.builder = self.builder.header(name, value);
        self
    }

    /// Sends the request and checks the status of the response.
    ///
    /// # Errors
    /// Returns [`RequestFailure`] if there is no response, or it has another status.
    pub async fn expect_status(self, status: u16) -> Result<TracedResponse, RequestFailure> {
        let response = self.send().await?;
        if response.status.as_u16() == status {
            Ok(response)
        } else {
            Err(response.failure(format!("expected {status}")))
        }
    }

    /// Sends the request and accepts any status.
    ///
    /// # Errors
    /// Returns [`RequestFailure`] if there is no response.
    pub async fn send(self) -> Result<TracedResponse, RequestFailure> {
        let Self {
            builder,
            request_line,
            trace_id,
        } = self;
        let failed = |error: reqwest::Error| RequestFailure {
            request: Some(request_line.clone()),
            trace_id: Some(trace_id.clone()),
            ..RequestFailure::new(format!("no response: {}", root_cause(&error)))
        };
        let response = builder.send().await.map_err(failed)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.text().await.map_err(failed)?;
        Ok(TracedResponse {
            status,
            headers,
            body,
            request_line,
            trace_id,
        })
    }

    /// Sends the request and returns the response for streaming.
    ///
    /// # Errors
    /// Returns [`RequestFailure`] if there is no response, or its status is not a success.
    pub async fn open_stream(self) -> Result<reqwest::Response, RequestFailure> {
        let response = self.builder.send().await.map_err(|error| RequestFailure {
            request: Some(self.request_line.clone()),
            trace_id: Some(self.trace_id.clone()),
            ..RequestFailure::new(format!("no response: {}", root_cause(&error)))
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(RequestFailure {
            request: Some(self.request_line),
            status: Some(response.status().as_u16()),
            trace_id: Some(self.trace_id),
            ..RequestFailure::new("the gateway refused the stream")
        })
    }
}

impl TracedResponse {
    /// Returns a failure with this response.
    #[must_use]
    pub fn failure(&self, message: impl Into<String>) -> RequestFailure {
        RequestFailure {
            request: Some(self.request_line.clone()),
            status: Some(self.status.as_u16()),
            response_body: (!self.body.is_empty())
                .then(|| self.body.chars().take(BODY_EXCERPT_CHARS).collect()),
            trace_id: Some(self.trace_id.clone()),
            ..RequestFailure::new(message)
        }
    }

    /// Parses the body as JSON.
    ///
    /// # Errors
    /// Returns [`RequestFailure`] if the body is not JSON.
    pub fn json(&self) -> Result<Value, RequestFailure> {
        serde_json::from_str(&self.body).map_err(|_| self.failure("the response is not JSON"))
    }

    /// Decodes the body as a type of the contract.
    ///
    /// # Errors
    /// Returns [`RequestFailure`] if the body does not match the type.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, RequestFailure> {
        serde_json::from_str(&self.body)
            .map_err(|error| self.failure(format!("the response violates the contract: {error}")))
    }

    /// Returns the string at a JSON pointer in the body.
    ///
    /// # Errors
    /// Returns [`RequestFailure`] if there is no string at the pointer.
    pub fn string_at(&self, pointer: &str) -> Result<String, RequestFailure> {
        self.json()?
            .pointer(pointer)
            .and_then(Value::as_str)
            .map(str::to_owned)
            .ok_or_else(|| self.failure(format!("the response has no string at {pointer}")))
    }

    /// Checks the value at a JSON pointer in the body.
    ///
    /// # Errors
    /// Returns [`RequestFailure`] if the value differs.
    pub fn expect_value(
        &self,
        pointer: &str,
        expected: impl Into<Value>,
    ) -> Result<&Self, RequestFailure> {
        let expected = expected.into();
        let actual = self.json()?.pointer(pointer).cloned();
        if actual.as_ref() == Some(&expected) {
            return Ok(self);
        }
        let actual = actual.map_or_else(|| "missing".to_owned(), |value| value.to_string());
        Err(self.failure(format!("{pointer} is {actual} instead of {expected}")))
    }

    /// Returns the item of the list `items` in which a field has this value.
    ///
    /// # Errors
    /// Returns [`RequestFailure`] if the body has no list `items`.
    pub fn find_item(&self, field: &str, value: &str) -> Result<Option<Value>, RequestFailure> {
        let body = self.json()?;
        let items = body
            .get("items")
            .and_then(Value::as_array)
            .ok_or_else(|| self.failure("the response has no list `items`"))?;
        Ok(items
            .iter()
            .find(|item| item.get(field).and_then(Value::as_str) == Some(value))
            .cloned())
    }

    /// Returns the item of the list `items` in which a field has this value.
    ///
    /// # Errors
    /// Returns [`RequestFailure`] if there is no list or no matching item.
    pub fn expect_item(&self, field: &str, value: &str) -> Result<Value, RequestFailure> {
        self.find_item(field, value)?
            .ok_or_else(|| self.failure(format!("no item has {field} {value}")))
    }
}

/// Returns the innermost cause, which is the most specific one.
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
