//! Fills a component's empty database schema from its image.

use dm_components::Component;

use super::event::{NodeState, Unit};
use super::executor::Emitter;
use super::{Stack, StackError};

/// Fills the schema of a component whose container has been made and not
/// started. Does nothing where the schema has tables, or the image no script.
///
/// # Errors
/// A failing engine or database.
pub(super) async fn fill(
    stack: &Stack,
    component: &dyn Component,
    container: &str,
    emitter: &Emitter,
) -> Result<(), StackError> {
    let Some(recorded) = component.recorded_schema(&stack.ports) else {
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
        unit: Unit::Steps,
    };
    emitter.node(component.name(), doing);
    Ok(recorded.fill(script).await?)
}
