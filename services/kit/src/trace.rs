//! The trace context of a request or an event, which connects causes and effects across
//! services.

use std::time::{SystemTime, UNIX_EPOCH};

use dm_contracts::headers;
use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

/// The header with the trace id.
pub const TRACE_ID: HeaderName = HeaderName::from_static(headers::TRACE_ID);
/// The header with the request id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The header with the W3C trace context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static(headers::TRACEPARENT);

/// Maximum length of a request id that is accepted from a caller.
const MAX_REQUEST_ID_LENGTH: usize = 128;

/// The ids of a request or an event across services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// Trace id: 32 lower-case hexadecimal digits.
    pub trace_id: String,
    /// Request id: a short token.
    pub request_id: String,
    /// W3C trace context: `00-<trace id>-<span id>-<flags>`.
    pub traceparent: String,
}

impl Trace {
    /// Reads the trace from the headers of a request. Values that are missing or not valid are
    /// generated.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let parent = text(&TRACEPARENT).and_then(parse_traceparent);
        let trace_id = text(&TRACE_ID)
            .and_then(|text| parse_hex(text, 32))
            .or_else(|| {
                parent
                    .as_deref()
                    .map(|parent| trace_id_of(parent).to_owned())
            })
            .unwrap_or_else(|| random_hex(32));
        let request_id = text(&REQUEST_ID)
            .filter(|text| is_valid_request_id(text))
            .map_or_else(new_request_id, str::to_owned);
        let traceparent = parent.unwrap_or_else(|| new_traceparent(&trace_id));
        Self {
            trace_id,
            request_id,
            traceparent,
        }
    }

    /// Continues the trace of an event, or begins a new one if its `traceparent` is missing or
    /// not valid. `span` is the span id of processing the event, 16 hexadecimal digits: it
    /// becomes the parent of everything that the processing causes.
    #[must_use]
    pub(crate) fn from_traceparent(traceparent: Option<&str>, span: String) -> Self {
        let parent = traceparent.and_then(parse_traceparent);
        let parent = parent.unwrap_or_else(|| new_traceparent(&random_hex(32)));
        let (trace_id, flags) = (trace_id_of(&parent), &parent[parent.len() - 2..]);
        Self {
            trace_id: trace_id.to_owned(),
            request_id: new_request_id(),
            traceparent: format!("00-{trace_id}-{span}-{flags}"),
        }
    }

    /// Begins a new trace.
    #[must_use]
    pub fn new_root() -> Self {
        Self::from_traceparent(None, random_hex(16))
    }

    /// Sets the three trace headers.
    pub fn write_headers(&self, headers: &mut HeaderMap) {
        for (name, value) in [
            (TRACE_ID, &self.trace_id),
            (REQUEST_ID, &self.request_id),
            (TRACEPARENT, &self.traceparent),
        ] {
            // Never fails: each value was a header, or is hexadecimal.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
    }
}

/// Returns whether a request id can be passed on: it is part of every log line, every response,
/// and every request to another service.
fn is_valid_request_id(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    (1..=MAX_REQUEST_ID_LENGTH).contains(&text.len()) && text.bytes().all(is_allowed)
}

fn new_traceparent(trace_id: &str) -> String {
    format!("00-{trace_id}-{}-01", random_hex(16))
}

fn new_request_id() -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    format!("req_{}_{}", now.as_millis(), random_hex(8))
}

/// Returns random hexadecimal digits, at most 32.
fn random_hex(digits: usize) -> String {
    let mut text = Uuid::new_v4().simple().to_string();
    text.truncate(digits);
    text
}

fn parse_hex(text: &str, digits: usize) -> Option<String> {
    let text = text.trim().to_ascii_lowercase();
    (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(text)
}

fn parse_traceparent(text: &str) -> Option<String> {
    let text = text.trim().to_ascii_lowercase();
    let mut parts = text.split('-');
    let is_valid = parts.next() == Some("00")
        && [32, 16, 2].into_iter().all(|digits| {
            parts
                .next()
                .is_some_and(|part| parse_hex(part, digits).is_some())
        })
        && parts.next().is_none();
    is_valid.then_some(text)
}

/// Returns the trace id of a valid `traceparent`.
fn trace_id_of(parent: &str) -> &str {
    parent.split('-').nth(1).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "0af7651916cd43dd8448eb211c80319c";

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    #[test]
    fn valid_headers_are_returned_unchanged() {
        let parent = format!("00-{ID}-b7ad6b7169203331-01");
        let request = headers(&[
            (TRACE_ID, ID),
            (REQUEST_ID, "my-request.7:a_b"),
            (TRACEPARENT, &parent),
        ]);
        let mut response = HeaderMap::new();
        Trace::from_headers(&request).write_headers(&mut response);
        assert_eq!(response, request);
    }

    #[test]
    fn trace_id_is_taken_from_traceparent_if_invalid() {
        let parent = format!("00-{}-B7AD6B7169203331-01", ID.to_uppercase());
        let trace =
            Trace::from_headers(&headers(&[(TRACEPARENT, &parent), (TRACE_ID, "nonsense")]));
        assert_eq!(trace.trace_id, ID);
        assert_eq!(trace.traceparent, parent.to_lowercase());
    }

    #[test]
    fn trace_of_an_event_continues_with_the_processing_span() {
        let parent = format!("00-{ID}-b7ad6b7169203331-00");
        let trace = Trace::from_traceparent(Some(&parent), "00f067aa0ba902b7".into());
        assert_eq!(trace.trace_id, ID);
        assert_eq!(trace.traceparent, format!("00-{ID}-00f067aa0ba902b7-00"));
    }

    #[test]
    fn invalid_request_id_is_replaced() {
        let longest = "x".repeat(MAX_REQUEST_ID_LENGTH);
        let id = |text: &str| Trace::from_headers(&headers(&[(REQUEST_ID, text)])).request_id;
        assert_eq!(id(&longest), longest);
        for invalid in ["my request", "a\"b", "<b>", &format!("{longest}x")] {
            assert!(id(invalid).starts_with("req_"), "{invalid}");
        }
    }

    #[test]
    fn missing_headers_are_generated() {
        let trace = Trace::from_headers(&headers(&[(REQUEST_ID, " ")]));
        assert!(parse_hex(&trace.trace_id, 32).is_some());
        assert!(trace.request_id.starts_with("req_"), "{}", trace.request_id);
        assert_eq!(trace_id_of(&trace.traceparent), trace.trace_id);
    }

    proptest! {
        #[test]
        fn any_traceparent_yields_a_valid_trace(parent in ".{0,80}") {
            let trace = Trace::from_traceparent(Some(&parent), random_hex(16));
            prop_assert!(parse_traceparent(&trace.traceparent).is_some());
            prop_assert!(parse_hex(&trace.trace_id, 32).is_some());
        }
    }
}
