//! Errors as responses.

use std::error::Error;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use dm_contracts::api::error::{Details, ErrorBody, ErrorObject, FieldIssue};
use http::{HeaderValue, StatusCode, header};

use crate::trace::Trace;

/// Form of `details` in an error without issues. Clients depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DetailsStyle {
    /// The key is always omitted.
    Absent,
    /// `null`.
    Null,
    /// An empty list.
    EmptyList,
}

/// An error response.
///
/// The outermost layer builds its body, since it knows the trace.
#[derive(Debug)]
pub struct ApiError {
    /// Status code.
    pub status: StatusCode,
    /// Stable error code.
    pub code: &'static str,
    /// Message for the caller. Never contains internal details.
    pub message: String,
    /// Issues of fields, if fields are not valid.
    pub issues: Option<Vec<FieldIssue>>,
    /// Cause, which is only logged.
    pub cause: Option<String>,
}

impl ApiError {
    /// Returns an error with a code of the contract.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            issues: None,
            cause: None,
        }
    }

    /// Returns a validation error with issues of fields.
    pub fn validation(message: impl Into<String>, issues: Vec<FieldIssue>) -> Self {
        let error = Self::new(StatusCode::BAD_REQUEST, "VALIDATION_ERROR", message);
        Self {
            issues: Some(issues),
            ..error
        }
    }

    /// Returns a validation error that concerns no single field.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "VALIDATION_ERROR", message)
    }

    /// Returns the error of a body that is not valid JSON.
    #[must_use]
    pub(crate) fn invalid_json() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "INVALID_JSON",
            "Request body is not valid JSON",
        )
    }

    /// Returns the error of a resource that does not exist.
    pub fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    /// Returns the error of a request that conflicts with the current state.
    pub fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, message)
    }

    /// Returns the error of a request without authentication.
    pub fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHENTICATED", message)
    }

    /// Returns the error of a user without permission.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "FORBIDDEN", message)
    }

    /// Returns an internal error. Its cause is only logged.
    pub fn internal(cause: impl ToString) -> Self {
        let error = Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "INTERNAL_ERROR",
            "Unexpected error",
        );
        Self {
            cause: Some(cause.to_string()),
            ..error
        }
    }

    /// Returns the body for a service's style and a trace.
    pub(super) fn body(&self, style: DetailsStyle, trace: &Trace) -> ErrorBody {
        let details = match (style, &self.issues) {
            (DetailsStyle::Absent, _) => Details::Absent,
            (_, Some(issues)) => Details::List(issues.clone()),
            (DetailsStyle::Null, None) => Details::Null,
            (DetailsStyle::EmptyList, None) => Details::List(Vec::new()),
        };
        ErrorBody {
            error: ErrorObject {
                code: self.code.to_owned(),
                message: self.message.clone(),
                details,
                trace_id: Some(trace.trace_id.clone()),
            },
        }
    }

    /// Returns the response for a service's style and a trace.
    pub(super) fn render(&self, style: DetailsStyle, trace: &Trace) -> Response {
        // A body of strings always serializes.
        let body = serde_json::to_vec(&self.body(style, trace)).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json; charset=utf-8"),
        );
        response
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(std::sync::Arc::new(self));
        response
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        let mut cause = error.to_string();
        let mut inner = error.source();
        while let Some(source) = inner {
            cause = format!("{cause}: {source}");
            inner = source.source();
        }
        Self::internal(cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_without_issues_follow_the_style() {
        let trace = Trace::new_root();
        let text = |error: &ApiError, style| {
            let mut body = error.body(style, &trace);
            body.error.trace_id = None;
            serde_json::to_string(&body).unwrap()
        };
        let missing = ApiError::not_found("ORDER_NOT_FOUND", "Order ord_1 was not found");
        let start = r#"{"error":{"code":"ORDER_NOT_FOUND","message":"Order ord_1 was not found""#;
        assert_eq!(
            text(&missing, DetailsStyle::Absent),
            format!(r#"{start},"traceId":null}}}}"#)
        );
        assert_eq!(
            text(&missing, DetailsStyle::Null),
            format!(r#"{start},"details":null,"traceId":null}}}}"#)
        );
        assert_eq!(
            text(&missing, DetailsStyle::EmptyList),
            format!(r#"{start},"details":[],"traceId":null}}}}"#)
        );
    }

    #[test]
    fn body_of_an_internal_error_does_not_contain_its_cause() {
        let error = ApiError::from(sqlx::Error::ColumnNotFound("secret_column".into()));
        let body = error.body(DetailsStyle::Null, &Trace::new_root());
        assert!(!serde_json::to_string(&body).unwrap().contains("secret"));
        assert!(error.cause.unwrap().contains("secret_column"));
    }
}
