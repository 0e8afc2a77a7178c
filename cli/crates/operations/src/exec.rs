//! The container of a component in which a command is to run.

use dm_core::error::{ExitStatus, Result, UserError};
use dm_core::error_code::ErrorCode;
use dm_engine::Engine;
use dm_engine::containers::ContainerState;
use thiserror::Error;

use crate::session::Project;

/// The component doesn't run, so nothing can run in it.
#[derive(Debug, Error)]
#[error("{} is not running", component.as_deref().unwrap_or("the stack"))]
pub struct NotRunning {
    component: Option<String>,
}

impl NotRunning {
    /// Of a component, or of all where none was named.
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

/// The container of a component that runs.
///
/// # Errors
/// There is no such component, or it doesn't run, or the engine fails.
pub async fn running_container(
    project: &Project,
    engine: &Engine,
    component: &str,
) -> Result<String> {
    let container = project.instance.container_name(component);
    let runs = engine
        .list_containers(&project.instance.label_filter())
        .await?
        .into_iter()
        .any(|it| it.name == container && it.state == ContainerState::Running);
    if runs {
        return Ok(container);
    }
    project.check_component(component)?;
    Err(NotRunning::new(Some(component)).into())
}
