//! Commands in the container of a server, and files that are copied into it.

use std::io;

use dm_engine::Engine;
use dm_engine::exec::{ExecSpec, OutputChunk};
use tokio_util::io::{ReaderStream, SyncIoBridge};

use super::BackupError;
use super::encryption::FileContent;

/// How many bytes of the end of the error output of a command an error includes.
const MAX_STDERR_BYTES: usize = 1_000;

/// The container of a server.
#[derive(Debug, Clone, Copy)]
pub struct ServerContainer<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// The name of the container.
    pub container: &'a str,
}

impl ServerContainer<'_> {
    /// Runs a command, waits for its end, and returns its standard output.
    ///
    /// # Errors
    /// Returns [`BackupError::Command`] if the command fails, and [`BackupError::Engine`] if the
    /// engine cannot run it.
    pub(super) async fn run(&self, command: &[&str]) -> Result<Vec<u8>, BackupError> {
        self.run_as(None, command).await
    }

    /// Runs a command like [`Self::run`], as a user of the container or as its default user.
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
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        while let Some(chunk) = running.next_chunk().await? {
            match chunk {
                OutputChunk::Stdout(bytes) => stdout.extend_from_slice(&bytes),
                OutputChunk::Stderr(bytes) => stderr.extend_from_slice(&bytes),
            }
        }
        if self.engine.exec_exit_code(&running).await? == 0 {
            return Ok(stdout);
        }
        let start = stderr.len().saturating_sub(MAX_STDERR_BYTES);
        Err(BackupError::Command {
            command: command.first().copied().unwrap_or_default().to_owned(),
            stderr: String::from_utf8_lossy(&stderr[start..]).trim().to_owned(),
        })
    }

    /// Copies files to a directory of the container.
    ///
    /// # Errors
    /// Returns [`BackupError::File`] if a file cannot be read, and [`BackupError::Engine`] if the
    /// engine cannot write it.
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
        let copied = self
            .engine
            .import_path(self.container, to, ReaderStream::new(read))
            .await;
        let packed = packing.await.map_err(io::Error::other).flatten();
        packed.map_err(BackupError::file("read", "the backup"))?;
        copied?;
        Ok(())
    }
}
