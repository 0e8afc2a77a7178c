//! One run of the suite: its directory, the cleanup of earlier runs, and the check for leaks.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use super::{Engine, Project, shared};
use crate::secrets;

/// Returns the directory of the suite. Every project of a test lies below it.
pub(crate) fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stack");
        std::fs::create_dir_all(&directory).expect("cargo's directory for tests is writable");
        directory
            .canonicalize()
            .expect("the directory was created above")
    })
}

/// Returns the environment of `dm`. It contains none of the caller's settings except those for
/// reaching the engine, and a state directory that all tests share, so that no two of them are
/// given the same ports.
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
    let settings = [
        ("LANG", "C.UTF-8".to_owned()),
        (
            "XDG_STATE_HOME",
            directory().join("state").display().to_string(),
        ),
        // The suite makes the golden images once, before its first test.
        ("DM_GOLDEN__PREPARE", "off".to_owned()),
        // A scheduled backup would interfere with the tests.
        ("DM_BACKUP__EVERY", "off".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value));
    // This suite tests the servers. The services have a suite of their own.
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
        .chain(settings)
        .chain(services)
        .chain(secrets::variables())
        .collect()
}

/// A run of the suite.
pub(crate) struct SuiteRun {
    runtime: tokio::runtime::Runtime,
    /// Held during the run. Otherwise, a second run would remove this run's stacks as leftovers.
    _lock: File,
}

impl SuiteRun {
    /// Removes what an earlier run left behind, for example because it was killed.
    pub(crate) fn begin() -> Self {
        let lock = File::create(directory().with_extension("lock"))
            .expect("could not create the lock file");
        lock.lock().expect("could not lock the suite");
        let runtime = tokio::runtime::Runtime::new().expect("could not create a runtime");
        runtime.block_on(async {
            let engine = Engine::connect();
            engine.remove(&engine.below(directory()).await).await;
        });
        std::fs::remove_dir_all(directory())
            .expect("could not remove the directory of an earlier run");
        std::fs::create_dir_all(directory()).expect("the directory of the suite is writable");
        Self {
            runtime,
            _lock: lock,
        }
    }

    /// Removes the shared stack. Returns the names of all objects that are left then, which
    /// should be none, and removes these objects.
    pub(crate) fn end(self) -> Vec<String> {
        shared::end();
        self.runtime.block_on(async {
            let engine = Engine::connect();
            let left = engine.below(directory()).await;
            let names = left.names();
            engine.remove(&left).await;
            names
        })
    }
}

/// Makes the images and the golden images, once per run.
pub(crate) fn prepare() {
    static PREPARED: OnceLock<()> = OnceLock::new();
    PREPARED.get_or_init(|| {
        let project = Project::without_images("golden");
        project
            .dm(&["golden", "make"])
            .timeout(Duration::from_secs(40 * 60))
            .ok();
    });
}
