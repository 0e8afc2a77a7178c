//! The broker of a restored database: no message of the replaced database, and all events that the
//! restored database has published and no consumer has processed.
//!
//! First, the permissions of the services' users are revoked and their connections closed, also
//! those of a service that runs outside the stack. Queues are then deleted and declared again,
//! retry queues first: unacknowledged messages and messages on their way back from a retry queue
//! are removed with them. Permissions are granted last ([`RestoreBroker::grant_access`]).

use std::collections::{BTreeMap, HashSet};
use std::io::BufReader;
use std::time::Duration;

use dm_components::rabbitmq::management::ManagementClient;
use dm_contracts::topology::{EVENT_QUEUES, RetryTier, dead_letter_queue, retry_queue};
use dm_messaging::MessagingError;
use dm_messaging::dead_letters::import_export;
use lapin::Connection;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use serde_json::Value;
use tokio::time::Instant;

use super::{BackupError, OpenBackup};

/// The ids of the events of a backup's dead letters, by work queue. A dead letter may have no id.
pub type DeadLetterIds = BTreeMap<String, Vec<Option<String>>>;

/// How long connections may take to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(15);
/// How often open connections are checked.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// The maximum number of attempts to recreate empty queues.
const MAX_RECREATE_ROUNDS: u32 = 20;
/// The definitions of a backup that are not restored: users, permissions and global settings.
const IGNORED_DEFINITIONS: [&str; 4] = [
    "users",
    "permissions",
    "topic_permissions",
    "global_parameters",
];

/// The connections to the broker that a restore uses.
pub struct RestoreBroker<'a> {
    /// An AMQP connection of the administrator, which must hold the lock of the dead letters.
    pub connection: &'a Connection,
    /// The client of the management API.
    pub management: &'a ManagementClient,
    /// The definitions of the configuration, with users and permissions.
    pub definitions: &'a Value,
    /// The name of the administrator.
    pub administrator: &'a str,
}

impl RestoreBroker<'_> {
    /// Checks that the broker can be reached, before anything is changed.
    pub(super) async fn check_connection(&self) -> Result<(), BackupError> {
        let exported = self.management.export_definitions().await;
        exported.map_err(MessagingError::from)?;
        Ok(())
    }

    /// Revokes the permissions of the services and closes every connection except those of `dm`.
    /// Returns the users whose connections remain open.
    pub(super) async fn revoke_access(&self) -> Result<Vec<String>, BackupError> {
        for user in listed_names(self.definitions, "users") {
            if user != self.administrator {
                let removed = self.management.revoke_permissions(&user).await;
                removed.map_err(MessagingError::from)?;
            }
        }
        let deadline = Instant::now() + CLOSE_TIMEOUT;
        let mut rounds_alone = 0;
        loop {
            let others = self.management.close_foreign_connections().await;
            let others = others.map_err(MessagingError::from)?;
            rounds_alone = if others.is_empty() {
                rounds_alone + 1
            } else {
                0
            };
            // A connection that was just opened may be missing in one list.
            if rounds_alone > 1 || Instant::now() >= deadline {
                return Ok(others);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Deletes the queues and declares them again, until none of them has a message.
    pub(super) async fn recreate_queues(&self) -> Result<(), BackupError> {
        let queues = all_queues();
        repeat_until_empty(async || self.recreate_once(&queues).await).await
    }

    /// Deletes the queues and declares them again. Returns the number of their messages.
    async fn recreate_once(&self, queues: &[String]) -> Result<u32, BackupError> {
        let channel = self.connection.create_channel().await;
        let channel = channel.map_err(MessagingError::from)?;
        for name in queues {
            // Deleting a missing queue is not an error.
            channel
                .queue_delete(name.as_str().into(), QueueDeleteOptions::default())
                .await
                .map_err(MessagingError::from)?;
        }
        let declared = self
            .management
            .import_definitions(&self.restricted_definitions())
            .await;
        declared.map_err(MessagingError::from)?;
        let mut messages = 0;
        for name in queues {
            let options = QueueDeclareOptions {
                passive: true,
                ..QueueDeclareOptions::default()
            };
            let queue = channel
                .queue_declare(name.as_str().into(), options, FieldTable::default())
                .await
                .map_err(MessagingError::from)?;
            messages += queue.message_count();
        }
        let closed = channel.close(200, "done".into()).await;
        closed.map_err(MessagingError::from)?;
        Ok(messages)
    }

    /// Returns the definitions of the configuration, without the permissions of the services.
    fn restricted_definitions(&self) -> Value {
        let mut definitions = self.definitions.clone();
        if let Some(permissions) = definitions["permissions"].as_array_mut() {
            permissions.retain(|permission| permission["user"] == self.administrator);
        }
        if let Some(permissions) = definitions["topic_permissions"].as_array_mut() {
            permissions.clear();
        }
        definitions
    }

    /// Declares the topology that a backup has in addition to the configuration, and restores its
    /// dead letters. Returns these and warnings about refusals of the broker.
    pub(super) async fn import_backup(
        &self,
        opened: &OpenBackup<'_>,
    ) -> Result<(DeadLetterIds, Vec<String>), BackupError> {
        let path = opened.backup.path.join("broker");
        let definitions = serde_json::from_reader(opened.open_file("broker/definitions.json")?);
        let definitions: Value = definitions
            .map_err(std::io::Error::from)
            .map_err(BackupError::file("read", &path))?;
        let mut warnings = Vec::new();
        let additional = additional_definitions(definitions, self.definitions);
        if let Err(error) = self.management.import_definitions(&additional).await {
            warnings.push(format!(
                "could not declare the topology that the backup has in addition to the configuration: {}",
                dm_core::error::error_chain(&MessagingError::from(error)).join(": ")
            ));
        }
        let decoder = zstd::Decoder::new(opened.open_file("broker/dead-letters.jsonl.zst")?);
        let decoder = decoder.map_err(BackupError::file("read", &path))?;
        let lines = import_export::read_strict(BufReader::new(decoder))?;
        let imported = import_export::import(self.connection, &lines).await?;
        if imported.refused > 0 {
            warnings.push(format!(
                "could not restore {} dead letters: RabbitMQ refused them",
                imported.refused
            ));
        }
        let mut letters = DeadLetterIds::new();
        for line in lines {
            let id = line.message_id().map(str::to_owned);
            letters.entry(line.queue).or_default().push(id);
        }
        Ok((letters, warnings))
    }

    /// Grants the services the permissions of the configuration again.
    pub(super) async fn grant_access(&self) -> Result<(), BackupError> {
        let declared = self.management.import_definitions(self.definitions).await;
        declared.map_err(MessagingError::from)?;
        Ok(())
    }
}

/// Repeats a round, which returns the number of remaining messages, until none remains.
async fn repeat_until_empty(
    mut round: impl AsyncFnMut() -> Result<u32, BackupError>,
) -> Result<(), BackupError> {
    for _ in 0..MAX_RECREATE_ROUNDS {
        if round().await? == 0 {
            return Ok(());
        }
    }
    Err(BackupError::QueuesNotEmpty)
}

/// Returns all queues in the order in which they are recreated: messages return from a retry
/// queue to the work queue, and move from that to the dead-letter queue.
fn all_queues() -> Vec<String> {
    let consumed = EVENT_QUEUES.iter().filter(|queue| queue.consumer.is_some());
    let retries =
        consumed.flat_map(|queue| RetryTier::ALL.map(|tier| retry_queue(queue.name, tier)));
    let work = EVENT_QUEUES.iter().map(|queue| queue.name.to_owned());
    let dead_letters = EVENT_QUEUES.iter();
    let dead_letters = dead_letters.map(|queue| dead_letter_queue(queue.name));
    retries.chain(work).chain(dead_letters).collect()
}

/// Returns definitions without users, permissions and the policies of the configuration.
fn additional_definitions(mut definitions: Value, configured: &Value) -> Value {
    if let Some(lists) = definitions.as_object_mut() {
        lists.retain(|name, _| !IGNORED_DEFINITIONS.contains(&name.as_str()));
    }
    let configured: HashSet<String> = listed_names(configured, "policies").into_iter().collect();
    if let Some(policies) = definitions["policies"].as_array_mut() {
        policies.retain(|policy| {
            let name = policy["name"].as_str();
            name.is_none_or(|name| !configured.contains(name))
        });
    }
    definitions
}

fn listed_names(definitions: &Value, list: &str) -> Vec<String> {
    let objects = definitions[list].as_array().into_iter().flatten();
    objects
        .filter_map(|object| object["name"].as_str())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_queues_are_ordered_retry_work_dead_letter() {
        let queues = all_queues();
        let position = |name: &str| queues.iter().position(|queue| queue == name).unwrap();
        let work = position("inventory.order-events.q");
        assert!(position("inventory.order-events.q.retry.60s") < work);
        assert!(work < position("inventory.order-events.q.dlq"));
        assert_eq!(queues.len(), 3 * 3 + 4 + 4);
    }

    #[tokio::test]
    async fn repeat_until_empty_ends_after_a_round_without_messages() {
        let mut remaining = [3, 1, 0, 0].into_iter();
        let emptied = repeat_until_empty(async || Ok(remaining.next().unwrap())).await;
        assert!(emptied.is_ok());
        assert_eq!(remaining.len(), 1);
        let never_empty = repeat_until_empty(async || Ok(1)).await;
        assert!(matches!(never_empty, Err(BackupError::QueuesNotEmpty)));
    }

    #[test]
    fn additional_definitions_omit_users_permissions_and_configured_policies() {
        let saved = json!({
            "users": [{"name": "gone", "password_hash": "old"}],
            "permissions": [{"user": "gone"}], "topic_permissions": [{"user": "gone"}],
            "global_parameters": [{"name": "cluster_name"}],
            "policies": [{"name": "dm-work"}, {"name": "mine"}],
            "queues": [{"name": "mine.q"}],
        });
        let configured = json!({"policies": [{"name": "dm-work"}]});
        assert_eq!(
            additional_definitions(saved, &configured),
            json!({"policies": [{"name": "mine"}], "queues": [{"name": "mine.q"}]})
        );
    }
}
