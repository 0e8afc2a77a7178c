//! One request, and what was expected of it.

use reqwest::header::{HeaderMap, HeaderName};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use super::RequestFailure;

/// How much of an answer is shown.
const BODY_EXCERPT_CHARS: usize = 600;

/// An answer with what led to it.
#[derive(Debug, Clone)]
pub struct TracedResponse {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: String,
    request_line: String,
    trace_id: String,
}

/// A new trace id.
#[must_use]
pub fn new_trace_id() -> String {
    Uuid::new_v4().simple().to_string()
}

/// A request below a base address, under a trace of its own.
#[derive(Debug)]
pub struct TracedRequest {
    builder: RequestBuilder,
    request_line: String,
    trace_id: String,
}

impl TracedRequest {
    /// A request without a body.
    #[must_use]
    pub(crate) fn new(client: &Client, method: Method, base: &str, path: &str) -> Self {
        let trace_id = new_trace_id();
        Self {
            request_line: format!("{method} {path}"),
            builder: client
                .request(method, format!("{base}{path}"))
                .header("x-trace-id", &trace_id),
            trace_id,
        }
    }

    /// With this body.
    #[must_use]
    pub fn json(mut self, body: &Value) -> Self {
        self.builder = self.builder.json(body);
        self
    }

    /// With this header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        self.builder = self.builder.header(name, value);
        self
    }

    /// Sends it.
    ///
    /// # Errors
    /// No answer is a fault, and so is another status.
    pub async fn expect_status(self, status: u16) -> Result<TracedResponse, RequestFailure> {
        let answer = self.send().await?;
        if answer.status.as_u16() == status {
            Ok(answer)
        } else {
            Err(answer.failure(format!("expected {status}")))
        }
    }

    /// Sends it, whatever the status of the answer.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn send(self) -> Result<TracedResponse, RequestFailure> {
        let Self {
            builder,
            request_line: request,
            trace_id,
        } = self;
        let failed = |error: reqwest::Error| RequestFailure {
            request: Some(request.clone()),
            trace_id: Some(trace_id.clone()),
            ..RequestFailure::new(format!("no response: {}", root_cause(&error)))
        };
        let response = builder.send().await.map_err(failed)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.map_err(failed)?;
        Ok(TracedResponse {
            status,
            headers,
            body: text,
            request_line: request,
            trace_id,
        })
    }

    /// Sends it and leaves the answer open, for a stream.
    ///
    /// # Errors
    /// There is no answer, or a refusal.
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
    /// A fault of this answer.
    #[must_use]
    pub fn failure(&self, what: impl Into<String>) -> RequestFailure {
        RequestFailure {
            request: Some(self.request_line.clone()),
            status: Some(self.status.as_u16()),
            answer: (!self.body.is_empty())
                .then(|| self.body.chars().take(BODY_EXCERPT_CHARS).collect()),
            trace_id: Some(self.trace_id.clone()),
            ..RequestFailure::new(what)
        }
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// It is none.
    pub fn json(&self) -> Result<Value, RequestFailure> {
        serde_json::from_str(&self.body).map_err(|_| self.failure("the response is not JSON"))
    }

    /// The body as a value of the contract.
    ///
    /// # Errors
    /// It is none.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, RequestFailure> {
        serde_json::from_str(&self.body)
            .map_err(|error| self.failure(format!("the response violates the contract: {error}")))
    }

    /// A text in the body, by JSON pointer.
    ///
    /// # Errors
    /// There is none.
    pub fn string_at(&self, pointer: &str) -> Result<String, RequestFailure> {
        self.json()?
            .pointer(pointer)
            .and_then(Value::as_str)
            .map(str::to_owned)
            .ok_or_else(|| self.failure(format!("the response has no string at {pointer}")))
    }

    /// Checks a value in the body, by JSON pointer.
    ///
    /// # Errors
    /// It is another.
    pub fn expect_value(
        &self,
        pointer: &str,
        expected: impl Into<Value>,
    ) -> Result<&Self, RequestFailure> {
        let expected = expected.into();
        let found = self.json()?.pointer(pointer).cloned();
        if found.as_ref() == Some(&expected) {
            return Ok(self);
        }
        let found = found.map_or_else(|| "missing".to_owned(), |found| found.to_string());
        Err(self.failure(format!("{pointer} is {found} instead of {expected}")))
    }

    /// The item of a list where a field has this value.
    ///
    /// # Errors
    /// There is no list.
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

    /// That item, which has to be there.
    ///
    /// # Errors
    /// It is not.
    pub fn expect_item(&self, field: &str, value: &str) -> Result<Value, RequestFailure> {
        self.find_item(field, value)?
            .ok_or_else(|| self.failure(format!("no item has {field} {value}")))
    }
}

/// The innermost cause: it says the most.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
