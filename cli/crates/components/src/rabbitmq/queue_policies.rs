//! The limits of the queues, as policies of the broker.
//!
//! A policy can be changed while the broker runs, an argument of a queue cannot. Therefore
//! arguments contain the settings on which correctness depends (at-least-once dead-lettering,
//! and with it `reject-publish`; the delays in the names of retry queues), and policies
//! contain the numbers. They are not part of the definitions that the broker imports at its
//! start: it would return to old values whenever it restarts on its own.

use std::time::Duration;

use dm_config::values::format_exact_duration;
use dm_config::{MessageTtl, OverflowBehavior, QueuePolicies};
use dm_contracts::topology::{EVENT_QUEUES, RetryTier, dead_letter_queue, retry_queue};
use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use lapin::options::QueueDeclareOptions;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::FieldTable;
use lapin::{Connection, ErrorKind};
use serde_json::{Map, Value, json};
use thiserror::Error;
use tokio::time::Instant;

use super::management::{ManagementApiError, ManagementClient};

/// How long the management API may take to become available after the broker itself.
const MANAGEMENT_API_TIMEOUT: Duration = Duration::from_secs(60);
/// The interval at which it is queried.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// The names of all policies of `dm`.
const POLICY_NAMES: [&str; 4] = ["dm-work", "dm-retry", "dm-dead-letter", "dm-readmodel"];

/// An error of applying the limits.
#[derive(Debug, Error)]
pub(crate) enum QueuePolicyError {
    /// A request to the broker's management API failed.
    #[error("could not set the limits of the queues")]
    Management(#[from] ManagementApiError),
    /// An AMQP request to the broker failed.
    #[error("could not count the messages in the queues")]
    Broker(#[from] lapin::Error),
    /// Existing messages would be dropped.
    #[error("could not set {key}: {queue} has {messages} messages, and {consequence}")]
    WouldDropMessages {
        /// The key of the limit.
        key: &'static str,
        /// The queue.
        queue: String,
        /// The number of its messages.
        messages: u64,
        /// The effect of the limit on them.
        consequence: String,
    },
}

impl UserError for QueuePolicyError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Management(_) => ErrorCode::ManagementCall,
            Self::Broker(_) => ErrorCode::BrokerCall,
            Self::WouldDropMessages { .. } => ErrorCode::PolicyDropsMessages,
        }
    }

    fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Management(_) | Self::Broker(_) => ExitStatus::Component,
            Self::WouldDropMessages { .. } => ExitStatus::Usage,
        }
    }

    fn suggestions(&self) -> Vec<String> {
        match self {
            Self::Management(_) | Self::Broker(_) => {
                vec!["dm logs rabbitmq".into(), "dm up".into()]
            }
            Self::WouldDropMessages { key, queue, .. } => vec![
                format!("set {key} so that no message is dropped: dm config show {key}"),
                if queue.ends_with(".dlq") {
                    "or replay the dead letters first: dm dlq replay".into()
                } else {
                    format!("or consume the messages of {queue} first")
                },
            ],
        }
    }
}

/// A policy of the broker.
#[derive(Debug, Clone, PartialEq)]
struct QueuePolicy {
    name: &'static str,
    queues: Vec<String>,
    /// The pattern that matches the names of its queues.
    pattern: String,
    apply_to: &'static str,
    definition: Map<String, Value>,
}

impl QueuePolicy {
    fn new(
        name: &'static str,
        apply_to: &'static str,
        queues: Vec<String>,
        definition: &[(&str, Option<Value>)],
    ) -> Self {
        let names: Vec<String> = queues.iter().map(|name| regex::escape(name)).collect();
        let definition = definition
            .iter()
            .filter_map(|(key, value)| Some(((*key).to_owned(), value.clone()?)));
        Self {
            name,
            pattern: format!("^({})$", names.join("|")),
            queues,
            apply_to,
            definition: definition.collect(),
        }
    }

    /// Returns the policy in the format of the broker.
    fn to_json(&self) -> Value {
        json!({
            "vhost": "/",
            "name": self.name,
            "pattern": self.pattern,
            "apply-to": self.apply_to,
            "priority": 10,
            "definition": self.definition,
        })
    }
}

/// Returns the policies of a configuration that contain a limit.
fn policies_from_config(config: &QueuePolicies) -> Vec<QueuePolicy> {
    let milliseconds = |ttl: &Option<MessageTtl>| {
        let ttl = ttl.as_ref()?.as_duration().as_millis();
        Some(json!(u64::try_from(ttl).unwrap_or(u64::MAX)))
    };
    let consumed = EVENT_QUEUES.iter().filter(|queue| queue.consumer.is_some());
    let read_by_others = EVENT_QUEUES.iter().filter(|queue| queue.consumer.is_none());
    let QueuePolicies {
        work,
        retry,
        dead_letter,
        read_model,
    } = config;
    let max_length = dead_letter.max_length;
    let all = [
        QueuePolicy::new(
            "dm-work",
            "quorum_queues",
            consumed
                .clone()
                .map(|queue| queue.name.to_owned())
                .collect(),
            &[
                ("max-length", Some(json!(work.max_length))),
                ("delivery-limit", Some(json!(work.delivery_limit))),
                ("message-ttl", milliseconds(&work.ttl)),
            ],
        ),
        QueuePolicy::new(
            "dm-retry",
            "quorum_queues",
            consumed
                .flat_map(|queue| RetryTier::ALL.map(|tier| retry_queue(queue.name, tier)))
                .collect(),
            &[
                ("max-length", Some(json!(retry.max_length))),
                ("delivery-limit", Some(json!(retry.delivery_limit))),
                ("message-ttl", milliseconds(&retry.ttl)),
            ],
        ),
        QueuePolicy::new(
            "dm-dead-letter",
            "classic_queues",
            EVENT_QUEUES
                .iter()
                .map(|queue| dead_letter_queue(queue.name))
                .collect(),
            &[
                ("max-length", max_length.map(|length| json!(length))),
                (
                    "overflow",
                    max_length.map(|_| json!(dead_letter.overflow.as_str())),
                ),
                ("message-ttl", milliseconds(&dead_letter.ttl)),
            ],
        ),
        QueuePolicy::new(
            "dm-readmodel",
            "quorum_queues",
            read_by_others.map(|queue| queue.name.to_owned()).collect(),
            &[
                ("max-length", Some(json!(read_model.max_length))),
                ("overflow", Some(json!(read_model.overflow.as_str()))),
                ("message-ttl", milliseconds(&read_model.ttl)),
                (
                    "delivery-limit",
                    read_model.delivery_limit.map(|limit| json!(limit)),
                ),
            ],
        ),
    ];
    let has_limits = |policy: &QueuePolicy| !policy.definition.is_empty();
    all.into_iter().filter(has_limits).collect()
}

/// Adds the policies of a configuration to definitions. Replaces all existing policies of `dm`.
pub fn add_policies(definitions: &mut Value, config: &QueuePolicies) {
    let others = definitions["policies"].as_array().cloned();
    let others = others.unwrap_or_default().into_iter();
    let others = others.filter(|policy| !is_dm_policy(policy));
    let own = policies_from_config(config)
        .into_iter()
        .map(|policy| policy.to_json());
    definitions["policies"] = others.chain(own).collect();
}

fn is_dm_policy(policy: &Value) -> bool {
    policy["name"]
        .as_str()
        .is_some_and(|name| POLICY_NAMES.contains(&name))
}

/// Applies the policies of the configuration to the broker, unless this would drop existing
/// messages.
///
/// # Errors
/// Returns [`QueuePolicyError`] if a request fails or messages would be dropped. The policies
/// before the failed one are applied.
pub(super) async fn apply_policies(
    management: &ManagementClient,
    uri: &str,
    config: &QueuePolicies,
) -> Result<(), QueuePolicyError> {
    let deadline = Instant::now() + MANAGEMENT_API_TIMEOUT;
    let existing = loop {
        match management.list_policies().await {
            Ok(existing) => break existing,
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            // The management API is available a little later than the broker.
            Err(_) => tokio::time::sleep(POLL_INTERVAL).await,
        }
    };
    let desired = policies_from_config(config);
    for policy in &desired {
        let before = existing
            .iter()
            .find(|existing| existing["name"] == policy.name);
        let is_equal = |before: &Value| {
            let desired = policy.to_json();
            ["pattern", "apply-to", "priority", "definition"]
                .iter()
                .all(|key| before[*key] == desired[*key])
        };
        if before.is_some_and(is_equal) {
            continue;
        }
        let before = before.map(|policy| &policy["definition"]);
        ensure_no_messages_dropped(uri, policy, before.unwrap_or(&Value::Null)).await?;
        management
            .set_policy(policy.name, &policy.to_json())
            .await?;
    }
    for policy in existing.iter().filter(|policy| is_dm_policy(policy)) {
        let name = policy["name"].as_str().unwrap_or_default();
        if !desired.iter().any(|desired| desired.name == name) {
            management.remove_policy(name).await?;
        }
    }
    Ok(())
}

/// Checks that a policy drops no existing message.
async fn ensure_no_messages_dropped(
    uri: &str,
    policy: &QueuePolicy,
    before: &Value,
) -> Result<(), QueuePolicyError> {
    if dropped_messages(policy, before, u64::MAX).is_none() {
        return Ok(());
    }
    let connection = dm_amqp::connect(uri, "dm limits").await?;
    for queue in &policy.queues {
        let messages = queue_depth(&connection, queue).await?;
        if let Some((key, consequence)) = dropped_messages(policy, before, messages) {
            return Err(QueuePolicyError::WouldDropMessages {
                key,
                queue: queue.clone(),
                messages,
                consequence,
            });
        }
    }
    connection.close(200, "done".into()).await?;
    Ok(())
}

/// Returns the number of ready messages of a queue; 0 if it does not exist.
async fn queue_depth(connection: &Connection, queue: &str) -> Result<u64, lapin::Error> {
    // A declaration of a missing queue closes the channel.
    let channel = connection.create_channel().await?;
    let options = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    match channel
        .queue_declare(queue.into(), options, FieldTable::default())
        .await
    {
        Ok(queue) => {
            channel.close(200, "done".into()).await?;
            Ok(queue.message_count().into())
        }
        Err(error) if is_not_found(&error) => Ok(0),
        Err(error) => Err(error),
    }
}

fn is_not_found(error: &lapin::Error) -> bool {
    match error.kind() {
        ErrorKind::ProtocolError(error) => {
            *error.kind() == AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND)
        }
        _ => false,
    }
}

/// Returns the key that would drop some of a queue's `messages`, and the effect. Work and
/// retry queues drop nothing: they reject new messages, and dead-letter expired ones.
fn dropped_messages(
    policy: &QueuePolicy,
    before: &Value,
    messages: u64,
) -> Option<(&'static str, String)> {
    let (length_key, ttl_key) = match policy.name {
        "dm-dead-letter" => (
            "rabbitmq.policies.dead_letter.max_length",
            "rabbitmq.policies.dead_letter.ttl",
        ),
        "dm-readmodel" => (
            "rabbitmq.policies.read_model.max_length",
            "rabbitmq.policies.read_model.ttl",
        ),
        _ => return None,
    };
    let number = |definition: Option<&Value>| definition.and_then(Value::as_u64);
    let max_length = number(policy.definition.get("max-length"));
    let drops_head =
        policy.definition.get("overflow") == Some(&json!(OverflowBehavior::DropHead.as_str()));
    if let Some(max_length) = max_length.filter(|length| drops_head && *length < messages) {
        let excess = messages - max_length;
        return Some((length_key, format!("the oldest {excess} would be dropped")));
    }
    let ttl = number(policy.definition.get("message-ttl"))?;
    let is_shorter = number(before.get("message-ttl")).is_none_or(|before| ttl < before);
    (is_shorter && messages > 0).then(|| {
        let ttl = format_exact_duration(Duration::from_millis(ttl));
        (
            ttl_key,
            format!("messages older than {ttl} would be dropped"),
        )
    })
}

#[cfg(test)]
mod tests {
    use dm_config::{Config, ConfigOverride, LoadOptions};
    use proptest::prelude::*;

    use super::*;

    /// Loads the project's own configuration with these settings.
    fn config(settings: &[&str]) -> QueuePolicies {
        let options = LoadOptions {
            project_dir: Some(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")),
            overrides: settings
                .iter()
                .map(|pair| ConfigOverride::from_set_option(pair))
                .collect(),
            ..LoadOptions::default()
        };
        let loaded = Config::load(&options, []).unwrap();
        loaded.config.rabbitmq.policies
    }

    #[test]
    fn each_queue_matches_only_its_own_policy() {
        let all = policies_from_config(&config(&["rabbitmq.policies.dead_letter.max_length=5"]));
        assert_eq!(all.len(), 4);
        for policy in &all {
            let pattern = regex::Regex::new(&policy.pattern).unwrap();
            for other in &all {
                for queue in &other.queues {
                    assert_eq!(
                        pattern.is_match(queue),
                        policy.name == other.name,
                        "{queue}"
                    );
                }
            }
        }
        let queues: usize = all.iter().map(|policy| policy.queues.len()).sum();
        assert_eq!(queues, 3 + 9 + 4 + 1);
    }

    #[test]
    fn policy_without_limits_is_omitted() {
        let names = |settings: &[&str]| {
            let all = policies_from_config(&config(settings));
            all.iter().map(|policy| policy.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&[]), ["dm-work", "dm-retry", "dm-readmodel"]);
        let limited = names(&["rabbitmq.policies.dead_letter.ttl=30d"]);
        assert!(limited.contains(&"dm-dead-letter"));
    }

    #[test]
    fn add_policies_replaces_only_policies_of_dm() {
        let mut definitions = json!({"policies": [
            {"name": "dm-work", "definition": {"max-length": 1}}, {"name": "mine"},
        ]});
        add_policies(&mut definitions, &config(&[]));
        let names: Vec<&str> = definitions["policies"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|policy| policy["name"].as_str())
            .collect();
        assert_eq!(names, ["mine", "dm-work", "dm-retry", "dm-readmodel"]);
    }

    #[test]
    fn dropped_messages_are_detected_before_a_change() {
        let find = |settings: &[&str], name: &str| {
            let all = policies_from_config(&config(settings));
            all.into_iter().find(|policy| policy.name == name).unwrap()
        };
        let short = find(
            &["rabbitmq.policies.read_model.max_length=100"],
            "dm-readmodel",
        );
        let before = json!({"max-length": 10_000, "message-ttl": 604_800_000});
        assert!(dropped_messages(&short, &before, 100).is_none());
        let (key, consequence) = dropped_messages(&short, &before, 150).unwrap();
        assert_eq!(key, "rabbitmq.policies.read_model.max_length");
        assert_eq!(consequence, "the oldest 50 would be dropped");
        let rejecting = find(
            &[
                "rabbitmq.policies.dead_letter.max_length=1",
                "rabbitmq.policies.dead_letter.overflow=reject-publish",
            ],
            "dm-dead-letter",
        );
        assert!(dropped_messages(&rejecting, &Value::Null, 1000).is_none());
        let expiring = find(&["rabbitmq.policies.dead_letter.ttl=1h"], "dm-dead-letter");
        assert!(dropped_messages(&expiring, &Value::Null, 0).is_none());
        assert!(dropped_messages(&expiring, &Value::Null, 1).is_some());
        assert!(dropped_messages(&expiring, &json!({"message-ttl": 7_200_000}), 1).is_some());
        assert!(
            dropped_messages(&expiring, &json!({"message-ttl": 60_000}), 1).is_none(),
            "the new limit is longer"
        );
    }

    proptest! {
        /// No limit makes work and retry queues drop messages.
        #[test]
        fn limits_of_work_and_retry_queues_drop_nothing(
            length in 1..u32::MAX, limit in 1..u16::MAX, seconds in 1..31_000_000_u64,
            messages in any::<u64>(),
        ) {
            let setting = |key: &str, value: String| format!("rabbitmq.policies.{key}={value}");
            let settings = [
                setting("work.max_length", length.to_string()),
                setting("work.delivery_limit", limit.to_string()),
                setting("work.ttl", format!("{seconds}s")),
                setting("retry.max_length", length.to_string()),
                setting("retry.ttl", format!("{seconds}s")),
            ];
            let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
            for policy in policies_from_config(&config(&settings)) {
                if policy.name != "dm-readmodel" {
                    prop_assert!(dropped_messages(&policy, &Value::Null, messages).is_none());
                }
            }
        }
    }
}
