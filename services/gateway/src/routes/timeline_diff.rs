//! The difference between the timeline of an order and the events already sent to a client.

use std::collections::HashSet;

use http::StatusCode;
use serde_json::Value;

use crate::downstream::ServiceResponse;

/// The result of one poll of a timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PollResult {
    /// The timeline as JSON, in one line.
    Timeline(String),
    /// The order does not exist.
    NotFound,
    /// The timeline could not be fetched.
    Failed,
}

impl PollResult {
    /// Interprets a response of the order service.
    pub(super) fn from_response(response: ServiceResponse) -> Self {
        if response.status == StatusCode::NOT_FOUND {
            return Self::NotFound;
        }
        match String::from_utf8(response.body.into()) {
            // Line breaks are delimiters in the SSE protocol, and whitespace in JSON.
            Ok(text) if response.status.is_success() => {
                Self::Timeline(text.replace(['\r', '\n'], " "))
            }
            _ => Self::Failed,
        }
    }
}

/// A server-sent event.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum StreamEvent {
    /// The complete timeline.
    Timeline(String),
    /// One entry of the timeline.
    Entry(Value),
    /// The order does not exist.
    NotFound {
        /// The id of the order.
        order: String,
    },
    /// The timeline could not be fetched.
    Failed,
}

impl StreamEvent {
    /// Returns whether the stream ends with this event.
    pub(super) fn is_last(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}

/// Computes the events that are new to a client.
#[derive(Debug)]
pub(super) struct TimelineDiff {
    order: String,
    /// Whether the client receives single entries.
    by_entry: bool,
    /// The timeline that was sent last.
    last_sent: Option<String>,
    /// The entries that were sent. A late entry may precede entries that were sent before it.
    sent_entries: HashSet<String>,
}

impl TimelineDiff {
    /// Creates the state of a client that receives the complete timeline.
    pub(super) fn full(order: String) -> Self {
        Self {
            order,
            by_entry: false,
            last_sent: None,
            sent_entries: HashSet::new(),
        }
    }

    /// Creates the state of a client that receives each entry once.
    pub(super) fn by_entry(order: String) -> Self {
        Self {
            by_entry: true,
            ..Self::full(order)
        }
    }

    /// Returns the events that are new to the client. In full mode, a timeline is sent again after
    /// a failure: otherwise the failure would seem to last. In entry mode, only new entries are
    /// sent.
    pub(super) fn update(&mut self, result: PollResult) -> Vec<StreamEvent> {
        match result {
            PollResult::Timeline(text) if self.last_sent.as_ref() == Some(&text) => Vec::new(),
            PollResult::Timeline(text) => {
                let events = if self.by_entry {
                    self.new_entries(&text)
                } else {
                    vec![StreamEvent::Timeline(text.clone())]
                };
                self.last_sent = Some(text);
                events
            }
            PollResult::NotFound => vec![StreamEvent::NotFound {
                order: self.order.clone(),
            }],
            PollResult::Failed => {
                self.last_sent = None;
                vec![StreamEvent::Failed]
            }
        }
    }

    fn new_entries(&mut self, text: &str) -> Vec<StreamEvent> {
        let timeline: Value = serde_json::from_str(text).unwrap_or_default();
        let Some(entries) = timeline["events"].as_array() else {
            return vec![StreamEvent::Failed];
        };
        let mut new_entries = Vec::new();
        for entry in entries {
            if !self.sent_entries.insert(entry.to_string()) {
                continue;
            }
            let mut entry = entry.clone();
            if let Some(fields) = entry.as_object_mut() {
                fields.insert("orderId".to_owned(), timeline["orderId"].clone());
            }
            new_entries.push(StreamEvent::Entry(entry));
        }
        new_entries
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn timeline(text: &str) -> PollResult {
        PollResult::Timeline(text.to_owned())
    }

    fn full_diff() -> TimelineDiff {
        TimelineDiff::full("ord_1".into())
    }

    #[test]
    fn full_diff_sends_the_timeline_only_after_a_change() {
        let mut diff = full_diff();
        let sent: Vec<_> = ["a", "a", "b", "b", "a"]
            .into_iter()
            .flat_map(|text| diff.update(timeline(text)))
            .collect();
        let event = |text: &str| StreamEvent::Timeline(text.to_owned());
        assert_eq!(sent, [event("a"), event("b"), event("a")]);
    }

    #[test]
    fn failure_is_sent_and_the_timeline_is_sent_again_after_it() {
        let mut diff = full_diff();
        diff.update(timeline("a"));
        let events = diff.update(PollResult::Failed);
        assert_eq!(events, [StreamEvent::Failed]);
        assert!(!events[0].is_last());
        assert_eq!(
            diff.update(timeline("a")),
            [StreamEvent::Timeline("a".to_owned())]
        );
    }

    #[test]
    fn unknown_order_ends_the_stream() {
        let events = full_diff().update(PollResult::NotFound);
        assert!(events.len() == 1 && events[0].is_last());
    }

    #[test]
    fn response_status_and_body_decide_the_poll_result() {
        let poll_result = |status, body: &'static [u8]| {
            PollResult::from_response(ServiceResponse {
                status,
                body: Bytes::from_static(body),
            })
        };
        assert_eq!(
            poll_result(StatusCode::OK, b"{\r\n\"a\":1}"),
            timeline("{  \"a\":1}")
        );
        assert_eq!(
            poll_result(StatusCode::NOT_FOUND, b""),
            PollResult::NotFound
        );
        assert_eq!(poll_result(StatusCode::OK, b"\xff"), PollResult::Failed);
        for status in [
            StatusCode::FOUND,
            StatusCode::BAD_REQUEST,
            StatusCode::BAD_GATEWAY,
        ] {
            assert_eq!(poll_result(status, b""), PollResult::Failed);
        }
    }

    #[test]
    fn invalid_timeline_is_sent_as_a_failure() {
        for text in ["", "[]", "{}", r#"{"events":1}"#] {
            let mut diff = TimelineDiff::by_entry("ord_1".into());
            assert_eq!(diff.update(timeline(text)), [StreamEvent::Failed], "{text}");
        }
    }

    #[test]
    fn late_entry_is_sent_even_if_it_precedes_a_sent_entry() {
        let mut diff = TimelineDiff::by_entry("ord_1".into());
        let mut new_statuses = |statuses: &[&str]| {
            let entries: Vec<_> = statuses
                .iter()
                .map(|name| json!({"status": name}))
                .collect();
            let text = json!({"orderId": "ord_1", "events": entries}).to_string();
            diff.update(PollResult::Timeline(text))
                .into_iter()
                .map(|event| match event {
                    StreamEvent::Entry(entry) => {
                        entry["status"].as_str().unwrap_or_default().to_owned()
                    }
                    other => panic!("{other:?}"),
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(
            new_statuses(&["CREATED", "SHIPPED"]),
            ["CREATED", "SHIPPED"]
        );
        assert_eq!(
            new_statuses(&["CREATED", "RESERVED", "SHIPPED"]),
            ["RESERVED"]
        );
    }

    proptest! {
        #[test]
        fn each_entry_is_sent_once_and_in_order_despite_failures(
            polls in proptest::collection::vec((0..4_usize, any::<bool>()), 0..20)
        ) {
            let mut diff = TimelineDiff::by_entry("ord_1".into());
            let (mut total, mut sent) = (0, Vec::new());
            for (added, fails) in polls {
                total += added;
                let entries: Vec<_> = (0..total).map(|n| json!({"status": n})).collect();
                let text = json!({"orderId": "ord_1", "events": entries}).to_string();
                let result = if fails { PollResult::Failed } else { PollResult::Timeline(text) };
                sent.extend(diff.update(result).into_iter().filter_map(|event| match event {
                    StreamEvent::Entry(entry) => Some(entry),
                    _ => None,
                }));
            }
            let expected = (0..sent.len()).map(|n| json!({"orderId": "ord_1", "status": n}));
            prop_assert!(sent.len() <= total);
            prop_assert!(sent.iter().cloned().eq(expected));
        }
    }
}
