//! Errors as answers.

use std::error::Error;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use dm_contracts::api::error::{Details, ErrorBody, ErrorObject, FieldIssue};
use http::{HeaderValue, StatusCode, header};

use crate::trace::Trace;

/// How a service fills `details` where there are none. Clients rely on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DetailsStyle {
    /// The key is left out, always.
    Absent,
    /// `null`.
    Null,
    /// An empty list.
    EmptyList,
}

/// An error on its way to the caller.
///
/// It becomes a body where the trace is known: in the outermost layer.
#[derive(Debug)]
pub struct ApiError {
    /// The status.
    pub status: StatusCode,
    /// The stable code.
    pub code: &'static str,
    /// For the caller. Never an inner message.
    pub message: String,
    /// Field by field, where fields are at fault.
    pub issues: Option<Vec<FieldIssue>>,
    /// What is behind it: for the log alone.
    pub cause: Option<String>,
}

impl ApiError {
    /// An error with a code of the contract.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            issues: None,
            cause: None,
        }
    }

    /// Fields that break a rule.
    pub fn validation(message: impl Into<String>, issues: Vec<FieldIssue>) -> Self {
        let error = Self::new(StatusCode::BAD_REQUEST, "VALIDATION_ERROR", message);
        Self {
            issues: Some(issues),
            ..error
        }
    }

    /// A request that breaks a rule which is no field's.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "VALIDATION_ERROR", message)
    }

    /// A body that can't be read.
    #[must_use]
    pub(crate) fn invalid_json() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "INVALID_JSON",
            "Request body is not valid JSON",
        )
    }

    /// Something that isn't there.
    pub fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    /// Something that doesn't go in this state.
    pub fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, message)
    }

    /// Nobody is signed in.
    pub fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHENTICATED", message)
    }

    /// Somebody is signed in who may not.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "FORBIDDEN", message)
    }

    /// A fault of our own. The caller learns nothing of it.
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

    /// The body, once it is known how and for whom.
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

    /// The answer, once it is known how and for whom.
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
    fn details_follow_the_services_style() {
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
    fn a_fault_of_our_own_keeps_its_cause_to_itself() {
        let error = ApiError::from(sqlx::Error::ColumnNotFound("secret_column".into()));
        let body = error.body(DetailsStyle::Null, &Trace::new_root());
        assert!(!serde_json::to_string(&body).unwrap().contains("secret"));
        assert!(error.cause.unwrap().contains("secret_column"));
    }
}
