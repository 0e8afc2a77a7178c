//! HTML pages. They load nothing from other origins.

use axum::response::{Html, IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

/// The colours and shapes of the built-in apps. Inline, because these pages load no stylesheet.
const STYLE: &str = ":root{color-scheme:light dark;--ink:light-dark(#1b2126,#e6e9ea);\
    --accent:light-dark(#3c4d70,#aebfe8)}\
    body{font:16px/1.5 system-ui,sans-serif;margin:12vh auto 3rem;max-width:38rem;padding:0 1.25rem;\
    color:var(--ink);background:light-dark(#f4f4ef,#121517)}\
    h1{font-size:1.6rem;line-height:1.25;letter-spacing:-.01em}a{color:var(--accent)}\
    a:focus-visible{outline:2px solid;outline-offset:3px;border-radius:4px}\
    nav{display:flex;flex-wrap:wrap;gap:.75rem;margin-top:1.75rem}\
    nav a{padding:.5rem 1rem;border:1px solid light-dark(#83898c,#6d777e);border-radius:6px;\
    background:light-dark(#fff,#1a1e21);text-decoration:none;font-weight:550}";

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
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title>\
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
