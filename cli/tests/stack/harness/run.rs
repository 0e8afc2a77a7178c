//! One run of the suite: its folder, what earlier runs left, and what it must not leave.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use super::{Engine, Project, shared};
use crate::secrets;

/// The folder of the suite: every project of a test lies below it.
pub(crate) fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stack");
        std::fs::create_dir_all(&folder).expect("cargo's folder for tests is writable");
        folder.canonicalize().expect("it was made just now")
    })
}

/// The environment that `dm` gets: none of the caller's settings, the ways to
/// the engine, and a state folder that all tests share so that no two of them
/// are given the same ports.
pub(crate) fn environment() -> BTreeMap<String, String> {
    let passed = [
        "PATH",
        "HOME",
        "DOCKER_HOST",
        "DOCKER_CONFIG",
        "XDG_RUNTIME_DIR",
    ]
    .iter()
    .filter_map(|&name| Some((name.to_owned(), std::env::var(name).ok()?)));
    let own = [
        ("LANG", "C.UTF-8".to_owned()),
        (
            "XDG_STATE_HOME",
            folder().join("state").display().to_string(),
        ),
        // The suite makes them once, before its first test.
        ("DM_GOLDEN__PREPARE", "off".to_owned()),
        // A backup in between would disturb whatever is looked at.
        ("DM_BACKUP__EVERY", "off".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value));
    // The suite is about servers; services have one of their own.
    let services = [
        "gateway",
        "profile",
        "sales",
        "order",
        "inventory",
        "finance",
        "wuphf",
    ]
    .map(|name| {
        (
            format!("DM_SERVICES__{}__RUN", name.to_uppercase()),
            "false".to_owned(),
        )
    });
    passed
        .chain(own)
        .chain(services)
        .chain(secrets::variables())
        .collect()
}

/// A run of the suite.
pub(crate) struct Run {
    runtime: tokio::runtime::Runtime,
    /// Held while it lasts: a second run would take this one's stacks for leftovers.
    _lock: File,
}

impl Run {
    /// Removes what an earlier run left behind, e.g. because it was killed.
    pub(crate) fn begin() -> Self {
        let lock = File::create(folder().with_extension("lock")).expect("a lock file");
        lock.lock().expect("the lock of the suite");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let engine = Engine::connect();
            engine.remove(&engine.below(folder()).await).await;
        });
        std::fs::remove_dir_all(folder()).expect("nobody uses it");
        std::fs::create_dir_all(folder()).expect("it was writable before");
        Self {
            runtime,
            _lock: lock,
        }
    }

    /// Takes down what the tests shared. Returns what is left of them after
    /// that, which should be nothing, and removes it.
    pub(crate) fn end(self) -> Vec<String> {
        shared::end();
        self.runtime.block_on(async {
            let engine = Engine::connect();
            let left = engine.below(folder()).await;
            let names = left.names();
            engine.remove(&left).await;
            names
        })
    }
}

/// Makes the images, and the golden ones, unless they are there: once a run.
pub(crate) fn prepare() {
    static PREPARED: OnceLock<()> = OnceLock::new();
    PREPARED.get_or_init(|| {
        let project = Project::bare("golden");
        project
            .dm(&["golden", "make"])
            .patience(Duration::from_secs(40 * 60))
            .ok();
    });
}
