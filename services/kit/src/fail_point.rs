//! Named steps at which a service exits as if it had been killed, pauses, or panics.
//!
//! They exist only with the feature `fail-points`, with which fault-injection tests compile
//! the services. `DM_FAIL_POINTS` is a list separated by commas: `relay.confirmed@3` aborts
//! the process the third time that the step is reached, `publisher.sent@1=2000` pauses for
//! two seconds the first time, and `consumer.processing@1=panic` panics. The steps of a handler
//! may name the type of the event: `consumer.committed/com.dundermifflin.order.cancelled.v1@1`.

#[cfg(feature = "fail-points")]
mod registry;

/// Executes the action of the fail point at this step, if there is one.
#[cfg(feature = "fail-points")]
pub(crate) async fn reached(step: &str) {
    registry::reached(step).await;
}

/// Executes the actions of the fail points at this step, for all events and for this type.
#[cfg(feature = "fail-points")]
pub(crate) async fn reached_by_event(step: &str, event_type: &str) {
    registry::reached(step).await;
    registry::reached(&format!("{step}/{event_type}")).await;
}

/// Does nothing: the feature `fail-points` is off.
#[cfg(not(feature = "fail-points"))]
#[expect(clippy::unused_async, reason = "same signature as with the feature")]
pub(crate) async fn reached(_: &str) {}

/// Does nothing: the feature `fail-points` is off.
#[cfg(not(feature = "fail-points"))]
#[expect(clippy::unused_async, reason = "same signature as with the feature")]
pub(crate) async fn reached_by_event(_: &str, _: &str) {}
