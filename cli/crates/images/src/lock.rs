//! One at a time for one digest, across processes.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::error::ImageError;

/// How often a lock that somebody else holds is tried again.
const POLL: Duration = Duration::from_millis(100);

/// The right to make one image, and a directory to do it in.
///
/// The kernel releases it with the last process that has the file open, however
/// that ends. A program started with [`DigestLock::stdin`] has it open too: so one
/// that outlives a killed `dm` is waited for, not raced.
#[derive(Debug)]
pub struct DigestLock {
    file: File,
    work: PathBuf,
}

impl DigestLock {
    /// Waits for the lock of a key. `waiting` is called once if somebody else has it.
    ///
    /// # Errors
    /// Where the state directory can't be written, or on cancellation.
    pub async fn acquire(
        state: &Path,
        key: &str,
        cancel: &CancellationToken,
        waiting: impl FnOnce(),
    ) -> Result<Self, ImageError> {
        let locks = state.join("locks");
        std::fs::create_dir_all(&locks)
            .map_err(ImageError::io(format!("create {}", locks.display())))?;
        let path = locks.join(format!("image-{key}.lock"));
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(ImageError::io(format!("open {}", path.display())))?;
        let mut waiting = Some(waiting);
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {
                    if let Some(waiting) = waiting.take() {
                        waiting();
                    }
                }
                Err(TryLockError::Error(error)) => {
                    return Err(ImageError::io(format!("lock {}", path.display()))(error));
                }
            }
            tokio::select! {
                () = cancel.cancelled() => return Err(ImageError::Cancelled),
                () = tokio::time::sleep(POLL) => {}
            }
        }
        let lock = Self {
            file,
            work: state.join("work").join(format!("image-{key}")),
        };
        // What a killed run left behind.
        lock.clear()?;
        Ok(lock)
    }

    /// An empty directory that belongs to the holder and goes with the lock.
    ///
    /// # Errors
    /// Where it can't be made.
    pub fn work_dir(&self) -> Result<&Path, ImageError> {
        std::fs::create_dir_all(&self.work)
            .map_err(ImageError::io(format!("create {}", self.work.display())))?;
        Ok(&self.work)
    }

    /// Standard input for a program that is to keep the lock while it lives. It
    /// reads as empty.
    ///
    /// # Errors
    /// Where the process has too many open files.
    pub fn stdin(&self) -> Result<Stdio, ImageError> {
        let file = self
            .file
            .try_clone()
            .map_err(ImageError::io("duplicate a lock file"))?;
        Ok(Stdio::from(file))
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
        let path = state.path().to_owned();
        let second = tokio::spawn(async move {
            DigestLock::acquire(&path, "k", &CancellationToken::new(), || {
                program.kill().unwrap();
                program.wait().unwrap();
            })
            .await
        });
        second.await.unwrap().unwrap();
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
