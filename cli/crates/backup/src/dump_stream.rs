//! The files of a dump, copied out of the container of the database while they are written.
//!
//! The server itself reads them: an archive of the engine contains whole files and cannot follow
//! a file that grows. Because files are copied while pg_dump runs, little is left to write to
//! disk when it ends.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use sqlx::PgConnection;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::{JoinHandle, spawn_blocking};

use super::BackupError;
use super::encryption::BackupFileWriter;
use super::partial_backup::PartialBackup;

/// How often the files of the dump are checked for new bytes.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// The number of bytes that are read at a time.
const CHUNK_BYTES: i64 = 256 << 10;
/// The maximum number of chunks that wait to be written.
const CHANNEL_CAPACITY: usize = 32;
/// The number of bytes of a file after which it is synced.
const SYNC_AFTER_BYTES: usize = 8 << 20;

/// A message to the task that writes the files.
enum WriterMessage {
    /// The next bytes of a file.
    Chunk(String, Vec<u8>),
    /// The dump is complete.
    EndOfDump,
}

/// The task that writes the files of a dump.
pub(super) struct DumpWriter(JoinHandle<Result<(), BackupError>>);

impl DumpWriter {
    /// Waits until all files are on disk and in the backup.
    ///
    /// # Errors
    /// Returns [`BackupError::File`] if a file cannot be written.
    pub(super) async fn finish(self) -> Result<(), BackupError> {
        let written = self.0.await.map_err(io::Error::other);
        written.map_err(BackupError::file("write", "the backup"))?
    }
}

/// Copies the files that `dumping` writes to the directory `from` of the container to the
/// directory `to` of a backup.
///
/// # Errors
/// Returns the errors of `dumping`, [`BackupError::Sql`] if the server cannot read a file, and
/// [`BackupError::File`] if a file cannot be written.
pub(super) async fn stream_dump(
    session: &mut PgConnection,
    from: &str,
    partial: &Arc<PartialBackup>,
    to: &'static str,
    dumping: impl Future<Output = Result<(), BackupError>>,
) -> Result<DumpWriter, BackupError> {
    let (sender, receiver) = channel(CHANNEL_CAPACITY);
    let partial = Arc::clone(partial);
    let writer = DumpWriter(spawn_blocking(move || write_files(receiver, &partial, to)));
    match send_until_dumped(session, from, &sender, dumping).await {
        Ok(()) => {
            // If the channel is closed, the writer has failed, and `finish` returns its error.
            let _ = sender.send(WriterMessage::EndOfDump).await;
            Ok(writer)
        }
        Err(error) => {
            drop(sender);
            writer.finish().await?;
            Err(error)
        }
    }
}

async fn send_until_dumped(
    session: &mut PgConnection,
    from: &str,
    sender: &Sender<WriterMessage>,
    dumping: impl Future<Output = Result<(), BackupError>>,
) -> Result<(), BackupError> {
    let mut dumping = std::pin::pin!(dumping);
    let mut positions: BTreeMap<String, i64> = BTreeMap::new();
    loop {
        let has_ended = tokio::select! {
            result = &mut dumping => { result?; true }
            () = tokio::time::sleep(POLL_INTERVAL) => false,
            () = sender.closed() => return Ok(()),
        };
        if !send_new_chunks(session, from, &mut positions, has_ended, sender).await? {
            return Ok(());
        }
        if has_ended {
            return Ok(());
        }
    }
}

/// Sends the bytes that were appended to the files since the last call. Returns `false` if the
/// channel is closed.
async fn send_new_chunks(
    session: &mut PgConnection,
    from: &str,
    positions: &mut BTreeMap<String, i64>,
    has_ended: bool,
    sender: &Sender<WriterMessage>,
) -> Result<bool, BackupError> {
    let files: Vec<(String, i64)> = sqlx::query_as(
        "SELECT name, (pg_stat_file($1 || '/' || name)).size
           FROM pg_ls_dir($1, true, false) AS name ORDER BY name",
    )
    .bind(from)
    .fetch_all(&mut *session)
    .await?;
    let (mut names, mut starts, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
    for (name, size) in files {
        // A file is created even if it stays empty.
        let is_new = !positions.contains_key(&name);
        let position = positions.entry(name.clone()).or_default();
        // An incomplete chunk waits for its other bytes as long as the dump runs.
        let minimum = if has_ended { 1 } else { CHUNK_BYTES };
        let mut is_due = is_new || size - *position >= minimum;
        while is_due {
            let length = CHUNK_BYTES.min(size - *position);
            names.push(name.clone());
            starts.push(*position);
            lengths.push(length);
            *position += length;
            is_due = size - *position >= minimum;
        }
    }
    // One query for all chunks: a round trip for each would cost as much as its bytes.
    let mut chunks = sqlx::query_as(
        "SELECT name, pg_read_binary_file($1 || '/' || name, start, length)
           FROM unnest($2::text[], $3::bigint[], $4::bigint[]) AS piece (name, start, length)",
    )
    .bind(from)
    .bind(&names)
    .bind(&starts)
    .bind(&lengths)
    .fetch(&mut *session);
    while let Some((name, bytes)) = chunks.try_next().await? {
        if sender
            .send(WriterMessage::Chunk(name, bytes))
            .await
            .is_err()
        {
            return Ok(false);
        }
    }
    Ok(true)
}

fn write_files(
    mut receiver: Receiver<WriterMessage>,
    partial: &PartialBackup,
    to: &str,
) -> Result<(), BackupError> {
    let mut files: BTreeMap<String, (BackupFileWriter, usize)> = BTreeMap::new();
    while let Some(message) = receiver.blocking_recv() {
        let WriterMessage::Chunk(name, bytes) = message else {
            let mut files = files.into_values();
            return files.try_for_each(|(file, _)| partial.finish_file(file));
        };
        let name = format!("{to}/{name}");
        let (file, unsynced_bytes) = match files.entry(name.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert((partial.create_file(&name)?, 0)),
        };
        file.write_all(&bytes)
            .map_err(BackupError::file("write", partial.path().join(&name)))?;
        *unsynced_bytes += bytes.len();
        if *unsynced_bytes >= SYNC_AFTER_BYTES {
            file.sync_data()?;
            *unsynced_bytes = 0;
        }
    }
    // The dump was given up.
    Ok(())
}
