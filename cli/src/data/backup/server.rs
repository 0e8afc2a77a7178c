//! Commands in a server's container, and files in and out of it.

use std::fs;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use futures_util::TryStreamExt as _;
use tokio_util::io::{ReaderStream, StreamReader, SyncIoBridge};

use super::seal::Content;
use super::{BackupError, Recipients};
use crate::engine::Engine;
use crate::engine::exec::{Chunk, ExecSpec};

/// How much of what a command says last is told.
const TOLD: usize = 1_000;

/// A server's container.
#[derive(Debug, Clone, Copy)]
pub struct Server<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// The container.
    pub container: &'a str,
}

impl Server<'_> {
    /// Runs a command to its end, and answers what it wrote.
    ///
    /// # Errors
    /// [`BackupError::Command`] where it fails.
    pub(super) async fn run(&self, command: &[&str]) -> Result<Vec<u8>, BackupError> {
        let mut out = Vec::new();
        self.stream(command, |bytes| {
            out.extend_from_slice(bytes);
            Ok(())
        })
        .await?;
        Ok(out)
    }

    /// Runs a command to its end while `to` gets what it writes.
    ///
    /// # Errors
    /// As [`Server::run`], and those of `to`.
    pub(super) async fn stream(
        &self,
        command: &[&str],
        mut to: impl FnMut(&[u8]) -> Result<(), BackupError>,
    ) -> Result<(), BackupError> {
        let spec = ExecSpec {
            command: command.iter().map(|&part| part.to_owned()).collect(),
            ..ExecSpec::default()
        };
        let mut running = self.engine.exec(self.container, &spec).await?;
        let mut told = Vec::new();
        while let Some(chunk) = running.next().await? {
            match chunk {
                Chunk::Out(bytes) => to(&bytes)?,
                Chunk::Err(bytes) => told.extend_from_slice(&bytes),
            }
        }
        if self.engine.exec_code(&running).await? == 0 {
            return Ok(());
        }
        let start = told.len().saturating_sub(TOLD);
        Err(BackupError::Command {
            command: command.first().copied().unwrap_or_default().to_owned(),
            told: String::from_utf8_lossy(&told[start..]).trim().to_owned(),
        })
    }

    /// Copies a folder of the container into one of the host, which is there.
    ///
    /// # Errors
    /// It is not there, or the disk is full.
    pub(super) async fn fetch(
        &self,
        from: &str,
        to: &Path,
        recipients: &Recipients,
    ) -> Result<(), BackupError> {
        let stream = self.engine.export_path(self.container, from);
        let stream = Box::pin(stream.map_err(io::Error::other));
        let (target, recipients) = (to.to_owned(), recipients.clone());
        let unpacked = tokio::task::spawn_blocking(move || {
            let tar = SyncIoBridge::new(StreamReader::new(stream));
            unpack(tar::Archive::new(tar), &target, &recipients)
        });
        let unpacked = unpacked.await.map_err(io::Error::other);
        unpacked.map_err(BackupError::file("write", to))?
    }

    /// Copies files below a folder of the container.
    ///
    /// # Errors
    /// One can't be read, or the container's disk is full.
    pub(super) async fn put(
        &self,
        files: Vec<(String, Content)>,
        to: &str,
    ) -> Result<(), BackupError> {
        let (read, write) = tokio::io::duplex(256 << 10);
        let packing = tokio::task::spawn_blocking(move || -> io::Result<()> {
            let mut archive = tar::Builder::new(SyncIoBridge::new(write));
            for (name, content) in files {
                let mut header = tar::Header::new_gnu();
                header.set_size(content.bytes);
                header.set_mode(0o600);
                archive.append_data(&mut header, name, content)?;
            }
            archive.into_inner()?;
            Ok(())
        });
        let put = self
            .engine
            .import_path(self.container, to, ReaderStream::new(read))
            .await;
        let packed = packing.await.map_err(io::Error::other).flatten();
        packed.map_err(BackupError::file("read", "the backup"))?;
        put?;
        Ok(())
    }
}

/// Writes the files of an archive below a folder, encrypted for the recipients.
fn unpack(
    mut archive: tar::Archive<impl Read>,
    to: &Path,
    recipients: &Recipients,
) -> Result<(), BackupError> {
    let failed = |source| BackupError::file("write", to)(source);
    for entry in archive.entries().map_err(failed)? {
        let mut entry = entry.map_err(failed)?;
        // Whatever it says of folders above: it stays below.
        let inner: PathBuf = entry
            .path()
            .map_err(failed)?
            .components()
            .filter(|part| matches!(part, Component::Normal(_)))
            .collect();
        let path = to.join(inner);
        if entry.header().entry_type().is_dir() {
            fs::create_dir_all(&path).map_err(failed)?;
            continue;
        }
        let mut sealed = recipients.create(&path)?;
        io::copy(&mut entry, &mut sealed).map_err(BackupError::file("write", &path))?;
        sealed.finish()?;
    }
    Ok(())
}
