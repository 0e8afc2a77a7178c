//! The project of a test: a directory with the files of the stack, and its instances.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use super::engine::EngineObjects;
use super::{Dm, Engine, run};

/// The files and directories of the repository that a project needs.
const FILES: [&str; 3] = ["dm.toml", "fixtures", "migrations"];

/// A copy of the stack's files in a directory of its own, and so a stack of its own. Everything
/// that belongs to it is removed on drop.
pub(crate) struct Project {
    root: PathBuf,
    instances: Mutex<BTreeSet<String>>,
}

impl Project {
    /// Creates a project. The engine has all images and golden images.
    pub(crate) fn new(name: &str) -> Self {
        run::prepare();
        Self::without_images(name)
    }

    /// Creates a project without preparing images.
    pub(crate) fn without_images(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = run::directory().join(format!("{name}-{number}"));
        std::fs::create_dir_all(&root).expect("the directory of the suite is writable");
        let project = Self {
            root,
            instances: Mutex::default(),
        };
        project.restore_files();
        project
    }

    /// Returns the project directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Copies the files of the stack from the repository.
    pub(crate) fn restore_files(&self) {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("the crate lies in the workspace");
        for name in FILES {
            copy_recursively(&repository.join(name), &self.root.join(name));
        }
    }

    /// Changes one of the files.
    #[track_caller]
    pub(crate) fn edit(&self, path: &str, edit: impl FnOnce(String) -> String) {
        let path = self.root.join(path);
        let text = std::fs::read_to_string(&path).expect("the file was copied");
        let edited = edit(text.clone());
        assert_ne!(text, edited, "the edit changed nothing");
        std::fs::write(&path, edited).expect("the file belongs to the test");
    }

    /// Prepares a call of `dm` on the default instance.
    pub(crate) fn dm(&self, arguments: &[&str]) -> Dm<'_> {
        self.register_instance("default");
        Dm::new(self, arguments)
    }

    /// Prepares a call of `dm` on another instance.
    pub(crate) fn dm_on(&self, instance: &str, arguments: &[&str]) -> Dm<'_> {
        self.register_instance(instance);
        Dm::new(self, &[&["--instance", instance], arguments].concat())
    }

    /// Prepares `dm up` with free ports on the default instance.
    pub(crate) fn up(&self, arguments: &[&str]) -> Dm<'_> {
        self.dm(&[&["up", "--ports", "auto"], arguments].concat())
    }

    fn register_instance(&self, instance: &str) {
        self.instances
            .lock()
            .expect("no test panics here")
            .insert(instance.to_owned());
    }

    /// Returns the engine objects of the project.
    pub(crate) async fn objects(&self) -> EngineObjects {
        Engine::connect().below(&self.root).await
    }

    /// Returns the output of SQL, which `dm psql` runs as the superuser.
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

    /// Writes a row that exists as long as the volume.
    #[track_caller]
    pub(crate) fn write_marker(&self) {
        self.sql("CREATE TABLE public.marker AS SELECT 'dunder' AS marker");
    }

    /// Returns whether that row still exists.
    #[track_caller]
    pub(crate) fn has_marker(&self) -> bool {
        let exists = "SELECT to_regclass('public.marker') IS NOT NULL";
        self.sql(exists) == "t" && self.sql("SELECT marker FROM public.marker") == "dunder"
    }

    /// Returns the document of `dm status --json`.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        self.dm(&["status", "--json"]).ok().document("dm.status/1")
    }

    /// Returns the host port in the first address of a component.
    #[track_caller]
    pub(crate) fn port(&self, component: &str) -> u16 {
        port(&self.status(), component, 0)
    }
}

/// Returns the port in one of a component's addresses.
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

/// Returns a component's row of `dm status --json`.
#[track_caller]
pub(crate) fn row<'a>(status: &'a Value, component: &str) -> &'a Value {
    status["components"]
        .as_array()
        .and_then(|rows| rows.iter().find(|row| row["component"] == component))
        .unwrap_or_else(|| panic!("{component} has no row: {status:#}"))
}

impl Drop for Project {
    fn drop(&mut self) {
        // A test may have damaged the files, and `dm down` must be able to read them.
        self.restore_files();
        let instances = self
            .instances
            .lock()
            .map(|instances| instances.clone())
            .unwrap_or_default();
        for instance in instances {
            let output = self.dm_on(&instance, &["down", "--volumes"]).run();
            // The check for leaks fails the run if something is left.
            if output.code != Some(0) {
                eprintln!(
                    "could not remove the stack of {}:\n{output}",
                    self.root.display()
                );
            }
        }
    }
}

fn copy_recursively(from: &Path, to: &Path) {
    if from.is_dir() {
        std::fs::create_dir_all(to).expect("the target belongs to the test");
        for entry in std::fs::read_dir(from).expect("the file is in the repository") {
            let entry = entry.expect("the file is in the repository");
            copy_recursively(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        std::fs::copy(from, to).expect("the file is in the repository");
    }
}
