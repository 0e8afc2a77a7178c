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
const KEPT: usize = 12;

/// How long another package manager is waited for: an unattended upgrade takes
/// minutes.
const PATIENCE: Duration = Duration::from_mins(10);

/// How often a lock that apt itself doesn't wait for is tried again.
const POLL: Duration = Duration::from_secs(1);

/// The same text everywhere, no question, no restart of services by
/// `needrestart`.
const ENVIRONMENT: [(&str, &str); 3] = [
    ("LC_ALL", "C"),
    ("DEBIAN_FRONTEND", "noninteractive"),
    ("NEEDRESTART_SUSPEND", "1"),
];

/// What a run of apt or dpkg came to.
#[derive(Debug, Default)]
struct Run {
    ok: bool,
    lines: VecDeque<String>,
}

/// What a failed run asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remedy {
    /// The lists of packages are missing or old.
    Update,
    /// An earlier run was killed half way.
    Configure,
    /// Another package manager is at work.
    Wait,
    /// None that we know.
    None,
}

impl Run {
    fn has(&self, texts: &[&str]) -> bool {
        self.lines
            .iter()
            .any(|line| texts.iter().any(|text| line.contains(text)))
    }

    fn remedy(&self) -> Remedy {
        if self.has(&[
            "Could not get lock",
            "Unable to lock",
            "is locked by another process",
        ]) {
            Remedy::Wait
        } else if self.has(&["dpkg was interrupted", "dpkg --configure -a"]) {
            Remedy::Configure
        } else if self.has(&[
            "Unable to locate package",
            "has no installation candidate",
            "Unable to fetch some archives",
            "404  Not Found",
            "Couldn't find any package",
        ]) {
            Remedy::Update
        } else {
            Remedy::None
        }
    }

    fn reason(&self) -> String {
        if self.has(&["No space left", "enough free space"]) {
            return "the disk is full".into();
        }
        if self.has(&[
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
    let mut apt = Apt {
        privilege,
        cancel,
        progress,
        deadline: Instant::now() + PATIENCE,
    };
    let mut install = vec!["install", "-y", "--no-install-recommends"];
    install.extend(names.iter().map(String::as_str));
    let mut warnings = Vec::new();
    let (mut updated, mut configured) = (false, false);
    loop {
        let run = apt.run("apt-get", &install).await?;
        if run.ok {
            return Ok(warnings);
        }
        match run.remedy() {
            Remedy::Update if !updated => {
                updated = true;
                warnings = apt.update().await?;
            }
            Remedy::Configure if !configured => {
                configured = true;
                let repair = apt.run("dpkg", &["--configure", "-a"]).await?;
                if !repair.ok {
                    return Err(apt.failed("dpkg", &["--configure", "-a"], &repair));
                }
            }
            _ => return Err(apt.failed("apt-get", &install, &run)),
        }
    }
}

struct Apt<'a> {
    privilege: Privilege,
    cancel: &'a CancellationToken,
    progress: &'a (dyn Fn(&str) + Sync),
    deadline: Instant,
}

impl Apt<'_> {
    /// Refreshes the lists. One broken source among several is no failure: the
    /// packages may well come from the others.
    async fn update(&mut self) -> Result<Vec<String>, PackageError> {
        let run = self.run("apt-get", &["update"]).await?;
        let complaints = run
            .lines
            .iter()
            .filter(|line| line.starts_with("E: ") || line.starts_with("W: "));
        Ok(if run.ok {
            Vec::new()
        } else {
            complaints
                .map(|line| format!("apt-get update: {}", &line[3..]))
                .collect()
        })
    }

    fn failed(&self, program: &str, arguments: &[&str], run: &Run) -> PackageError {
        PackageError::Failed {
            command: self
                .privilege
                .shown(&format!("{program} {}", arguments.join(" "))),
            reason: run.reason(),
            log: run.lines.iter().cloned().collect(),
        }
    }

    /// Runs a command to its end, again and again while another package
    /// manager holds a lock, up to the deadline.
    async fn run(&mut self, program: &str, arguments: &[&str]) -> Result<Run, PackageError> {
        let mut told = false;
        loop {
            let run = self.run_once(program, arguments).await?;
            if run.ok || run.remedy() != Remedy::Wait || Instant::now() >= self.deadline {
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
                () = tokio::time::sleep(POLL) => {}
                () = self.cancel.cancelled() => return Err(self.interrupted(program, arguments)),
            }
        }
    }

    fn interrupted(&self, program: &str, arguments: &[&str]) -> PackageError {
        PackageError::Interrupted {
            command: format!("{program} {}", arguments.join(" ")),
        }
    }

    async fn run_once(&self, program: &str, arguments: &[&str]) -> Result<Run, PackageError> {
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
        let mut run = Run::default();
        let mut out = lines(child.stdout.take());
        let mut err = lines(child.stderr.take());
        let (mut out_open, mut err_open) = (true, true);
        while out_open || err_open {
            let line = tokio::select! {
                line = out.next_line(), if out_open => { keep_open(&line, &mut out_open); line }
                line = err.next_line(), if err_open => { keep_open(&line, &mut err_open); line }
                () = self.cancel.cancelled() => return Err(self.interrupted(program, arguments)),
            };
            if let Ok(Some(line)) = line
                && !line.trim().is_empty()
            {
                (self.progress)(&line);
                if run.lines.len() == KEPT {
                    run.lines.pop_front();
                }
                run.lines.push_back(line);
            }
        }
        run.ok = child.wait().await.map_err(fail)?.success();
        Ok(run)
    }
}

type Lines = tokio::io::Lines<BufReader<Box<dyn AsyncRead + Send + Unpin>>>;

fn lines<R: AsyncRead + Send + Unpin + 'static>(stream: Option<R>) -> Lines {
    let stream: Box<dyn AsyncRead + Send + Unpin> = match stream {
        Some(stream) => Box::new(stream),
        None => Box::new(tokio::io::empty()),
    };
    BufReader::new(stream).lines()
}

fn keep_open(line: &std::io::Result<Option<String>>, open: &mut bool) {
    *open = matches!(line, Ok(Some(_)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(lines: &[&str]) -> Run {
        Run {
            ok: false,
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        }
    }

    #[test]
    fn what_apt_says_tells_what_to_do() {
        let remedy = |line: &str| run(&[line]).remedy();
        assert_eq!(remedy("E: Unable to locate package maven"), Remedy::Update);
        assert_eq!(
            remedy(
                "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (apt-get)"
            ),
            Remedy::Wait
        );
        assert_eq!(
            remedy(
                "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem."
            ),
            Remedy::Configure
        );
        assert_eq!(remedy("E: Broken packages"), Remedy::None);
    }

    #[test]
    fn the_reason_is_one_sentence() {
        assert_eq!(run(&["E: Broken packages"]).reason(), "Broken packages");
        assert_eq!(
            run(&["E: You don't have enough free space in /var/cache/apt/archives/."]).reason(),
            "the disk is full"
        );
        assert_eq!(
            run(&["dpkg: write: No space left on device"]).reason(),
            "the disk is full"
        );
        assert_eq!(run(&[]).reason(), "no reason given");
    }
}
