//! A set of the running stack.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use chrono::{DateTime, Utc};
use lapin::Connection;
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use tokio::time::Instant;

use super::manifest::{Counts, FORMAT, Postgres, Purpose};
use super::{BackupError, Manifest, Recipients, Server, Set, Store, store};
use crate::components::keycloak::admin::Admin;
use crate::components::rabbitmq::management::Management;
use crate::messaging::MessagingError;
use crate::messaging::dead::{self, Filter, copy, look};
use crate::messaging::stores::Store as Tables;

/// How much zstd makes of an effort: its own customary one.
pub(super) const COMPRESSION: &str = "zstd:3";
/// How many tables are written at a time.
pub(super) const JOBS: &str = "2";

/// The ways to what is copied.
pub struct Source<'a> {
    /// The project, as its containers say.
    pub project: &'a str,
    /// The instance.
    pub instance: &'a str,
    /// The database's container.
    pub postgres: Server<'a>,
    /// Its superuser.
    pub user: &'a str,
    /// The database's name.
    pub name: &'a str,
    /// The database.
    pub database: &'a PgPool,
    /// The services' tables.
    pub tables: &'a [Tables],
    /// The broker. Its turn at the dead letters must be had.
    pub broker: &'a Connection,
    /// The broker's interface.
    pub management: &'a Management,
    /// The directory's container.
    pub directory: Server<'a>,
    /// The realm.
    pub realm: Admin<'a>,
    /// To whom it is encrypted.
    pub recipients: &'a Recipients,
    /// Told of what is being done.
    pub told: &'a (dyn Fn(&str) + Sync),
}

/// Makes a set. Killed, it leaves a partial one, which the next call removes.
///
/// # Errors
/// A part of the stack is away, or the disk is full: there is no set.
pub async fn create(
    source: &Source<'_>,
    store: &Store,
    purpose: Purpose,
) -> Result<Set, BackupError> {
    store.sweep()?;
    let now = Utc::now();
    let id = now.format("%Y%m%dT%H%M%S%3fZ").to_string();
    let partial = store.begin(&id)?;
    let made = fill(source, &partial, id, now, purpose).await;
    match made.and_then(|manifest| store.complete(&partial, &manifest)) {
        Ok(set) => Ok(set),
        Err(error) => {
            // What a full disk needs most is room; the reason is told in any case.
            let _ = fs::remove_dir_all(&partial);
            Err(error)
        }
    }
}

async fn fill(
    source: &Source<'_>,
    partial: &Path,
    id: String,
    taken_at: DateTime<Utc>,
    purpose: Purpose,
) -> Result<Manifest, BackupError> {
    let mut seconds = BTreeMap::new();
    let mut took = |name: &str, began: Instant| {
        let rounded = (began.elapsed().as_secs_f64() * 1e3).round() / 1e3;
        seconds.insert(name.to_owned(), rounded);
    };
    (source.told)("the database, the broker, the directory and the realm");
    let began = Instant::now();
    // Whatever of the others changes meanwhile is made up for by the account of events
    // after a restore.
    let others = async {
        let dead_letters = broker(source, &partial.join("broker")).await?;
        directory(source, &partial.join("directory.ldif.zst")).await?;
        let realm = source.realm.export().await?;
        write_json(source, &partial.join("realm.json"), &realm)?;
        Ok(dead_letters)
    };
    let ((postgres, pending), dead_letters) =
        tokio::try_join!(database(source, partial, &id), others)?;
    took("servers", began);
    let began = Instant::now();
    let folder = partial.to_owned();
    let files = tokio::task::spawn_blocking(move || store::digests(&folder)).await;
    let files = files
        .map_err(std::io::Error::other)
        .map_err(BackupError::file("read", partial))??;
    took("digests", began);
    Ok(Manifest {
        format: FORMAT,
        id,
        purpose,
        taken_at,
        dm: env!("CARGO_PKG_VERSION").to_owned(),
        project: source.project.to_owned(),
        instance: source.instance.to_owned(),
        postgres,
        dead_letters,
        pending,
        recipients: source.recipients.texts(),
        seconds,
        files,
    })
}

/// The whole database as it was at one instant, with what it held then.
async fn database(
    source: &Source<'_>,
    partial: &Path,
    id: &str,
) -> Result<(Postgres, i64), BackupError> {
    let mut session = source.database.acquire().await?;
    // Keeps its state for as long as the dump takes, and lets others look at it.
    sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .execute(&mut *session)
        .await?;
    let (snapshot, lsn, version): (String, String, String) = sqlx::query_as(
        "SELECT pg_export_snapshot(), pg_current_wal_lsn()::text,
                split_part(current_setting('server_version'), ' ', 1)",
    )
    .fetch_one(&mut *session)
    .await?;
    let folder = format!("/tmp/dm-backup-{id}");
    let dumping = dump(source, &snapshot, &folder);
    let counting = async {
        let rows = counts(&mut session).await?;
        let pending = pending(&mut session, source.tables).await?;
        Ok::<_, BackupError>((rows, pending))
    };
    let dumped = tokio::try_join!(dumping, counting);
    let fetched = match dumped {
        Ok(((), counted)) => {
            let to = partial.join("postgres");
            fs::create_dir(&to).map_err(BackupError::file("make", &to))?;
            let fetched = source
                .postgres
                .fetch(&format!("{folder}/."), &to, source.recipients)
                .await;
            fetched.map(|()| counted)
        }
        Err(error) => Err(error),
    };
    let removed = source.postgres.run(&["rm", "-rf", &folder]).await;
    sqlx::raw_sql("ROLLBACK").execute(&mut *session).await?;
    let (rows, pending) = fetched?;
    removed?;
    let postgres = Postgres {
        version,
        database: source.name.to_owned(),
        lsn,
        rows,
    };
    Ok((postgres, pending))
}

async fn dump(source: &Source<'_>, snapshot: &str, folder: &str) -> Result<(), BackupError> {
    let compress = format!("--compress={COMPRESSION}");
    let command = [
        "pg_dump",
        "--format=directory",
        "--jobs",
        JOBS,
        &compress,
        // What is copied out of the container is synced where it comes to.
        "--no-sync",
        "--snapshot",
        snapshot,
        "--username",
        source.user,
        "--dbname",
        source.name,
        "--file",
        folder,
    ];
    // What a killed call has left there would be in the way.
    let sweep = "rm -rf /tmp/dm-backup-*";
    source.postgres.run(&["sh", "-c", sweep]).await?;
    source.postgres.run(&command).await.map(drop)
}

/// How many rows each table has that is not the server's own.
pub(super) async fn counts(session: &mut PgConnection) -> Result<Counts, BackupError> {
    let tables: Vec<(String, String)> = sqlx::query_as(
        "SELECT format('%s.%s', schemaname, tablename), format('%I.%I', schemaname, tablename)
           FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
          ORDER BY 1",
    )
    .fetch_all(&mut *session)
    .await?;
    let mut counts = Counts::new();
    for (name, quoted) in tables {
        let count: i64 =
            sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {quoted}")))
                .fetch_one(&mut *session)
                .await?;
        counts.insert(name, count);
    }
    Ok(counts)
}

async fn pending(session: &mut PgConnection, tables: &[Tables]) -> Result<i64, BackupError> {
    let mut pending = 0;
    for table in tables {
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(format!(
            "SELECT count(*) FROM \"{}\".outbox_events WHERE published_at IS NULL",
            table.schema
        )))
        .fetch_one(&mut *session)
        .await?;
        pending += count;
    }
    Ok(pending)
}

/// The topology, and the dead letters. What is in work queues is in the outboxes, too.
async fn broker(source: &Source<'_>, folder: &Path) -> Result<BTreeMap<String, u64>, BackupError> {
    fs::create_dir(folder).map_err(BackupError::file("make", folder))?;
    let definitions = source
        .management
        .definitions()
        .await
        .map_err(MessagingError::from)?;
    write_json(source, &folder.join("definitions.json"), &definitions)?;
    let queues = dead::queues(&[])?;
    let path = folder.join("dead-letters.jsonl.zst");
    let written = BackupError::file("write", &path);
    let sealed = source.recipients.create(&path)?;
    let mut encoder = zstd::Encoder::new(sealed, 0).map_err(written)?;
    copy::export(
        source.broker,
        &queues,
        &Filter::default(),
        BufWriter::new(&mut encoder),
    )
    .await?;
    let sealed = encoder.finish();
    sealed
        .map_err(BackupError::file("write", &path))?
        .finish()?;
    let mut counts = BTreeMap::new();
    let groups = look::groups(source.broker, &queues, &Filter::default()).await?;
    for group in groups {
        *counts.entry(group.queue).or_default() += group.count;
    }
    Ok(counts)
}

/// The directory's entries, with what the server keeps of each.
async fn directory(source: &Source<'_>, path: &Path) -> Result<(), BackupError> {
    let ldif = source.directory.run(&["slapcat", "-n", "1"]).await?;
    let sealed = source.recipients.create(path)?;
    let written = (|| {
        let mut encoder = zstd::Encoder::new(sealed, 0)?;
        encoder.write_all(&ldif)?;
        encoder.finish()
    })();
    written.map_err(BackupError::file("write", path))?.finish()
}

fn write_json(source: &Source<'_>, path: &Path, value: &Value) -> Result<(), BackupError> {
    let mut sealed = source.recipients.create(path)?;
    let written = serde_json::to_writer_pretty(&mut sealed, value).map_err(std::io::Error::from);
    written.map_err(BackupError::file("write", path))?;
    sealed.finish()
}
