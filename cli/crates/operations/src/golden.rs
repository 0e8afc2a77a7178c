//! Finds, builds and removes golden images.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use dm_config::{GoldenPreparation, overrides};
use dm_core::error::Result;
use dm_host::background_process;
use dm_stack::executor::RunOutcome;
use dm_stack::golden::{self, GoldenImage};
use dm_stack::image_progress::NodeProgress;
use dm_stack::{golden_build, up};

use crate::session::{PortUse, Project, Session};
use crate::stack_run::{RunError, RunResult, up_request};

/// Finds the golden images for the current configuration, by component.
///
/// # Errors
/// If the engine fails.
pub async fn find(session: &Session) -> Result<BTreeMap<String, GoldenImage>> {
    let project = session.project()?;
    let stack = session.stack_for_inspection(&project).await?;
    golden::find_golden_images(&stack).await
}

/// Builds the golden images in a scratch instance, unless they exist already. Returns whether it
/// built them.
///
/// # Errors
/// If the engine, an image or a component fails. No error suggests a command for an instance.
pub async fn make(session: &Session) -> Result<bool> {
    let session = session.for_scratch_instance(golden::SCRATCH_INSTANCE);
    make_in_scratch_instance(&session)
        .await
        .map_err(|error| session.complete_error(error))
}

async fn make_in_scratch_instance(session: &Session) -> Result<bool> {
    let project = session.project()?.without_schedule();
    let _guard = session.lock(&project, "dm golden make").await?;
    let engine = session.engine(project.config()).await?;
    // Services have no data directories.
    let only: Vec<String> =
        dm_components::infrastructure_components(project.config(), &project.loaded.root)
            .iter()
            .map(|component| component.name().to_owned())
            .collect();
    let request = up::UpPlanRequest {
        golden_policy: up::GoldenPolicy::Ignore,
        ..up_request(&project, &only, None)
    };
    let (outcome, _) = session
        .run_with_progress(
            "golden make",
            Some(request.wait_timeout),
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
                // Another process may have built them while this one waited for the lock.
                if !golden::find_golden_images(&stack).await?.is_empty() {
                    return Ok(None);
                }
                golden_build::build_golden_images(
                    &Arc::new(stack),
                    &request,
                    &emitter,
                    &session.interrupt,
                )
                .await
                .map(Some)
            },
            |outcome| outcome.as_ref().is_none_or(RunOutcome::is_success),
        )
        .await?;
    match outcome.as_ref().and_then(RunError::from_outcome) {
        Some(error) => Err(error.into()),
        None => Ok(outcome.is_some()),
    }
}

/// Removes the golden images for the current configuration. Returns their number.
///
/// # Errors
/// If the engine fails.
pub async fn remove(session: &Session) -> Result<usize> {
    let project = session.project()?;
    // Not while they are being built.
    let scratch = session.project_for_instance(golden::SCRATCH_INSTANCE)?;
    let _guard = session.lock(&scratch, "dm golden rm").await?;
    let stack = session.stack_for_inspection(&project).await?;
    let images = golden::find_golden_images(&stack).await?;
    for golden in images.values() {
        stack.engine.remove_image(&golden.image).await?;
    }
    Ok(images.len())
}

/// Prepares golden images for the next fresh start if the configuration enables it and the run
/// changed the stack.
///
/// # Errors
/// As [`make`] if they are built in the foreground.
pub async fn prepare(session: &Session, project: &Project, run: &RunResult) -> Result<()> {
    let Some(mode) = preparation_mode(project.config().golden.prepare, dm_host::is_ci()) else {
        return Ok(());
    };
    if !run.lacks_golden_images().await? {
        return Ok(());
    }
    match mode {
        PreparationMode::Foreground => make(session).await.map(drop),
        PreparationMode::Background => {
            // The stack is up: only the next start will be slower.
            if let Err(error) = make_in_background(session, project) {
                let reason = error.error_chain().join(": ");
                let command = session.dm_command("golden make");
                let warning = format!("{reason}; prepare golden images yourself: {command}");
                session.frontend.warn(&warning);
            }
            Ok(())
        }
    }
}

/// The process in which golden images are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PreparationMode {
    /// This process, which ends when they are built.
    Foreground,
    /// A background process that outlives this one.
    Background,
}

fn preparation_mode(prepare: GoldenPreparation, is_ci: bool) -> Option<PreparationMode> {
    match prepare {
        GoldenPreparation::Off => None,
        GoldenPreparation::Foreground => Some(PreparationMode::Foreground),
        // A CI job has no next start that would benefit.
        GoldenPreparation::Background if is_ci => None,
        GoldenPreparation::Background => Some(PreparationMode::Background),
    }
}

/// Builds the golden images in a background process that outlives this one.
fn make_in_background(session: &Session, project: &Project) -> Result<()> {
    let log = project.state.path().join("golden.log");
    let program = background_process::current_executable()?;
    let command = background_command(&program, &project.loaded.root, session.overrides());
    background_process::spawn_detached(command, &log)?;
    session.frontend.note(&format!(
        "preparing golden images in the background, so that the next fresh start is quick \
         ({}; log: {})",
        session.dm_command("golden ls"),
        log.display()
    ));
    Ok(())
}

/// Returns the command that builds the golden images of the project in this directory.
fn background_command(program: &Path, root: &Path, overrides: &[String]) -> Command {
    let mut command = Command::new(program);
    command
        .args([
            "golden",
            "make",
            "--progress",
            "plain",
            "--project-directory",
        ])
        .arg(root)
        .stdin(Stdio::null());
    let (variable, overrides) = overrides::to_variable(overrides);
    command.env(variable, overrides);
    command
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn background_command_passes_overrides_in_a_variable_only() {
        let overrides = ["postgres.password=hunter2".to_owned()];
        let root = Path::new("/home/jim/dm");
        let command = background_command(Path::new("/usr/bin/dm"), root, &overrides);
        let arguments: Vec<&OsStr> = command.get_args().collect();
        assert_eq!(
            arguments,
            [
                "golden",
                "make",
                "--progress",
                "plain",
                "--project-directory",
                "/home/jim/dm"
            ]
        );
        let (variable, value) = overrides::to_variable(&overrides);
        let variables: Vec<_> = command.get_envs().collect();
        assert_eq!(
            variables,
            [(OsStr::new(variable), Some(OsStr::new(&value)))]
        );
    }

    #[test]
    fn preparation_mode_skips_background_builds_in_ci() {
        for (prepare, is_ci, expected) in [
            (GoldenPreparation::Off, false, None),
            (GoldenPreparation::Off, true, None),
            (
                GoldenPreparation::Background,
                false,
                Some(PreparationMode::Background),
            ),
            (GoldenPreparation::Background, true, None),
            (
                GoldenPreparation::Foreground,
                false,
                Some(PreparationMode::Foreground),
            ),
            (
                GoldenPreparation::Foreground,
                true,
                Some(PreparationMode::Foreground),
            ),
        ] {
            assert_eq!(
                preparation_mode(prepare, is_ci),
                expected,
                "{prepare:?}, {is_ci}"
            );
        }
    }
}
