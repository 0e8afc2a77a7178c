//! Work on a service: `dm dev` on a copy of the sources, with a stack of its own.

use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use libtest_mimic::Failed;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The instance.
const INSTANCE: &str = "test-dev";

/// The file that is worked on.
const SOURCE: &str = "services/order/src/main.rs";

/// A change restarts the one service that it is in; an error in it restarts nothing,
/// and the next change is taken all the same.
pub fn changes() -> Result<(), Failed> {
    let copy = Copy::new()?;
    let original = std::fs::read_to_string(copy.folder.join(SOURCE))?;
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

/// A copy of the project, whose instance goes with it. Its place is the same every
/// time, so that cargo finds what it compiled there before.
struct Copy {
    folder: PathBuf,
}

impl Copy {
    fn new() -> Result<Self, Failed> {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let copy = Self {
            folder: Path::new(env!("CARGO_TARGET_TMPDIR")).join("dev-project"),
        };
        std::fs::create_dir_all(&copy.folder)?;
        let parts = dm::images::SOURCES.into_iter().chain(["cli", "dm.toml"]);
        for part in parts {
            update(&repository.join(part), &copy.folder.join(part))?;
        }
        // What a run that was killed has left.
        let _ = copy.dm(&["down", "--volumes"]).output();
        Ok(copy)
    }

    fn dm(&self, arguments: &[&str]) -> Command {
        let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_dm"));
        command
            .args(["--instance", INSTANCE])
            .args(arguments)
            .current_dir(&self.folder)
            // What the services stand on is compiled already.
            .env("CARGO_TARGET_DIR", temporary.parent().unwrap())
            .env("XDG_STATE_HOME", temporary.join("services-state"))
            .env("DM_GOLDEN__PREPARE", "off")
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
        let path = self.folder.join(SOURCE);
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

/// Makes the copy what the original is. What is the same keeps its time, so that it
/// is not compiled again.
fn update(from: &Path, to: &Path) -> Result<(), Failed> {
    if !from.is_dir() {
        let contents = std::fs::read(from)?;
        if std::fs::read(to).ok().as_ref() != Some(&contents) {
            std::fs::write(to, contents)?;
        }
        return Ok(());
    }
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(to)? {
        let entry = entry?;
        if !from.join(entry.file_name()).exists() {
            let path = entry.path();
            if path.is_dir() {
                std::fs::remove_dir_all(path)?;
            } else {
                std::fs::remove_file(path)?;
            }
        }
    }
    for entry in std::fs::read_dir(from)? {
        let name = entry?.file_name();
        update(&from.join(&name), &to.join(&name))?;
    }
    Ok(())
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
