//! HTML pages. They load nothing from other origins.

use axum::response::{Html, IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

const STYLE: &str = "body{font:16px/1.5 sans-serif;margin:3rem auto;max-width:40rem;padding:0 1rem}\
    a{color:#06c}nav a{margin-right:1rem}";

/// Forbids scripts, embedding in a frame, and loading of resources.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; \
    base-uri 'none'; form-action 'none'";

/// Escapes a text for HTML content and attribute values.
#[must_use]
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(character),
        }
    }
    escaped
}

/// Renders a page. `content` is markup.
#[must_use]
pub(crate) fn render_page(status: StatusCode, title: &str, content: &str) -> Response {
    let title = escape(title);
    let text = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <style>{STYLE}</style></head><body><h1>{title}</h1>{content}</body></html>"
    );
    let mut response = (status, Html(text)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(CONTENT_SECURITY_POLICY),
    );
    response
}

/// Renders a page with the reason for which a login failed.
#[must_use]
pub(crate) fn login_failed_page(status: StatusCode, title: &str, reason: &str) -> Response {
    let reason = escape(reason);
    render_page(
        status,
        title,
        &format!(
            "<p>{reason}</p><nav><a href=\"/oauth2/authorization/keycloak\">Sign in again</a>\
             <a href=\"/\">Home</a></nav>"
        ),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn escaped_text_contains_no_markup_and_unescapes_to_the_original(text: String) {
            let escaped = escape(&text);
            prop_assert!(!escaped.contains(['<', '>', '"', '\'']));
            let unescaped = escaped
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&quot;", "\"")
                .replace("&#39;", "'")
                .replace("&amp;", "&");
            prop_assert_eq!(unescaped, text);
        }
    }
}
