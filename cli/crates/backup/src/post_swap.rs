//! The steps of a restore after the swap: broker and LDAP directory. Each step can be repeated,
//! so that an interrupted restore can be resumed.

use dm_core::units::pluralize;
use sqlx::{AssertSqlSafe, Connection as _};

use super::broker::DeadLetterIds;
use super::context::RestoreContext;
use super::encryption::FileContent;
use super::quote::quote_identifier;
use super::republish::RepublishCounts;
use super::{BackupError, OpenBackup, ServerContainer, republish, staged_database};

/// The directory of the database of OpenLDAP.
const LDAP_DATABASE_DIR: &str = "/var/lib/ldap/db";
/// The directory of the configuration of OpenLDAP.
const LDAP_CONFIG_DIR: &str = "/etc/ldap/slapd.d";

/// Restores the queues and topology of the broker and, if the stack has one, the LDAP directory.
/// Then allows the services to connect to broker and database again. Returns the restored dead
/// letters.
///
/// # Errors
/// Returns [`BackupError`] if a server cannot be reached. The services cannot connect then.
pub(super) async fn finish_after_swap(
    context: &RestoreContext<'_>,
    opened: &OpenBackup<'_>,
) -> Result<DeadLetterIds, BackupError> {
    (context.report)("restoring RabbitMQ: removing the messages of the replaced database");
    for connection in context.broker.revoke_access().await? {
        (context.warn)(&format!(
            "could not close a connection of {connection} to RabbitMQ"
        ));
    }
    context.broker.recreate_queues().await?;
    (context.report)("restoring the dead letters");
    let (letters, warnings) = context.broker.import_backup(opened).await?;
    warnings.iter().for_each(|warning| (context.warn)(warning));
    (context.report)("publishing the undelivered events of the restored outboxes");
    let taken_at = opened.backup.manifest.taken_at;
    let republished = republish::republish_events(
        &context.target,
        &context.broker,
        &context.outbox_source,
        &letters,
        taken_at,
    )
    .await?;
    for queue in republished {
        if queue.published > 0 {
            (context.report)(&format!(
                "published {} to {} again",
                pluralize(queue.published, "event"),
                queue.queue
            ));
        }
        if queue.rejected > 0 {
            (context.warn)(&refusal_warning(&queue, context.repair_command));
        }
    }
    if let Some(directory) = context.directory {
        (context.report)("restoring OpenLDAP");
        restore_directory(opened, directory).await?;
    }
    (context.report)("allowing connections to RabbitMQ and PostgreSQL again");
    context.broker.grant_access().await?;
    finish_restore(context, opened).await?;
    Ok(letters)
}

/// Returns the warning about the events that a queue has refused.
fn refusal_warning(queue: &RepublishCounts, repair_command: Option<&str>) -> String {
    let events = pluralize(queue.rejected, "event");
    let refused = format!("{} refused {events}", queue.queue);
    match repair_command {
        Some(command) => format!("{refused}; to publish again later: {command}"),
        None => refused,
    }
}

/// Loads the LDAP entries into a second database and swaps it with the one in use.
async fn restore_directory(
    opened: &OpenBackup<'_>,
    directory: ServerContainer<'_>,
) -> Result<(), BackupError> {
    let ldif = zstd::decode_all(opened.open_file("directory.ldif.zst")?);
    let read = BackupError::file("read", opened.backup.path.join("directory.ldif.zst"));
    let ldif = FileContent::from_bytes(ldif.map_err(read)?);
    let files = vec![("dm-restore.ldif".to_owned(), ldif)];
    directory.copy_files_into(files, "/tmp").await?;
    let script = format!(
        "set -eu
         slapcat -n 1 > /tmp/dm-served.ldif || true
         if cmp -s /tmp/dm-served.ldif /tmp/dm-restore.ldif; then
             # Swapped by a call that was killed before it restarted the server.
             if [ -e {LDAP_DATABASE_DIR}.replaced ]; then echo changed; fi
             exit 0
         fi
         rm -rf /tmp/dm-slapd.d {LDAP_DATABASE_DIR}.restoring {LDAP_DATABASE_DIR}.replaced
         cp -r {LDAP_CONFIG_DIR} /tmp/dm-slapd.d
         grep -rl '^olcDbDirectory: {LDAP_DATABASE_DIR}$' /tmp/dm-slapd.d |
             xargs sed -i 's#^olcDbDirectory: .*#olcDbDirectory: {LDAP_DATABASE_DIR}.restoring#'
         mkdir -m 0700 {LDAP_DATABASE_DIR}.restoring
         slapadd -q -n 1 -F /tmp/dm-slapd.d -l /tmp/dm-restore.ldif
         chown -R openldap:openldap {LDAP_DATABASE_DIR}.restoring
         if [ -e {LDAP_DATABASE_DIR} ]; then mv {LDAP_DATABASE_DIR} {LDAP_DATABASE_DIR}.replaced; fi
         mv {LDAP_DATABASE_DIR}.restoring {LDAP_DATABASE_DIR}
         echo changed"
    );
    let output = directory.run(&["sh", "-c", &script]).await?;
    directory
        .run(&[
            "sh",
            "-c",
            "rm -rf /tmp/dm-restore.ldif /tmp/dm-served.ldif /tmp/dm-slapd.d",
        ])
        .await?;
    if String::from_utf8_lossy(&output).trim() == "changed" {
        // slapd still serves the files that it has open.
        directory
            .engine
            .kill_container(directory.container, "KILL")
            .await?;
        directory
            .engine
            .start_container(directory.container)
            .await?;
        let remove = format!("rm -rf {LDAP_DATABASE_DIR}.replaced");
        directory.run(&["sh", "-c", &remove]).await?;
    }
    Ok(())
}

/// Records the restore as complete and allows connections to the database, in one transaction.
/// Then removes the replaced database.
async fn finish_restore(
    context: &RestoreContext<'_>,
    opened: &OpenBackup<'_>,
) -> Result<(), BackupError> {
    let target = &context.target;
    let limit = match staged_database::read_server_metadata(opened)?.connection_limit() {
        // The backup was created while another restore was running.
        0 => -1,
        limit => limit,
    };
    let mut session = target.connect().await?;
    // The planner has no statistics of the restored tables.
    sqlx::raw_sql("ANALYZE").execute(&mut session).await?;
    sqlx::raw_sql(AssertSqlSafe(format!(
        "BEGIN;
         UPDATE dm_ops.restores SET finished_at = clock_timestamp() WHERE finished_at IS NULL;
         ALTER DATABASE {} CONNECTION LIMIT {limit};
         COMMIT",
        quote_identifier(target.database)
    )))
    .execute(&mut session)
    .await?;
    session.close().await?;
    staged_database::drop_leftover_databases(target).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_warning_contains_the_repair_command_of_a_stack_that_is_kept() {
        let queue = RepublishCounts {
            queue: "billing",
            published: 0,
            rejected: 2,
        };
        assert_eq!(
            refusal_warning(&queue, Some("dm --instance review reconcile --repair")),
            "billing refused 2 events; to publish again later: \
             dm --instance review reconcile --repair"
        );
        assert_eq!(refusal_warning(&queue, None), "billing refused 2 events");
    }
}
