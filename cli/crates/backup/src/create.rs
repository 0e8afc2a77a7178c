//! The creation of a backup of the running stack.

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

/// The servers to back up, and how to write the backup.
pub struct BackupSource<'a> {
    /// The servers.
    pub servers: &'a ServerConnections<'a>,
    /// The recipients that the backup is encrypted for.
    pub recipients: &'a Recipients,
    /// Called with each step.
    pub report: &'a (dyn Fn(&str) + Sync),
}

/// Creates a backup. A killed call leaves a partial backup, which the next call removes.
///
/// # Errors
/// Returns [`BackupError::UnfinishedRestore`] if a restore has not been completed, and another
/// [`BackupError`] if a server cannot be reached or a file cannot be written. No backup remains.
pub async fn create(
    source: &BackupSource<'_>,
    store: &BackupStore,
    purpose: Purpose,
) -> Result<Backup, BackupError> {
    // The state within a restore is not worth restoring.
    if let Some(unfinished) = staged_database::unfinished_restore(&source.servers.options).await? {
        return Err(BackupError::UnfinishedRestore(unfinished));
    }
    store.remove_leftovers()?;
    let now = Utc::now();
    let id = store.unused_id(now);
    let partial = Arc::new(store.begin_backup(&id, source.recipients)?);
    let written = write_contents(source, &partial, id, now, purpose).await;
    match written.and_then(|manifest| store.complete_backup(&partial, manifest)) {
        Ok(backup) => Ok(backup),
        Err(error) => {
            // A full disk needs space. The first error is returned in any case.
            let _ = abort(source, store).await;
            Err(error)
        }
    }
}

/// Removes what a failed or cancelled call of [`create`] has left.
///
/// # Errors
/// Returns [`BackupError`] if the database cannot be reached or a file cannot be removed.
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
    // Changes of the other servers in the meantime are found by the reconciliation after a
    // restore.
    let (database, broker, directory, realm) = tokio::try_join!(
        timed(dump_database(source, partial, &id)),
        timed(export_broker(source, partial)),
        timed(export_directory(source, partial)),
        timed(export_realm(source, partial)),
    )?;
    let ((postgres, unpublished), (rabbitmq, dead_letters)) = (database.0, broker.0);
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
        pending: unpublished,
        recipients: source.recipients.to_strings(),
        seconds: seconds.map(|(part, took)| (part.to_owned(), took)).into(),
        files: partial.files(),
    })
}

/// Returns the result of a part and its duration in seconds.
async fn timed<T>(
    part: impl Future<Output = Result<T, BackupError>>,
) -> Result<(T, f64), BackupError> {
    let started_at = Instant::now();
    let result = part.await?;
    let seconds = (started_at.elapsed().as_secs_f64() * 1e3).round() / 1e3;
    Ok((result, seconds))
}

/// A snapshot of the database that other sessions can read as long as this session lasts.
struct ExportedSnapshot {
    session: PgConnection,
    /// The id by which other sessions import the snapshot.
    snapshot_id: String,
    /// The position of the write-ahead log.
    lsn: String,
    /// The version of the server.
    version: String,
}

impl ExportedSnapshot {
    async fn export(options: &PgConnectOptions) -> Result<Self, BackupError> {
        let mut session = options.connect().await?;
        sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .execute(&mut session)
            .await?;
        let (snapshot_id, lsn, version) = sqlx::query_as(
            "SELECT pg_export_snapshot(), pg_current_wal_lsn()::text,
                    split_part(current_setting('server_version'), ' ', 1)",
        )
        .fetch_one(&mut session)
        .await?;
        Ok(Self {
            session,
            snapshot_id,
            lsn,
            version,
        })
    }
}

/// Dumps the whole database from one snapshot. Returns its manifest and the number of
/// unpublished events.
async fn dump_database(
    source: &BackupSource<'_>,
    partial: &Arc<PartialBackup>,
    id: &str,
) -> Result<(manifest::PostgresManifest, i64), BackupError> {
    let (options, access) = (&source.servers.options, source.servers.access);
    // Other sessions may have locked tables whose rows are counted.
    let count_watch = LockWatch::new(options, "backup");
    let count_options = count_watch.connect_options();
    let connecting = async {
        let mut session = options.connect().await?;
        dump::terminate_running(&mut session).await?;
        Ok::<_, BackupError>(session)
    };
    let (snapshot, direct, statistics, dumper) = tokio::join!(
        ExportedSnapshot::export(&count_options),
        DirectConnection::try_connect(source.servers.direct_options.as_ref()),
        CopyStatistics::start_recording(options),
        connecting,
    );
    let (mut dumper, mut snapshot) = (dumper?, snapshot?);
    let session = &mut snapshot.session;
    let mut reader = direct_connection::connect_preferring_direct(direct, options, session).await?;
    let metadata = ServerMetadata::read(session, &access.roles).await?;
    let metadata = serde_json::to_value(metadata).map_err(std::io::Error::from);
    let metadata = metadata.map_err(BackupError::file("write", server_metadata::FILE_NAME))?;
    write_json(partial, server_metadata::FILE_NAME, &metadata)?;
    let bytes: i64 = sqlx::query_scalar("SELECT pg_database_size(current_database())")
        .fetch_one(&mut *session)
        .await?;
    let request = dump::DumpRequest {
        superuser: access.superuser(),
        database: &access.database,
        snapshot_id: &snapshot.snapshot_id,
        backup_id: id,
    };
    let directory = request.directory();
    let watch = LockWatch::for_application(options, dump::APPLICATION_NAME);
    let dumping = async {
        let dumped = watch.run_until_lock_timeout(access.lock, dump::run(&mut dumper, &request));
        dumped.await.map_err(BackupError::LockTimeout)?
    };
    let streaming = stream_dump(&mut reader, &directory, partial, "postgres", dumping);
    let counting = async {
        let counted = count_watch
            .run_until_lock_timeout(access.lock, count_pending_events(session, &access.schemas));
        counted.await.map_err(BackupError::LockTimeout)?
    };
    let (writer, unpublished) = tokio::try_join!(streaming, counting)?;
    let counted = row_counts::count_dumped_rows(session, &access.database, statistics);
    let (rows, removed, written) = tokio::join!(
        count_watch.run_until_lock_timeout(access.lock, counted),
        dump::remove_dump_files(&mut dumper),
        writer.finish(),
    );
    written?;
    removed?;
    let rows = rows.map_err(BackupError::LockTimeout)?;
    let postgres = manifest::PostgresManifest {
        version: snapshot.version,
        database: access.database.clone(),
        lsn: snapshot.lsn,
        bytes: u64::try_from(bytes).unwrap_or_default(),
        rows: rows?,
    };
    Ok((postgres, unpublished))
}

/// Counts the events that have not been published yet.
async fn count_pending_events(
    session: &mut PgConnection,
    schemas: &[String],
) -> Result<i64, BackupError> {
    let mut total = 0;
    for schema in schemas {
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(format!(
            "SELECT count(*) FROM \"{schema}\".outbox_events WHERE published_at IS NULL"
        )))
        .fetch_one(&mut *session)
        .await?;
        total += count;
    }
    Ok(total)
}

/// Exports the topology and the dead letters. Messages in work queues are also in the outboxes.
/// Returns the version of the broker and the number of dead letters by work queue.
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
    let file = encoder.finish().map_err(BackupError::file("write", name))?;
    partial.finish_file(file)?;
    let mut counts = BTreeMap::new();
    let groups =
        browse::group_letters(&servers.broker, &queues, &DeadLetterFilter::default()).await?;
    for group in groups {
        *counts.entry(group.queue).or_default() += group.count;
    }
    Ok((exported_version(&definitions, "rabbitmq_version"), counts))
}

/// Returns the work queues whose dead-letter queue exists: a deleted queue has no dead letters.
async fn existing_queues(
    broker: &Connection,
    queues: Vec<&'static str>,
) -> Result<Vec<&'static str>, MessagingError> {
    let mut existing = Vec::new();
    for queue in queues {
        // The broker closes the channel on which it refuses a declaration.
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
                existing.push(queue);
                channel.close(200, "done".into()).await?;
            }
            Err(error) if is_not_found(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(existing)
}

fn is_not_found(error: &lapin::Error) -> bool {
    match error.kind() {
        ErrorKind::ProtocolError(error) => {
            *error.kind() == AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND)
        }
        _ => false,
    }
}

/// Exports the entries of the LDAP directory with their operational attributes.
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

/// Exports the realm as JSON that other tools can read. Returns the version of Keycloak.
async fn export_realm(
    source: &BackupSource<'_>,
    partial: &PartialBackup,
) -> Result<String, BackupError> {
    let realm = source.servers.realm_admin().export_realm().await?;
    write_json(partial, "realm.json", &realm)?;
    Ok(exported_version(&realm, "keycloakVersion"))
}

/// Returns the version that a server writes into its export.
fn exported_version(exported: &Value, name: &str) -> String {
    exported[name].as_str().unwrap_or_default().to_owned()
}

fn create_compressed(
    partial: &PartialBackup,
    name: &str,
) -> Result<zstd::Encoder<'static, BackupFileWriter>, BackupError> {
    let file = partial.create_file(name)?;
    zstd::Encoder::new(file, 0).map_err(BackupError::file("write", name))
}

fn write_json(partial: &PartialBackup, name: &str, value: &Value) -> Result<(), BackupError> {
    let mut file = partial.create_file(name)?;
    let written = serde_json::to_writer_pretty(&mut file, value).map_err(std::io::Error::from);
    written.map_err(BackupError::file("write", name))?;
    partial.finish_file(file)
}
