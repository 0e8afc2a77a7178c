//! Fills a component's empty database schema from its image.

use dm_components::Component;

use super::event::{NodeState, ProgressUnit};
use super::executor::EventEmitter;
use super::{Stack, StackError};

/// Fills the schema of a component whose container was created and not
/// started. Does nothing if the schema has tables or the image has no script.
///
/// # Errors
/// Returns [`StackError`] if an engine request or a database statement fails.
pub(super) async fn fill_schema(
    stack: &Stack,
    component: &dyn Component,
    container: &str,
    emitter: &EventEmitter,
) -> Result<(), StackError> {
    let Some(schema) = component.prebuilt_schema(&stack.ports) else {
        return Ok(());
    };
    if !schema.is_empty().await? {
        return Ok(());
    }
    let Some(script) = stack.engine.read_file(container, schema.script).await? else {
        return Ok(());
    };
    let state = NodeState::Working {
        activity: "creating its tables".into(),
        detail: None,
        current: None,
        total: None,
        unit: ProgressUnit::Steps,
    };
    emitter.emit_state(component.name(), state);
    Ok(schema.load_script(script).await?)
}
