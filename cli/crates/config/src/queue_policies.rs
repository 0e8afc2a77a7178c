//! The limits of the queues. As in [`super::model`], users read the doc comments.

use std::num::{NonZeroU16, NonZeroU32};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::BoundedDuration;

/// The upper limit of a message's TTL, in milliseconds.
const YEAR_MS: u64 = 366 * 24 * 60 * 60 * 1000;

/// The TTL of messages.
pub type MessageTtl = BoundedDuration<1_000, YEAR_MS>;

/// Limits of the queues by their purpose, set as RabbitMQ policies. `dm up` applies a changed
/// limit to a running broker at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct QueuePolicies {
    /// Work queues that the services of this stack consume. A message that is too old or was
    /// returned too often is dead-lettered. A full queue refuses new messages; their events wait
    /// in the outbox.
    pub work: WorkQueuePolicy,
    /// Retry queues, in which failed events wait for their next attempt.
    pub retry: RetryQueuePolicy,
    /// Dead-letter queues.
    pub dead_letter: DeadLetterQueuePolicy,
    /// Queue of the read model, which no service of this stack consumes.
    pub read_model: ReadModelQueuePolicy,
}

/// Limits of work queues.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct WorkQueuePolicy {
    /// Maximum number of messages in each queue.
    pub max_length: NonZeroU32,
    /// Number of returned deliveries after which a message is dead-lettered.
    pub delivery_limit: NonZeroU16,
    /// How long a message may wait before it is dead-lettered. If unset, there is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<MessageTtl>,
}

/// Limits of retry queues.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RetryQueuePolicy {
    /// Maximum number of messages in each queue.
    pub max_length: NonZeroU32,
    /// Number of returned deliveries, e.g. to `dm inbox retry`, after which a message goes back
    /// to its work queue.
    pub delivery_limit: NonZeroU16,
    /// Maximum delay before an attempt. Each retry queue has a delay of 1 s, 10 s or 60 s; the
    /// shorter of the two applies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<MessageTtl>,
}

/// Limits of dead-letter queues. They are classic queues, which do not count deliveries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct DeadLetterQueuePolicy {
    /// Maximum number of dead letters in each queue. If unset, there is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<NonZeroU32>,
    /// What a full queue does. With `"reject-publish"`, a consumer waits until its dead letter is
    /// accepted; with `"drop-head"`, dead letters are lost.
    pub overflow: OverflowBehavior,
    /// How long a dead letter is kept before it is lost. If unset, there is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<MessageTtl>,
}

/// Limits of the read model's queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ReadModelQueuePolicy {
    /// Maximum number of messages in the queue.
    pub max_length: NonZeroU32,
    /// What the full queue does. Because no service of this stack consumes the queue,
    /// `"reject-publish"` eventually keeps all notifications in their outbox.
    pub overflow: OverflowBehavior,
    /// How long a message is kept before it is dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<MessageTtl>,
    /// Number of returned deliveries after which a message is dropped. If unset, the broker's own
    /// limit applies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_limit: Option<NonZeroU16>,
}

/// What a full queue does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OverflowBehavior {
    /// Refuse new messages.
    RejectPublish,
    /// Drop the oldest message for each new one.
    DropHead,
}

impl OverflowBehavior {
    /// Returns RabbitMQ's name of the value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RejectPublish => "reject-publish",
            Self::DropHead => "drop-head",
        }
    }
}

impl QueuePolicies {
    /// Returns a warning for each setting that loses dead letters.
    #[must_use]
    pub fn data_loss_warnings(&self) -> Vec<String> {
        let policy = &self.dead_letter;
        let mut warnings = Vec::new();
        if let Some(ttl) = &policy.ttl {
            warnings.push(format!(
                "dead letters are dropped after {ttl} (rabbitmq.policies.dead_letter.ttl)"
            ));
        }
        if let (Some(max_length), OverflowBehavior::DropHead) = (policy.max_length, policy.overflow)
        {
            warnings.push(format!(
                "the oldest dead letters are dropped if a queue has more than {max_length} \
                 (rabbitmq.policies.dead_letter.overflow)"
            ));
        }
        warnings
    }
}
