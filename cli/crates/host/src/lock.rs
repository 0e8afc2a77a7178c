//! File locks that the system releases when the last process that holds them exits.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::process_location::ProcessLocation;

/// The interval between attempts to take a busy lock.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The holder of a lock, as the holder wrote it into the lock file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockHolder {
    /// The host and container of the process.
    #[serde(flatten)]
    pub location: ProcessLocation,
    /// The process id in the PID namespace of that location.
    pub pid: u32,
    /// The command, e.g. `dm up`.
    pub command: String,
    /// The time at which the process took the lock, RFC 3339 in UTC.
    pub since: String,
}

impl LockHolder {
    /// Returns the current process as holder since now, running `command`.
    #[must_use]
    pub fn current_process(command: &str) -> Self {
        Self {
            location: ProcessLocation::current(),
            pid: std::process::id(),
            command: command.into(),
            since: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        }
    }

    /// Returns how a user at `current_location` can end the holder.
    fn release_advice(&self, current_location: &ProcessLocation) -> String {
        let ProcessLocation {
            host, container, ..
        } = &self.location;
        if self.location == *current_location {
            return format!("wait for it to end, or stop it: kill {}", self.pid);
        }
        match container {
            Some(id) if *host == current_location.host || id == host => {
                format!("wait for it to end, or stop its container: docker stop {id}")
            }
            Some(id) => {
                format!("wait for it to end, or stop its container on {host}: docker stop {id}")
            }
            None if *host == current_location.host => {
                format!(
                    "wait for it to end, or stop process {} on the host, outside this container",
                    self.pid
                )
            }
            None => format!(
                "wait for it to end, or stop it on {host}: kill {}",
                self.pid
            ),
        }
    }
}

impl std::fmt::Display for LockHolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` (pid {}", self.command, self.pid)?;
        if let Some(container) = &self.location.container {
            write!(f, " in container {container}")?;
        }
        if !self.location.host.is_empty() {
            write!(f, " on {}", self.location.host)?;
        }
        write!(f, ", since {})", self.since)
    }
}

/// An error of taking a lock.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another process held the lock for longer than the timeout.
    #[error("could not lock {name}: {} holds the lock", describe_holder(.holder.as_deref()))]
    Busy {
        /// The name of the lock, e.g. `instance default`.
        name: String,
        /// The holder, if the lock file was readable.
        holder: Option<Box<LockHolder>>,
    },
    /// The wait was interrupted.
    #[error("interrupted while waiting for {name}")]
    Interrupted {
        /// The name of the lock.
        name: String,
    },
    /// The lock file could not be opened or locked.
    #[error("could not lock {}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
}

fn describe_holder(holder: Option<&LockHolder>) -> String {
    holder.map_or_else(|| "another process".into(), LockHolder::to_string)
}

impl UserError for LockError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Busy { .. } => ErrorCode::Locked,
            Self::Interrupted { .. } => ErrorCode::Interrupted,
            Self::Io { .. } => ErrorCode::LockFile,
        }
    }

    fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Busy { .. } => ExitStatus::TimedOut,
            Self::Interrupted { .. } => ExitStatus::Interrupted,
            Self::Io { .. } => ExitStatus::Usage,
        }
    }

    fn suggestions(&self) -> Vec<String> {
        match self {
            Self::Busy { holder, .. } => holder
                .as_ref()
                .map(|holder| vec![holder.release_advice(&ProcessLocation::current())])
                .unwrap_or_default(),
            Self::Interrupted { .. } => Vec::new(),
            Self::Io { .. } => vec![
                "check the permissions of the directory, or set XDG_STATE_HOME to a directory that you can write to"
                    .into(),
            ],
        }
    }
}

/// A held lock. It ends when this guard is dropped or the process ends, and with the last
/// program that inherited it through [`LockGuard::inheritable_stdin`].
#[derive(Debug)]
pub struct LockGuard {
    file: File,
    is_inherited: AtomicBool,
}

impl LockGuard {
    fn new(file: File) -> Self {
        Self {
            file,
            is_inherited: AtomicBool::new(false),
        }
    }

    /// Returns an empty standard input for a program that keeps the lock while it runs. If the
    /// program outlives a killed `dm`, the next command waits for it.
    ///
    /// # Errors
    /// Returns an [`std::io::Error`] if the process has too many open files.
    pub fn inheritable_stdin(&self) -> std::io::Result<Stdio> {
        let file = self.file.try_clone()?;
        self.is_inherited.store(true, Ordering::Relaxed);
        Ok(Stdio::from(file))
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        // The file is not removed: otherwise two processes could lock two files of the same
        // name.
        let _ = self.file.set_len(0);
        // Closing the file unlocks it as well, except while a program that is being started has
        // a copy. Unlocking would take the lock from the programs that inherited it.
        if !*self.is_inherited.get_mut() {
            let _ = self.file.unlock();
        }
    }
}

/// A lock file, which one process at a time can lock.
#[derive(Debug, Clone)]
pub struct FileLock {
    name: String,
    path: PathBuf,
}

impl FileLock {
    /// Creates a lock with a display name and a path. The file is created when the lock is first
    /// taken. Its directory must exist.
    #[must_use]
    pub fn new(name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            path: path.into(),
        }
    }

    /// Returns the path of the lock file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn io_error(&self, source: std::io::Error) -> LockError {
        LockError::Io {
            path: self.path.clone(),
            source,
        }
    }

    /// Opens the file, which is created if it does not exist.
    fn open_file(&self) -> Result<File, LockError> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&self.path)
            .map_err(|source| self.io_error(source))
    }

    /// Takes the lock if it is free. Returns `None` if another process holds it.
    ///
    /// # Errors
    /// Returns [`LockError::Io`] if the file cannot be opened or locked.
    pub fn try_lock(&self, holder: &LockHolder) -> Result<Option<LockGuard>, LockError> {
        let mut file = self.open_file()?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(source)) => return Err(self.io_error(source)),
        }
        let text = serde_json::to_vec(holder).map_err(|error| self.io_error(error.into()))?;
        let written = file
            .set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| file.write_all(&text));
        // The holder is for display only: a full disk must not prevent `dm down`.
        if let Err(error) = written {
            tracing::debug!(%error, "could not record the holder of {}", self.name);
        }
        Ok(Some(LockGuard::new(file)))
    }

    /// Returns the holder of the lock, if the file names it.
    #[must_use]
    pub(crate) fn read_holder(&self) -> Option<LockHolder> {
        let mut text = String::new();
        File::open(&self.path)
            .ok()?
            .read_to_string(&mut text)
            .ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Takes the lock, waiting up to `timeout`. If it has to wait, it calls `on_wait` once with
    /// the holder.
    ///
    /// # Errors
    /// Returns [`LockError::Busy`] after `timeout`, [`LockError::Interrupted`] if `cancel` is
    /// cancelled, and [`LockError::Io`] if the file cannot be used.
    pub async fn lock(
        &self,
        command: &str,
        timeout: Duration,
        cancel: &CancellationToken,
        on_wait: impl FnOnce(Option<LockHolder>),
    ) -> Result<LockGuard, LockError> {
        let started = Instant::now();
        let mut on_wait = Some(on_wait);
        loop {
            if let Some(guard) = self.try_lock(&LockHolder::current_process(command))? {
                return Ok(guard);
            }
            if started.elapsed() >= timeout {
                return Err(LockError::Busy {
                    name: self.name.clone(),
                    holder: self.read_holder().map(Box::new),
                });
            }
            if let Some(report) = on_wait.take() {
                report(self.read_holder());
            }
            tokio::select! {
                () = tokio::time::sleep(POLL_INTERVAL) => {}
                () = cancel.cancelled() => {
                    return Err(LockError::Interrupted { name: self.name.clone() });
                }
            }
        }
    }

    /// Takes the lock like [`FileLock::lock`], for short critical sections in blocking code:
    /// without a message, a timeout and cancellation.
    ///
    /// # Errors
    /// Returns [`LockError::Io`] if the file cannot be opened or locked.
    pub(crate) fn lock_blocking(&self) -> Result<LockGuard, LockError> {
        let file = self.open_file()?;
        file.lock().map_err(|source| self.io_error(source))?;
        Ok(LockGuard::new(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test_lock() -> (tempfile::TempDir, FileLock) {
        let dir = tempfile::tempdir().unwrap();
        let lock = FileLock::new("instance default", dir.path().join("x.lock"));
        (dir, lock)
    }

    #[test]
    fn read_holder_returns_the_holder_of_a_held_lock() {
        let (_dir, lock) = test_lock();
        let holder = LockHolder::current_process("dm up");
        let guard = lock.try_lock(&holder).unwrap().unwrap();
        assert!(
            lock.try_lock(&LockHolder::current_process("dm down"))
                .unwrap()
                .is_none()
        );
        assert_eq!(lock.read_holder(), Some(holder));
        drop(guard);
        assert_eq!(lock.read_holder(), None);
        assert!(
            lock.try_lock(&LockHolder::current_process("dm down"))
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn program_that_inherits_the_lock_keeps_it() {
        let (_dir, lock) = test_lock();
        let holder = LockHolder::current_process("dm up");
        let guard = lock.try_lock(&holder).unwrap().unwrap();
        let mut program = std::process::Command::new("sleep")
            .arg("60")
            .stdin(guard.inheritable_stdin().unwrap())
            .spawn()
            .unwrap();
        drop(guard);
        assert!(lock.try_lock(&holder).unwrap().is_none());
        program.kill().unwrap();
        program.wait().unwrap();
        assert!(lock.try_lock(&holder).unwrap().is_some());
    }

    #[test]
    fn release_advice_depends_on_the_location_of_the_holder() {
        let location = |host: &str, container: Option<&str>, pid_namespace| ProcessLocation {
            host: host.to_owned(),
            container: container.map(str::to_owned),
            pid_namespace: Some(pid_namespace),
        };
        let current = location("pc", None, 1);
        let holder = |location: ProcessLocation| LockHolder {
            location,
            pid: 1,
            command: "dm backup schedule".to_owned(),
            since: "2026-11-28T12:00:00Z".to_owned(),
        };
        let advice = |location: ProcessLocation| holder(location).release_advice(&current);
        assert!(advice(current.clone()).ends_with("stop it: kill 1"));
        // Process 1 of a container is not process 1 of this machine.
        let in_container = location("pc", Some("0123456789ab"), 2);
        assert!(advice(in_container.clone()).ends_with("docker stop 0123456789ab"));
        assert!(!advice(location("pc", None, 2)).contains("kill"));
        assert!(advice(location("other", None, 1)).ends_with("stop it on other: kill 1"));
        assert_eq!(
            holder(in_container).to_string(),
            "`dm backup schedule` (pid 1 in container 0123456789ab on pc, \
             since 2026-11-28T12:00:00Z)"
        );
    }

    #[tokio::test]
    async fn lock_is_taken_when_the_holder_releases_it() {
        let (_dir, lock) = test_lock();
        let cancel = CancellationToken::new();
        let guard = lock
            .try_lock(&LockHolder::current_process("dm up"))
            .unwrap();
        let held = std::sync::Mutex::new(guard);
        let mut reported = None;
        let result = lock
            .lock("dm down", Duration::from_secs(60), &cancel, |holder| {
                reported = holder;
                *held.lock().unwrap() = None;
            })
            .await;
        assert!(result.is_ok());
        assert_eq!(reported.unwrap().command, "dm up");
    }

    #[tokio::test]
    async fn lock_fails_after_the_timeout_and_on_cancellation() {
        let (_dir, lock) = test_lock();
        let _guard = lock
            .try_lock(&LockHolder::current_process("dm up"))
            .unwrap();
        let cancel = CancellationToken::new();
        let result = lock.lock("dm down", Duration::ZERO, &cancel, |_| {}).await;
        let error = result.unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("could not lock instance default: `dm up` (pid ")
        );
        assert_eq!(error.suggestions().len(), 1);
        cancel.cancel();
        let interrupted = lock
            .lock("dm down", Duration::from_secs(60), &cancel, |_| {})
            .await;
        assert!(matches!(interrupted, Err(LockError::Interrupted { .. })));
    }

    #[test]
    fn lock_is_free_after_its_holder_is_killed() {
        let (_dir, lock) = test_lock();
        // `flock` takes the same kind of lock in another process.
        let child = std::process::Command::new("flock")
            .arg(lock.path())
            .args(["-c", "echo held; exec sleep 600"])
            .stdout(std::process::Stdio::piped())
            .spawn();
        let mut child = child.expect("flock, a part of util-linux, must be installed");
        let mut line = [0; 5];
        child
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut line)
            .unwrap();
        assert!(
            lock.try_lock(&LockHolder::current_process("dm up"))
                .unwrap()
                .is_none()
        );
        // The shell was replaced by `sleep`, which inherited the lock.
        let children = crate::process::child_pids(child.id());
        for pid in children.iter().chain([&child.id()]) {
            let raw = i32::try_from(*pid).unwrap();
            let pid = rustix::process::Pid::from_raw(raw).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        child.wait().unwrap();
        let free = (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            lock.try_lock(&LockHolder::current_process("dm up"))
                .unwrap()
                .is_some()
        });
        assert!(free);
    }
}
