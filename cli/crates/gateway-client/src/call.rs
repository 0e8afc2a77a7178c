//! One request, and what was expected of it.

use reqwest::header::{HeaderMap, HeaderName};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use super::Fault;

/// How much of an answer is shown.
const EXCERPT: usize = 600;

/// An answer with what led to it.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub text: String,
    request: String,
    trace_id: String,
}

/// A new trace id.
#[must_use]
pub fn trace_id() -> String {
    Uuid::new_v4().simple().to_string()
}

/// A request below a base address, under a trace of its own.
#[derive(Debug)]
pub struct Call {
    builder: RequestBuilder,
    request: String,
    trace_id: String,
}

impl Call {
    /// A request without a body.
    #[must_use]
    pub(crate) fn new(client: &Client, method: Method, base: &str, path: &str) -> Self {
        let trace_id = trace_id();
        Self {
            request: format!("{method} {path}"),
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
    pub async fn expect(self, status: u16) -> Result<Answer, Fault> {
        let answer = self.answer().await?;
        if answer.status.as_u16() == status {
            Ok(answer)
        } else {
            Err(answer.fault(format!("expected {status}")))
        }
    }

    /// Sends it, whatever the status of the answer.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn answer(self) -> Result<Answer, Fault> {
        let Self {
            builder,
            request,
            trace_id,
        } = self;
        let failed = |error: reqwest::Error| Fault {
            request: Some(request.clone()),
            trace_id: Some(trace_id.clone()),
            ..Fault::new(format!("no response: {}", cause(&error)))
        };
        let response = builder.send().await.map_err(failed)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.map_err(failed)?;
        Ok(Answer {
            status,
            headers,
            text,
            request,
            trace_id,
        })
    }

    /// Sends it and leaves the answer open, for a stream.
    ///
    /// # Errors
    /// There is no answer, or a refusal.
    pub async fn open(self) -> Result<reqwest::Response, Fault> {
        let response = self.builder.send().await.map_err(|error| Fault {
            request: Some(self.request.clone()),
            trace_id: Some(self.trace_id.clone()),
            ..Fault::new(format!("no response: {}", cause(&error)))
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(Fault {
            request: Some(self.request),
            status: Some(response.status().as_u16()),
            trace_id: Some(self.trace_id),
            ..Fault::new("the gateway refused the stream")
        })
    }
}

impl Answer {
    /// A fault of this answer.
    #[must_use]
    pub fn fault(&self, what: impl Into<String>) -> Fault {
        Fault {
            request: Some(self.request.clone()),
            status: Some(self.status.as_u16()),
            answer: (!self.text.is_empty()).then(|| self.text.chars().take(EXCERPT).collect()),
            trace_id: Some(self.trace_id.clone()),
            ..Fault::new(what)
        }
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// It is none.
    pub fn json(&self) -> Result<Value, Fault> {
        serde_json::from_str(&self.text).map_err(|_| self.fault("the response is not JSON"))
    }

    /// The body as a value of the contract.
    ///
    /// # Errors
    /// It is none.
    pub fn body<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        serde_json::from_str(&self.text)
            .map_err(|error| self.fault(format!("the response violates the contract: {error}")))
    }

    /// A text in the body, by JSON pointer.
    ///
    /// # Errors
    /// There is none.
    pub fn text_at(&self, pointer: &str) -> Result<String, Fault> {
        self.json()?
            .pointer(pointer)
            .and_then(Value::as_str)
            .map(str::to_owned)
            .ok_or_else(|| self.fault(format!("the response has no string at {pointer}")))
    }

    /// Checks a value in the body, by JSON pointer.
    ///
    /// # Errors
    /// It is another.
    pub fn has(&self, pointer: &str, expected: impl Into<Value>) -> Result<&Self, Fault> {
        let expected = expected.into();
        let found = self.json()?.pointer(pointer).cloned();
        if found.as_ref() == Some(&expected) {
            return Ok(self);
        }
        let found = found.map_or_else(|| "missing".to_owned(), |found| found.to_string());
        Err(self.fault(format!("{pointer} is {found} instead of {expected}")))
    }

    /// The item of a list where a field has this value.
    ///
    /// # Errors
    /// There is no list.
    pub fn item(&self, field: &str, value: &str) -> Result<Option<Value>, Fault> {
        let body = self.json()?;
        let items = body
            .get("items")
            .and_then(Value::as_array)
            .ok_or_else(|| self.fault("the response has no list `items`"))?;
        Ok(items
            .iter()
            .find(|item| item.get(field).and_then(Value::as_str) == Some(value))
            .cloned())
    }

    /// That item, which has to be there.
    ///
    /// # Errors
    /// It is not.
    pub fn listed(&self, field: &str, value: &str) -> Result<Value, Fault> {
        self.item(field, value)?
            .ok_or_else(|| self.fault(format!("no item has {field} {value}")))
    }
}

/// The innermost cause: it says the most.
fn cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
