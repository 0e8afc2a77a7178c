//! The broker of a restored database: no message of the one before, and all that the restored
//! one has published and nobody has handled.
//!
//! The services' users lose their rights first and their connections end, also those of a
//! service that runs outside the stack. Queues are then deleted and declared anew, retries
//! first: whatever a consumer had in hand, and whatever was on its way back from a retry, is
//! gone with them. Rights come back last ([`open`]).

use std::collections::{BTreeMap, HashSet};
use std::io::BufReader;
use std::time::Duration;

use dm_components::rabbitmq::management::ManagementClient;
use dm_contracts::topology::{RetryTier, WORK_QUEUES, dead_letter_queue, retry_queue};
use dm_messaging::MessagingError;
use dm_messaging::dead_letters::import_export;
use lapin::Connection;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use serde_json::Value;
use tokio::time::Instant;

use super::{BackupError, OpenBackup};

/// What a set's dead letters were, by work queue: the ids of the events, none where a letter
/// has none.
pub type DeadLetterIds = BTreeMap<String, Vec<Option<String>>>;

/// How long connections may take to end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(15);
/// How often it is looked whether they have.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// How often queues are emptied until none fills again.
const MAX_RECREATE_ROUNDS: u32 = 20;
/// What of a set's definitions is somebody's right, or the broker's own.
const IGNORED_DEFINITIONS: [&str; 4] = [
    "users",
    "permissions",
    "topic_permissions",
    "global_parameters",
];

/// The ways to the broker.
pub struct RestoreBroker<'a> {
    /// A connection of its administrator. Its turn at the dead letters must be had.
    pub connection: &'a Connection,
    /// Its interface.
    pub management: &'a ManagementClient,
    /// What the configuration has it declare, users and rights among it.
    pub definitions: &'a Value,
    /// Its administrator.
    pub administrator: &'a str,
}

impl RestoreBroker<'_> {
    /// Checks that it answers, before anything is changed.
    pub(super) async fn check_connection(&self) -> Result<(), BackupError> {
        let asked = self.management.export_definitions().await;
        asked.map_err(MessagingError::from)?;
        Ok(())
    }

    /// Takes the services' rights away, and ends every connection but those of `dm`. Answers
    /// whose connections remain.
    pub(super) async fn revoke_access(&self) -> Result<Vec<String>, BackupError> {
        for user in listed_names(self.definitions, "users") {
            if user != self.administrator {
                let removed = self.management.revoke_permissions(&user).await;
                removed.map_err(MessagingError::from)?;
            }
        }
        let until = Instant::now() + CLOSE_TIMEOUT;
        let mut alone = 0;
        loop {
            let others = self.management.close_foreign_connections().await;
            let others = others.map_err(MessagingError::from)?;
            alone = if others.is_empty() { alone + 1 } else { 0 };
            // Another user's connection that has just been made may be in the next list only.
            if alone > 1 || Instant::now() >= until {
                return Ok(others);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Deletes the queues and declares them anew, until none of them has a message.
    pub(super) async fn recreate_queues(&self) -> Result<(), BackupError> {
        let queues = event_queues();
        for _ in 0..MAX_RECREATE_ROUNDS {
            let channel = self.connection.create_channel().await;
            let channel = channel.map_err(MessagingError::from)?;
            for name in &queues {
                // To delete what is not there is no error.
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
            for name in &queues {
                let options = QueueDeclareOptions {
                    passive: true,
                    ..QueueDeclareOptions::default()
                };
                let found = channel
                    .queue_declare(name.as_str().into(), options, FieldTable::default())
                    .await
                    .map_err(MessagingError::from)?;
                messages += found.message_count();
            }
            let closed = channel.close(200, "done".into()).await;
            closed.map_err(MessagingError::from)?;
            if messages == 0 {
                return Ok(());
            }
        }
        Err(BackupError::QueuesNotEmpty)
    }

    /// What the configuration declares, without the services' rights.
    fn restricted_definitions(&self) -> Value {
        let mut definitions = self.definitions.clone();
        if let Some(rights) = definitions["permissions"].as_array_mut() {
            rights.retain(|right| right["user"] == self.administrator);
        }
        if let Some(rights) = definitions["topic_permissions"].as_array_mut() {
            rights.clear();
        }
        definitions
    }

    /// Declares what a set has beside the configuration, and brings its dead letters back.
    /// Answers those, and what the broker does not take.
    pub(super) async fn import_backup(
        &self,
        opened: &OpenBackup<'_>,
    ) -> Result<(DeadLetterIds, Vec<String>), BackupError> {
        let path = opened.backup.path.join("broker");
        let definitions = serde_json::from_reader(opened.open_file("broker/definitions.json")?);
        let definitions: Value = definitions
            .map_err(std::io::Error::from)
            .map_err(BackupError::file("read", &path))?;
        let mut refused = Vec::new();
        let besides = additional_definitions(definitions, self.definitions);
        if let Err(error) = self.management.import_definitions(&besides).await {
            refused.push(format!(
                "could not declare the topology that the backup has in addition to the configuration: {}",
                dm_core::error::chain(&MessagingError::from(error)).join(": ")
            ));
        }
        let decoder = zstd::Decoder::new(opened.open_file("broker/dead-letters.jsonl.zst")?);
        let decoder = decoder.map_err(BackupError::file("read", &path))?;
        let lines = import_export::read_strict(BufReader::new(decoder))?;
        let imported = import_export::import(self.connection, &lines).await?;
        if imported.refused > 0 {
            refused.push(format!(
                "could not restore {} dead letters: RabbitMQ refused them",
                imported.refused
            ));
        }
        let mut dead = DeadLetterIds::new();
        for line in lines {
            let id = line.message_id().map(str::to_owned);
            dead.entry(line.queue).or_default().push(id);
        }
        Ok((dead, refused))
    }

    /// Gives the services their rights back, as the configuration has them.
    pub(super) async fn grant_access(&self) -> Result<(), BackupError> {
        let declared = self.management.import_definitions(self.definitions).await;
        declared.map_err(MessagingError::from)?;
        Ok(())
    }
}

/// The queues of events, in the order in which they are emptied: from a retry queue messages
/// go back to the work queue, and from that to the dead letters.
fn event_queues() -> Vec<String> {
    let consumed = WORK_QUEUES.iter().filter(|queue| queue.consumer.is_some());
    let retries = consumed.flat_map(|it| RetryTier::ALL.map(|tier| retry_queue(it.name, tier)));
    let work = WORK_QUEUES.iter().map(|queue| queue.name.to_owned());
    let dead = WORK_QUEUES.iter().map(|it| dead_letter_queue(it.name));
    retries.chain(work).chain(dead).collect()
}

/// What definitions have that is no right of a user, and no policy of the configuration's.
fn additional_definitions(mut definitions: Value, configured: &Value) -> Value {
    if let Some(all) = definitions.as_object_mut() {
        all.retain(|name, _| !IGNORED_DEFINITIONS.contains(&name.as_str()));
    }
    let policies: HashSet<String> = listed_names(configured, "policies").into_iter().collect();
    if let Some(all) = definitions["policies"].as_array_mut() {
        all.retain(|policy| {
            let name = policy["name"].as_str();
            name.is_none_or(|name| !policies.contains(name))
        });
    }
    definitions
}

fn listed_names(definitions: &Value, list: &str) -> Vec<String> {
    let listed = definitions[list].as_array().into_iter().flatten();
    listed
        .filter_map(|it| it["name"].as_str())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn retries_are_emptied_before_work_and_work_before_the_dead() {
        let queues = event_queues();
        let place = |name: &str| queues.iter().position(|it| it == name).unwrap();
        let work = place("inventory.order-events.q");
        assert!(place("inventory.order-events.q.retry.60s") < work);
        assert!(work < place("inventory.order-events.q.dlq"));
        assert_eq!(queues.len(), 3 * 3 + 4 + 4);
    }

    #[test]
    fn users_and_rights_are_never_those_of_a_backup() {
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
