//! The lock of an image build, across processes.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use dm_host::lock::{FileLock, LockError, LockGuard};
use tokio_util::sync::CancellationToken;

use super::error::ImageError;

/// The lock of one image build, and its work directory.
#[derive(Debug)]
pub(crate) struct BuildLock {
    guard: LockGuard,
    work_dir: PathBuf,
}

impl BuildLock {
    /// Waits for the lock of a key. `on_wait` is called once if another process holds it.
    ///
    /// # Errors
    /// Returns [`ImageError::Io`] if the state directory cannot be written, and
    /// [`ImageError::Cancelled`] on cancellation.
    pub(crate) async fn acquire(
        state: &Path,
        key: &str,
        cancel: &CancellationToken,
        on_wait: impl FnOnce(),
    ) -> Result<Self, ImageError> {
        let locks = state.join("locks");
        std::fs::create_dir_all(&locks)
            .map_err(ImageError::io(format!("create {}", locks.display())))?;
        let name = format!("image-{key}");
        let lock = FileLock::new(&name, locks.join(format!("{name}.lock")));
        let guard = lock
            .lock("dm", Duration::MAX, cancel, |_| on_wait())
            .await
            .map_err(|error| match error {
                LockError::Io { path, source } => {
                    ImageError::io(format!("lock {}", path.display()))(source)
                }
                // Without a timeout, only an interrupt ends the wait.
                LockError::Interrupted { .. } | LockError::Busy { .. } => ImageError::Cancelled,
            })?;
        let lock = Self {
            guard,
            work_dir: state.join("work").join(name),
        };
        // A killed run may have left its work directory.
        lock.remove_work_dir()?;
        Ok(lock)
    }

    /// Returns an empty directory for the holder, which is removed with the lock.
    ///
    /// # Errors
    /// Returns [`ImageError::Io`] if the directory cannot be created.
    pub(crate) fn work_dir(&self) -> Result<&Path, ImageError> {
        std::fs::create_dir_all(&self.work_dir).map_err(ImageError::io(format!(
            "create {}",
            self.work_dir.display()
        )))?;
        Ok(&self.work_dir)
    }

    /// Returns an empty standard input for a program that keeps the lock while it runs.
    ///
    /// # Errors
    /// Returns [`ImageError::Io`] if the process has too many open files.
    pub(crate) fn stdin(&self) -> Result<Stdio, ImageError> {
        self.guard
            .inheritable_stdin()
            .map_err(ImageError::io("duplicate a lock file"))
    }

    fn remove_work_dir(&self) -> Result<(), ImageError> {
        match std::fs::remove_dir_all(&self.work_dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(ImageError::io(
                format!("remove {}", self.work_dir.display()),
            )(error)),
            _ => Ok(()),
        }
    }
}

impl Drop for BuildLock {
    fn drop(&mut self) {
        if let Err(error) = self.remove_work_dir() {
            tracing::warn!(%error, "left a work directory behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn second_build_lock_waits_for_the_first() {
        let state = tempfile::tempdir().unwrap();
        let cancel = CancellationToken::new();
        let first = BuildLock::acquire(state.path(), "k", &cancel, || {})
            .await
            .unwrap();
        std::fs::write(first.work_dir().unwrap().join("half"), "x").unwrap();
        let (wait_sender, mut waits) = tokio::sync::mpsc::unbounded_channel();
        let (path, token) = (state.path().to_owned(), cancel.clone());
        let second = tokio::spawn(async move {
            BuildLock::acquire(&path, "k", &token, || wait_sender.send(()).unwrap()).await
        });
        waits.recv().await.unwrap();
        assert!(!second.is_finished());
        drop(first);
        let second = second.await.unwrap().unwrap();
        assert!(!second.work_dir().unwrap().join("half").exists());
    }

    #[tokio::test]
    async fn program_with_inherited_stdin_keeps_the_build_lock() {
        let state = tempfile::tempdir().unwrap();
        let cancel = CancellationToken::new();
        let lock = BuildLock::acquire(state.path(), "k", &cancel, || {})
            .await
            .unwrap();
        let mut program = std::process::Command::new("sleep")
            .arg("60")
            .stdin(lock.stdin().unwrap())
            .spawn()
            .unwrap();
        drop(lock);
        let mut waited = false;
        let second = BuildLock::acquire(state.path(), "k", &cancel, || {
            waited = true;
            program.kill().unwrap();
            program.wait().unwrap();
        });
        second.await.unwrap();
        assert!(waited, "the lock ended before the program");
    }

    #[tokio::test]
    async fn waiting_for_a_build_lock_can_be_cancelled() {
        let state = tempfile::tempdir().unwrap();
        let cancel = CancellationToken::new();
        let _first = BuildLock::acquire(state.path(), "k", &cancel, || {})
            .await
            .unwrap();
        let token = cancel.clone();
        let second = BuildLock::acquire(state.path(), "k", &cancel, move || token.cancel());
        assert!(matches!(second.await, Err(ImageError::Cancelled)));
    }
}
