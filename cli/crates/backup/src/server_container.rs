//! Commands in a server's container, and files in and out of it.

use std::io;

use dm_engine::Engine;
use dm_engine::exec::{ExecSpec, OutputChunk};
use tokio_util::io::{ReaderStream, SyncIoBridge};

use super::BackupError;
use super::encryption::FileContent;

/// How much of what a command says last is told.
const MAX_STDERR_BYTES: usize = 1_000;

/// A server's container.
#[derive(Debug, Clone, Copy)]
pub struct ServerContainer<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// The container.
    pub container: &'a str,
}

impl ServerContainer<'_> {
    /// Runs a command to its end, and answers what it wrote.
    ///
    /// # Errors
    /// [`BackupError::Command`] where it fails.
    pub(super) async fn run(&self, command: &[&str]) -> Result<Vec<u8>, BackupError> {
        self.run_as(None, command).await
    }

    /// As [`Server::run`], by this user of the container where it is not its own.
    pub(super) async fn run_as(
        &self,
        user: Option<&str>,
        command: &[&str],
    ) -> Result<Vec<u8>, BackupError> {
        let spec = ExecSpec {
            command: command.iter().map(|&part| part.to_owned()).collect(),
            user: user.map(str::to_owned),
            ..ExecSpec::default()
        };
        let mut running = self.engine.exec(self.container, &spec).await?;
        let (mut out, mut told) = (Vec::new(), Vec::new());
        while let Some(chunk) = running.next_chunk().await? {
            match chunk {
                OutputChunk::Stdout(bytes) => out.extend_from_slice(&bytes),
                OutputChunk::Stderr(bytes) => told.extend_from_slice(&bytes),
            }
        }
        if self.engine.exec_exit_code(&running).await? == 0 {
            return Ok(out);
        }
        let start = told.len().saturating_sub(MAX_STDERR_BYTES);
        Err(BackupError::Command {
            command: command.first().copied().unwrap_or_default().to_owned(),
            stderr: String::from_utf8_lossy(&told[start..]).trim().to_owned(),
        })
    }

    /// Copies files below a folder of the container.
    ///
    /// # Errors
    /// One can't be read, or the container's disk is full.
    pub(super) async fn copy_files_into(
        &self,
        files: Vec<(String, FileContent)>,
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
