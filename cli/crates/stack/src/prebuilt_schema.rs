//! Fills a component's empty database schema from its image.

use dm_components::Component;

use super::event::{NodeState, ProgressUnit};
use super::executor::EventEmitter;
use super::{Stack, StackError};

/// Fills the schema of a component whose container has been made and not
/// started. Does nothing where the schema has tables, or the image no script.
///
/// # Errors
/// A failing engine or database.
pub(super) async fn fill_schema(
    stack: &Stack,
    component: &dyn Component,
    container: &str,
    emitter: &EventEmitter,
) -> Result<(), StackError> {
    let Some(recorded) = component.prebuilt_schema(&stack.ports) else {
        return Ok(());
    };
    if !recorded.is_empty().await? {
        return Ok(());
    }
    let Some(script) = stack.engine.read_file(container, recorded.script).await? else {
        return Ok(());
    };
    let doing = NodeState::Working {
        doing: "creating its tables".into(),
        detail: None,
        current: None,
        total: None,
        unit: ProgressUnit::Steps,
    };
    emitter.emit_state(component.name(), doing);
    Ok(recorded.load_script(script).await?)
}
