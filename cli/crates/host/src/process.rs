//! Processes of this machine: what they are, and ending exactly the one meant.

use std::path::Path;

/// The command line of a process, its arguments one by one; `None` if there is
/// no such process or this system doesn't tell.
#[must_use]
pub(crate) fn command_line(pid: u32) -> Option<Vec<String>> {
    let text = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let text = text.strip_suffix(&[0]).unwrap_or(&text);
    if text.is_empty() {
        // A zombie or a kernel thread: it runs nothing.
        return None;
    }
    Some(
        text.split(|byte| *byte == 0)
            .map(|argument| String::from_utf8_lossy(argument).into_owned())
            .collect(),
    )
}

/// Whether `pid` is a process that runs `program`. One that ended and whose
/// parent hasn't noticed yet runs nothing.
#[must_use]
pub fn is_running(pid: u32, program: &str) -> bool {
    command_line(pid).is_some_and(|arguments| runs_program(&arguments, program))
}

fn runs_program(arguments: &[String], program: &str) -> bool {
    let first = arguments.first().map(Path::new);
    first
        .and_then(Path::file_name)
        .is_some_and(|name| name == program)
}

/// Ids of all processes that can be seen.
fn all_pids() -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

/// The processes whose parent is `pid`.
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
    // The name stands in parentheses and may hold anything; the state and the
    // parent follow the last closing one.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// A process that is told apart from all others by one of its arguments, so
/// that a reused pid is never taken for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaggedProcess {
    /// Its process id when it was found.
    pub pid: u32,
    tag: String,
}

impl TaggedProcess {
    /// The process whose command line holds the argument `mark` and whose
    /// program is called `program`.
    #[must_use]
    pub fn find(program: &str, mark: &str) -> Option<Self> {
        all_pids().into_iter().find_map(|pid| {
            let arguments = command_line(pid)?;
            (runs_program(&arguments, program) && arguments.iter().any(|argument| argument == mark))
                .then(|| Self {
                    pid,
                    tag: mark.to_owned(),
                })
        })
    }

    /// The process `pid`, which was just started with the argument `mark`.
    #[must_use]
    pub fn new(pid: u32, mark: &str) -> Self {
        Self {
            pid,
            tag: mark.to_owned(),
        }
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        command_line(self.pid).is_some_and(|arguments| arguments.contains(&self.tag))
    }

    /// Sends SIGTERM. False if it was gone already.
    ///
    /// # Errors
    /// What the system said, e.g. that it belongs to somebody else.
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
        // Only now is the pid pinned, so only now does the mark prove anything.
        if !self.is_alive() {
            return Ok(false);
        }
        match pidfd_send_signal(handle, Signal::TERM) {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends SIGTERM. `dm` starts marked processes on Linux only.
    ///
    /// # Errors
    /// Always: unsupported here.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn terminate(&self) -> std::io::Result<bool> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

/// The full path of a program, looked for on `PATH` and in the directories for
/// system programs, which a user's `PATH` often lacks.
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
        .is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_name() {
        assert!(find_program("sh").is_some());
        assert_eq!(find_program("no-such-program-anywhere"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_marked_process_is_found_and_ended_and_no_other() {
        // `tail` ignores nothing and never ends by itself.
        let mark = format!("/dev/null-{}", uuid::Uuid::new_v4());
        let mut child = std::process::Command::new("tail")
            .args(["-f", "/dev/null", "--retry", &mark])
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let found = (0..500).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            TaggedProcess::find("tail", &mark)
        });
        let found = found.unwrap();
        assert_eq!(found.pid, child.id());
        assert_eq!(TaggedProcess::find("dockerd", &mark), None);
        let stranger = TaggedProcess {
            pid: std::process::id(),
            tag: mark.clone(),
        };
        assert!(!stranger.terminate().unwrap());
        assert!(found.terminate().unwrap());
        child.wait().unwrap();
        assert!(!found.is_alive());
        assert!(!found.terminate().unwrap());
        assert_eq!(TaggedProcess::find("tail", &mark), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_its_parents_child() {
        let parent = parent_pid(std::process::id()).unwrap();
        assert!(child_pids(parent).contains(&std::process::id()));
        assert!(!is_running(std::process::id(), "sh"));
        assert!(!is_running(u32::MAX, "sh"));
    }
}
