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
    /// To stand still for so long; otherwise the end.
    pause: Option<Duration>,
    passed: AtomicU32,
}

impl FailPoint {
    fn parse(text: &str) -> Option<Self> {
        let (step, rest) = text.trim().split_once('@')?;
        let (passage, pause) = match rest.split_once('=') {
            Some((passage, pause)) => (passage, Some(Duration::from_millis(pause.parse().ok()?))),
            None => (rest, None),
        };
        Some(Self {
            step: step.to_owned(),
            passage: passage.parse().ok()?,
            pause,
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
        match point.pause {
            Some(pause) => tokio::time::sleep(pause).await,
            // Nothing is dropped, flushed or said goodbye to.
            None => std::process::abort(),
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
            (point.step.as_str(), point.passage, point.pause),
            ("relay.confirmed", 3, None)
        );
        let point = FailPoint::parse("publisher.sent@1=250").unwrap();
        assert_eq!(point.pause, Some(Duration::from_millis(250)));
        for text in ["", "relay.confirmed", "a@", "a@x", "a@1=x"] {
            assert!(FailPoint::parse(text).is_none(), "{text}");
        }
    }
}
