//! File locks that end with their process: a `kill -9` leaves none behind.

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

/// How often a busy lock is tried again.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Who holds a lock, in the holder's own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockHolder {
    /// Where the process runs.
    #[serde(flatten)]
    pub location: ProcessLocation,
    /// Process id, as the place numbers its processes.
    pub pid: u32,
    /// What it is doing, e.g. `dm up`.
    pub command: String,
    /// When it took the lock, RFC 3339 in UTC.
    pub since: String,
}

impl LockHolder {
    /// This process, doing `command`, from now on.
    #[must_use]
    pub fn current_process(command: &str) -> Self {
        Self {
            location: ProcessLocation::current(),
            pid: std::process::id(),
            command: command.into(),
            since: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        }
    }

    /// How a user at `here` ends the holder.
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
                    "wait for it to end, or stop process {} where it runs",
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

/// Why a lock was not taken.
#[derive(Debug, Error)]
pub enum LockError {
    /// Somebody else held it for longer than the caller would wait.
    #[error("could not lock {name}: {} holds the lock", describe_holder(.holder.as_deref()))]
    Busy {
        /// What is locked, e.g. `instance default`.
        name: String,
        /// Who holds it, where that could be read.
        holder: Option<Box<LockHolder>>,
    },
    /// The caller gave up waiting because it was interrupted.
    #[error("interrupted while waiting for {name}")]
    Interrupted {
        /// What is locked.
        name: String,
    },
    /// The lock file could not be used at all.
    #[error("could not lock {}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
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
                "check the permissions of the directory, or set XDG_STATE_HOME to a directory of yours"
                    .into(),
            ],
        }
    }
}

/// A lock that is held. It ends when this is dropped or the process ends, and with the last
/// program that [`Guard::stdin`] lent it to.
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

    /// Standard input for a program that is to keep the lock while it lives, so that one that
    /// outlives a killed `dm` is waited for, not raced. It reads as empty.
    ///
    /// # Errors
    /// The process has too many open files.
    pub fn inheritable_stdin(&self) -> std::io::Result<Stdio> {
        let file = self.file.try_clone()?;
        self.is_inherited.store(true, Ordering::Relaxed);
        Ok(Stdio::from(file))
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        // The file stays: removing it would let two processes lock two files
        // of the same name.
        let _ = self.file.set_len(0);
        // Closing it unlocks just as well, but for what a program that is being started has
        // of it. Unlocking would take it from the programs that it was lent to.
        if !*self.is_inherited.get_mut() {
            let _ = self.file.unlock();
        }
    }
}

/// One lock file, under which one process at a time works.
#[derive(Debug, Clone)]
pub struct FileLock {
    name: String,
    path: PathBuf,
}

impl FileLock {
    /// The lock `name` (what a person is told) in the file `path`, which is
    /// made when it is first taken. Its directory must exist.
    #[must_use]
    pub fn new(name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            path: path.into(),
        }
    }

    /// The lock file.
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

    /// Takes the lock if it is free now; `None` if somebody holds it.
    ///
    /// # Errors
    /// [`LockError::Io`] when the file can't be opened or locked.
    pub fn try_lock(&self, holder: &LockHolder) -> Result<Option<LockGuard>, LockError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&self.path)
            .map_err(|source| self.io_error(source))?;
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
        // The name of the holder is a courtesy: a full disk must not keep
        // somebody from `dm down`.
        if let Err(error) = written {
            tracing::debug!(%error, "could not record the holder of {}", self.name);
        }
        Ok(Some(LockGuard::new(file)))
    }

    /// Who holds the lock, as far as the file tells.
    #[must_use]
    pub(crate) fn read_holder(&self) -> Option<LockHolder> {
        let mut text = String::new();
        File::open(&self.path)
            .ok()?
            .read_to_string(&mut text)
            .ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Takes the lock, waiting up to `patience`. `on_wait` is called once, if
    /// it has to wait at all, with who holds it.
    ///
    /// # Errors
    /// [`LockError::Busy`] after `patience`, [`LockError::Interrupted`] when
    /// `cancel` fires, [`LockError::Io`] when the file can't be used.
    pub async fn lock(
        &self,
        command: &str,
        timeout: Duration,
        cancel: &CancellationToken,
        on_wait: impl FnOnce(Option<LockHolder>),
    ) -> Result<LockGuard, LockError> {
        let begun = Instant::now();
        let mut on_wait = Some(on_wait);
        loop {
            if let Some(guard) = self.try_lock(&LockHolder::current_process(command))? {
                return Ok(guard);
            }
            if begun.elapsed() >= timeout {
                return Err(LockError::Busy {
                    name: self.name.clone(),
                    holder: self.read_holder().map(Box::new),
                });
            }
            if let Some(tell) = on_wait.take() {
                tell(self.read_holder());
            }
            tokio::select! {
                () = tokio::time::sleep(POLL_INTERVAL) => {}
                () = cancel.cancelled() => {
                    return Err(LockError::Interrupted { name: self.name.clone() });
                }
            }
        }
    }

    /// As [`FileLock::lock`] for short critical sections in blocking code: no
    /// message and no cancelling.
    ///
    /// # Errors
    /// [`LockError::Io`] when the file can't be opened or locked.
    pub(crate) fn lock_blocking(&self) -> Result<LockGuard, LockError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&self.path)
            .map_err(|source| self.io_error(source))?;
        file.lock().map_err(|source| self.io_error(source))?;
        Ok(LockGuard::new(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch() -> (tempfile::TempDir, FileLock) {
        let dir = tempfile::tempdir().unwrap();
        let lock = FileLock::new("instance default", dir.path().join("x.lock"));
        (dir, lock)
    }

    #[test]
    fn a_second_taker_learns_who_holds_it() {
        let (_dir, lock) = scratch();
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
    fn a_program_that_it_was_lent_to_keeps_it() {
        let (_dir, lock) = scratch();
        let this = LockHolder::current_process("dm up");
        let guard = lock.try_lock(&this).unwrap().unwrap();
        let mut program = std::process::Command::new("sleep")
            .arg("60")
            .stdin(guard.inheritable_stdin().unwrap())
            .spawn()
            .unwrap();
        drop(guard);
        assert!(lock.try_lock(&this).unwrap().is_none());
        program.kill().unwrap();
        program.wait().unwrap();
        assert!(lock.try_lock(&this).unwrap().is_some());
    }

    #[test]
    fn the_advice_fits_the_place_of_the_holder() {
        let place = |host: &str, container: Option<&str>, processes| ProcessLocation {
            host: host.to_owned(),
            container: container.map(str::to_owned),
            processes: Some(processes),
        };
        let here = place("pc", None, 1);
        let holder = |place: ProcessLocation| LockHolder {
            location: place,
            pid: 1,
            command: "dm backup schedule".to_owned(),
            since: "2026-11-28T12:00:00Z".to_owned(),
        };
        let advice = |place: ProcessLocation| holder(place).release_advice(&here);
        assert!(advice(here.clone()).ends_with("stop it: kill 1"));
        // Process 1 of a container is not process 1 of this machine.
        let inside = place("pc", Some("0123456789ab"), 2);
        assert!(advice(inside.clone()).ends_with("docker stop 0123456789ab"));
        assert!(!advice(place("pc", None, 2)).contains("kill"));
        assert!(advice(place("other", None, 1)).ends_with("stop it on other: kill 1"));
        assert_eq!(
            holder(inside).to_string(),
            "`dm backup schedule` (pid 1 in container 0123456789ab on pc, \
             since 2026-11-28T12:00:00Z)"
        );
    }

    #[tokio::test]
    async fn waiting_ends_when_the_holder_lets_go() {
        let (_dir, lock) = scratch();
        let cancel = CancellationToken::new();
        let guard = lock
            .try_lock(&LockHolder::current_process("dm up"))
            .unwrap();
        let held = std::sync::Mutex::new(guard);
        let mut told = None;
        let taken = lock
            .lock("dm down", Duration::from_secs(60), &cancel, |holder| {
                told = holder;
                *held.lock().unwrap() = None;
            })
            .await;
        assert!(taken.is_ok());
        assert_eq!(told.unwrap().command, "dm up");
    }

    #[tokio::test]
    async fn waiting_ends_at_the_deadline_and_at_an_interrupt() {
        let (_dir, lock) = scratch();
        let _guard = lock
            .try_lock(&LockHolder::current_process("dm up"))
            .unwrap();
        let cancel = CancellationToken::new();
        let late = lock.lock("dm down", Duration::ZERO, &cancel, |_| {}).await;
        let error = late.unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("could not lock instance default: `dm up` (pid ")
        );
        assert_eq!(error.suggestions().len(), 1);
        cancel.cancel();
        let stopped = lock
            .lock("dm down", Duration::from_secs(60), &cancel, |_| {})
            .await;
        assert!(matches!(stopped, Err(LockError::Interrupted { .. })));
    }

    #[test]
    fn killing_the_holder_frees_the_lock() {
        let (_dir, lock) = scratch();
        // `flock` holds the same kind of lock as we do, from outside.
        let child = std::process::Command::new("flock")
            .arg(lock.path())
            .args(["-c", "echo held; exec sleep 600"])
            .stdout(std::process::Stdio::piped())
            .spawn();
        let Ok(mut child) = child else { return };
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
        let sleeper = crate::process::child_pids(child.id());
        for pid in sleeper.iter().chain([&child.id()]) {
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
