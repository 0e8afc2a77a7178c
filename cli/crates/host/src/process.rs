//! Processes of this machine, and the termination of exactly one of them.

use std::path::Path;

/// Returns the arguments of a process's command line. Returns `None` if there is no such process
/// or the system does not provide them.
#[must_use]
pub(crate) fn command_line(pid: u32) -> Option<Vec<String>> {
    let text = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let text = text.strip_suffix(&[0]).unwrap_or(&text);
    if text.is_empty() {
        // A zombie or a kernel thread runs no program.
        return None;
    }
    Some(
        text.split(|byte| *byte == 0)
            .map(|argument| String::from_utf8_lossy(argument).into_owned())
            .collect(),
    )
}

/// Returns whether `pid` is a process that runs `program`. A zombie runs no program.
#[must_use]
pub fn is_running(pid: u32, program: &str) -> bool {
    command_line(pid).is_some_and(|arguments| runs_program(&arguments, program))
}

fn runs_program(arguments: &[String], program: &str) -> bool {
    arguments
        .first()
        .map(Path::new)
        .and_then(Path::file_name)
        .is_some_and(|name| name == program)
}

/// Returns the ids of all visible processes.
fn all_pids() -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

/// Returns the ids of the processes whose parent is `pid`.
#[must_use]
#[cfg(test)]
pub(crate) fn child_pids(pid: u32) -> Vec<u32> {
    all_pids()
        .into_iter()
        .filter(|child| parent_pid(*child) == Some(pid))
        .collect()
}

#[cfg(test)]
fn parent_pid(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may contain any character. The state and the
    // parent follow the last closing parenthesis.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// A process that is identified by a unique argument, so that a reused pid is never mistaken
/// for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaggedProcess {
    /// The process id.
    pub pid: u32,
    tag: String,
}

impl TaggedProcess {
    /// Finds the process that runs `program` with the argument `tag`.
    #[must_use]
    pub fn find(program: &str, tag: &str) -> Option<Self> {
        all_pids().into_iter().find_map(|pid| {
            let arguments = command_line(pid)?;
            (runs_program(&arguments, program) && arguments.iter().any(|argument| argument == tag))
                .then(|| Self {
                    pid,
                    tag: tag.to_owned(),
                })
        })
    }

    /// Describes the process `pid`, which was just started with the argument `tag`.
    #[must_use]
    pub fn new(pid: u32, tag: &str) -> Self {
        Self {
            pid,
            tag: tag.to_owned(),
        }
    }

    /// Returns whether the process still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        command_line(self.pid).is_some_and(|arguments| arguments.contains(&self.tag))
    }

    /// Sends SIGTERM. Returns `false` if the process has already ended.
    ///
    /// # Errors
    /// Returns [`std::io::Error`] if the signal cannot be sent, e.g. because the process belongs to
    /// another user.
    #[cfg(target_os = "linux")]
    pub fn terminate(&self) -> std::io::Result<bool> {
        use rustix::io::Errno;
        use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let Some(pid) = pid else { return Ok(false) };
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(Errno::SRCH) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        // The pidfd pins the process, so only now is the check of the tag reliable.
        if !self.is_alive() {
            return Ok(false);
        }
        match pidfd_send_signal(handle, Signal::TERM) {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends SIGTERM. `dm` starts tagged processes on Linux only.
    ///
    /// # Errors
    /// Always returns [`std::io::ErrorKind::Unsupported`].
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn terminate(&self) -> std::io::Result<bool> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

/// Returns the full path of a program on `PATH` or in the directories of system programs, which
/// a user's `PATH` often lacks.
#[must_use]
pub fn find_program(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(Into::into))
        .map(|directory| directory.join(name))
        .find(|candidate| is_executable(candidate))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn find_program_searches_the_path() {
        assert!(find_program("sh").is_some());
        assert_eq!(find_program("no-such-program-anywhere"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn terminate_ends_only_the_process_with_the_tag() {
        // `tail` ignores no signal and does not end by itself.
        let tag = format!("/dev/null-{}", uuid::Uuid::new_v4());
        let mut child = std::process::Command::new("tail")
            .args(["-f", "/dev/null", "--retry", &tag])
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let process = (0..500).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            TaggedProcess::find("tail", &tag)
        });
        let process = process.unwrap();
        assert_eq!(process.pid, child.id());
        assert_eq!(TaggedProcess::find("dockerd", &tag), None);
        let other = TaggedProcess {
            pid: std::process::id(),
            tag: tag.clone(),
        };
        assert!(!other.terminate().unwrap());
        assert!(process.terminate().unwrap());
        child.wait().unwrap();
        assert!(!process.is_alive());
        assert!(!process.terminate().unwrap());
        assert_eq!(TaggedProcess::find("tail", &tag), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn child_pids_contains_the_current_process() {
        let parent = parent_pid(std::process::id()).unwrap();
        assert!(child_pids(parent).contains(&std::process::id()));
        assert!(!is_running(std::process::id(), "sh"));
        assert!(!is_running(u32::MAX, "sh"));
    }
}
