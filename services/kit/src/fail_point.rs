//! Named steps at which a service exits as if it had been killed, pauses, or panics.
//!
//! They exist only with the feature `fail-points`, with which fault-injection tests compile
//! the services. `DM_FAIL_POINTS` is a list separated by commas: `relay.confirmed@3` aborts
//! the process the third time that the step is reached, `publisher.sent@1=2000` pauses for
//! two seconds the first time, and `consumer.processing@1=panic` panics.

#[cfg(feature = "fail-points")]
mod registry;

/// Executes the action of the fail point at this step, if there is one.
#[cfg(feature = "fail-points")]
pub(crate) async fn reached(step: &str) {
    registry::reached(step).await;
}

/// Does nothing: the feature `fail-points` is off.
#[cfg(not(feature = "fail-points"))]
#[expect(clippy::unused_async, reason = "same signature as with the feature")]
pub(crate) async fn reached(_: &str) {}
