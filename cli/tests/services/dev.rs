//! Tests of `dm dev` on a copy of the sources, with a stack of its own.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use libtest_mimic::Failed;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

const INSTANCE: &str = "test-dev";

/// The source file that the test changes.
const SOURCE: &str = "services/order/src/main.rs";

/// A change restarts only the service that it belongs to. A compile error restarts nothing, and
/// the next change is processed as usual.
pub(crate) fn dev_restarts_only_the_changed_service() -> Result<(), Failed> {
    let copy = ProjectCopy::new()?;
    let original = std::fs::read_to_string(copy.directory.path().join(SOURCE))?;
    let mut dev = copy.dev()?;

    let first = dev.next_report()?;
    assert_eq!(first["ok"], true, "{first}");
    let before = copy.images()?;
    assert!(before.iter().any(|(name, _)| name == "order"), "{before:?}");

    copy.write(&format!(
        "{original}\nfn broken() -> u32 {{ \"no number\" }}\n"
    ))?;
    let broken = dev.next_report()?;
    assert_eq!(broken["ok"], false, "{broken}");
    assert!(broken["compile_errors"].as_u64() > Some(0), "{broken}");
    assert_eq!(broken["restarted"], serde_json::json!([]));
    assert_eq!(copy.images()?, before, "the previous images keep running");

    copy.write(&format!("{original}\n#[used]\nstatic MARK: u32 = 4711;\n"))?;
    let repaired = dev.next_report()?;
    assert_eq!(repaired["ok"], true, "{repaired}");
    assert_eq!(repaired["restarted"], serde_json::json!(["order"]));
    for ((name, image), (_, old)) in copy.images()?.iter().zip(&before) {
        assert_eq!(image != old, name == "order", "{name} has {image}");
    }
    dev.interrupt()
}

/// A copy of the project with its compiled dependencies, and an instance. All of it is removed on
/// drop.
struct ProjectCopy {
    directory: TempDir,
}

impl ProjectCopy {
    fn new() -> Result<Self, Failed> {
        let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let directory = tempfile::Builder::new()
            .prefix("dev-")
            .tempdir_in(temporary)?;
        // The copies keep their modification times, so cargo finds nothing to compile. The copy
        // has its own target directory, because cargo also distinguishes clones in one target
        // directory only by these times.
        let sources = dm_images::SERVICE_SOURCES
            .into_iter()
            .chain(["cli", "dm.toml"]);
        copy(sources.map(|part| repository.join(part)), directory.path())?;
        // target/<triple>/tmp
        let triple = temporary.parent().unwrap();
        let target = triple.parent().unwrap();
        for compiled in [target.join("debug"), triple.join("debug")] {
            let to = directory.path().join("target");
            let to = to.join(compiled.strip_prefix(target)?);
            std::fs::create_dir_all(to.join("deps"))?;
            copy(
                [".fingerprint", "build"].map(|part| compiled.join(part)),
                &to,
            )?;
            // Libraries and programs are gigabytes. They are linked and not copied, because the
            // compiler replaces such files. It overwrites lists of dependencies, which are copied.
            let mut lists = Vec::new();
            for entry in std::fs::read_dir(compiled.join("deps"))?.flatten() {
                let path = entry.path();
                let extension = path.extension().and_then(OsStr::to_str);
                match extension {
                    // A killed compiler leaves directories and objects.
                    _ if !entry.file_type()?.is_file() => {}
                    Some("o") => {}
                    Some("d") => lists.push(path),
                    _ => std::fs::hard_link(&path, to.join("deps").join(entry.file_name()))?,
                }
            }
            copy(lists, &to.join("deps"))?;
        }
        let copy = Self { directory };
        // Removes what a killed run left behind.
        let _ = copy.dm(&["down", "--volumes"]).output();
        Ok(copy)
    }

    fn dm(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dm"));
        command
            .args(["--instance", INSTANCE])
            .args(arguments)
            .current_dir(self.directory.path())
            .env_remove("CARGO_TARGET_DIR")
            .env("XDG_STATE_HOME", super::stack::state_directory())
            .env("DM_GOLDEN__PREPARE", "off")
            // The same setting as for the copied build, so that only the changed service is
            // compiled.
            .env("DM_IMAGES__FAIL_POINTS", "true")
            .env_remove("DM_PROJECT_DIR");
        command
    }

    fn dev(&self) -> Result<RunningDev, Failed> {
        let mut child = self
            .dm(&["dev", "--only", "order", "--json"])
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        Ok(RunningDev {
            child,
            lines: BufReader::new(stdout).lines(),
        })
    }

    /// Saves the file as an editor does: under another name, then renamed.
    fn write(&self, text: &str) -> Result<(), Failed> {
        let path = self.directory.path().join(SOURCE);
        let other = path.with_extension("rs.new");
        std::fs::write(&other, text)?;
        Ok(std::fs::rename(other, path)?)
    }

    /// Returns the running components and the image of each.
    fn images(&self) -> Result<Vec<(String, String)>, Failed> {
        let output = self.dm(&["status", "--json"]).output()?;
        let status: Value = serde_json::from_slice(&output.stdout)?;
        let rows = status["components"].as_array().ok_or("no components")?;
        Ok(rows
            .iter()
            .filter(|row| row["state"] == "ready")
            .map(|row| (row["component"].to_string(), row["image"].to_string()))
            .map(|(name, image)| (name.trim_matches('"').to_owned(), image))
            .collect())
    }
}

impl Drop for ProjectCopy {
    fn drop(&mut self) {
        let _ = self.dm(&["down", "--volumes"]).output();
    }
}

/// Copies files and directories into a directory, with their modification times.
fn copy(from: impl IntoIterator<Item = PathBuf>, to: &Path) -> Result<(), Failed> {
    let status = Command::new("cp").arg("-a").args(from).arg(to).status()?;
    if status.success() {
        return Ok(());
    }
    Err(format!("cp ended with {status}").into())
}

/// A running `dm dev`.
struct RunningDev {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl RunningDev {
    /// Returns the report of the next rebuild.
    fn next_report(&mut self) -> Result<Value, Failed> {
        let line = self.lines.next().ok_or("dm dev ended unexpectedly")??;
        Ok(serde_json::from_str(&line)?)
    }

    fn signal(&self, signal: Signal) {
        if let Ok(id) = i32::try_from(self.child.id())
            && let Some(pid) = Pid::from_raw(id)
        {
            let _ = kill_process(pid, signal);
        }
    }

    /// Ends it with Ctrl-C.
    fn interrupt(&mut self) -> Result<(), Failed> {
        self.signal(Signal::INT);
        let status = self.child.wait()?;
        assert!(status.success(), "{status}");
        Ok(())
    }
}

impl Drop for RunningDev {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::INT);
            let _ = self.child.wait();
        }
    }
}
