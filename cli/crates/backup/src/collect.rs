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
use super::partial::Partial;
use super::seal::Sealed;

/// How long to wait before it is looked again what there is.
const PAUSE: Duration = Duration::from_millis(200);
/// How much is read at a time, in bytes.
const PIECE: i64 = 256 << 10;
/// How many of those wait to be written at most.
const WAITING: usize = 32;
/// How much of a file is written before it is put on the disk, in bytes.
const SETTLED: usize = 8 << 20;

/// What the one who writes is told.
enum Told {
    /// The next bytes of a file.
    Bytes(String, Vec<u8>),
    /// All files are whole.
    All,
}

/// All of a dump, of which some is still being written.
pub(super) struct Collected(JoinHandle<Result<(), BackupError>>);

impl Collected {
    /// Waits until all of it is on the disk and in the set.
    ///
    /// # Errors
    /// The disk is full, or the like.
    pub(super) async fn written(self) -> Result<(), BackupError> {
        let written = self.0.await.map_err(io::Error::other);
        written.map_err(BackupError::file("write", "the backup"))?
    }
}

/// Collects what `dumping` writes below a folder of the container, each file from its first
/// byte to its last one, as files of a set below a folder of that.
///
/// # Errors
/// Those of `dumping`; the server can't read a file, or the disk is full.
pub(super) async fn collect(
    session: &mut PgConnection,
    from: &str,
    partial: &Arc<Partial>,
    to: &'static str,
    dumping: impl Future<Output = Result<(), BackupError>>,
) -> Result<Collected, BackupError> {
    let (tell, told) = channel(WAITING);
    let partial = Arc::clone(partial);
    let collected = Collected(spawn_blocking(move || write(told, &partial, to)));
    match read(session, from, &tell, dumping).await {
        Ok(()) => {
            // Where nobody listens, the one who writes has failed, and says so when asked.
            let _ = tell.send(Told::All).await;
            Ok(collected)
        }
        Err(error) => {
            drop(tell);
            collected.written().await?;
            Err(error)
        }
    }
}

async fn read(
    session: &mut PgConnection,
    from: &str,
    tell: &Sender<Told>,
    dumping: impl Future<Output = Result<(), BackupError>>,
) -> Result<(), BackupError> {
    let mut dumping = std::pin::pin!(dumping);
    let mut places: BTreeMap<String, i64> = BTreeMap::new();
    loop {
        let ended = tokio::select! {
            ended = &mut dumping => { ended?; true }
            () = tokio::time::sleep(PAUSE) => false,
            () = tell.closed() => return Ok(()),
        };
        if !send(session, from, &mut places, ended, tell).await? {
            return Ok(());
        }
        if ended {
            return Ok(());
        }
    }
}

/// Sends what has come to the files since they were looked at last. False where nobody listens.
async fn send(
    session: &mut PgConnection,
    from: &str,
    places: &mut BTreeMap<String, i64>,
    ended: bool,
    tell: &Sender<Told>,
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
        let least = if ended { 1 } else { PIECE };
        let mut due = is_new || size - *place >= least;
        while due {
            let length = PIECE.min(size - *place);
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
        if tell.send(Told::Bytes(name, bytes)).await.is_err() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn write(mut told: Receiver<Told>, partial: &Partial, to: &str) -> Result<(), BackupError> {
    let mut files: BTreeMap<String, (Sealed, usize)> = BTreeMap::new();
    while let Some(told) = told.blocking_recv() {
        let Told::Bytes(name, bytes) = told else {
            let mut files = files.into_values();
            return files.try_for_each(|(file, _)| partial.add(file));
        };
        let name = format!("{to}/{name}");
        let (file, unsettled) = match files.entry(name.clone()) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(place) => place.insert((partial.create(&name)?, 0)),
        };
        file.write_all(&bytes)
            .map_err(BackupError::file("write", partial.path().join(&name)))?;
        *unsettled += bytes.len();
        if *unsettled >= SETTLED {
            file.settle()?;
            *unsettled = 0;
        }
    }
    // Nobody waits for the rest of it.
    Ok(())
}
