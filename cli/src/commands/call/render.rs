//! The output of `dm call`, except the body.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use dm_gateway_client::{ApiPath, ApiRequest, ApiResponse};
use serde::Serialize;
use serde_json::Value;

/// `dm call --json`.
#[derive(Debug, Serialize)]
pub(super) struct CallDocument {
    method: String,
    path: String,
    status: u16,
    headers: BTreeMap<String, String>,
    /// The body: a text if it is not JSON.
    body: Value,
}

/// Returns the document of a response.
pub(super) fn document(
    request: &ApiRequest,
    path: &ApiPath,
    response: &ApiResponse,
    body: &str,
) -> CallDocument {
    let headers = response.headers();
    CallDocument {
        method: request.method().to_owned(),
        path: path.as_str().to_owned(),
        status: response.status(),
        headers: headers
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        body: serde_json::from_str(body).unwrap_or_else(|_| Value::from(body)),
    }
}

impl CallDocument {
    /// Replaces the body.
    pub(super) fn with_body(self, body: Value) -> Self {
        Self { body, ..self }
    }
}

/// Returns the status and the headers of a response, one per line.
pub(super) fn head(response: &ApiResponse) -> String {
    let mut text = response.status_line();
    for (name, value) in response.headers() {
        // Writing to a string can't fail.
        let _ = write!(text, "\n{name}: {value}");
    }
    text.push('\n');
    text
}
