//! The stack is brought up.

use std::sync::Arc;
use std::time::Duration;

use dm_core::error::Result;
use dm_engine::Engine;
use dm_host::consent::Consent;
use dm_stack::{reset, up};

use crate::session::{PortUse, Project, Session};
use crate::stack_run::{RunPhase, RunResult, StackRun, up_request};

/// What is to be brought up.
#[derive(Debug, Clone)]
pub struct Up {
    /// Only these components, and what they need; all where empty.
    pub only: Vec<String>,
    /// Whether other ports will do where those of `dm.toml` are taken.
    pub free_ports: bool,
    /// Whether empty components may begin with golden images.
    pub use_golden_images: bool,
    /// How long the components may take; the configuration's time where none is given.
    pub wait_timeout: Option<Duration>,
}

/// What would be done.
pub struct UpPreview {
    /// The plan.
    pub plan: up::UpPlan,
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
    ) -> Result<RunResult> {
        let engine = session.engine_or_start(project, &consent).await?;
        self.warn_about_existing_data(session, project, &engine)
            .await?;
        StackRun::new("up", project)
            .with_ports(PortUse::Allocate {
                free: self.free_ports,
                only: &self.only,
            })
            .with_phase(RunPhase::Up(self.request(project)))
            .execute(session, engine, consent)
            .await
    }

    /// Plans it. Changes nothing, neither here nor in the engine.
    ///
    /// # Errors
    /// No engine, an unknown component.
    pub async fn preview(&self, session: &Session, project: &Project) -> Result<UpPreview> {
        let engine = session.engine(project.config()).await?;
        self.warn_about_existing_data(session, project, &engine)
            .await?;
        let (stack, containers) = session.existing_stack(project, engine).await?;
        let finishes_reset = reset::is_reset_unfinished(&stack).await?;
        let plan = up::prepare_plan(&stack, self.request(project), containers).await?;
        Ok(UpPreview {
            plan,
            finishes_reset,
        })
    }

    fn request(&self, project: &Project) -> up::UpPlanRequest {
        up::UpPlanRequest {
            golden_policy: if self.use_golden_images {
                up::GoldenPolicy::Use
            } else {
                up::GoldenPolicy::Ignore
            },
            ..up_request(project, &self.only, self.wait_timeout)
        }
    }

    /// Warns where data is to begin empty and is there already.
    async fn warn_about_existing_data(
        &self,
        session: &Session,
        project: &Project,
        engine: &Engine,
    ) -> Result<()> {
        if self.use_golden_images {
            return Ok(());
        }
        let there = engine
            .list_volumes(&project.instance.label_filter())
            .await?;
        let components = project.components(Some(engine));
        let golden = components.iter().filter(|it| it.golden_data().is_some());
        let kept: Vec<&str> = golden
            .map(|component| component.name())
            .filter(|name| there.contains(&project.instance.volume_name(name)))
            .collect();
        if let Some(warning) =
            ignored_no_golden_warning(&kept, &session.dm_command("down --volumes"))
        {
            session.frontend.warn(&warning);
        }
        Ok(())
    }
}

/// That `--no-golden` changes nothing for components whose data is there. `removing` is the
/// command that removes it.
fn ignored_no_golden_warning(kept: &[&str], removing: &str) -> Option<String> {
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
        assert_eq!(ignored_no_golden_warning(&[], ""), None);
        let told =
            ignored_no_golden_warning(&["postgres", "rabbitmq"], "dm down --volumes").unwrap();
        assert!(
            told.starts_with("--no-golden has no effect on postgres, rabbitmq: "),
            "{told}"
        );
    }
}
