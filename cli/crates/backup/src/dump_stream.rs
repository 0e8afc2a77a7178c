//! The files of a dump, brought out of the database's container while they are written.
//!
//! The server itself reads them: an archive of the engine's is of whole files, and can't
//! follow one that grows. That they come while pg_dump is at work leaves little to be put on
//! the disk when it is done.

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

/// How long to wait before it is looked again what there is.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// How much is read at a time, in bytes.
const CHUNK_BYTES: i64 = 256 << 10;
/// How many of those wait to be written at most.
const CHANNEL_CAPACITY: usize = 32;
/// How much of a file is written before it is put on the disk, in bytes.
const SYNC_AFTER_BYTES: usize = 8 << 20;

/// What the one who writes is told.
enum WriterMessage {
    /// The next bytes of a file.
    Chunk(String, Vec<u8>),
    /// All files are whole.
    EndOfDump,
}

/// All of a dump, of which some is still being written.
pub(super) struct DumpWriter(JoinHandle<Result<(), BackupError>>);

impl DumpWriter {
    /// Waits until all of it is on the disk and in the set.
    ///
    /// # Errors
    /// The disk is full, or the like.
    pub(super) async fn finish(self) -> Result<(), BackupError> {
        let written = self.0.await.map_err(io::Error::other);
        written.map_err(BackupError::file("write", "the backup"))?
    }
}

/// Collects what `dumping` writes below a folder of the container, each file from its first
/// byte to its last one, as files of a set below a folder of that.
///
/// # Errors
/// Those of `dumping`; the server can't read a file, or the disk is full.
pub(super) async fn stream_dump(
    session: &mut PgConnection,
    from: &str,
    partial: &Arc<PartialBackup>,
    to: &'static str,
    dumping: impl Future<Output = Result<(), BackupError>>,
) -> Result<DumpWriter, BackupError> {
    let (tell, told) = channel(CHANNEL_CAPACITY);
    let partial = Arc::clone(partial);
    let collected = DumpWriter(spawn_blocking(move || write_files(told, &partial, to)));
    match send_until_dumped(session, from, &tell, dumping).await {
        Ok(()) => {
            // Where nobody listens, the one who writes has failed, and says so when asked.
            let _ = tell.send(WriterMessage::EndOfDump).await;
            Ok(collected)
        }
        Err(error) => {
            drop(tell);
            collected.finish().await?;
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
    let mut places: BTreeMap<String, i64> = BTreeMap::new();
    loop {
        let ended = tokio::select! {
            ended = &mut dumping => { ended?; true }
            () = tokio::time::sleep(POLL_INTERVAL) => false,
            () = sender.closed() => return Ok(()),
        };
        if !send_new_chunks(session, from, &mut places, ended, sender).await? {
            return Ok(());
        }
        if ended {
            return Ok(());
        }
    }
}

/// Sends what has come to the files since they were looked at last. False where nobody listens.
async fn send_new_chunks(
    session: &mut PgConnection,
    from: &str,
    places: &mut BTreeMap<String, i64>,
    ended: bool,
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
        // A file is there even if nothing ever comes into it.
        let is_new = !places.contains_key(&name);
        let place = places.entry(name.clone()).or_default();
        // Half a piece can wait for the other half, while there is one to come.
        let least = if ended { 1 } else { CHUNK_BYTES };
        let mut due = is_new || size - *place >= least;
        while due {
            let length = CHUNK_BYTES.min(size - *place);
            names.push(name.clone());
            starts.push(*place);
            lengths.push(length);
            *place += length;
            due = size - *place >= least;
        }
    }
    // All of them by one question: a turn for each would cost as much as its bytes.
    let mut pieces = sqlx::query_as(
        "SELECT name, pg_read_binary_file($1 || '/' || name, start, length)
           FROM unnest($2::text[], $3::bigint[], $4::bigint[]) AS piece (name, start, length)",
    )
    .bind(from)
    .bind(&names)
    .bind(&starts)
    .bind(&lengths)
    .fetch(&mut *session);
    while let Some((name, bytes)) = pieces.try_next().await? {
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
    while let Some(told) = receiver.blocking_recv() {
        let WriterMessage::Chunk(name, bytes) = told else {
            let mut files = files.into_values();
            return files.try_for_each(|(file, _)| partial.finish_file(file));
        };
        let name = format!("{to}/{name}");
        let (file, unsettled) = match files.entry(name.clone()) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(place) => place.insert((partial.create_file(&name)?, 0)),
        };
        file.write_all(&bytes)
            .map_err(BackupError::file("write", partial.path().join(&name)))?;
        *unsettled += bytes.len();
        if *unsettled >= SYNC_AFTER_BYTES {
            file.sync_data()?;
            *unsettled = 0;
        }
    }
    // Nobody waits for the rest of it.
    Ok(())
}
