//! The limits of the broker's queues. As in [`super::model`], the doc comments are what a
//! user reads.

use std::num::{NonZeroU16, NonZeroU32};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::Period;

/// The longest that a message may be kept.
const YEAR_MS: u64 = 366 * 24 * 60 * 60 * 1000;

/// How long messages are kept.
pub type Kept = Period<1_000, YEAR_MS>;

/// The limits of the broker's queues, by what the queues are for. They are policies of the
/// broker: `dm up` applies a changed one to a broker that runs, at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Policies {
    /// The queues that services consume. What is too old or was delivered too often becomes
    /// a dead letter; a queue that is full refuses what is published, which then waits in
    /// its outbox.
    pub work: WorkPolicy,
    /// The queues in which failed events wait for their next attempt.
    pub retry: RetryPolicy,
    /// The queues of dead letters.
    pub dead_letter: DeadLetterPolicy,
    /// The queue of the read model, which no service of this stack consumes.
    pub read_model: ReadModelPolicy,
}

/// The limits of work queues.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct WorkPolicy {
    /// The most messages of each.
    pub max_length: NonZeroU32,
    /// After how many deliveries that came back a message becomes a dead letter.
    pub delivery_limit: NonZeroU16,
    /// How long a message may wait before it becomes a dead letter. Without it for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Kept>,
}

/// The limits of retry queues.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RetryPolicy {
    /// The most messages of each.
    pub max_length: NonZeroU32,
    /// After how many deliveries that came back, as to `dm inbox retry`, a message goes back
    /// to its work queue.
    pub delivery_limit: NonZeroU16,
    /// The longest pause before an attempt, where that is shorter than the queue's own of
    /// 1 s, 10 s or 60 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Kept>,
}

/// The limits of dead-letter queues. They are classic queues, which count no deliveries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct DeadLetterPolicy {
    /// The most dead letters of each. Without it as many as there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<NonZeroU32>,
    /// What happens where that is reached. A consumer waits while its dead letters are
    /// refused; `drop-head` loses them.
    pub overflow: Overflow,
    /// How long a dead letter is kept; after that it is lost. Without it for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Kept>,
}

/// The limits of the read model's queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ReadModelPolicy {
    /// The most messages.
    pub max_length: NonZeroU32,
    /// What happens where that is reached. As no service of this stack consumes it, refusing
    /// would in the end keep all notifications in their outbox.
    pub overflow: Overflow,
    /// How long a message is kept; after that it is dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Kept>,
    /// After how many deliveries that came back a message is dropped. Without it the broker's
    /// own limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_limit: Option<NonZeroU16>,
}

/// What a queue does that is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Overflow {
    /// It refuses what is published.
    RejectPublish,
    /// It drops its oldest message for each new one.
    DropHead,
}

impl Overflow {
    /// As the broker calls it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RejectPublish => "reject-publish",
            Self::DropHead => "drop-head",
        }
    }
}

impl Policies {
    /// What of them loses dead letters, in sentences.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let dead = &self.dead_letter;
        let mut warnings = Vec::new();
        if let Some(ttl) = &dead.ttl {
            warnings.push(format!(
                "dead letters are lost after {ttl}: rabbitmq.policies.dead_letter.ttl"
            ));
        }
        if let (Some(most), Overflow::DropHead) = (dead.max_length, dead.overflow) {
            warnings.push(format!(
                "of more than {most} dead letters in a queue the oldest are lost: \
                 rabbitmq.policies.dead_letter.overflow"
            ));
        }
        warnings
    }
}
