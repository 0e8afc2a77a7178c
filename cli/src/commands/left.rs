//! What a failed command left stopped.

use std::collections::BTreeSet;

use dm_engine::Engine;
use dm_engine::containers::State;

use super::context::{Context, Project};

/// The components that ran before a command that may stop some.
pub struct Before {
    project: Project,
    engine: Engine,
    running: BTreeSet<String>,
}

impl Before {
    /// Looks. `None` where there is no project or no engine yet: then nothing runs, or
    /// the command itself says what is wrong.
    pub async fn look(context: &Context) -> Option<Self> {
        let project = context.project().ok()?;
        let engine = context.engine(project.config()).await.ok()?;
        let running = running(&engine, &project).await?;
        Some(Self {
            project,
            engine,
            running,
        })
    }

    /// Says which of them run no more.
    pub async fn tell(self, context: &Context) {
        let Some(now) = running(&self.engine, &self.project).await else {
            return;
        };
        let stopped: Vec<&str> = self.running.difference(&now).map(String::as_str).collect();
        if !stopped.is_empty() {
            context.printer.warn(&format!(
                "left stopped: {}; start with: {}",
                stopped.join(", "),
                context.command("up")
            ));
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
