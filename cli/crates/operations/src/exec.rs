//! Finds the container of a component in which a command runs.

use dm_core::error::{ExitStatus, Result, UserError};
use dm_core::error_code::ErrorCode;
use dm_engine::Engine;
use dm_engine::containers::ContainerState;
use thiserror::Error;

use crate::session::Project;

/// The component is not running, so no command can run in it.
#[derive(Debug, Error)]
#[error("{} is not running", component.as_deref().unwrap_or("the stack"))]
pub struct NotRunning {
    component: Option<String>,
}

impl NotRunning {
    /// The error for one component, or for the whole stack if `component` is `None`.
    #[must_use]
    pub fn new(component: Option<&str>) -> Self {
        Self {
            component: component.map(str::to_owned),
        }
    }
}

impl UserError for NotRunning {
    fn code(&self) -> ErrorCode {
        ErrorCode::ComponentNotRunning
    }

    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Component
    }

    fn suggestions(&self) -> Vec<String> {
        vec![match &self.component {
            Some(component) => format!("dm up --only {component}"),
            None => "dm up".into(),
        }]
    }
}

/// Returns the name of the container of a running component.
///
/// # Errors
/// Returns [`NotRunning`] if the component is not running. Fails if the component does not
/// exist or if the engine fails.
pub async fn running_container(
    project: &Project,
    engine: &Engine,
    component: &str,
) -> Result<String> {
    let name = project.instance.container_name(component);
    let is_running = engine
        .list_containers(&project.instance.label_filter())
        .await?
        .into_iter()
        .any(|container| container.name == name && container.state == ContainerState::Running);
    if is_running {
        return Ok(name);
    }
    project.check_component(component)?;
    Err(NotRunning::new(Some(component)).into())
}
