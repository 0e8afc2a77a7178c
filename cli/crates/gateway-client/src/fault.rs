//! What was not as expected.

use serde::Serialize;

/// What was not as expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
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

impl Fault {
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
pub fn describe(fault: &Fault) -> String {
    let mut lines = vec![fault.what.clone()];
    if let Some(request) = &fault.request {
        let status = fault
            .status
            .map_or_else(|| "no response".to_owned(), |status| status.to_string());
        lines.push(format!("{request}: {status}"));
    }
    lines.extend(fault.answer.clone());
    if let Some(trace) = &fault.trace_id {
        lines.push(format!("trace {trace}"));
    }
    lines.extend(fault.log.iter().cloned());
    lines.join("\n")
}
