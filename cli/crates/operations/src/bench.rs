//! The program of the benchmarks, compiled where it is stale.

use std::path::{Path, PathBuf};
use std::sync::Once;

use dm_core::error::{Result, UserError as _};
use dm_host::process;
use dm_images::{Cargo, ImageError, ProgressUpdate};
use dm_stack::event::{Node, NodeKind, NodeState, RunEvent};
use dm_stack::executor::EventEmitter;
use dm_stack::failure;

use crate::session::{Project, Session};

/// The package and its binary; the node of the run that compiles it.
const PROGRAM: &str = "dm-bench";

/// Compiles the program that measures, as the services are compiled, and answers its path.
/// Whether it is stale, cargo knows; where it is fresh, nothing is reported.
///
/// # Errors
/// There is no cargo, the sources don't compile, or an interrupt.
pub async fn compile(session: &Session, project: &Project) -> Result<PathBuf> {
    let cargo = process::find_program("cargo").ok_or_else(|| ImageError::ToolMissing {
        tool: "cargo".into(),
        reason: "it compiles the benchmarks and is not in PATH".into(),
    })?;
    let cache = dm_host::cache::open_cache_dir()?;
    let (program, _) = session
        .run_with_progress(
            "bench",
            None,
            async |emitter| {
                let build = BenchBuild {
                    emitter,
                    announced: Once::new(),
                    instance: &project.instance.name,
                };
                let built = build.run(session, project, &cargo, &cache).await;
                build.report_end(&built);
                Ok(built?)
            },
            |_| true,
        )
        .await?;
    Ok(program)
}

/// A build that is a run only from when there is something to compile.
struct BenchBuild<'a> {
    emitter: EventEmitter,
    announced: Once,
    instance: &'a str,
}

impl BenchBuild<'_> {
    async fn run(
        &self,
        session: &Session,
        project: &Project,
        program: &Path,
        cache: &Path,
    ) -> Result<PathBuf, ImageError> {
        let cargo = Cargo {
            program: program.to_owned(),
            workspace_root: &project.loaded.root,
            cache_dir: cache,
            features: &[],
            cancel: &session.interrupt,
        };
        let mut built = cargo
            .build(&[PROGRAM.to_owned()], &|done, total| {
                self.report(
                    ProgressUpdate::new("compiling")
                        .with_crates(done, total)
                        .into(),
                );
            })
            .await?;
        // The build fails where it has made no such binary.
        Ok(built.remove(PROGRAM).unwrap_or_default())
    }

    fn report(&self, state: NodeState) {
        self.announced.call_once(|| {
            let node = Node {
                name: PROGRAM.to_owned(),
                kind: NodeKind::Job,
                after: Vec::new(),
            };
            self.emitter.emit_started(self.instance, vec![node]);
        });
        self.emitter.emit_state(PROGRAM, state);
    }

    fn report_end(&self, built: &Result<PathBuf, ImageError>) {
        match built {
            Ok(_) if !self.announced.is_completed() => {}
            Ok(_) => self.report(NodeState::Ready { kept: false }),
            Err(error) if error.log_tail().is_empty() && error.compiler_errors().is_empty() => {}
            Err(error) => {
                self.report(NodeState::Failed);
                let failure = failure::from_error(PROGRAM, error, self.emitter.elapsed());
                self.emitter.emit(RunEvent::Failed(failure));
            }
        }
    }
}
