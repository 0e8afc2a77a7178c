//! A set of the running stack.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write as _};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use dm_components::lock_watch::LockWatch;
use dm_contracts::topology::dead_letter_queue;
use dm_messaging::MessagingError;
use dm_messaging::dead_letters::{self, DeadLetterFilter, browse, import_export};
use lapin::options::QueueDeclareOptions;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::FieldTable;
use lapin::{Connection, ErrorKind};
use serde_json::Value;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection};
use tokio::time::Instant;

use super::direct_connection::{self, DirectConnection};
use super::dump_stream::stream_dump;
use super::encryption::BackupFileWriter;
use super::manifest::{self, FORMAT_VERSION, Purpose};
use super::partial_backup::PartialBackup;
use super::row_counts::{self, CopyStatistics};
use super::server_access::ServerConnections;
use super::server_metadata::{self, ServerMetadata};
use super::{Backup, BackupError, BackupStore, Manifest, Recipients, dump, staged_database};

/// What a set is made of.
pub struct BackupSource<'a> {
    /// The servers.
    pub servers: &'a ServerConnections<'a>,
    /// To whom it is encrypted.
    pub recipients: &'a Recipients,
    /// Told of what is being done.
    pub report: &'a (dyn Fn(&str) + Sync),
}

/// Makes a set. Killed, it leaves a partial one, which the next call removes.
///
/// # Errors
/// A part of the stack is away, or the disk is full: there is no set.
pub async fn create(
    source: &BackupSource<'_>,
    store: &BackupStore,
    purpose: Purpose,
) -> Result<Backup, BackupError> {
    // Half of a restore is no state to come back to.
    if let Some(unfinished) = staged_database::unfinished_restore(&source.servers.options).await? {
        return Err(BackupError::UnfinishedRestore(unfinished));
    }
    store.remove_leftovers()?;
    let now = Utc::now();
    let id = store.unused_id(now);
    let partial = Arc::new(store.begin_backup(&id, source.recipients)?);
    let made = write_contents(source, &partial, id, now, purpose).await;
    match made.and_then(|manifest| store.complete_backup(&partial, manifest)) {
        Ok(set) => Ok(set),
        Err(error) => {
            // What a full disk needs most is room; the reason is told in any case.
            let _ = abort(source, store).await;
            Err(error)
        }
    }
}

/// Clears away what a call of [`create`] has left that failed or was given up.
///
/// # Errors
/// The container or the folder does not let it.
pub async fn abort(source: &BackupSource<'_>, store: &BackupStore) -> Result<(), BackupError> {
    let mut session = source.servers.options.connect().await?;
    dump::terminate_running(&mut session).await?;
    dump::remove_dump_files(&mut session).await?;
    store.remove_leftovers().map(drop)
}

async fn write_contents(
    source: &BackupSource<'_>,
    partial: &Arc<PartialBackup>,
    id: String,
    taken_at: DateTime<Utc>,
    purpose: Purpose,
) -> Result<Manifest, BackupError> {
    (source.report)("PostgreSQL, RabbitMQ, OpenLDAP and the realm");
    // Whatever of the others changes meanwhile is made up for by the account of events
    // after a restore.
    let (database, broker, directory, realm) = tokio::try_join!(
        timed(dump_database(source, partial, &id)),
        timed(export_broker(source, partial)),
        timed(export_directory(source, partial)),
        timed(export_realm(source, partial)),
    )?;
    let ((postgres, pending), (rabbitmq, dead_letters)) = (database.0, broker.0);
    let seconds = [
        ("database", database.1),
        ("broker", broker.1),
        ("directory", directory.1),
        ("realm", realm.1),
    ];
    Ok(Manifest {
        format: FORMAT_VERSION,
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
        recipients: source.recipients.to_strings(),
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
struct ExportedSnapshot {
    session: PgConnection,
    /// By what others know it.
    snapshot_id: String,
    /// Where the server's log was.
    lsn: String,
    /// The server's version.
    version: String,
}

impl ExportedSnapshot {
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
            snapshot_id: snapshot,
            lsn,
            version,
        })
    }
}

/// The whole database as it was at one instant, with what it held then.
async fn dump_database(
    source: &BackupSource<'_>,
    partial: &Arc<PartialBackup>,
    id: &str,
) -> Result<(manifest::PostgresManifest, i64), BackupError> {
    let (options, access) = (&source.servers.options, source.servers.access);
    // Tables are counted, which other sessions may have locked.
    let count_watch = LockWatch::new(options, "backup");
    let counting = count_watch.connect_options();
    let ended = async {
        let mut session = options.connect().await?;
        dump::terminate_running(&mut session).await?;
        Ok::<_, BackupError>(session)
    };
    let (state, near, notes, ended) = tokio::join!(
        ExportedSnapshot::export(&counting),
        DirectConnection::try_connect(source.servers.direct_options.as_ref()),
        CopyStatistics::start_recording(options),
        ended,
    );
    let (mut dumper, mut state) = (ended?, state?);
    let session = &mut state.session;
    let mut reader = direct_connection::connect_preferring_direct(near, options, session).await?;
    let side = ServerMetadata::read(session, &access.roles).await?;
    let side = serde_json::to_value(side).map_err(std::io::Error::from);
    let side = side.map_err(BackupError::file("write", server_metadata::FILE_NAME))?;
    write_json(partial, server_metadata::FILE_NAME, &side)?;
    let bytes: i64 = sqlx::query_scalar("SELECT pg_database_size(current_database())")
        .fetch_one(&mut *session)
        .await?;
    let request = dump::DumpRequest {
        superuser: access.superuser(),
        database: &access.database,
        snapshot_id: &state.snapshot_id,
        backup_id: id,
    };
    let folder = request.directory();
    let watch = LockWatch::for_application(options, dump::APPLICATION_NAME);
    let dumping = async {
        let dumped = watch.run_until_lock_timeout(access.lock, dump::run(&mut dumper, &request));
        dumped.await.map_err(BackupError::LockTimeout)?
    };
    let collecting = stream_dump(&mut reader, &folder, partial, "postgres", dumping);
    let pending = async {
        let counted = count_watch
            .run_until_lock_timeout(access.lock, count_pending_events(session, &access.schemas));
        counted.await.map_err(BackupError::LockTimeout)?
    };
    let (collected, pending) = tokio::try_join!(collecting, pending)?;
    let counted = row_counts::count_dumped_rows(session, &access.database, notes);
    let (rows, removed, written) = tokio::join!(
        count_watch.run_until_lock_timeout(access.lock, counted),
        dump::remove_dump_files(&mut dumper),
        collected.finish(),
    );
    written?;
    removed?;
    let rows = rows.map_err(BackupError::LockTimeout)?;
    let postgres = manifest::PostgresManifest {
        version: state.version,
        database: access.database.clone(),
        lsn: state.lsn,
        bytes: u64::try_from(bytes).unwrap_or_default(),
        rows: rows?,
    };
    Ok((postgres, pending))
}

async fn count_pending_events(
    session: &mut PgConnection,
    schemas: &[String],
) -> Result<i64, BackupError> {
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
async fn export_broker(
    source: &BackupSource<'_>,
    partial: &PartialBackup,
) -> Result<(String, BTreeMap<String, u64>), BackupError> {
    let servers = source.servers;
    let definitions = servers
        .management
        .export_definitions()
        .await
        .map_err(MessagingError::from)?;
    write_json(partial, "broker/definitions.json", &definitions)?;
    let queues = existing_queues(
        &source.servers.broker,
        dead_letters::resolve_queue_names(&[])?,
    )
    .await?;
    let name = "broker/dead-letters.jsonl.zst";
    let mut encoder = create_compressed(partial, name)?;
    import_export::export(
        &servers.broker,
        &queues,
        &DeadLetterFilter::default(),
        BufWriter::new(&mut encoder),
    )
    .await?;
    let sealed = encoder.finish().map_err(BackupError::file("write", name))?;
    partial.finish_file(sealed)?;
    let mut counts = BTreeMap::new();
    let groups =
        browse::group_letters(&servers.broker, &queues, &DeadLetterFilter::default()).await?;
    for group in groups {
        *counts.entry(group.queue).or_default() += group.count;
    }
    Ok((exported_version(&definitions, "rabbitmq_version"), counts))
}

/// Those of these work queues whose dead-letter queue is there: one that was deleted has no
/// dead letters.
async fn existing_queues(
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
            Err(error) if is_not_found(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(present)
}

fn is_not_found(error: &lapin::Error) -> bool {
    match error.kind() {
        ErrorKind::ProtocolError(error) => {
            *error.kind() == AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND)
        }
        _ => false,
    }
}

/// The directory's entries, with what the server keeps of each.
async fn export_directory(
    source: &BackupSource<'_>,
    partial: &PartialBackup,
) -> Result<(), BackupError> {
    let ldif = source.servers.directory.export().await?;
    let name = "directory.ldif.zst";
    let mut encoder = create_compressed(partial, name)?;
    let written = encoder.write_all(&ldif).and_then(|()| encoder.finish());
    partial.finish_file(written.map_err(BackupError::file("write", name))?)
}

/// The realm in a form that others can read, too. Answers Keycloak's version.
async fn export_realm(
    source: &BackupSource<'_>,
    partial: &PartialBackup,
) -> Result<String, BackupError> {
    let realm = source.servers.realm_admin().export_realm().await?;
    write_json(partial, "realm.json", &realm)?;
    Ok(exported_version(&realm, "keycloakVersion"))
}

/// What a server says of itself in what it exports.
fn exported_version(exported: &Value, name: &str) -> String {
    exported[name].as_str().unwrap_or_default().to_owned()
}

fn create_compressed(
    partial: &PartialBackup,
    name: &str,
) -> Result<zstd::Encoder<'static, BackupFileWriter>, BackupError> {
    let sealed = partial.create_file(name)?;
    zstd::Encoder::new(sealed, 0).map_err(BackupError::file("write", name))
}

fn write_json(partial: &PartialBackup, name: &str, value: &Value) -> Result<(), BackupError> {
    let mut sealed = partial.create_file(name)?;
    let written = serde_json::to_writer_pretty(&mut sealed, value).map_err(std::io::Error::from);
    written.map_err(BackupError::file("write", name))?;
    partial.finish_file(sealed)
}
