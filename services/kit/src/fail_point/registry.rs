//! The fail points of `DM_FAIL_POINTS`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tracing::warn;

/// The environment variable with the fail points.
const ENV_VARIABLE: &str = "DM_FAIL_POINTS";

/// An action at a step.
#[derive(Debug)]
struct FailPoint {
    step: String,
    /// The hit that triggers the action, from 1.
    trigger_hit: u32,
    action: FailAction,
    hits: AtomicU32,
}

#[derive(Debug, PartialEq, Eq)]
enum FailAction {
    /// Aborts the process, as if it were killed.
    Abort,
    /// Pauses for this duration.
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
        let (trigger_hit, action) = match rest.split_once('=') {
            Some((trigger_hit, action)) => (trigger_hit, FailAction::parse(action)?),
            None => (rest, FailAction::Abort),
        };
        Some(Self {
            step: step.to_owned(),
            trigger_hit: trigger_hit.parse().ok()?,
            action,
            hits: AtomicU32::new(0),
        })
    }
}

/// Counts a hit of the step, and executes the action that it triggers.
pub(super) async fn reached(step: &str) {
    static FAIL_POINTS: OnceLock<Vec<FailPoint>> = OnceLock::new();
    let fail_points = FAIL_POINTS.get_or_init(|| {
        let text = std::env::var(ENV_VARIABLE).unwrap_or_default();
        text.split(',').filter_map(FailPoint::parse).collect()
    });
    for point in fail_points.iter().filter(|point| point.step == step) {
        if point.hits.fetch_add(1, Ordering::SeqCst) + 1 != point.trigger_hit {
            continue;
        }
        warn!(fail_point = step, "fail point reached");
        match point.action {
            FailAction::Pause(pause) => tokio::time::sleep(pause).await,
            // Nothing is dropped, flushed or closed.
            FailAction::Abort => std::process::abort(),
            FailAction::Panic => panic!("fail point {step}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fail_point_has_step_hit_and_action() {
        let point = FailPoint::parse(" relay.confirmed@3").unwrap();
        assert_eq!(
            (point.step.as_str(), point.trigger_hit, point.action),
            ("relay.confirmed", 3, FailAction::Abort)
        );
        let point = FailPoint::parse("consumer.committed/order.created.v1@1").unwrap();
        assert_eq!(point.step, "consumer.committed/order.created.v1");
        let point = FailPoint::parse("publisher.sent@1=250").unwrap();
        assert_eq!(point.action, FailAction::Pause(Duration::from_millis(250)));
        let point = FailPoint::parse("consumer.processing@2=panic").unwrap();
        assert_eq!(point.action, FailAction::Panic);
        for text in ["", "relay.confirmed", "a@", "a@x", "a@1=x"] {
            assert!(FailPoint::parse(text).is_none(), "{text}");
        }
    }
}
