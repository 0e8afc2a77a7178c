//! A request that failed or got an unexpected response.

use serde::Serialize;

/// A request that failed or got an unexpected response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RequestFailure {
    /// The description of the failure.
    pub message: String,
    /// The request, e.g. `POST /api/v1/orders`.
    pub request: Option<String>,
    /// The status of the response.
    pub status: Option<u16>,
    /// The beginning of the response body.
    pub response_body: Option<String>,
    /// The trace id of the request, which is also in the logs.
    pub trace_id: Option<String>,
    /// The log lines of that trace. The caller that has access to the logs adds them.
    pub log_lines: Vec<String>,
}

impl RequestFailure {
    /// Creates a failure without a response.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            request: None,
            status: None,
            response_body: None,
            trace_id: None,
            log_lines: Vec::new(),
        }
    }
}

/// Returns the text of a failure, one fact per line.
#[must_use]
pub fn describe_failure(failure: &RequestFailure) -> String {
    let mut lines = vec![failure.message.clone()];
    if let Some(request) = &failure.request {
        let status = failure
            .status
            .map_or_else(|| "no response".to_owned(), |status| status.to_string());
        lines.push(format!("{request}: {status}"));
    }
    lines.extend(failure.response_body.clone());
    if let Some(trace) = &failure.trace_id {
        lines.push(format!("trace {trace}"));
    }
    lines.extend(failure.log_lines.iter().cloned());
    lines.join("\n")
}
