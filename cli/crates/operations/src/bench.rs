//! Compiles the benchmark program if it is out of date.

use std::path::{Path, PathBuf};
use std::sync::Once;

use dm_core::error::{Result, UserError as _};
use dm_host::process;
use dm_images::{Cargo, ImageError, ProgressUpdate};
use dm_stack::event::{Node, NodeKind, NodeState};
use dm_stack::executor::EventEmitter;
use dm_stack::failure;

use crate::session::{Project, Session};

/// The name of the package, of its binary and of the node that compiles it.
const PROGRAM: &str = "dm-bench";

/// Compiles the benchmark program in the same way as the services, and returns its path.
/// Cargo decides whether it is out of date. Otherwise, nothing is reported.
///
/// # Errors
/// If cargo is missing, the sources do not compile, or the call is interrupted.
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
                let result = build.run(session, project, &cargo, &cache).await;
                build.report_end(&result);
                Ok(result?)
            },
            |_| true,
        )
        .await?;
    Ok(program)
}

/// A build that is announced as a run only when there is something to compile.
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
        let mut binaries = cargo
            .build(&[PROGRAM.to_owned()], &|done, total| {
                self.report(
                    ProgressUpdate::new("compiling")
                        .with_crates(done, total)
                        .into(),
                );
            })
            .await?;
        // The build fails if it has not created this binary.
        Ok(binaries.remove(PROGRAM).unwrap_or_default())
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

    fn report_end(&self, result: &Result<PathBuf, ImageError>) {
        match result {
            Ok(_) if !self.announced.is_completed() => {}
            Ok(_) => self.report(NodeState::Ready { unchanged: false }),
            Err(error) if error.log_tail().is_empty() && error.compiler_errors().is_empty() => {}
            Err(error) => {
                self.report(NodeState::Failed);
                let failure = failure::from_error(PROGRAM, error, self.emitter.elapsed());
                self.emitter.emit_failure(failure);
            }
        }
    }
}
