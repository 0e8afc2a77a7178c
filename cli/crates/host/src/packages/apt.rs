//! Non-interactive installation with apt, with retries.

use std::collections::VecDeque;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::PackageError;
use crate::privilege::Privilege;

/// The number of output lines in an error report.
const LOG_TAIL_LINES: usize = 12;

/// The maximum wait for another package manager: an unattended upgrade takes minutes.
const LOCK_TIMEOUT: Duration = Duration::from_mins(10);

/// The interval between attempts while another package manager holds the lock.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Untranslated output, no questions, and no restart of services by `needrestart`.
const ENVIRONMENT: [(&str, &str); 3] = [
    ("LC_ALL", "C"),
    ("DEBIAN_FRONTEND", "noninteractive"),
    ("NEEDRESTART_SUSPEND", "1"),
];

/// The result of a run of apt or dpkg.
#[derive(Debug, Default)]
struct AptRun {
    succeeded: bool,
    lines: VecDeque<String>,
}

/// The action after which a failed run is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remedy {
    /// Update the package lists, which are missing or old.
    UpdateLists,
    /// Configure the packages of an earlier run that was killed.
    ConfigurePending,
    /// Wait for another package manager.
    WaitForLock,
    /// No known action.
    None,
}

impl AptRun {
    /// Returns whether a line of the output contains one of the texts.
    fn output_contains(&self, texts: &[&str]) -> bool {
        self.lines
            .iter()
            .any(|line| texts.iter().any(|text| line.contains(text)))
    }

    fn remedy(&self) -> Remedy {
        if self.output_contains(&[
            "Could not get lock",
            "Unable to lock",
            "is locked by another process",
        ]) {
            Remedy::WaitForLock
        } else if self.output_contains(&["dpkg was interrupted", "dpkg --configure -a"]) {
            Remedy::ConfigurePending
        } else if self.output_contains(&[
            "Unable to locate package",
            "has no installation candidate",
            "Unable to fetch some archives",
            "404  Not Found",
            "Couldn't find any package",
        ]) {
            Remedy::UpdateLists
        } else {
            Remedy::None
        }
    }

    fn failure_reason(&self) -> String {
        if self.output_contains(&["No space left", "enough free space"]) {
            return "the disk is full".into();
        }
        if self.output_contains(&[
            "Temporary failure resolving",
            "Could not connect",
            "Could not resolve",
        ]) {
            return "a package source is unreachable".into();
        }
        self.lines
            .iter()
            .rev()
            .find_map(|line| line.strip_prefix("E: "))
            .map_or_else(|| "no reason given".into(), str::to_owned)
    }
}

/// Installs the packages `names` and returns warnings.
pub(super) async fn install(
    names: &[String],
    privilege: Privilege,
    cancel: &CancellationToken,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<Vec<String>, PackageError> {
    let mut apt = AptRunner {
        privilege,
        cancel,
        progress,
        deadline: Instant::now() + LOCK_TIMEOUT,
    };
    let mut install = vec!["install", "-y", "--no-install-recommends"];
    install.extend(names.iter().map(String::as_str));
    let mut warnings = Vec::new();
    let (mut updated, mut configured) = (false, false);
    loop {
        let run = apt.run_until_unlocked("apt-get", &install).await?;
        if run.succeeded {
            return Ok(warnings);
        }
        match run.remedy() {
            Remedy::UpdateLists if !updated => {
                updated = true;
                warnings = apt.update().await?;
            }
            Remedy::ConfigurePending if !configured => {
                configured = true;
                let repair = apt
                    .run_until_unlocked("dpkg", &["--configure", "-a"])
                    .await?;
                if !repair.succeeded {
                    return Err(apt.failed_error("dpkg", &["--configure", "-a"], &repair));
                }
            }
            _ => return Err(apt.failed_error("apt-get", &install, &run)),
        }
    }
}

struct AptRunner<'a> {
    privilege: Privilege,
    cancel: &'a CancellationToken,
    progress: &'a (dyn Fn(&str) + Sync),
    deadline: Instant,
}

impl AptRunner<'_> {
    /// Updates the package lists and returns warnings. A broken source is not an error: other
    /// sources may provide the packages.
    async fn update(&mut self) -> Result<Vec<String>, PackageError> {
        let run = self.run_until_unlocked("apt-get", &["update"]).await?;
        let messages = run
            .lines
            .iter()
            .filter(|line| line.starts_with("E: ") || line.starts_with("W: "));
        Ok(if run.succeeded {
            Vec::new()
        } else {
            messages
                .map(|line| format!("apt-get update: {}", &line[3..]))
                .collect()
        })
    }

    fn failed_error(&self, program: &str, arguments: &[&str], run: &AptRun) -> PackageError {
        PackageError::Failed {
            command: self
                .privilege
                .format_command(&format!("{program} {}", arguments.join(" "))),
            reason: run.failure_reason(),
            log: run.lines.iter().cloned().collect(),
        }
    }

    /// Runs a command, and repeats it while another package manager holds a lock, up to the
    /// deadline.
    async fn run_until_unlocked(
        &mut self,
        program: &str,
        arguments: &[&str],
    ) -> Result<AptRun, PackageError> {
        let mut reported = false;
        loop {
            let run = self.run_once(program, arguments).await?;
            if run.succeeded
                || run.remedy() != Remedy::WaitForLock
                || Instant::now() >= self.deadline
            {
                return Ok(run);
            }
            if !std::mem::replace(&mut reported, true) {
                let holder = run.lines.iter().find(|line| line.contains("held by"));
                (self.progress)(&format!(
                    "waiting for another package manager to finish{}",
                    holder
                        .and_then(|line| line.split_once("held by "))
                        .map(|(_, holder)| format!(": {holder}"))
                        .unwrap_or_default()
                ));
            }
            tokio::select! {
                () = tokio::time::sleep(POLL_INTERVAL) => {}
                () = self.cancel.cancelled() => return Err(self.interrupted_error(program, arguments)),
            }
        }
    }

    fn interrupted_error(&self, program: &str, arguments: &[&str]) -> PackageError {
        PackageError::Interrupted {
            command: format!("{program} {}", arguments.join(" ")),
        }
    }

    async fn run_once(&self, program: &str, arguments: &[&str]) -> Result<AptRun, PackageError> {
        let failed = |error: std::io::Error| PackageError::Failed {
            command: format!("{program} {}", arguments.join(" ")),
            reason: error.to_string(),
            log: Vec::new(),
        };
        let mut child = self
            .privilege
            .command(program, &ENVIRONMENT)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let mut run = AptRun::default();
        let mut stdout = read_lines(child.stdout.take());
        let mut stderr = read_lines(child.stderr.take());
        let (mut stdout_open, mut stderr_open) = (true, true);
        while stdout_open || stderr_open {
            let line = tokio::select! {
                line = stdout.next_line(), if stdout_open => {
                    update_open(&line, &mut stdout_open);
                    line
                }
                line = stderr.next_line(), if stderr_open => {
                    update_open(&line, &mut stderr_open);
                    line
                }
                () = self.cancel.cancelled() => return Err(self.interrupted_error(program, arguments)),
            };
            if let Ok(Some(line)) = line
                && !line.trim().is_empty()
            {
                (self.progress)(&line);
                if run.lines.len() == LOG_TAIL_LINES {
                    run.lines.pop_front();
                }
                run.lines.push_back(line);
            }
        }
        run.succeeded = child.wait().await.map_err(failed)?.success();
        Ok(run)
    }
}

type OutputLines = tokio::io::Lines<BufReader<Box<dyn AsyncRead + Send + Unpin>>>;

fn read_lines<R: AsyncRead + Send + Unpin + 'static>(stream: Option<R>) -> OutputLines {
    let stream: Box<dyn AsyncRead + Send + Unpin> = match stream {
        Some(stream) => Box::new(stream),
        None => Box::new(tokio::io::empty()),
    };
    BufReader::new(stream).lines()
}

fn update_open(line: &std::io::Result<Option<String>>, open: &mut bool) {
    *open = matches!(line, Ok(Some(_)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed_run(lines: &[&str]) -> AptRun {
        AptRun {
            succeeded: false,
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        }
    }

    #[test]
    fn remedy_is_derived_from_the_output() {
        let remedy = |line: &str| failed_run(&[line]).remedy();
        assert_eq!(
            remedy("E: Unable to locate package maven"),
            Remedy::UpdateLists
        );
        assert_eq!(
            remedy(
                "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (apt-get)"
            ),
            Remedy::WaitForLock
        );
        assert_eq!(
            remedy(
                "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem."
            ),
            Remedy::ConfigurePending
        );
        assert_eq!(remedy("E: Broken packages"), Remedy::None);
    }

    #[test]
    fn failure_reason_is_one_sentence() {
        assert_eq!(
            failed_run(&["E: Broken packages"]).failure_reason(),
            "Broken packages"
        );
        assert_eq!(
            failed_run(&["E: You don't have enough free space in /var/cache/apt/archives/."])
                .failure_reason(),
            "the disk is full"
        );
        assert_eq!(
            failed_run(&["dpkg: write: No space left on device"]).failure_reason(),
            "the disk is full"
        );
        assert_eq!(failed_run(&[]).failure_reason(), "no reason given");
    }
}
