//! A set of the running stack.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufWriter, Write as _};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use dm_contracts::topology::dead_letter_queue;
use lapin::options::QueueDeclareOptions;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::FieldTable;
use lapin::{Connection, ErrorKind};
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Postgres, Transaction};
use tokio::time::Instant;

use super::blockers::{Blockers, Waiting};
use super::collect::collect;
use super::counts::{self, Notes};
use super::manifest::{self, FORMAT, Purpose};
use super::near::{self, Near};
use super::partial::Partial;
use super::seal::Sealed;
use super::server_side::{self, ServerSide};
use super::{BackupError, Manifest, Recipients, Server, Set, Store};
use crate::components::keycloak::admin::Admin;
use crate::components::rabbitmq::management::Management;
use crate::messaging::MessagingError;
use crate::messaging::dead::{self, Filter, copy, look};
use crate::messaging::stores::Store as Tables;

/// How much zstd makes of an effort: its own customary one.
pub(super) const COMPRESSION: &str = "zstd:3";
/// How many tables are written at a time.
pub(super) const JOBS: &str = "2";
/// Where dumps are written in the database's container, and what an id follows.
const FOLDERS: &str = "/tmp/dm-backup-";
/// What the server knows them by.
const APPLICATION: &str = "dm-backup";
/// The user of that container as whom the server runs.
const SERVER: &str = "postgres";

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
    /// The roles that the configuration makes.
    pub own_roles: &'a BTreeSet<String>,
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
    let partial = Arc::new(store.begin(&id, source.recipients)?);
    let made = fill(source, &partial, id, now, purpose).await;
    match made.and_then(|manifest| store.complete(&partial, manifest)) {
        Ok(set) => Ok(set),
        Err(error) => {
            // What a full disk needs most is room; the reason is told in any case.
            let _ = abandon(source, store).await;
            Err(error)
        }
    }
}

/// Clears away what a call of [`create`] has left that failed or was given up.
///
/// # Errors
/// The container or the folder does not let it.
pub async fn abandon(source: &Source<'_>, store: &Store) -> Result<(), BackupError> {
    end(source).await?;
    sweep(source).await?;
    store.sweep().map(drop)
}

async fn fill(
    source: &Source<'_>,
    partial: &Arc<Partial>,
    id: String,
    taken_at: DateTime<Utc>,
    purpose: Purpose,
) -> Result<Manifest, BackupError> {
    (source.told)("the database, the broker, the directory and the realm");
    // Whatever of the others changes meanwhile is made up for by the account of events
    // after a restore.
    let (database, broker, directory, realm) = tokio::try_join!(
        timed(database(source, partial, &id)),
        timed(broker(source, partial)),
        timed(directory(source, partial)),
        timed(realm(source, partial)),
    )?;
    let ((postgres, pending), (rabbitmq, dead_letters)) = (database.0, broker.0);
    let seconds = [
        ("database", database.1),
        ("broker", broker.1),
        ("directory", directory.1),
        ("realm", realm.1),
    ];
    Ok(Manifest {
        format: FORMAT,
        id,
        purpose,
        taken_at,
        dm: env!("CARGO_PKG_VERSION").to_owned(),
        project: source.project.to_owned(),
        instance: source.instance.to_owned(),
        postgres,
        rabbitmq,
        keycloak: realm.0,
        dead_letters,
        pending,
        recipients: source.recipients.texts(),
        seconds: seconds.map(|(part, took)| (part.to_owned(), took)).into(),
        files: partial.files(),
    })
}

/// What a part gives, with how long it took, in seconds.
async fn timed<T>(
    part: impl Future<Output = Result<T, BackupError>>,
) -> Result<(T, f64), BackupError> {
    let began = Instant::now();
    let given = part.await?;
    let took = (began.elapsed().as_secs_f64() * 1e3).round() / 1e3;
    Ok((given, took))
}

/// A state of the database, which lasts as long as its session does and which others can look
/// at.
struct State {
    session: Transaction<'static, Postgres>,
    /// By what others know it.
    snapshot: String,
    /// Where the server's log was.
    lsn: String,
    /// The server's version.
    version: String,
}

impl State {
    async fn export(database: &PgPool) -> Result<Self, BackupError> {
        let mut session = database
            .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await?;
        // Tables are counted in it, and whose they are may keep them locked.
        sqlx::raw_sql("SET LOCAL lock_timeout = '30s'")
            .execute(&mut *session)
            .await?;
        let (snapshot, lsn, version) = sqlx::query_as(
            "SELECT pg_export_snapshot(), pg_current_wal_lsn()::text,
                    split_part(current_setting('server_version'), ' ', 1)",
        )
        .fetch_one(&mut *session)
        .await?;
        Ok(Self {
            session,
            snapshot,
            lsn,
            version,
        })
    }
}

/// The whole database as it was at one instant, with what it held then.
async fn database(
    source: &Source<'_>,
    partial: &Arc<Partial>,
    id: &str,
) -> Result<(manifest::Postgres, i64), BackupError> {
    let options = source.database.connect_options();
    let (state, near, notes, ended) = tokio::join!(
        State::export(source.database),
        Near::find(source.postgres, &options),
        Notes::begin(&options),
        end(source),
    );
    ended?;
    let mut state = state?;
    let session = &mut *state.session;
    let mut reader = near::session(near, &options, session).await?;
    let side = ServerSide::read(session, source.own_roles).await?;
    let side = serde_json::to_value(side).map_err(std::io::Error::from);
    let side = side.map_err(BackupError::file("write", server_side::FILE))?;
    write_json(partial, server_side::FILE, &side)?;
    let bytes: i64 = sqlx::query_scalar("SELECT pg_database_size(current_database())")
        .fetch_one(&mut *session)
        .await?;
    let folder = format!("{FOLDERS}{id}");
    let blockers = Blockers::watch(&options, Waiting::Application(APPLICATION));
    let dumping = blockers.during(dump(source, &state.snapshot, &folder));
    let collecting = collect(&mut reader, &folder, partial, "postgres", dumping);
    let pending = pending(session, source.tables);
    let (collected, pending) = tokio::try_join!(collecting, pending)?;
    let (rows, removed, written) = tokio::join!(
        counts::dumped(session, source.name, notes),
        sweep(source),
        collected.written(),
    );
    state.session.rollback().await?;
    written?;
    removed?;
    let postgres = manifest::Postgres {
        version: state.version,
        database: source.name.to_owned(),
        lsn: state.lsn,
        bytes: u64::try_from(bytes).unwrap_or_default(),
        rows: rows?,
    };
    Ok((postgres, pending))
}

/// Ends the dump of a call that was killed or given up, which goes on by itself.
async fn end(source: &Source<'_>) -> Result<(), BackupError> {
    sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1",
    )
    .bind(APPLICATION)
    .execute(source.database)
    .await?;
    Ok(())
}

/// Has the server, whose they are, remove what dumps there are beside it.
async fn sweep(source: &Source<'_>) -> Result<(), BackupError> {
    let sweep = format!("COPY (SELECT WHERE false) TO PROGRAM 'rm -rf {FOLDERS}*'");
    sqlx::raw_sql(AssertSqlSafe(sweep))
        .execute(source.database)
        .await?;
    Ok(())
}

async fn dump(source: &Source<'_>, snapshot: &str, folder: &str) -> Result<(), BackupError> {
    let compress = format!("--compress={COMPRESSION}");
    // What a killed call has left there would be in the way.
    let script = format!(
        "rm -rf {FOLDERS}* && \
         exec env PGAPPNAME={APPLICATION} PGOPTIONS='{}' \"$@\"",
        Notes::OPTIONS
    );
    let command = [
        "sh",
        "-c",
        &script,
        "sh",
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
    // As the server itself, which reads what is written.
    let dumped = source.postgres.run_as(Some(SERVER), &command).await;
    dumped.map(drop)
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
/// Answers the broker's version, and how many dead letters there are.
async fn broker(
    source: &Source<'_>,
    partial: &Partial,
) -> Result<(String, BTreeMap<String, u64>), BackupError> {
    let definitions = source
        .management
        .definitions()
        .await
        .map_err(MessagingError::from)?;
    write_json(partial, "broker/definitions.json", &definitions)?;
    let queues = present(source.broker, dead::queues(&[])?).await?;
    let name = "broker/dead-letters.jsonl.zst";
    let mut encoder = compressed(partial, name)?;
    copy::export(
        source.broker,
        &queues,
        &Filter::default(),
        BufWriter::new(&mut encoder),
    )
    .await?;
    let sealed = encoder.finish().map_err(BackupError::file("write", name))?;
    partial.add(sealed)?;
    let mut counts = BTreeMap::new();
    let groups = look::groups(source.broker, &queues, &Filter::default()).await?;
    for group in groups {
        *counts.entry(group.queue).or_default() += group.count;
    }
    Ok((version(&definitions, "rabbitmq_version"), counts))
}

/// Those of these work queues whose dead-letter queue is there: one that was deleted has no
/// dead letters.
async fn present(
    broker: &Connection,
    queues: Vec<&'static str>,
) -> Result<Vec<&'static str>, MessagingError> {
    let mut present = Vec::new();
    for queue in queues {
        // A refusal closes the channel that it came on.
        let channel = broker.create_channel().await?;
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let name = dead_letter_queue(queue);
        match channel
            .queue_declare(name.as_str().into(), options, FieldTable::default())
            .await
        {
            Ok(_) => {
                present.push(queue);
                channel.close(200, "done".into()).await?;
            }
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(present)
}

fn is_missing(error: &lapin::Error) -> bool {
    match error.kind() {
        ErrorKind::ProtocolError(error) => {
            *error.kind() == AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND)
        }
        _ => false,
    }
}

/// The directory's entries, with what the server keeps of each.
async fn directory(source: &Source<'_>, partial: &Partial) -> Result<(), BackupError> {
    let ldif = source.directory.run(&["slapcat", "-n", "1"]).await?;
    let name = "directory.ldif.zst";
    let mut encoder = compressed(partial, name)?;
    let written = encoder.write_all(&ldif).and_then(|()| encoder.finish());
    partial.add(written.map_err(BackupError::file("write", name))?)
}

/// The realm in a form that others can read, too. Answers Keycloak's version.
async fn realm(source: &Source<'_>, partial: &Partial) -> Result<String, BackupError> {
    let realm = source.realm.export().await?;
    write_json(partial, "realm.json", &realm)?;
    Ok(version(&realm, "keycloakVersion"))
}

/// What a server says of itself in what it exports.
fn version(exported: &Value, name: &str) -> String {
    exported[name].as_str().unwrap_or_default().to_owned()
}

fn compressed(
    partial: &Partial,
    name: &str,
) -> Result<zstd::Encoder<'static, Sealed>, BackupError> {
    let sealed = partial.create(name)?;
    zstd::Encoder::new(sealed, 0).map_err(BackupError::file("write", name))
}

fn write_json(partial: &Partial, name: &str, value: &Value) -> Result<(), BackupError> {
    let mut sealed = partial.create(name)?;
    let written = serde_json::to_writer_pretty(&mut sealed, value).map_err(std::io::Error::from);
    written.map_err(BackupError::file("write", name))?;
    partial.add(sealed)
}
