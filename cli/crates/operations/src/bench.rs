//! The program of the benchmarks, compiled where it is stale.

use std::path::{Path, PathBuf};
use std::sync::Once;

use dm_core::error::{Coded as _, Result};
use dm_host::process;
use dm_images::{Cargo, ImageError, Update};
use dm_stack::event::{Event, Node, NodeKind, NodeState};
use dm_stack::executor::Emitter;
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
    let cargo = process::program("cargo").ok_or_else(|| ImageError::ToolMissing {
        tool: "cargo".into(),
        reason: "it compiles the benchmarks and is not in PATH".into(),
    })?;
    let cache = dm_host::cache::dir()?;
    let (program, _) = session
        .followed(
            "bench",
            None,
            async |emitter| {
                let build = Build {
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
struct Build<'a> {
    emitter: Emitter,
    announced: Once,
    instance: &'a str,
}

impl Build<'_> {
    async fn run(
        &self,
        session: &Session,
        project: &Project,
        program: &Path,
        cache: &Path,
    ) -> Result<PathBuf, ImageError> {
        let cargo = Cargo {
            program: program.to_owned(),
            root: &project.loaded.root,
            cache,
            features: &[],
            cancel: &session.interrupt,
        };
        let mut built = cargo
            .build(&[PROGRAM.to_owned()], &|done, total| {
                self.report(Update::doing("compiling").crates(done, total).into());
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
            self.emitter.announce(self.instance, vec![node]);
        });
        self.emitter.node(PROGRAM, state);
    }

    fn report_end(&self, built: &Result<PathBuf, ImageError>) {
        match built {
            Ok(_) if !self.announced.is_completed() => {}
            Ok(_) => self.report(NodeState::Ready { kept: false }),
            Err(error) if error.log().is_empty() && error.source_errors().is_empty() => {}
            Err(error) => {
                self.report(NodeState::Failed);
                let failure = failure::of_error(PROGRAM, error, self.emitter.at());
                self.emitter.send(Event::Failed(failure));
            }
        }
    }
}
