//! What waits in a queue that no service here consumes.
//!
//! Whoever consumes it notes nothing here, and what its limits drop nobody notes: of what is
//! not in it any more, nobody can tell whether it was taken, dropped or lost. All of these
//! happen at its head, though. What was never delivered is there in the order in which it
//! came, without a gap; so what was written after one of those was confirmed has to be there,
//! and is missing where it is not.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use dm_contracts::topology::WorkQueue;
use sqlx::{AssertSqlSafe, FromRow};

use super::ReconcileContext;
use super::report::QueueAccount;
use crate::queue_inspector::{QueueContents, QueuedMessage};
use crate::{MessagingError, queues};

/// Why what is not there is not accounted for.
const UNACCOUNTED_REASON: &str = "a consumer outside the stack took them, or the limits of the queue \
                   (rabbitmq.policies.read_model) dropped them; RabbitMQ records neither";

/// How often the queue is looked into before what is not in it is missing: a message that is
/// taken while it is read is in the state of the queue, and in no answer.
const INSPECTION_ROUNDS: usize = 2;

/// What the queue should hold by the books.
pub(super) struct ExpectedContents<'a> {
    /// The routing keys that it takes.
    pub(super) routing_keys: &'a [String],
    /// When the books were read: what was published later is not in them.
    pub(super) snapshot_at: DateTime<Utc>,
}

/// An event that should be in the queue and is not.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub(super) struct MissingEvent {
    pub(super) event_id: String,
    pub(super) event_type: String,
    pub(super) subject: String,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct ExternalQueueContents {
    pub(super) messages: Vec<QueuedMessage>,
    pub(super) missing: Vec<MissingEvent>,
}

/// Looks into the queue, and completes its account.
pub(super) async fn reconcile_external_queue(
    context: &ReconcileContext<'_>,
    queue: &WorkQueue,
    due: &ExpectedContents<'_>,
    account: &mut QueueAccount,
) -> Result<ExternalQueueContents, MessagingError> {
    let (mut found, mut waiting) = (ExternalQueueContents::default(), 0);
    let depths = queues::load_depths(context.connection, &[*queue]).await?;
    if depths.iter().any(|it| it.ready > 0 || it.consumers > 0) {
        for round in 0..INSPECTION_ROUNDS {
            let contents = context
                .queue_inspector
                .inspect(&[queue.name.to_owned()])
                .await?;
            let QueueContents {
                messages,
                unreadable: unread,
            } = contents.into_iter().next().unwrap_or_default();
            let published = load_publish_times(context, due, &messages).await?;
            waiting = published.len() as i64 + i64::try_from(unread).unwrap_or(i64::MAX);
            let mut lost = match complete_since(&messages, &published) {
                Some(bound) => find_missing(context, due, bound, &messages).await?,
                None => Vec::new(),
            };
            if round > 0 {
                // Those of both looks.
                lost.retain(|event| found.missing.contains(event));
            }
            found = ExternalQueueContents {
                messages,
                missing: lost,
            };
            if found.missing.is_empty() {
                break;
            }
            if unread > 0 {
                return Err(MessagingError::UnreadableMessages {
                    queue: queue.name,
                    events: found.missing.len(),
                    unread,
                });
            }
        }
    }
    complete_account(account, waiting, found.missing.len() as i64);
    Ok(found)
}

/// Completes an account: what neither waits nor is missing is not accounted for.
fn complete_account(account: &mut QueueAccount, waiting: i64, missing: i64) {
    account.missing = missing;
    account.waiting = waiting.min(account.published - missing).max(0);
    account.unaccounted = account.published - account.waiting - missing;
    account.why = (account.unaccounted > 0).then_some(UNACCOUNTED_REASON);
}

/// When these messages' events were published, where the books know that.
async fn load_publish_times(
    context: &ReconcileContext<'_>,
    due: &ExpectedContents<'_>,
    messages: &[QueuedMessage],
) -> Result<HashMap<String, DateTime<Utc>>, MessagingError> {
    let ids = message_ids(messages);
    let mut published = HashMap::new();
    for store in context.service_tables {
        let statement = format!(
            "SELECT event_id, published_at FROM {}
              WHERE event_id = ANY($1) AND published_at <= $2",
            store.qualified_table("outbox_events")
        );
        let rows: Vec<(String, DateTime<Utc>)> = sqlx::query_as(AssertSqlSafe(statement))
            .bind(&ids)
            .bind(due.snapshot_at)
            .fetch_all(context.database)
            .await?;
        published.extend(rows);
    }
    Ok(published)
}

/// The instant since when everything has to be there: when the first of those was confirmed
/// that were never delivered. What was sent again later, by a repair or a replay, stands
/// behind younger ones, and says nothing.
fn complete_since(
    messages: &[QueuedMessage],
    published: &HashMap<String, DateTime<Utc>>,
) -> Option<DateTime<Utc>> {
    messages
        .iter()
        .filter(|message| message.never_delivered)
        .filter_map(|message| {
            let confirmed = published.get(message.id.as_ref()?)?;
            (message.received_at? <= *confirmed).then_some(*confirmed)
        })
        .min()
}

/// What was written after an instant and published, and is none of these messages. A seed
/// writes what it says was published: what is older than the last seed proves nothing.
async fn find_missing(
    context: &ReconcileContext<'_>,
    due: &ExpectedContents<'_>,
    bound: DateTime<Utc>,
    messages: &[QueuedMessage],
) -> Result<Vec<MissingEvent>, MessagingError> {
    let ids = message_ids(messages);
    let mut absent = BTreeMap::new();
    for store in context.service_tables {
        let statement = format!(
            "SELECT event_id, event_type, subject FROM {}
              WHERE routing_key = ANY($1) AND published_at <= $2 AND NOT event_id = ANY($4)
                AND created_at > greatest($3, (SELECT max(coalesce(ended_at, now()))
                                                 FROM dm_ops.seed_runs))",
            store.qualified_table("outbox_events")
        );
        let rows: Vec<MissingEvent> = sqlx::query_as(AssertSqlSafe(statement))
            .bind(due.routing_keys)
            .bind(due.snapshot_at)
            .bind(bound)
            .bind(&ids)
            .fetch_all(context.database)
            .await?;
        absent.extend(rows.into_iter().map(|it| (it.event_id.clone(), it)));
    }
    Ok(absent.into_values().collect())
}

/// The ids of messages, as PostgreSQL takes them: no id of ours has a zero byte.
fn message_ids(messages: &[QueuedMessage]) -> Vec<&str> {
    let ids = messages.iter().filter_map(|message| message.id.as_deref());
    ids.filter(|id| !id.contains('\0')).collect()
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    fn message(id: &str, received: i64, fresh: bool) -> QueuedMessage {
        QueuedMessage {
            id: Some(id.into()),
            received_at: Some(at(received)),
            never_delivered: fresh,
        }
    }

    #[test]
    fn the_first_that_was_never_delivered_says_since_when_all_are_there() {
        let published: HashMap<String, DateTime<Utc>> = [("a", 1), ("b", 5), ("c", 9)]
            .map(|(id, second)| (id.to_owned(), at(second)))
            .into();
        let bound = |messages: &[QueuedMessage]| complete_since(messages, &published);
        let (b, c) = (message("b", 5, true), message("c", 8, true));
        assert_eq!(bound(&[c.clone(), b.clone()]), Some(at(5)));
        // A consumer has it, or gave it back: later ones may be gone rightly.
        let held = message("a", 1, false);
        assert_eq!(bound(&[held.clone(), c.clone()]), Some(at(9)));
        assert_eq!(bound(&[held]), None);
        // It was sent again after it was confirmed.
        let again = message("a", 7, true);
        assert_eq!(bound(&[again, c]), Some(at(9)));
        // No outbox has written it.
        assert_eq!(bound(&[message("x", 1, true)]), None);
    }

    #[test]
    fn what_neither_waits_nor_is_missing_is_not_accounted_for() {
        let closed = |published, waiting, missing| {
            let mut account = QueueAccount::new("q", None, published);
            complete_account(&mut account, waiting, missing);
            (
                account.waiting,
                account.missing,
                account.unaccounted,
                account.why.is_some(),
            )
        };
        assert_eq!(closed(10, 4, 1), (4, 1, 5, true));
        assert_eq!(closed(10, 9, 1), (9, 1, 0, false));
        // Messages that can't be read may be of events that nobody knows.
        assert_eq!(closed(10, 20, 0), (10, 0, 0, false));
        assert_eq!(closed(0, 0, 0), (0, 0, 0, false));
    }
}
