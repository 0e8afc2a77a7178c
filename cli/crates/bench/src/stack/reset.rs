//! A stack with something in it begun anew, beside a fresh one.

use dm_core::error::Result;

use super::{BenchStack, Metric};

/// `dm reset` of a stack with all services and a small past, beside the `dm up` that had
/// brought it up on golden images. On an instance of its own.
pub(super) async fn measure(stack: &BenchStack<'_>) -> Result<Vec<(Metric, f64)>> {
    let instance = reset_instance_name(stack.instance());
    let interrupt = &stack.context.session.interrupt;
    let dm = async |arguments: &[&str]| {
        stack
            .dm
            .run_on_instance(&instance, arguments, interrupt)
            .await
    };
    // What a killed round or the one before has left.
    dm(&["down", "--volumes"]).await?;
    dm(&["golden", "make"]).await?;
    let up = dm(&["up"]).await?;
    dm(&["seed", "--scale", "small", "--append"]).await?;
    let reset = dm(&["reset", "--yes"]).await?;
    dm(&["down", "--volumes"]).await?;
    let ratio = reset.duration.as_secs_f64() / up.duration.as_secs_f64();
    Ok(vec![(Metric::ResetWithServices, ratio)])
}

/// The instance that is reset, beside one that is not.
pub(super) fn reset_instance_name(beside: &str) -> String {
    format!("{beside}-reset")
}
