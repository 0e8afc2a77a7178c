//! Redirects of browsers.

use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};

use crate::return_to::percent_encode_header;

/// Returns a redirect that is not cached.
pub(super) fn redirect(location: &str) -> Response {
    let mut response = StatusCode::FOUND.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(location) = HeaderValue::from_str(&percent_encode_header(location)) {
        headers.insert(header::LOCATION, location);
    }
    response
}
