//! What a set has besides the database. Doing any of it twice does no harm, so that a
//! restore that was cut short is carried on with.

use sqlx::{AssertSqlSafe, Connection as _};

use super::broker::Letters;
use super::context::RestoreContext;
use super::quote::identifier;
use super::seal::Content;
use super::{BackupError, Opened, Server, database, refill};

/// Where the directory's server has its database.
const SERVED: &str = "/var/lib/ldap/db";
/// Where it has its configuration.
const CONFIGURATION: &str = "/etc/ldap/slapd.d";

/// Brings the broker's queues and topology back, and the directory where there is one, and
/// opens broker and database to the services. Answers the dead letters that were brought
/// back.
///
/// # Errors
/// One of them is away: nobody is let in.
pub(super) async fn restore(
    site: &RestoreContext<'_>,
    opened: &Opened<'_>,
) -> Result<Letters, BackupError> {
    (site.told)("restoring RabbitMQ: removing the messages of the replaced database");
    for connection in site.broker.close().await? {
        (site.warned)(&format!(
            "could not close a connection of {connection} to RabbitMQ"
        ));
    }
    site.broker.empty().await?;
    (site.told)("restoring the dead letters");
    let (letters, refused) = site.broker.load(opened).await?;
    refused.iter().for_each(|warning| (site.warned)(warning));
    (site.told)("publishing the undelivered events of the restored outboxes");
    let taken_at = opened.set.manifest.taken_at;
    let filled =
        refill::refill(&site.target, &site.broker, &site.events, &letters, taken_at).await?;
    for queue in filled {
        if queue.there > 0 {
            (site.told)(&format!(
                "{} events were published to {} again",
                queue.there, queue.queue
            ));
        }
        if queue.refused > 0 {
            (site.warned)(&format!(
                "{} refused {} events; publish them later: dm reconcile --repair",
                queue.queue, queue.refused
            ));
        }
    }
    if let Some(directory) = site.directory {
        (site.told)("restoring OpenLDAP");
        entries(opened, directory).await?;
    }
    (site.told)("allowing connections to RabbitMQ and PostgreSQL again");
    site.broker.open().await?;
    finish(site, opened).await?;
    Ok(letters)
}

/// The directory's entries: loaded beside those that are served, and put in their place.
async fn entries(opened: &Opened<'_>, directory: Server<'_>) -> Result<(), BackupError> {
    let ldif = zstd::decode_all(opened.read("directory.ldif.zst")?);
    let read = BackupError::file("read", opened.set.path.join("directory.ldif.zst"));
    let ldif = Content::of(ldif.map_err(read)?);
    let files = vec![("dm-restore.ldif".to_owned(), ldif)];
    directory.put(files, "/tmp").await?;
    let script = format!(
        "set -eu
         slapcat -n 1 > /tmp/dm-served.ldif || true
         if cmp -s /tmp/dm-served.ldif /tmp/dm-restore.ldif; then
             # Put in place by a call that was killed before it had the server see it.
             if [ -e {SERVED}.replaced ]; then echo changed; fi
             exit 0
         fi
         rm -rf /tmp/dm-slapd.d {SERVED}.restoring {SERVED}.replaced
         cp -r {CONFIGURATION} /tmp/dm-slapd.d
         grep -rl '^olcDbDirectory: {SERVED}$' /tmp/dm-slapd.d |
             xargs sed -i 's#^olcDbDirectory: .*#olcDbDirectory: {SERVED}.restoring#'
         mkdir -m 0700 {SERVED}.restoring
         slapadd -q -n 1 -F /tmp/dm-slapd.d -l /tmp/dm-restore.ldif
         chown -R openldap:openldap {SERVED}.restoring
         if [ -e {SERVED} ]; then mv {SERVED} {SERVED}.replaced; fi
         mv {SERVED}.restoring {SERVED}
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
        let sweep = format!("rm -rf {SERVED}.replaced");
        directory.run(&["sh", "-c", &sweep]).await?;
    }
    Ok(())
}

/// Notes that all of a restore is done and lets the services into the database, in one
/// transaction, and removes what was replaced.
async fn finish(site: &RestoreContext<'_>, opened: &Opened<'_>) -> Result<(), BackupError> {
    let target = &site.target;
    let limit = match database::server_side(opened)?.connection_limit() {
        // It was saved while another restore was under way.
        0 => -1,
        limit => limit,
    };
    let mut session = target.own_session().await?;
    // The planner knows nothing of what was restored.
    sqlx::raw_sql("ANALYZE").execute(&mut session).await?;
    sqlx::raw_sql(AssertSqlSafe(format!(
        "BEGIN;
         UPDATE dm_ops.restores SET finished_at = clock_timestamp() WHERE finished_at IS NULL;
         ALTER DATABASE {} CONNECTION LIMIT {limit};
         COMMIT",
        identifier(target.name)
    )))
    .execute(&mut session)
    .await?;
    session.close().await?;
    database::sweep(target).await
}
