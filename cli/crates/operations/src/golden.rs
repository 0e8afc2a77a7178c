//! Golden images are found, made and removed.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::Arc;

use dm_config::{Prepare, overrides};
use dm_core::error::Result;
use dm_host::detach;
use dm_stack::executor::Outcome;
use dm_stack::golden::{self, Golden};
use dm_stack::images::NodeProgress;
use dm_stack::{scratch, up};

use crate::run::{Brought, RunError, request};
use crate::session::{PortUse, Project, Session};

/// The golden images for the configuration as it is, by component.
///
/// # Errors
/// A failing engine.
pub async fn find(session: &Session) -> Result<BTreeMap<String, Golden>> {
    let project = session.project()?;
    let stack = session.quiet_stack(&project).await?;
    golden::find(&stack).await
}

/// Makes the golden images in a scratch instance of their own, unless they are
/// there already.
///
/// # Errors
/// A failing engine, image or component.
pub async fn make(session: &Session) -> Result<()> {
    let project = session.project_of(golden::INSTANCE)?.without_schedule();
    let _guard = session.lock(&project, "dm golden make").await?;
    let engine = session.engine(project.config()).await?;
    // Services keep nothing of their own.
    let only: Vec<String> = dm_components::infrastructure(project.config(), &project.loaded.root)
        .iter()
        .map(|component| component.name().to_owned())
        .collect();
    let request = up::Request {
        golden: up::GoldenUse::Ignore,
        ..request(&project, &only, None)
    };
    let (outcome, _) = session
        .followed(
            "golden make",
            Some(request.wait),
            async |emitter| {
                let progress = Arc::new(NodeProgress::new(emitter.clone()));
                let consent = session.consent(false);
                let ports = PortUse::Allocate {
                    free: true,
                    only: &only,
                };
                let (stack, _) = session
                    .stack(&project, engine, ports, progress, consent)
                    .await?;
                // Another process may have made them while this one waited.
                if !golden::find(&stack).await?.is_empty() {
                    return Ok(Outcome::default());
                }
                scratch::make(&Arc::new(stack), &request, &emitter, &session.interrupt).await
            },
            Outcome::ok,
        )
        .await?;
    match RunError::of(&outcome) {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

/// Removes the golden images for the configuration as it is. Answers how many there were.
///
/// # Errors
/// A failing engine.
pub async fn remove(session: &Session) -> Result<usize> {
    let project = session.project()?;
    // Not while they are being made.
    let making = session.project_of(golden::INSTANCE)?;
    let _guard = session.lock(&making, "dm golden rm").await?;
    let stack = session.quiet_stack(&project).await?;
    let goldens = golden::find(&stack).await?;
    for golden in goldens.values() {
        stack.engine.remove_image(&golden.image).await?;
    }
    Ok(goldens.len())
}

/// Sees to it that the next fresh start begins with golden images, as the configuration
/// has it.
///
/// # Errors
/// As [`make`] where they are made at once.
pub async fn prepare(session: &Session, project: &Project, brought: &Brought) -> Result<()> {
    let Some(place) = place(project.config().golden.prepare, dm_host::is_ci()) else {
        return Ok(());
    };
    if brought.has_golden().await? {
        return Ok(());
    }
    match place {
        Place::Here => make(session).await,
        Place::Background => {
            // The stack is up: all that is lost is the next start's speed.
            if let Err(error) = make_in_background(session, project) {
                let why = error.chain().join(": ");
                let warning = format!("{why}; prepare golden images yourself: dm golden make");
                session.frontend.warn(&warning);
            }
            Ok(())
        }
    }
}

/// Where golden images are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In this process, which ends when they are there.
    Here,
    /// In a process that outlives this one.
    Background,
}

fn place(prepare: Prepare, is_ci: bool) -> Option<Place> {
    match prepare {
        Prepare::Off => None,
        Prepare::Foreground => Some(Place::Here),
        // What is gained by the next start is lost by a job that has none.
        Prepare::Background if is_ci => None,
        Prepare::Background => Some(Place::Background),
    }
}

/// Makes the golden images in a process of its own that outlives this one.
fn make_in_background(session: &Session, project: &Project) -> Result<()> {
    let log = project.state.path().join("golden.log");
    let mut command = Command::new(detach::own_program()?);
    command
        .args([
            "golden",
            "make",
            "--progress",
            "plain",
            "--project-directory",
        ])
        .arg(&project.loaded.root)
        .stdin(Stdio::null());
    let (variable, overrides) = overrides::handed(session.overrides());
    command.env(variable, overrides);
    detach::spawn(command, &log)?;
    session.frontend.note(&format!(
        "preparing golden images in the background, so that the next fresh start is quick \
         (dm golden ls; log: {})",
        log.display()
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_ends_prepares_nothing_in_the_background() {
        for (prepare, is_ci, expected) in [
            (Prepare::Off, false, None),
            (Prepare::Background, false, Some(Place::Background)),
            (Prepare::Background, true, None),
            (Prepare::Foreground, true, Some(Place::Here)),
        ] {
            assert_eq!(place(prepare, is_ci), expected, "{prepare:?}, {is_ci}");
        }
    }
}
