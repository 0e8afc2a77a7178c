//! Which components an operation has stopped on its way.

use std::collections::BTreeSet;

use dm_engine::Engine;
use dm_engine::containers::State;

use super::{Project, Session};

/// The components that run at one moment.
pub struct Running {
    project: Project,
    engine: Engine,
    names: BTreeSet<String>,
}

impl Running {
    /// Those that run now. `None` where there is no project or no engine yet: then nothing
    /// runs, or the operation itself says what is wrong.
    pub async fn now(session: &Session) -> Option<Self> {
        let session = session.silent();
        let project = session.project().ok()?;
        let engine = session.engine(project.config()).await.ok()?;
        let names = running(&engine, &project).await?;
        Some(Self {
            project,
            engine,
            names,
        })
    }

    /// Those of them that run no more.
    pub async fn stopped_since(self) -> Vec<String> {
        match running(&self.engine, &self.project).await {
            Some(now) => self.names.difference(&now).cloned().collect(),
            None => Vec::new(),
        }
    }
}

async fn running(engine: &Engine, project: &Project) -> Option<BTreeSet<String>> {
    let containers = engine.containers(&project.instance.filter()).await.ok()?;
    Some(
        containers
            .into_iter()
            .filter(|container| container.state == State::Running)
            .map(|container| container.component)
            .collect(),
    )
}
