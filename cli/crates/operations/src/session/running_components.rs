//! Detects the components that an operation has stopped.

use std::collections::BTreeSet;

use dm_engine::Engine;
use dm_engine::containers::ContainerState;

use super::{Project, Session};

/// The components that are running at one moment.
pub struct RunningComponents {
    project: Project,
    engine: Engine,
    names: BTreeSet<String>,
}

impl RunningComponents {
    /// Captures the running components. Returns `None` without a project or an engine: then no
    /// component is running, or the operation itself reports the error.
    pub async fn capture(session: &Session) -> Option<Self> {
        let session = session.without_warnings();
        let project = session.project().ok()?;
        let engine = session.engine(project.config()).await.ok()?;
        let names = running_names(&engine, &project).await?;
        Some(Self {
            project,
            engine,
            names,
        })
    }

    /// Returns the captured components that are no longer running.
    pub async fn stopped_since(self) -> Vec<String> {
        match running_names(&self.engine, &self.project).await {
            Some(now) => self.names.difference(&now).cloned().collect(),
            None => Vec::new(),
        }
    }
}

async fn running_names(engine: &Engine, project: &Project) -> Option<BTreeSet<String>> {
    let containers = engine
        .list_containers(&project.instance.label_filter())
        .await
        .ok()?;
    Some(
        containers
            .into_iter()
            .filter(|container| container.state == ContainerState::Running)
            .map(|container| container.component)
            .collect(),
    )
}
