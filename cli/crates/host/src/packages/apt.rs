//! Installing by apt, without a question and without giving up early.

use std::collections::VecDeque;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::PackageError;
use crate::privilege::Privilege;

/// How many of the last lines are kept for a failure report.
const LOG_TAIL_LINES: usize = 12;

/// How long another package manager is waited for: an unattended upgrade takes
/// minutes.
const LOCK_TIMEOUT: Duration = Duration::from_mins(10);

/// How often a lock that apt itself doesn't wait for is tried again.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The same text everywhere, no question, no restart of services by
/// `needrestart`.
const ENVIRONMENT: [(&str, &str); 3] = [
    ("LC_ALL", "C"),
    ("DEBIAN_FRONTEND", "noninteractive"),
    ("NEEDRESTART_SUSPEND", "1"),
];

/// What a run of apt or dpkg came to.
#[derive(Debug, Default)]
struct AptRun {
    succeeded: bool,
    lines: VecDeque<String>,
}

/// What a failed run asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remedy {
    /// The lists of packages are missing or old.
    UpdateLists,
    /// An earlier run was killed half way.
    ConfigurePending,
    /// Another package manager is at work.
    WaitForLock,
    /// None that we know.
    None,
}

impl AptRun {
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

/// Installs `names`; returns warnings.
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
    /// Refreshes the lists. One broken source among several is no failure: the
    /// packages may well come from the others.
    async fn update(&mut self) -> Result<Vec<String>, PackageError> {
        let run = self.run_until_unlocked("apt-get", &["update"]).await?;
        let complaints = run
            .lines
            .iter()
            .filter(|line| line.starts_with("E: ") || line.starts_with("W: "));
        Ok(if run.succeeded {
            Vec::new()
        } else {
            complaints
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

    /// Runs a command to its end, again and again while another package
    /// manager holds a lock, up to the deadline.
    async fn run_until_unlocked(
        &mut self,
        program: &str,
        arguments: &[&str],
    ) -> Result<AptRun, PackageError> {
        let mut told = false;
        loop {
            let run = self.run_once(program, arguments).await?;
            if run.succeeded
                || run.remedy() != Remedy::WaitForLock
                || Instant::now() >= self.deadline
            {
                return Ok(run);
            }
            if !std::mem::replace(&mut told, true) {
                let holder = run.lines.iter().find(|line| line.contains("held by"));
                (self.progress)(&format!(
                    "waiting for another package manager to finish{}",
                    holder
                        .and_then(|line| line.split_once("held by "))
                        .map(|(_, who)| format!(": {who}"))
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
        let fail = |error: std::io::Error| PackageError::Failed {
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
            .map_err(fail)?;
        let mut run = AptRun::default();
        let mut out = read_lines(child.stdout.take());
        let mut err = read_lines(child.stderr.take());
        let (mut out_open, mut err_open) = (true, true);
        while out_open || err_open {
            let line = tokio::select! {
                line = out.next_line(), if out_open => { update_open(&line, &mut out_open); line }
                line = err.next_line(), if err_open => { update_open(&line, &mut err_open); line }
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
        run.succeeded = child.wait().await.map_err(fail)?.success();
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

    fn run(lines: &[&str]) -> AptRun {
        AptRun {
            succeeded: false,
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        }
    }

    #[test]
    fn what_apt_says_tells_what_to_do() {
        let remedy = |line: &str| run(&[line]).remedy();
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
    fn the_reason_is_one_sentence() {
        assert_eq!(
            run(&["E: Broken packages"]).failure_reason(),
            "Broken packages"
        );
        assert_eq!(
            run(&["E: You don't have enough free space in /var/cache/apt/archives/."])
                .failure_reason(),
            "the disk is full"
        );
        assert_eq!(
            run(&["dpkg: write: No space left on device"]).failure_reason(),
            "the disk is full"
        );
        assert_eq!(run(&[]).failure_reason(), "no reason given");
    }
}
