//! Commands in a server's container, and files in and out of it.

use std::io;
use std::path::Path;

use futures_util::TryStreamExt as _;
use tokio_util::io::{ReaderStream, StreamReader, SyncIoBridge};

use super::BackupError;
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
    pub(super) async fn fetch(&self, from: &str, to: &Path) -> Result<(), BackupError> {
        let stream = self.engine.export_path(self.container, from);
        let stream = Box::pin(stream.map_err(io::Error::other));
        let target = to.to_owned();
        let unpacked = tokio::task::spawn_blocking(move || {
            let tar = SyncIoBridge::new(StreamReader::new(stream));
            let mut archive = tar::Archive::new(tar);
            archive.set_preserve_ownerships(false);
            archive.set_preserve_permissions(false);
            archive.unpack(&target)
        });
        unpacked
            .await
            .map_err(io::Error::other)
            .flatten()
            .map_err(BackupError::file("write", to))
    }

    /// Copies a file or a folder of the host below a folder of the container, under a name.
    ///
    /// # Errors
    /// It can't be read, or the container's disk is full.
    pub(super) async fn put(&self, from: &Path, to: &str, name: &str) -> Result<(), BackupError> {
        let (read, write) = tokio::io::duplex(256 << 10);
        let (source, name) = (from.to_owned(), name.to_owned());
        let packing = tokio::task::spawn_blocking(move || -> io::Result<()> {
            let mut archive = tar::Builder::new(SyncIoBridge::new(write));
            if source.is_dir() {
                archive.append_dir_all(&name, &source)?;
            } else {
                archive.append_path_with_name(&source, &name)?;
            }
            archive.into_inner()?;
            Ok(())
        });
        let put = self
            .engine
            .import_path(self.container, to, ReaderStream::new(read))
            .await;
        let packed = packing.await.map_err(io::Error::other).flatten();
        packed.map_err(BackupError::file("read", from))?;
        put?;
        Ok(())
    }
}
