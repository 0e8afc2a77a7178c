//! Brings the stack up.

use std::sync::Arc;
use std::time::Duration;

use dm_core::error::Result;
use dm_engine::Engine;
use dm_host::consent::Consent;
use dm_stack::{reset, up};

use crate::session::{PortUse, Project, Session};
use crate::stack_run::{RunPhase, RunResult, StackRun, up_request};

/// A request to bring components up.
#[derive(Debug, Clone)]
pub struct Up {
    /// Only these components and their dependencies; all if empty.
    pub only: Vec<String>,
    /// Whether other ports are allocated if those of `dm.toml` are taken.
    pub free_ports: bool,
    /// Whether components without data may start from golden images.
    pub use_golden_images: bool,
    /// The time limit for the components. Default: the one of the configuration.
    pub wait_timeout: Option<Duration>,
}

/// The actions that `dm up` would take.
pub struct UpPreview {
    /// The plan.
    pub plan: up::UpPlan,
    /// Whether an interrupted reset would be finished first.
    pub finishes_reset: bool,
}

impl Up {
    /// Brings the components up. The caller holds the instance lock.
    ///
    /// # Errors
    /// If the run fails before its first node. Failures of nodes are in the outcome.
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

    /// Returns the plan without changing anything on the host or in the engine.
    ///
    /// # Errors
    /// If the engine cannot be reached or a component is unknown.
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

    /// Warns if `--no-golden` is set for components whose data exists already.
    async fn warn_about_existing_data(
        &self,
        session: &Session,
        project: &Project,
        engine: &Engine,
    ) -> Result<()> {
        if self.use_golden_images {
            return Ok(());
        }
        let volumes = engine
            .list_volumes(&project.instance.label_filter())
            .await?;
        let components = project.components(Some(engine));
        let golden = components
            .iter()
            .filter(|component| component.golden_data().is_some());
        let kept: Vec<&str> = golden
            .map(|component| component.name())
            .filter(|name| volumes.contains(&project.instance.volume_name(name)))
            .collect();
        if let Some(warning) =
            ignored_no_golden_warning(&kept, &session.dm_command("down --volumes"))
        {
            session.frontend.warn(&warning);
        }
        Ok(())
    }
}

/// Returns the warning that `--no-golden` has no effect on components whose data exists.
/// `remove_command` is the command that removes the data.
fn ignored_no_golden_warning(kept: &[&str], remove_command: &str) -> Option<String> {
    (!kept.is_empty()).then(|| {
        format!(
            "--no-golden has no effect on {}: their data exists already; to start with empty \
             data, remove it first: {remove_command}",
            kept.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_golden_warning_names_components_with_existing_data() {
        assert_eq!(ignored_no_golden_warning(&[], ""), None);
        let warning =
            ignored_no_golden_warning(&["postgres", "rabbitmq"], "dm down --volumes").unwrap();
        assert!(
            warning.starts_with("--no-golden has no effect on postgres, rabbitmq: "),
            "{warning}"
        );
    }
}
