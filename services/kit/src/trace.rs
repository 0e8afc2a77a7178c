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
const LONGEST_REQUEST_ID: usize = 128;

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
    pub fn of_request(headers: &HeaderMap) -> Self {
        let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let parent = text(&TRACEPARENT).and_then(valid_parent);
        let trace_id = text(&TRACE_ID)
            .and_then(|text| valid_hex(text, 32))
            .or_else(|| parent.as_deref().map(|parent| trace_of(parent).to_owned()))
            .unwrap_or_else(|| hex(32));
        let request_id = text(&REQUEST_ID)
            .filter(|text| is_token(text))
            .map_or_else(new_request_id, str::to_owned);
        let traceparent = parent.unwrap_or_else(|| new_parent(&trace_id));
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
    pub(crate) fn of_event(traceparent: Option<&str>, span: String) -> Self {
        let parent = traceparent.and_then(valid_parent);
        let parent = parent.unwrap_or_else(|| new_parent(&hex(32)));
        let (trace_id, flags) = (trace_of(&parent), &parent[parent.len() - 2..]);
        Self {
            trace_id: trace_id.to_owned(),
            request_id: new_request_id(),
            traceparent: format!("00-{trace_id}-{span}-{flags}"),
        }
    }

    /// A trace that nobody began elsewhere.
    #[must_use]
    pub fn begin() -> Self {
        Self::of_event(None, hex(16))
    }

    /// Sets the three headers.
    pub fn write(&self, headers: &mut HeaderMap) {
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
fn is_token(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    (1..=LONGEST_REQUEST_ID).contains(&text.len()) && text.bytes().all(plain)
}

fn new_parent(trace_id: &str) -> String {
    format!("00-{trace_id}-{}-01", hex(16))
}

fn new_request_id() -> String {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    format!("req_{}_{}", since.as_millis(), hex(8))
}

/// Random hexadecimal digits, at most 32.
fn hex(digits: usize) -> String {
    let mut text = Uuid::new_v4().simple().to_string();
    text.truncate(digits);
    text
}

fn valid_hex(text: &str, digits: usize) -> Option<String> {
    let text = text.trim().to_ascii_lowercase();
    (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(text)
}

fn valid_parent(text: &str) -> Option<String> {
    let text = text.trim().to_ascii_lowercase();
    let mut parts = text.split('-');
    let whole = parts.next() == Some("00")
        && [32, 16, 2].into_iter().all(|digits| {
            parts
                .next()
                .is_some_and(|part| valid_hex(part, digits).is_some())
        })
        && parts.next().is_none();
    whole.then_some(text)
}

/// The trace id of a valid `traceparent`.
fn trace_of(parent: &str) -> &str {
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
        Trace::of_request(&sent).write(&mut answered);
        assert_eq!(answered, sent);
    }

    #[test]
    fn the_trace_id_comes_from_the_parent_where_there_is_none() {
        let parent = format!("00-{}-B7AD6B7169203331-01", ID.to_uppercase());
        let trace = Trace::of_request(&headers(&[(TRACEPARENT, &parent), (TRACE_ID, "nonsense")]));
        assert_eq!(trace.trace_id, ID);
        assert_eq!(trace.traceparent, parent.to_lowercase());
    }

    #[test]
    fn an_event_goes_on_under_the_span_of_its_handling() {
        let parent = format!("00-{ID}-b7ad6b7169203331-00");
        let trace = Trace::of_event(Some(&parent), "00f067aa0ba902b7".into());
        assert_eq!(trace.trace_id, ID);
        assert_eq!(trace.traceparent, format!("00-{ID}-00f067aa0ba902b7-00"));
    }

    #[test]
    fn a_request_id_is_a_short_token_or_replaced() {
        let longest = "x".repeat(LONGEST_REQUEST_ID);
        let id = |text: &str| Trace::of_request(&headers(&[(REQUEST_ID, text)])).request_id;
        assert_eq!(id(&longest), longest);
        for odd in ["my request", "a\"b", "<b>", &format!("{longest}x")] {
            assert!(id(odd).starts_with("req_"), "{odd}");
        }
    }

    #[test]
    fn what_is_missing_is_made_up() {
        let trace = Trace::of_request(&headers(&[(REQUEST_ID, " ")]));
        assert!(valid_hex(&trace.trace_id, 32).is_some());
        assert!(trace.request_id.starts_with("req_"), "{}", trace.request_id);
        assert_eq!(trace_of(&trace.traceparent), trace.trace_id);
    }

    proptest! {
        #[test]
        fn whatever_comes_a_valid_trace_goes_on(parent in ".{0,80}") {
            let trace = Trace::of_event(Some(&parent), hex(16));
            prop_assert!(valid_parent(&trace.traceparent).is_some());
            prop_assert!(valid_hex(&trace.trace_id, 32).is_some());
        }
    }
}
