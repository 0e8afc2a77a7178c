//! A second instance of a service, that `dm` knows nothing of.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use super::super::stack::PATIENCE;
use super::{container, docker};

pub(super) struct Twin(String);

impl Twin {
    pub(super) fn of(component: &str) -> Result<Self, Failed> {
        let first = container(component)?;
        let ask = |format: &str| docker(&["inspect", "--format", format, &first]);
        let variables = ask("{{range .Config.Env}}{{println .}}{{end}}")?;
        let network = ask("{{range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end}}")?;
        let image = ask("{{.Config.Image}}")?;
        let mut arguments = vec!["create", "--network", network.trim()];
        for variable in variables.lines().filter(|line| !line.is_empty()) {
            arguments.extend(["--env", variable]);
        }
        arguments.push(image.trim());
        let twin = Self(docker(&arguments)?.trim().to_owned());
        copy_secrets(&first, &twin.0)?;
        docker(&["start", &twin.0])?;
        Ok(twin)
    }

    /// Waits until its log contains these words.
    pub(super) fn logs(&self, words: &str) -> Result<(), Failed> {
        let until = Instant::now() + PATIENCE;
        loop {
            let log = docker(&["logs", &self.0])?;
            if log.contains(words) {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(format!("the second instance never logged {words}: {log}").into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Gives a container the secrets of another one: files, whose owner is in the archive.
fn copy_secrets(from: &str, to: &str) -> Result<(), Failed> {
    let of = format!("{from}:/etc/dm-secrets");
    let mut read = Command::new("docker")
        .args(["cp", &of, "-"])
        .stdout(Stdio::piped())
        .spawn()?;
    let archive = read.stdout.take().ok_or("docker cp has no output")?;
    let written = Command::new("docker")
        .args(["cp", "-", &format!("{to}:/etc")])
        .stdin(archive)
        .status()?;
    assert!(read.wait()?.success() && written.success());
    Ok(())
}

impl Drop for Twin {
    fn drop(&mut self) {
        let _ = docker(&["rm", "--force", &self.0]);
    }
}
