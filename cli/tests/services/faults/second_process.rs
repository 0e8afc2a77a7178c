//! A second process of a service that `dm` does not know.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use super::super::stack::TIMEOUT;
use super::{container, docker};

/// A second container with the image, network, environment and secrets of a service. It is removed
/// on drop.
pub(super) struct SecondProcess(String);

impl SecondProcess {
    pub(super) fn start(component: &str) -> Result<Self, Failed> {
        let first = container(component)?;
        let inspect = |format: &str| docker(&["inspect", "--format", format, &first]);
        let variables = inspect("{{range .Config.Env}}{{println .}}{{end}}")?;
        let network = inspect("{{range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end}}")?;
        let image = inspect("{{.Config.Image}}")?;
        let mut arguments = vec!["create", "--network", network.trim()];
        for variable in variables.lines().filter(|line| !line.is_empty()) {
            arguments.extend(["--env", variable]);
        }
        arguments.push(image.trim());
        let second = Self(docker(&arguments)?.trim().to_owned());
        copy_secrets(&first, &second.0)?;
        docker(&["start", &second.0])?;
        Ok(second)
    }

    /// Waits until the log contains this text.
    pub(super) fn wait_for_log(&self, text: &str) -> Result<(), Failed> {
        let until = Instant::now() + TIMEOUT;
        loop {
            let log = docker(&["logs", &self.0])?;
            if log.contains(text) {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(format!("the second process did not log {text}: {log}").into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Copies the secret files of a container into another one. The archive contains their owner.
fn copy_secrets(from: &str, to: &str) -> Result<(), Failed> {
    let source = format!("{from}:/etc/dm-secrets");
    let mut read = Command::new("docker")
        .args(["cp", &source, "-"])
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

impl Drop for SecondProcess {
    fn drop(&mut self) {
        let _ = docker(&["rm", "--force", &self.0]);
    }
}
