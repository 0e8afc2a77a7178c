//! The trace of a request or an event: who caused what, across services.

use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

/// The header with the trace id.
pub const TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");
/// The header with the request id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The W3C header.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The longest request id of a caller that is kept.
const MAX_REQUEST_ID_LENGTH: usize = 128;

/// What identifies a request across services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// 32 lower-case hexadecimal digits.
    pub trace_id: String,
    /// A short token.
    pub request_id: String,
    /// `00-<trace id>-<span id>-<flags>`.
    pub traceparent: String,
}

impl Trace {
    /// The trace of a request: what came is kept where it is valid, and made up
    /// where it isn't.
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

    /// The trace that an event carries on; one of its own where it carries none.
    /// `span` is that of its handling, 16 hexadecimal digits: it becomes the parent of
    /// all that the handling causes.
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

    /// A trace that nobody began elsewhere.
    #[must_use]
    pub fn new_root() -> Self {
        Self::from_traceparent(None, random_hex(16))
    }

    /// Sets the three headers.
    pub fn write_headers(&self, headers: &mut HeaderMap) {
        for (name, value) in [
            (TRACE_ID, &self.trace_id),
            (REQUEST_ID, &self.request_id),
            (TRACEPARENT, &self.traceparent),
        ] {
            // Each was a header, or is hexadecimal.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
    }
}

/// Whether a request id may go on: it is in every line of the log, in every answer, and
/// in every call to another service.
fn is_valid_request_id(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    (1..=MAX_REQUEST_ID_LENGTH).contains(&text.len()) && text.bytes().all(plain)
}

fn new_traceparent(trace_id: &str) -> String {
    format!("00-{trace_id}-{}-01", random_hex(16))
}

fn new_request_id() -> String {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    format!("req_{}_{}", since.as_millis(), random_hex(8))
}

/// Random hexadecimal digits, at most 32.
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
    let whole = parts.next() == Some("00")
        && [32, 16, 2].into_iter().all(|digits| {
            parts
                .next()
                .is_some_and(|part| parse_hex(part, digits).is_some())
        })
        && parts.next().is_none();
    whole.then_some(text)
}

/// The trace id of a valid `traceparent`.
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
    fn valid_values_come_back_unchanged() {
        let parent = format!("00-{ID}-b7ad6b7169203331-01");
        let sent = headers(&[
            (TRACE_ID, ID),
            (REQUEST_ID, "my-request.7:a_b"),
            (TRACEPARENT, &parent),
        ]);
        let mut answered = HeaderMap::new();
        Trace::from_headers(&sent).write_headers(&mut answered);
        assert_eq!(answered, sent);
    }

    #[test]
    fn the_trace_id_comes_from_the_parent_where_there_is_none() {
        let parent = format!("00-{}-B7AD6B7169203331-01", ID.to_uppercase());
        let trace =
            Trace::from_headers(&headers(&[(TRACEPARENT, &parent), (TRACE_ID, "nonsense")]));
        assert_eq!(trace.trace_id, ID);
        assert_eq!(trace.traceparent, parent.to_lowercase());
    }

    #[test]
    fn an_event_goes_on_under_the_span_of_its_handling() {
        let parent = format!("00-{ID}-b7ad6b7169203331-00");
        let trace = Trace::from_traceparent(Some(&parent), "00f067aa0ba902b7".into());
        assert_eq!(trace.trace_id, ID);
        assert_eq!(trace.traceparent, format!("00-{ID}-00f067aa0ba902b7-00"));
    }

    #[test]
    fn a_request_id_is_a_short_token_or_replaced() {
        let longest = "x".repeat(MAX_REQUEST_ID_LENGTH);
        let id = |text: &str| Trace::from_headers(&headers(&[(REQUEST_ID, text)])).request_id;
        assert_eq!(id(&longest), longest);
        for odd in ["my request", "a\"b", "<b>", &format!("{longest}x")] {
            assert!(id(odd).starts_with("req_"), "{odd}");
        }
    }

    #[test]
    fn what_is_missing_is_made_up() {
        let trace = Trace::from_headers(&headers(&[(REQUEST_ID, " ")]));
        assert!(parse_hex(&trace.trace_id, 32).is_some());
        assert!(trace.request_id.starts_with("req_"), "{}", trace.request_id);
        assert_eq!(trace_id_of(&trace.traceparent), trace.trace_id);
    }

    proptest! {
        #[test]
        fn whatever_comes_a_valid_trace_goes_on(parent in ".{0,80}") {
            let trace = Trace::from_traceparent(Some(&parent), random_hex(16));
            prop_assert!(parse_traceparent(&trace.traceparent).is_some());
            prop_assert!(parse_hex(&trace.trace_id, 32).is_some());
        }
    }
}
