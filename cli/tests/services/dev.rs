//! Work on a service: `dm dev` on a copy of the sources, with a stack of its own.

use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use libtest_mimic::Failed;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// The instance.
const INSTANCE: &str = "test-dev";

/// The file that is worked on.
const SOURCE: &str = "services/order/src/main.rs";

/// A change restarts the one service that it is in; an error in it restarts nothing,
/// and the next change is taken all the same.
pub(crate) fn changes() -> Result<(), Failed> {
    let copy = Copy::new()?;
    let original = std::fs::read_to_string(copy.folder.path().join(SOURCE))?;
    let mut dev = copy.dev()?;

    let first = dev.round()?;
    assert_eq!(first["ok"], true, "{first}");
    let before = copy.images()?;
    assert!(before.iter().any(|(name, _)| name == "order"), "{before:?}");

    copy.write(&format!(
        "{original}\nfn broken() -> u32 {{ \"no number\" }}\n"
    ))?;
    let broken = dev.round()?;
    assert_eq!(broken["ok"], false, "{broken}");
    assert!(broken["compile_errors"].as_u64() > Some(0), "{broken}");
    assert_eq!(broken["restarted"], serde_json::json!([]));
    assert_eq!(copy.images()?, before, "what ran before keeps running");

    copy.write(&format!("{original}\n#[used]\nstatic MARK: u32 = 4711;\n"))?;
    let mended = dev.round()?;
    assert_eq!(mended["ok"], true, "{mended}");
    assert_eq!(mended["restarted"], serde_json::json!(["order"]));
    for ((name, image), (_, old)) in copy.images()?.iter().zip(&before) {
        assert_eq!(image != old, name == "order", "{name} has {image}");
    }
    dev.interrupt()
}

/// A copy of the project with what was compiled of it, and an instance. All of it
/// goes in the end.
struct Copy {
    folder: TempDir,
}

impl Copy {
    fn new() -> Result<Self, Failed> {
        let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let folder = tempfile::Builder::new()
            .prefix("dev-")
            .tempdir_in(temporary)?;
        // With their times: cargo goes by them, and so finds nothing to compile. A
        // target folder of its own, because cargo tells clones in one apart by
        // nothing but times, too.
        let parts = dm_images::SOURCES.into_iter().chain(["cli", "dm.toml"]);
        copy(parts.map(|part| repository.join(part)), folder.path())?;
        // target/<triple>/tmp
        let triple = temporary.parent().unwrap();
        let target = triple.parent().unwrap();
        for compiled in [target.join("debug"), triple.join("debug")] {
            let to = folder.path().join("target");
            let to = to.join(compiled.strip_prefix(target)?);
            std::fs::create_dir_all(to.join("deps"))?;
            copy(
                [".fingerprint", "build"].map(|part| compiled.join(part)),
                &to,
            )?;
            // Without the programs, most of which are tests.
            let made = std::fs::read_dir(compiled.join("deps"))?.flatten();
            let libraries = made
                .map(|entry| entry.path())
                .filter(|path| path.extension().is_some());
            copy(libraries, &to.join("deps"))?;
        }
        let copy = Self { folder };
        // What a run that was killed has left.
        let _ = copy.dm(&["down", "--volumes"]).output();
        Ok(copy)
    }

    fn dm(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dm"));
        command
            .args(["--instance", INSTANCE])
            .args(arguments)
            .current_dir(self.folder.path())
            .env_remove("CARGO_TARGET_DIR")
            .env("XDG_STATE_HOME", super::stack::state())
            .env("DM_GOLDEN__PREPARE", "off")
            // As the copied services were compiled: only what is changed is compiled here.
            .env("DM_IMAGES__FAIL_POINTS", "true")
            .env_remove("DM_PROJECT_DIR");
        command
    }

    fn dev(&self) -> Result<Dev, Failed> {
        let mut child = self
            .dm(&["dev", "--only", "order", "--json"])
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        Ok(Dev {
            child,
            lines: BufReader::new(stdout).lines(),
        })
    }

    /// Saves the file as an editor does: whole, by another name.
    fn write(&self, text: &str) -> Result<(), Failed> {
        let path = self.folder.path().join(SOURCE);
        let other = path.with_extension("rs.new");
        std::fs::write(&other, text)?;
        Ok(std::fs::rename(other, path)?)
    }

    /// The components that run and the image of each.
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

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = self.dm(&["down", "--volumes"]).output();
    }
}

/// Copies files and folders into a folder, with their times.
fn copy(from: impl IntoIterator<Item = PathBuf>, to: &Path) -> Result<(), Failed> {
    let status = Command::new("cp").arg("-a").args(from).arg(to).status()?;
    if status.success() {
        return Ok(());
    }
    Err(format!("cp ended with {status}").into())
}

/// A `dm dev` at work.
struct Dev {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Dev {
    /// The next rebuild's report.
    fn round(&mut self) -> Result<Value, Failed> {
        let line = self.lines.next().ok_or("dm dev ended by itself")??;
        Ok(serde_json::from_str(&line)?)
    }

    fn signal(&self, signal: Signal) {
        if let Ok(id) = i32::try_from(self.child.id())
            && let Some(pid) = Pid::from_raw(id)
        {
            let _ = kill_process(pid, signal);
        }
    }

    /// Ends it as a person does.
    fn interrupt(&mut self) -> Result<(), Failed> {
        self.signal(Signal::INT);
        let status = self.child.wait()?;
        assert!(status.success(), "{status}");
        Ok(())
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::INT);
            let _ = self.child.wait();
        }
    }
}
