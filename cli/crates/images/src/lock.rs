//! One at a time for one digest, across processes.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use dm_host::lock::{FileLock, Guard, LockError};
use tokio_util::sync::CancellationToken;

use super::error::ImageError;

/// The right to make one image, and a directory to do it in.
#[derive(Debug)]
pub(crate) struct DigestLock {
    guard: Guard,
    work: PathBuf,
}

impl DigestLock {
    /// Waits for the lock of a key. `waiting` is called once if somebody else has it.
    ///
    /// # Errors
    /// Where the state directory can't be written, or on cancellation.
    pub(crate) async fn acquire(
        state: &Path,
        key: &str,
        cancel: &CancellationToken,
        waiting: impl FnOnce(),
    ) -> Result<Self, ImageError> {
        let locks = state.join("locks");
        std::fs::create_dir_all(&locks)
            .map_err(ImageError::io(format!("create {}", locks.display())))?;
        let name = format!("image-{key}");
        let lock = FileLock::new(&name, locks.join(format!("{name}.lock")));
        let guard = lock
            .lock("dm", Duration::MAX, cancel, |_| waiting())
            .await
            .map_err(|error| match error {
                LockError::Io { path, source } => {
                    ImageError::io(format!("lock {}", path.display()))(source)
                }
                // Without a limit, nothing but an interrupt ends the wait.
                LockError::Interrupted { .. } | LockError::Busy { .. } => ImageError::Cancelled,
            })?;
        let lock = Self {
            guard,
            work: state.join("work").join(name),
        };
        // What a killed run left behind.
        lock.clear()?;
        Ok(lock)
    }

    /// An empty directory that belongs to the holder and goes with the lock.
    ///
    /// # Errors
    /// Where it can't be made.
    pub(crate) fn work_dir(&self) -> Result<&Path, ImageError> {
        std::fs::create_dir_all(&self.work)
            .map_err(ImageError::io(format!("create {}", self.work.display())))?;
        Ok(&self.work)
    }

    /// Standard input for a program that is to keep the lock while it lives. It
    /// reads as empty.
    ///
    /// # Errors
    /// Where the process has too many open files.
    pub(crate) fn stdin(&self) -> Result<Stdio, ImageError> {
        self.guard
            .stdin()
            .map_err(ImageError::io("duplicate a lock file"))
    }

    fn clear(&self) -> Result<(), ImageError> {
        match std::fs::remove_dir_all(&self.work) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(ImageError::io(
                format!("remove {}", self.work.display()),
            )(error)),
            _ => Ok(()),
        }
    }
}

impl Drop for DigestLock {
    fn drop(&mut self) {
        if let Err(error) = self.clear() {
            tracing::warn!(%error, "left a work directory behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_second_waits_until_the_first_is_done() {
        let state = tempfile::tempdir().unwrap();
        let cancel = CancellationToken::new();
        let first = DigestLock::acquire(state.path(), "k", &cancel, || {})
            .await
            .unwrap();
        std::fs::write(first.work_dir().unwrap().join("half"), "x").unwrap();
        let (told, mut waits) = tokio::sync::mpsc::unbounded_channel();
        let (path, token) = (state.path().to_owned(), cancel.clone());
        let second = tokio::spawn(async move {
            DigestLock::acquire(&path, "k", &token, || told.send(()).unwrap()).await
        });
        waits.recv().await.unwrap();
        assert!(!second.is_finished());
        drop(first);
        let second = second.await.unwrap().unwrap();
        assert!(!second.work_dir().unwrap().join("half").exists());
    }

    #[tokio::test]
    async fn a_program_that_outlives_its_starter_keeps_the_lock() {
        let state = tempfile::tempdir().unwrap();
        let cancel = CancellationToken::new();
        let lock = DigestLock::acquire(state.path(), "k", &cancel, || {})
            .await
            .unwrap();
        let mut program = std::process::Command::new("sleep")
            .arg("60")
            .stdin(lock.stdin().unwrap())
            .spawn()
            .unwrap();
        drop(lock);
        let mut waited = false;
        let second = DigestLock::acquire(state.path(), "k", &cancel, || {
            waited = true;
            program.kill().unwrap();
            program.wait().unwrap();
        });
        second.await.unwrap();
        assert!(waited, "the lock ended before the program");
    }

    #[tokio::test]
    async fn waiting_can_be_interrupted() {
        let state = tempfile::tempdir().unwrap();
        let cancel = CancellationToken::new();
        let _first = DigestLock::acquire(state.path(), "k", &cancel, || {})
            .await
            .unwrap();
        let waiting = cancel.clone();
        let second = DigestLock::acquire(state.path(), "k", &cancel, move || waiting.cancel());
        assert!(matches!(second.await, Err(ImageError::Cancelled)));
    }
}
