//! A set of the running stack.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write as _};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use dm_components::locks::Watch;
use dm_contracts::topology::dead_letter_queue;
use dm_messaging::MessagingError;
use dm_messaging::dead::{self, Filter, copy, look};
use lapin::options::QueueDeclareOptions;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::FieldTable;
use lapin::{Connection, ErrorKind};
use serde_json::Value;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection};
use tokio::time::Instant;

use super::access::Servers;
use super::collect::collect;
use super::counts::{self, Notes};
use super::manifest::{self, FORMAT, Purpose};
use super::near::{self, Near};
use super::partial::Partial;
use super::seal::Sealed;
use super::server_side::{self, ServerSide};
use super::{BackupError, Manifest, Recipients, Set, Store, database, dump};

/// What a set is made of.
pub struct Source<'a> {
    /// The servers.
    pub servers: &'a Servers<'a>,
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
    // Half of a restore is no state to come back to.
    if let Some(unfinished) = database::unfinished(&source.servers.options).await? {
        return Err(BackupError::Unfinished(unfinished));
    }
    store.sweep()?;
    let now = Utc::now();
    let id = store.free_id(now);
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
    let mut session = source.servers.options.connect().await?;
    dump::end(&mut session).await?;
    dump::sweep(&mut session).await?;
    store.sweep().map(drop)
}

async fn fill(
    source: &Source<'_>,
    partial: &Arc<Partial>,
    id: String,
    taken_at: DateTime<Utc>,
    purpose: Purpose,
) -> Result<Manifest, BackupError> {
    (source.told)("PostgreSQL, RabbitMQ, OpenLDAP and the realm");
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
        project: source.servers.access.project.clone(),
        instance: source.servers.access.instance.clone(),
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
    session: PgConnection,
    /// By what others know it.
    snapshot: String,
    /// Where the server's log was.
    lsn: String,
    /// The server's version.
    version: String,
}

impl State {
    async fn export(options: &PgConnectOptions) -> Result<Self, BackupError> {
        let mut session = options.connect().await?;
        sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .execute(&mut session)
            .await?;
        let (snapshot, lsn, version) = sqlx::query_as(
            "SELECT pg_export_snapshot(), pg_current_wal_lsn()::text,
                    split_part(current_setting('server_version'), ' ', 1)",
        )
        .fetch_one(&mut session)
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
    let (options, access) = (&source.servers.options, source.servers.access);
    // Tables are counted, which other sessions may have locked.
    let count_watch = Watch::new(options, "backup");
    let counting = count_watch.options();
    let ended = async {
        let mut session = options.connect().await?;
        dump::end(&mut session).await?;
        Ok::<_, BackupError>(session)
    };
    let (state, near, notes, ended) = tokio::join!(
        State::export(&counting),
        Near::find(source.servers.near.as_ref()),
        Notes::begin(options),
        ended,
    );
    let (mut dumper, mut state) = (ended?, state?);
    let session = &mut state.session;
    let mut reader = near::session(near, options, session).await?;
    let side = ServerSide::read(session, &access.roles).await?;
    let side = serde_json::to_value(side).map_err(std::io::Error::from);
    let side = side.map_err(BackupError::file("write", server_side::FILE))?;
    write_json(partial, server_side::FILE, &side)?;
    let bytes: i64 = sqlx::query_scalar("SELECT pg_database_size(current_database())")
        .fetch_one(&mut *session)
        .await?;
    let request = dump::Request {
        user: access.user(),
        database: &access.database,
        snapshot: &state.snapshot,
        id,
    };
    let folder = request.folder();
    let watch = Watch::named(options, dump::APPLICATION);
    let dumping = async {
        let dumped = watch.while_free(access.lock, dump::run(&mut dumper, &request));
        dumped.await.map_err(BackupError::Blocked)?
    };
    let collecting = collect(&mut reader, &folder, partial, "postgres", dumping);
    let pending = async {
        let counted = count_watch.while_free(access.lock, pending(session, &access.schemas));
        counted.await.map_err(BackupError::Blocked)?
    };
    let (collected, pending) = tokio::try_join!(collecting, pending)?;
    let counted = counts::dumped(session, &access.database, notes);
    let (rows, removed, written) = tokio::join!(
        count_watch.while_free(access.lock, counted),
        dump::sweep(&mut dumper),
        collected.written(),
    );
    written?;
    removed?;
    let rows = rows.map_err(BackupError::Blocked)?;
    let postgres = manifest::Postgres {
        version: state.version,
        database: access.database.clone(),
        lsn: state.lsn,
        bytes: u64::try_from(bytes).unwrap_or_default(),
        rows: rows?,
    };
    Ok((postgres, pending))
}

async fn pending(session: &mut PgConnection, schemas: &[String]) -> Result<i64, BackupError> {
    let mut pending = 0;
    for schema in schemas {
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(format!(
            "SELECT count(*) FROM \"{schema}\".outbox_events WHERE published_at IS NULL"
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
    let servers = source.servers;
    let definitions = servers
        .management
        .definitions()
        .await
        .map_err(MessagingError::from)?;
    write_json(partial, "broker/definitions.json", &definitions)?;
    let queues = present(&source.servers.broker, dead::queues(&[])?).await?;
    let name = "broker/dead-letters.jsonl.zst";
    let mut encoder = compressed(partial, name)?;
    copy::export(
        &servers.broker,
        &queues,
        &Filter::default(),
        BufWriter::new(&mut encoder),
    )
    .await?;
    let sealed = encoder.finish().map_err(BackupError::file("write", name))?;
    partial.add(sealed)?;
    let mut counts = BTreeMap::new();
    let groups = look::groups(&servers.broker, &queues, &Filter::default()).await?;
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
    let ldif = source.servers.directory.export().await?;
    let name = "directory.ldif.zst";
    let mut encoder = compressed(partial, name)?;
    let written = encoder.write_all(&ldif).and_then(|()| encoder.finish());
    partial.add(written.map_err(BackupError::file("write", name))?)
}

/// The realm in a form that others can read, too. Answers Keycloak's version.
async fn realm(source: &Source<'_>, partial: &Partial) -> Result<String, BackupError> {
    let realm = source.servers.realm().export().await?;
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
