//! The fail points that were asked for.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tracing::warn;

/// What names them.
const VARIABLE: &str = "DM_FAIL_POINTS";

/// What happens at a step.
#[derive(Debug)]
struct FailPoint {
    step: String,
    /// At which passage, from 1.
    passage: u32,
    action: Action,
    passed: AtomicU32,
}

#[derive(Debug, PartialEq, Eq)]
enum Action {
    /// Ends as if killed.
    End,
    /// Stands still for so long.
    Pause(Duration),
    /// Panics.
    Panic,
}

impl Action {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "panic" => Some(Self::Panic),
            text => Some(Self::Pause(Duration::from_millis(text.parse().ok()?))),
        }
    }
}

impl FailPoint {
    fn parse(text: &str) -> Option<Self> {
        let (step, rest) = text.trim().split_once('@')?;
        let (passage, action) = match rest.split_once('=') {
            Some((passage, action)) => (passage, Action::parse(action)?),
            None => (rest, Action::End),
        };
        Some(Self {
            step: step.to_owned(),
            passage: passage.parse().ok()?,
            action,
            passed: AtomicU32::new(0),
        })
    }
}

/// The service got to a step.
pub(super) async fn reached(step: &str) {
    static ASKED: OnceLock<Vec<FailPoint>> = OnceLock::new();
    let asked = ASKED.get_or_init(|| {
        let text = std::env::var(VARIABLE).unwrap_or_default();
        text.split(',').filter_map(FailPoint::parse).collect()
    });
    for point in asked.iter().filter(|point| point.step == step) {
        if point.passed.fetch_add(1, Ordering::SeqCst) + 1 != point.passage {
            continue;
        }
        warn!(step, "a fail point");
        match point.action {
            Action::Pause(pause) => tokio::time::sleep(pause).await,
            // Nothing is dropped, flushed or said goodbye to.
            Action::End => std::process::abort(),
            Action::Panic => panic!("the fail point {step}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fail_point_says_where_when_and_what() {
        let point = FailPoint::parse(" relay.confirmed@3").unwrap();
        assert_eq!(
            (point.step.as_str(), point.passage, point.action),
            ("relay.confirmed", 3, Action::End)
        );
        let point = FailPoint::parse("publisher.sent@1=250").unwrap();
        assert_eq!(point.action, Action::Pause(Duration::from_millis(250)));
        let point = FailPoint::parse("consumer.handling@2=panic").unwrap();
        assert_eq!(point.action, Action::Panic);
        for text in ["", "relay.confirmed", "a@", "a@x", "a@1=x"] {
            assert!(FailPoint::parse(text).is_none(), "{text}");
        }
    }
}
