//! A project of a test: a folder with the stack's files, and its instances.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use super::engine::Found;
use super::{Dm, Engine, run};

/// What of the repository a project needs.
const FILES: [&str; 3] = ["dm.toml", "fixtures", "migrations"];

/// A clone of the stack's files in a folder of its own, and so a stack of its
/// own. Everything of it is removed when it goes out of scope.
pub(crate) struct Project {
    root: PathBuf,
    instances: Mutex<BTreeSet<String>>,
}

impl Project {
    /// A project on an engine that has all images.
    pub(crate) fn new(name: &str) -> Self {
        run::prepare();
        Self::bare(name)
    }

    /// A project, whatever images there are.
    pub(crate) fn bare(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = run::folder().join(format!("{name}-{number}"));
        std::fs::create_dir_all(&root).expect("the folder of the suite is writable");
        let project = Self {
            root,
            instances: Mutex::default(),
        };
        project.restore();
        project
    }

    /// Its folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Puts the stack's files there as they are in the repository.
    pub(crate) fn restore(&self) {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("the crate lies in the workspace");
        for name in FILES {
            copy(&repository.join(name), &self.root.join(name));
        }
    }

    /// Changes one of its files.
    #[track_caller]
    pub(crate) fn edit(&self, path: &str, edit: impl FnOnce(String) -> String) {
        let path = self.root.join(path);
        let text = std::fs::read_to_string(&path).expect("it was copied");
        let edited = edit(text.clone());
        assert_ne!(text, edited, "the edit changed nothing");
        std::fs::write(&path, edited).expect("it is ours");
    }

    /// A call of `dm` on the default instance.
    pub(crate) fn dm(&self, arguments: &[&str]) -> Dm<'_> {
        self.remember("default");
        Dm::new(self, arguments)
    }

    /// A call of `dm` on another instance.
    pub(crate) fn dm_on(&self, instance: &str, arguments: &[&str]) -> Dm<'_> {
        self.remember(instance);
        Dm::new(self, &[&["--instance", instance], arguments].concat())
    }

    /// `dm up` with free ports, as every test brings its default instance up.
    pub(crate) fn up(&self, arguments: &[&str]) -> Dm<'_> {
        self.dm(&[&["up", "--ports", "auto"], arguments].concat())
    }

    fn remember(&self, instance: &str) {
        self.instances
            .lock()
            .expect("no test panics here")
            .insert(instance.to_owned());
    }

    /// What the engine has of it.
    pub(crate) async fn found(&self) -> Found {
        Engine::connect().below(&self.root).await
    }

    /// What SQL prints, run as the superuser by `dm psql`.
    #[track_caller]
    pub(crate) fn sql(&self, sql: &str) -> String {
        self.dm(&[
            "psql",
            "-c",
            sql,
            "--",
            "--tuples-only",
            "--no-align",
            "--quiet",
        ])
        .ok()
        .text()
        .to_owned()
    }

    /// Writes a row that is there as long as the volume is.
    #[track_caller]
    pub(crate) fn leave_mark(&self) {
        self.sql("CREATE TABLE public.mark AS SELECT 'dunder' AS mark");
    }

    /// Whether that row is still there.
    #[track_caller]
    pub(crate) fn has_mark(&self) -> bool {
        let exists = "SELECT to_regclass('public.mark') IS NOT NULL";
        self.sql(exists) == "t" && self.sql("SELECT mark FROM public.mark") == "dunder"
    }

    /// The rows of `dm status --json`.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        self.dm(&["status", "--json"]).ok().document("dm.status/1")
    }

    /// The host's port that a component's first address tells.
    #[track_caller]
    pub(crate) fn port(&self, component: &str) -> u16 {
        port(&self.status(), component, 0)
    }
}

/// The port in one of a component's addresses.
#[track_caller]
pub(crate) fn port(status: &Value, component: &str, address: usize) -> u16 {
    let address = row(status, component)["addresses"][address]
        .as_str()
        .unwrap_or_else(|| panic!("{component} has no such address: {status:#}"));
    url::Url::parse(address)
        .ok()
        .and_then(|url| url.port())
        .unwrap_or_else(|| panic!("{address} has no port"))
}

/// A component's row of `dm status --json`.
#[track_caller]
pub(crate) fn row<'a>(status: &'a Value, component: &str) -> &'a Value {
    status["components"]
        .as_array()
        .and_then(|rows| rows.iter().find(|row| row["component"] == component))
        .unwrap_or_else(|| panic!("{component} has no row: {status:#}"))
}

impl Drop for Project {
    fn drop(&mut self) {
        // A test may have broken them, and `down` must be able to read them.
        self.restore();
        let instances = self
            .instances
            .lock()
            .map(|it| it.clone())
            .unwrap_or_default();
        for instance in instances {
            let output = self.dm_on(&instance, &["down", "--volumes"]).run();
            // The search for leaks fails the run where something is left.
            if output.code != Some(0) {
                eprintln!("could not tear down {}:\n{output}", self.root.display());
            }
        }
    }
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        std::fs::create_dir_all(to).expect("the target is ours");
        for entry in std::fs::read_dir(from).expect("it is in the repository") {
            let entry = entry.expect("it is in the repository");
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        std::fs::copy(from, to).expect("it is in the repository");
    }
}
