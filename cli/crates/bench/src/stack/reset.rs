//! Measures the reset of a stack with data, compared with a fresh start.

use dm_core::error::Result;

use super::{BenchStack, Metric};

/// Measures the ratio of `dm reset` of a stack with all services and a small history to the `dm up`
/// that started it with golden images. Uses a separate instance.
pub(super) async fn measure(stack: &BenchStack<'_>) -> Result<Vec<(Metric, f64)>> {
    let instance = reset_instance_name(stack.instance());
    let interrupt = &stack.context.session.interrupt;
    let dm = async |arguments: &[&str]| {
        stack
            .dm
            .run_on_instance(&instance, arguments, interrupt)
            .await
    };
    // An earlier round may have left a stack.
    dm(&["down", "--volumes"]).await?;
    dm(&["golden", "make"]).await?;
    let up = dm(&["up"]).await?;
    dm(&["seed", "--scale", "small", "--append"]).await?;
    let reset = dm(&["reset", "--yes"]).await?;
    dm(&["down", "--volumes"]).await?;
    let ratio = reset.duration.as_secs_f64() / up.duration.as_secs_f64();
    Ok(vec![(Metric::ResetWithServicesRatio, ratio)])
}

/// Returns the name of the instance that is reset, derived from that of the suite.
pub(super) fn reset_instance_name(suite_instance: &str) -> String {
    format!("{suite_instance}-reset")
}
