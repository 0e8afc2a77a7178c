//! Which components an operation has stopped on its way.

use std::collections::BTreeSet;

use dm_engine::Engine;
use dm_engine::containers::ContainerState;

use super::{Project, Session};

/// The components that run at one moment.
pub struct RunningComponents {
    project: Project,
    engine: Engine,
    names: BTreeSet<String>,
}

impl RunningComponents {
    /// Those that run now. `None` where there is no project or no engine yet: then nothing
    /// runs, or the operation itself says what is wrong.
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

    /// Those of them that run no more.
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
