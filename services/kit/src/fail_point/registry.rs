//! The fail points that were asked for.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tracing::warn;

/// What names them.
const ENV_VARIABLE: &str = "DM_FAIL_POINTS";

/// What happens at a step.
#[derive(Debug)]
struct FailPoint {
    step: String,
    /// At which passage, from 1.
    trigger_hit: u32,
    action: FailAction,
    hits: AtomicU32,
}

#[derive(Debug, PartialEq, Eq)]
enum FailAction {
    /// Ends as if killed.
    Abort,
    /// Stands still for so long.
    Pause(Duration),
    /// Panics.
    Panic,
}

impl FailAction {
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
            Some((passage, action)) => (passage, FailAction::parse(action)?),
            None => (rest, FailAction::Abort),
        };
        Some(Self {
            step: step.to_owned(),
            trigger_hit: passage.parse().ok()?,
            action,
            hits: AtomicU32::new(0),
        })
    }
}

/// The service got to a step.
pub(super) async fn reached(step: &str) {
    static FAIL_POINTS: OnceLock<Vec<FailPoint>> = OnceLock::new();
    let asked = FAIL_POINTS.get_or_init(|| {
        let text = std::env::var(ENV_VARIABLE).unwrap_or_default();
        text.split(',').filter_map(FailPoint::parse).collect()
    });
    for point in asked.iter().filter(|point| point.step == step) {
        if point.hits.fetch_add(1, Ordering::SeqCst) + 1 != point.trigger_hit {
            continue;
        }
        warn!(step, "a fail point");
        match point.action {
            FailAction::Pause(pause) => tokio::time::sleep(pause).await,
            // Nothing is dropped, flushed or said goodbye to.
            FailAction::Abort => std::process::abort(),
            FailAction::Panic => panic!("the fail point {step}"),
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
            (point.step.as_str(), point.trigger_hit, point.action),
            ("relay.confirmed", 3, FailAction::Abort)
        );
        let point = FailPoint::parse("publisher.sent@1=250").unwrap();
        assert_eq!(point.action, FailAction::Pause(Duration::from_millis(250)));
        let point = FailPoint::parse("consumer.handling@2=panic").unwrap();
        assert_eq!(point.action, FailAction::Panic);
        for text in ["", "relay.confirmed", "a@", "a@x", "a@1=x"] {
            assert!(FailPoint::parse(text).is_none(), "{text}");
        }
    }
}
