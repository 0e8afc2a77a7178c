//! What of an order's timeline is new to a client that watches it.

use std::collections::HashSet;

use http::StatusCode;
use serde_json::Value;

use crate::downstream::ServiceResponse;

/// What a look at the timeline has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PollResult {
    /// The timeline, in one line.
    Timeline(String),
    /// There is no such order.
    NotFound,
    /// It can't be had.
    Failed,
}

impl PollResult {
    /// What order-service's answer means.
    pub(super) fn from_response(answer: ServiceResponse) -> Self {
        if answer.status == StatusCode::NOT_FOUND {
            return Self::NotFound;
        }
        match String::from_utf8(answer.body.into()) {
            // Line ends mean something in the protocol, and nothing in JSON.
            Ok(text) if answer.status.is_success() => {
                Self::Timeline(text.replace(['\r', '\n'], " "))
            }
            _ => Self::Failed,
        }
    }
}

/// What a client is told.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum StreamEvent {
    /// The whole timeline.
    Timeline(String),
    /// One step of it.
    Step(Value),
    /// There is no such order.
    NotFound {
        /// Which.
        order: String,
    },
    /// It can't be had right now.
    Failed,
}

impl StreamEvent {
    /// Whether nothing can follow.
    pub(super) fn is_last(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}

/// What a client knows already.
#[derive(Debug)]
pub(super) struct TimelineDiff {
    order: String,
    /// Whether it is told step by step.
    by_step: bool,
    /// The timeline it was told last.
    last_sent: Option<String>,
    /// The steps it was told. A late one may stand before others that came sooner.
    sent_steps: HashSet<String>,
}

impl TimelineDiff {
    /// For a client that is told the whole timeline.
    pub(super) fn full(order: String) -> Self {
        Self {
            order,
            by_step: false,
            last_sent: None,
            sent_steps: HashSet::new(),
        }
    }

    /// For a client that is told each step once.
    pub(super) fn by_step(order: String) -> Self {
        Self {
            by_step: true,
            ..Self::full(order)
        }
    }

    /// What is new to the client. After a failure the whole timeline is told again:
    /// otherwise the failure would seem to last.
    pub(super) fn update(&mut self, look: PollResult) -> Vec<StreamEvent> {
        match look {
            PollResult::Timeline(text) if self.last_sent.as_ref() == Some(&text) => Vec::new(),
            PollResult::Timeline(text) => {
                let news = if self.by_step {
                    self.new_steps(&text)
                } else {
                    vec![StreamEvent::Timeline(text.clone())]
                };
                self.last_sent = Some(text);
                news
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

    fn new_steps(&mut self, text: &str) -> Vec<StreamEvent> {
        let timeline: Value = serde_json::from_str(text).unwrap_or_default();
        let Some(steps) = timeline["events"].as_array() else {
            return vec![StreamEvent::Failed];
        };
        let mut new = Vec::new();
        for step in steps {
            if !self.sent_steps.insert(step.to_string()) {
                continue;
            }
            let mut step = step.clone();
            if let Some(fields) = step.as_object_mut() {
                fields.insert("orderId".to_owned(), timeline["orderId"].clone());
            }
            new.push(StreamEvent::Step(step));
        }
        new
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

    fn whole() -> TimelineDiff {
        TimelineDiff::full("ord_1".into())
    }

    #[test]
    fn a_timeline_is_told_only_if_it_changed() {
        let mut changes = whole();
        let told: Vec<_> = ["a", "a", "b", "b", "a"]
            .into_iter()
            .flat_map(|text| changes.update(timeline(text)))
            .collect();
        let news = |text: &str| StreamEvent::Timeline(text.to_owned());
        assert_eq!(told, [news("a"), news("b"), news("a")]);
    }

    #[test]
    fn a_failure_is_told_and_the_stream_goes_on() {
        let mut changes = whole();
        changes.update(timeline("a"));
        let news = changes.update(PollResult::Failed);
        assert_eq!(news, [StreamEvent::Failed]);
        assert!(!news[0].is_last());
        assert_eq!(
            changes.update(timeline("a")),
            [StreamEvent::Timeline("a".to_owned())]
        );
    }

    #[test]
    fn an_unknown_order_ends_the_stream() {
        let news = whole().update(PollResult::NotFound);
        assert!(news.len() == 1 && news[0].is_last());
    }

    #[test]
    fn answers_are_told_apart() {
        let answer = |status, body: &'static [u8]| {
            PollResult::from_response(ServiceResponse {
                status,
                body: Bytes::from_static(body),
            })
        };
        assert_eq!(
            answer(StatusCode::OK, b"{\r\n\"a\":1}"),
            timeline("{  \"a\":1}")
        );
        assert_eq!(answer(StatusCode::NOT_FOUND, b""), PollResult::NotFound);
        assert_eq!(answer(StatusCode::OK, b"\xff"), PollResult::Failed);
        for status in [
            StatusCode::FOUND,
            StatusCode::BAD_REQUEST,
            StatusCode::BAD_GATEWAY,
        ] {
            assert_eq!(answer(status, b""), PollResult::Failed);
        }
    }

    #[test]
    fn what_is_no_timeline_has_no_steps() {
        for text in ["", "[]", "{}", r#"{"events":1}"#] {
            let mut changes = TimelineDiff::by_step("ord_1".into());
            assert_eq!(
                changes.update(timeline(text)),
                [StreamEvent::Failed],
                "{text}"
            );
        }
    }

    #[test]
    fn a_step_that_comes_late_is_told_though_it_stands_before_another() {
        let mut changes = TimelineDiff::by_step("ord_1".into());
        let mut statuses = |statuses: &[&str]| {
            let steps: Vec<_> = statuses
                .iter()
                .map(|name| json!({"status": name}))
                .collect();
            let text = json!({"orderId": "ord_1", "events": steps}).to_string();
            changes
                .update(PollResult::Timeline(text))
                .into_iter()
                .map(|news| match news {
                    StreamEvent::Step(step) => {
                        step["status"].as_str().unwrap_or_default().to_owned()
                    }
                    other => panic!("{other:?}"),
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(statuses(&["CREATED", "SHIPPED"]), ["CREATED", "SHIPPED"]);
        assert_eq!(statuses(&["CREATED", "RESERVED", "SHIPPED"]), ["RESERVED"]);
    }

    proptest! {
        #[test]
        fn each_step_is_told_once_in_order_whatever_fails_between(
            looks in proptest::collection::vec((0..4_usize, any::<bool>()), 0..20)
        ) {
            let mut changes = TimelineDiff::by_step("ord_1".into());
            let (mut so_far, mut told) = (0, Vec::new());
            for (more, fails) in looks {
                so_far += more;
                let steps: Vec<_> = (0..so_far).map(|n| json!({"status": n})).collect();
                let text = json!({"orderId": "ord_1", "events": steps}).to_string();
                let look = if fails { PollResult::Failed } else { PollResult::Timeline(text) };
                told.extend(changes.update(look).into_iter().filter_map(|news| match news {
                    StreamEvent::Step(step) => Some(step),
                    _ => None,
                }));
            }
            let expected = (0..told.len()).map(|n| json!({"orderId": "ord_1", "status": n}));
            prop_assert!(told.len() <= so_far);
            prop_assert!(told.iter().cloned().eq(expected));
        }
    }
}
