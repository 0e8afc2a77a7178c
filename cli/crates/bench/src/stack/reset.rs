//! A stack with something in it begun anew, beside a fresh one.

use dm_core::error::Result;

use super::{Figure, Stack};

/// `dm reset` of a stack with all services and a small past, beside the `dm up` that had
/// brought it up on golden images. On an instance of its own.
pub(super) async fn measure(stack: &Stack<'_>) -> Result<Vec<(Figure, f64)>> {
    let instance = instance(stack.instance());
    let interrupt = &stack.bench.session.interrupt;
    let dm = async |arguments: &[&str]| stack.dm.run(&instance, arguments, interrupt).await;
    // What a killed round or the one before has left.
    dm(&["down", "--volumes"]).await?;
    dm(&["golden", "make"]).await?;
    let up = dm(&["up"]).await?;
    dm(&["seed", "--scale", "small", "--append"]).await?;
    let reset = dm(&["reset", "--yes"]).await?;
    dm(&["down", "--volumes"]).await?;
    let ratio = reset.took.as_secs_f64() / up.took.as_secs_f64();
    Ok(vec![(Figure::ResetWithServices, ratio)])
}

/// The instance that is reset, beside one that is not.
pub(super) fn instance(beside: &str) -> String {
    format!("{beside}-reset")
}
