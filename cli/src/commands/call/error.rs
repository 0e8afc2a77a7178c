//! Errors of `dm call`.

use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use dm_gateway_client::{ApiPath, ApiRequest, ApiResponse, RequestFailure};
use serde_json::Value;
use thiserror::Error;

/// The reason why a call failed.
#[derive(Debug, Error)]
pub(super) enum CallError {
    /// An argument is not valid.
    #[error("could not read the {what} of the call: {reason}")]
    Invalid { what: &'static str, reason: String },
    /// The body could not be read.
    #[error("could not read {file}: {source}")]
    Data {
        file: String,
        source: std::io::Error,
    },
    /// The gateway did not respond, or its response ended too early.
    #[error("could not call {call}: {reason}")]
    NoResponse { call: String, reason: String },
    /// The gateway responded with an error.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The response is not a list that can be read page by page.
    #[error("could not read {call} page by page: the response has no list `items`")]
    NoList { call: String },
}

impl CallError {
    /// Creates the error of a request without a complete response.
    pub(super) fn no_response(
        request: &ApiRequest,
        path: &ApiPath,
        failure: RequestFailure,
    ) -> Self {
        Self::NoResponse {
            call: format!("{} {}", request.method(), path.as_str()),
            reason: failure.message,
        }
    }
}

impl UserError for CallError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid { .. } | Self::NoList { .. } => ErrorCode::CallInvalid,
            Self::Data { .. } => ErrorCode::FileAccess,
            Self::NoResponse { .. } => ErrorCode::CallFailed,
            Self::Refused(refusal) => refusal.code(),
        }
    }

    fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Invalid { .. } | Self::NoList { .. } | Self::Data { .. } => ExitStatus::Usage,
            Self::NoResponse { .. } => ExitStatus::Component,
            Self::Refused(refusal) => refusal.exit_status(),
        }
    }

    fn suggestions(&self) -> Vec<String> {
        match self {
            Self::Invalid { .. } | Self::Data { .. } => vec!["dm call --help".into()],
            Self::NoList { .. } => vec!["call it without --all".into()],
            Self::NoResponse { .. } => vec!["dm status".into(), "dm logs gateway".into()],
            Self::Refused(refusal) => refusal.suggestions(),
        }
    }

    fn details(&self) -> Vec<String> {
        match self {
            Self::Refused(refusal) => refusal.issues.clone(),
            _ => Vec::new(),
        }
    }
}

/// A response that is not a success.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The method and the path.
    call: String,
    status: u16,
    status_line: String,
    /// The code of the error, e.g. `FORBIDDEN`, if the body has one.
    error_code: Option<String>,
    /// The message of the error, if the body has one.
    message: Option<String>,
    /// The fields at fault.
    issues: Vec<String>,
    trace_id: String,
    gateway_url: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "could not call {}: {}", self.call, self.status_line)?;
        if let Some(code) = &self.error_code {
            write!(f, ", {code}")?;
        }
        if let Some(message) = &self.message {
            write!(f, ": {message}")?;
        }
        Ok(())
    }
}

impl Refusal {
    /// Creates a refusal from a response and its body.
    pub(super) fn new(call: String, response: &ApiResponse, body: &str, gateway_url: &str) -> Self {
        Self::from_body(
            call,
            (response.status(), response.status_line()),
            body,
            response.trace_id(),
            gateway_url,
        )
    }

    fn from_body(
        call: String,
        (status, status_line): (u16, String),
        body: &str,
        trace_id: &str,
        gateway_url: &str,
    ) -> Self {
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        let error = &body["error"];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let issues = error["details"].as_array().into_iter().flatten();
        Self {
            call,
            status,
            status_line,
            error_code: text(&error["code"]),
            // The body of a missing session is not the envelope.
            message: text(&error["message"]).or_else(|| text(error)),
            issues: issues
                .filter_map(|issue| {
                    let (field, issue) = (issue["field"].as_str()?, issue["issue"].as_str()?);
                    Some(format!("{field}: {issue}"))
                })
                .collect(),
            trace_id: trace_id.to_owned(),
            gateway_url: gateway_url.to_owned(),
        }
    }

    /// Returns the exit code: a refused request is the caller's fault, a failed one is not.
    pub(super) const fn exit_status(&self) -> ExitStatus {
        if self.status >= 500 {
            ExitStatus::Component
        } else {
            ExitStatus::Findings
        }
    }

    const fn code(&self) -> ErrorCode {
        if self.status >= 500 {
            ErrorCode::CallFailed
        } else {
            ErrorCode::CallRefused
        }
    }

    fn suggestions(&self) -> Vec<String> {
        let reference = format!("all routes and their rules: {}/api", self.gateway_url);
        match self.status {
            401 => vec!["see why the token was not accepted: dm logs gateway".into()],
            403 => vec![
                "choose a user with one of the roles, e.g. --user mscott".into(),
                reference,
            ],
            500.. => vec![
                "dm status".into(),
                format!("dm logs | grep {}", self.trace_id),
            ],
            _ => vec![reference],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, body: &str) -> CallError {
        CallError::Refused(Box::new(Refusal::from_body(
            "GET /api/v1/orders".to_owned(),
            (status, format!("{status} Reason")),
            body,
            "0af7651916cd43dd8448eb211c80319c",
            "http://localhost:8081",
        )))
    }

    #[test]
    fn refusal_shows_the_code_the_message_and_the_fields() {
        let error = refusal(
            400,
            r#"{"error":{"code":"VALIDATION_ERROR","message":"Order request validation failed",
                "details":[{"field":"clientId","issue":"required"}],"traceId":"x"}}"#,
        );
        assert_eq!(
            error.to_string(),
            "could not call GET /api/v1/orders: 400 Reason, VALIDATION_ERROR: \
             Order request validation failed"
        );
        assert_eq!(error.details(), ["clientId: required"]);
        assert_eq!(error.exit_status(), ExitStatus::Findings);
        assert_eq!(error.code(), ErrorCode::CallRefused);
    }

    #[test]
    fn refusal_without_the_envelope_shows_the_status() {
        for (body, text) in [
            (
                r#"{"error":"unauthenticated"}"#,
                "401 Reason: unauthenticated",
            ),
            ("<html>", "401 Reason"),
            ("", "401 Reason"),
        ] {
            let error = refusal(401, body).to_string();
            assert_eq!(error, format!("could not call GET /api/v1/orders: {text}"));
        }
    }

    #[test]
    fn exit_code_depends_on_the_class_of_the_status() {
        for (status, exit) in [
            (302, ExitStatus::Findings),
            (404, ExitStatus::Findings),
            (500, ExitStatus::Component),
            (503, ExitStatus::Component),
        ] {
            let error = refusal(status, "");
            assert_eq!(error.exit_status(), exit);
            assert!(!error.suggestions().is_empty());
        }
    }
}
