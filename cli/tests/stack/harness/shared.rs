//! The one stack that all tests share which only look.

use std::sync::{Mutex, OnceLock};

use super::Project;
use super::servers::Servers;

static SHARED: OnceLock<Shared> = OnceLock::new();
/// Guards the start, which `OnceLock` would not do again after a failure.
static STARTING: Mutex<()> = Mutex::new(());

/// A project whose default instance is up and stays so.
pub(crate) struct Shared {
    pub project: Project,
    pub servers: Servers,
}

/// The shared stack; the first caller brings it up.
#[track_caller]
pub(crate) fn shared() -> &'static Shared {
    let _starting = STARTING.lock();
    SHARED.get_or_init(|| {
        let project = Project::new("shared");
        project.up(&[]).ok();
        let servers = Servers::of(&project);
        Shared { project, servers }
    })
}

/// Takes it down. A static is never dropped, so that this has to be asked for.
pub(crate) fn end() {
    if let Some(shared) = SHARED.get() {
        let output = shared.project.dm(&["down", "--volumes"]).run();
        if output.code != Some(0) {
            eprintln!("could not take down the shared stack:\n{output}");
        }
    }
}
