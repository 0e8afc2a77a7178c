//! What a set has besides the database. Doing any of it twice does no harm, so that a
//! restore that was cut short is carried on with.

use std::io::BufReader;

use dm_contracts::topology::{Tier, WORK_QUEUES, dead_letter_queue, retry_queue};
use lapin::Connection;
use lapin::options::QueuePurgeOptions;
use serde_json::Value;
use sqlx::ConnectOptions as _;

use super::database::Target;
use super::seal::Content;
use super::{BackupError, Opened, Server, database};
use crate::components::rabbitmq::management::Management;
use crate::messaging::MessagingError;
use crate::messaging::dead::copy;

/// Brings the broker's queues and topology back, and the directory where there is one.
///
/// # Errors
/// One of them is away.
pub(super) async fn restore(
    opened: &Opened<'_>,
    broker: &Connection,
    management: &Management,
    directory: Option<Server<'_>>,
) -> Result<(), BackupError> {
    // What is in the queues is of the database that was replaced: the outboxes of the
    // restored one know what should be there.
    purge(broker).await?;
    let definitions = serde_json::from_reader(opened.read("broker/definitions.json")?);
    let read = BackupError::file("read", opened.set.path.join("broker"));
    let definitions: Value = definitions.map_err(std::io::Error::from).map_err(read)?;
    let declared = management.declare(&definitions).await;
    declared.map_err(MessagingError::from)?;
    dead_letters(opened, broker).await?;
    if let Some(directory) = directory {
        entries(opened, directory).await?;
    }
    Ok(())
}

async fn purge(broker: &Connection) -> Result<(), BackupError> {
    let channel = broker
        .create_channel()
        .await
        .map_err(MessagingError::from)?;
    for queue in WORK_QUEUES {
        let mut names = vec![queue.name.to_owned(), dead_letter_queue(queue.name)];
        if queue.consumer.is_some() {
            names.extend(Tier::ALL.map(|tier| retry_queue(queue.name, tier)));
        }
        for name in names {
            channel
                .queue_purge(name.into(), QueuePurgeOptions::default())
                .await
                .map_err(MessagingError::from)?;
        }
    }
    Ok(())
}

async fn dead_letters(opened: &Opened<'_>, broker: &Connection) -> Result<(), BackupError> {
    let decoder = zstd::Decoder::new(opened.read("broker/dead-letters.jsonl.zst")?);
    let read = BackupError::file("read", opened.set.path.join("broker"));
    let lines = copy::parse(BufReader::new(decoder.map_err(read)?))?;
    copy::import(broker, &lines).await?;
    Ok(())
}

/// The directory's entries: loaded beside those that are served, and put in their place.
async fn entries(opened: &Opened<'_>, directory: Server<'_>) -> Result<(), BackupError> {
    const CONFIGURATION: &str = "/etc/ldap/slapd.d";
    let ldif = zstd::decode_all(opened.read("directory.ldif.zst")?);
    let read = BackupError::file("read", opened.set.path.join("directory.ldif.zst"));
    let ldif = Content::of(ldif.map_err(read)?);
    let files = vec![("dm-restore.ldif".to_owned(), ldif)];
    directory.put(files, "/tmp").await?;
    let served = "/var/lib/ldap/db";
    let script = format!(
        "set -eu
         slapcat -n 1 > /tmp/dm-served.ldif || true
         if cmp -s /tmp/dm-served.ldif /tmp/dm-restore.ldif; then
             # Put in place by a call that was killed before it had the server see it.
             if [ -e {served}.replaced ]; then echo changed; fi
             exit 0
         fi
         rm -rf /tmp/dm-slapd.d {served}.restoring {served}.replaced
         cp -r {CONFIGURATION} /tmp/dm-slapd.d
         grep -rl '^olcDbDirectory: {served}$' /tmp/dm-slapd.d |
             xargs sed -i 's#^olcDbDirectory: .*#olcDbDirectory: {served}.restoring#'
         mkdir -m 0700 {served}.restoring
         slapadd -q -n 1 -F /tmp/dm-slapd.d -l /tmp/dm-restore.ldif
         chown -R openldap:openldap {served}.restoring
         if [ -e {served} ]; then mv {served} {served}.replaced; fi
         mv {served}.restoring {served}
         echo changed"
    );
    let told = directory.run(&["sh", "-c", &script]).await?;
    directory
        .run(&[
            "sh",
            "-c",
            "rm -rf /tmp/dm-restore.ldif /tmp/dm-served.ldif /tmp/dm-slapd.d",
        ])
        .await?;
    if String::from_utf8_lossy(&told).trim() == "changed" {
        // It still serves the files that it has opened.
        directory.engine.kill(directory.container, "KILL").await?;
        directory.engine.start(directory.container).await?;
        let sweep = format!("rm -rf {served}.replaced");
        directory.run(&["sh", "-c", &sweep]).await?;
    }
    Ok(())
}

/// Notes that all of a restore is done, and removes what was replaced.
///
/// # Errors
/// The server fails.
pub(super) async fn finish(target: &Target<'_>) -> Result<(), BackupError> {
    let mut session = target.options.clone().connect().await?;
    sqlx::query(
        "UPDATE dm_ops.restores SET finished_at = clock_timestamp() WHERE finished_at IS NULL",
    )
    .execute(&mut session)
    .await?;
    // The planner knows nothing of what was restored.
    sqlx::raw_sql("ANALYZE").execute(&mut session).await?;
    database::sweep(target).await
}
