//! Named steps at which a service ends as if it had been killed, or stands still.
//!
//! They exist with the feature `fail-points` alone, which tests of faults compile the
//! services with. `DM_FAIL_POINTS` says what happens where, as a list separated by
//! commas: `relay.confirmed@3` ends the process the third time that it gets there,
//! `publisher.sent@1=2000` has it wait for two seconds the first time, and
//! `consumer.handling@1=panic` has it panic.

#[cfg(feature = "fail-points")]
mod registry;

/// The service got to a step.
#[cfg(feature = "fail-points")]
pub(crate) async fn reached(step: &str) {
    registry::reached(step).await;
}

/// The service got to a step.
#[cfg(not(feature = "fail-points"))]
#[expect(clippy::unused_async, reason = "as in builds with the feature")]
pub(crate) async fn reached(_: &str) {}
