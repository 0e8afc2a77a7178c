//! What was not as expected.

use serde::Serialize;

/// What was not as expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RequestFailure {
    /// In a sentence's words.
    pub what: String,
    /// The request, e.g. `POST /api/v1/orders`.
    pub request: Option<String>,
    /// The status of its answer.
    pub status: Option<u16>,
    /// The beginning of its answer.
    pub answer: Option<String>,
    /// The trace that the logs have it under.
    pub trace_id: Option<String>,
    /// What the services logged under that trace, filled in by whoever can ask.
    pub log: Vec<String>,
}

impl RequestFailure {
    /// A fault that is no answer's.
    #[must_use]
    pub fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            request: None,
            status: None,
            answer: None,
            trace_id: None,
            log: Vec::new(),
        }
    }
}

/// Everything that is known of a fault, line by line.
#[must_use]
pub fn describe_failure(failure: &RequestFailure) -> String {
    let mut lines = vec![failure.what.clone()];
    if let Some(request) = &failure.request {
        let status = failure
            .status
            .map_or_else(|| "no response".to_owned(), |status| status.to_string());
        lines.push(format!("{request}: {status}"));
    }
    lines.extend(failure.answer.clone());
    if let Some(trace) = &failure.trace_id {
        lines.push(format!("trace {trace}"));
    }
    lines.extend(failure.log.iter().cloned());
    lines.join("\n")
}
