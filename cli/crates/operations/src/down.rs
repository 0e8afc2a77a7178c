//! Takes an instance down.

use std::sync::Arc;

use dm_core::error::Result;
use dm_engine::Engine;
use dm_host::ports::PortAllocator;
use dm_stack::down::{self, DownReport};

use crate::session::{Project, Session};
use crate::stack_run::RunError;

/// Stops and removes the instance, and its volumes if `volumes` is set. The caller holds the
/// instance lock.
///
/// # Errors
/// If the engine fails. Returns [`RunError`] if a part could not be removed.
pub async fn take_down(
    session: &Session,
    project: &Project,
    engine: Engine,
    volumes: bool,
) -> Result<DownReport> {
    let (stack, _) = session.existing_stack(project, engine).await?;
    let stack = Arc::new(stack);
    let (report, _) = session
        .run_with_progress(
            "down",
            None,
            async |emitter| down::down(&stack, volumes, &emitter, &session.interrupt).await,
            |report| report.outcome.is_success(),
        )
        .await?;
    if releases_ports(&report)? {
        PortAllocator::new(project.state.clone())
            .release(&project.instance.project, &project.instance.name)?;
    }
    Ok(report)
}

/// Returns whether the ports of the instance are released: they stay allocated as long as data
/// exists.
///
/// # Errors
/// Returns [`RunError`] if a part could not be removed. The ports stay allocated then, although
/// the report names no kept volume.
fn releases_ports(report: &DownReport) -> Result<bool, RunError> {
    match RunError::from_outcome(&report.outcome) {
        Some(error) => Err(error),
        None => Ok(report.kept_volumes.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use dm_stack::executor::RunOutcome;

    use super::*;
    use crate::ci::examples;

    fn report(kept_volumes: &[&str]) -> DownReport {
        DownReport {
            kept_volumes: kept_volumes.iter().map(|&name| name.to_owned()).collect(),
            ..DownReport::default()
        }
    }

    #[test]
    fn ports_are_released_only_if_no_volume_is_kept() {
        assert!(releases_ports(&report(&[])).unwrap());
        assert!(!releases_ports(&report(&["postgres-data"])).unwrap());
        assert!(!releases_ports(&report(&["postgres-data", "rabbitmq-data"])).unwrap());
        let removed = DownReport {
            volumes: vec!["postgres-data".into()],
            ..report(&[])
        };
        assert!(releases_ports(&removed).unwrap());
    }

    #[test]
    fn ports_are_not_released_after_a_failed_or_interrupted_run() {
        let failed = DownReport {
            outcome: RunOutcome {
                failures: vec![examples::failure("postgres")],
                ..RunOutcome::default()
            },
            ..report(&[])
        };
        let Err(RunError::Failed(names)) = releases_ports(&failed) else {
            panic!("the failure was ignored");
        };
        assert_eq!(names, ["postgres"]);
        let interrupted = DownReport {
            outcome: RunOutcome {
                interrupted: true,
                ..RunOutcome::default()
            },
            ..report(&[])
        };
        assert!(matches!(
            releases_ports(&interrupted),
            Err(RunError::Interrupted)
        ));
    }
}
