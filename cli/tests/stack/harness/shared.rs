//! The stack that all tests share that do not change it.

use std::sync::{Mutex, OnceLock};

use super::Project;
use super::servers::Servers;

static SHARED: OnceLock<Shared> = OnceLock::new();
/// Guards the start: only one test starts the stack, and the next one tries again after a
/// failure.
static STARTING: Mutex<()> = Mutex::new(());

/// A project whose default instance is up and stays up.
pub(crate) struct Shared {
    pub project: Project,
    pub servers: Servers,
}

/// Returns the shared stack. The first caller starts it.
#[track_caller]
pub(crate) fn shared() -> &'static Shared {
    let _starting = STARTING.lock();
    SHARED.get_or_init(|| {
        let project = Project::new("shared");
        project.up(&[]).ok();
        let servers = Servers::from_status(&project);
        Shared { project, servers }
    })
}

/// Removes the stack. This must be called explicitly, because a static is never dropped.
pub(crate) fn end() {
    if let Some(shared) = SHARED.get() {
        let output = shared.project.dm(&["down", "--volumes"]).run();
        if output.code != Some(0) {
            eprintln!("could not remove the shared stack:\n{output}");
        }
    }
}
