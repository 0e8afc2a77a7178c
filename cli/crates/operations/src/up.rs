//! The stack is brought up.

use std::sync::Arc;
use std::time::Duration;

use dm_core::error::Result;
use dm_engine::Engine;
use dm_host::consent::Consent;
use dm_stack::{reset, up};

use crate::run::{Brought, Phase, Run, request};
use crate::session::{PortUse, Project, Session};

/// What is to be brought up.
#[derive(Debug, Clone)]
pub struct Up {
    /// Only these components, and what they need; all where empty.
    pub only: Vec<String>,
    /// Whether other ports will do where those of `dm.toml` are taken.
    pub free_ports: bool,
    /// Whether empty components may begin with golden images.
    pub golden: bool,
    /// How long the components may take; the configuration's time where none is given.
    pub wait: Option<Duration>,
}

/// What would be done.
pub struct Preview {
    /// The plan.
    pub plan: up::Plan,
    /// Whether the rest of a reset that was cut short would be done first.
    pub finishes_reset: bool,
}

impl Up {
    /// Brings it up. The caller has the instance's lock.
    ///
    /// # Errors
    /// What stops the run before its first node; what fails in a node is in the outcome.
    pub async fn run(
        &self,
        session: &Session,
        project: &Project,
        consent: Arc<Consent>,
    ) -> Result<Brought> {
        let engine = session.engine_or_start(project, &consent).await?;
        self.warn_of_kept_data(session, project, &engine).await?;
        Run::new("up", project)
            .ports(PortUse::Allocate {
                free: self.free_ports,
                only: &self.only,
            })
            .phase(Phase::Up(self.request(project)))
            .execute(session, engine, consent)
            .await
    }

    /// Plans it. Changes nothing, neither here nor in the engine.
    ///
    /// # Errors
    /// No engine, an unknown component.
    pub async fn preview(&self, session: &Session, project: &Project) -> Result<Preview> {
        let engine = session.engine(project.config()).await?;
        self.warn_of_kept_data(session, project, &engine).await?;
        let (stack, containers) = session.existing_stack(project, engine).await?;
        let finishes_reset = reset::is_unfinished(&stack).await?;
        let plan = up::prepare(&stack, self.request(project), containers).await?;
        Ok(Preview {
            plan,
            finishes_reset,
        })
    }

    fn request(&self, project: &Project) -> up::Request {
        up::Request {
            golden: if self.golden {
                up::GoldenUse::Begin
            } else {
                up::GoldenUse::Ignore
            },
            ..request(project, &self.only, self.wait)
        }
    }

    /// Warns where data is to begin empty and is there already.
    async fn warn_of_kept_data(
        &self,
        session: &Session,
        project: &Project,
        engine: &Engine,
    ) -> Result<()> {
        if self.golden {
            return Ok(());
        }
        let there = engine.volumes(&project.instance.filter()).await?;
        let components = project.components(Some(engine));
        let golden = components.iter().filter(|it| it.golden().is_some());
        let kept: Vec<&str> = golden
            .map(|component| component.name())
            .filter(|name| there.contains(&project.instance.volume(name)))
            .collect();
        if let Some(warning) = too_late(&kept, &session.command("down --volumes")) {
            session.frontend.warn(&warning);
        }
        Ok(())
    }
}

/// That `--no-golden` changes nothing for components whose data is there. `removing` is the
/// command that removes it.
fn too_late(kept: &[&str], removing: &str) -> Option<String> {
    (!kept.is_empty()).then(|| {
        format!(
            "--no-golden has no effect on {}: their data exists already; to start with empty \
             data, remove it first: {removing}",
            kept.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_golden_is_about_data_that_is_not_there_yet() {
        assert_eq!(too_late(&[], ""), None);
        let told = too_late(&["postgres", "rabbitmq"], "dm down --volumes").unwrap();
        assert!(
            told.starts_with("--no-golden has no effect on postgres, rabbitmq: "),
            "{told}"
        );
    }
}
