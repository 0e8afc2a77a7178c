//! The contents of a queue that no service of the stack consumes.
//!
//! Neither an external consumer nor the limits of the queue leave a record. It is unknown
//! whether an event that is no longer in the queue was consumed, dropped or lost. All of these
//! happen at the head of the queue, though. Messages that were never delivered are in the queue
//! in the order of their arrival, without a gap. An event that was written after one of them was
//! confirmed must be in the queue; otherwise it is missing.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use dm_contracts::topology::EventQueue;
use sqlx::{AssertSqlSafe, FromRow};

use super::ReconcileContext;
use super::report::QueueReport;
use crate::queue_inspector::{QueueContents, QueuedMessage};
use crate::{MessagingError, queues};

/// The reason for undetermined events.
const UNDETERMINED_REASON: &str = "a consumer outside the stack took them, or the limits of the queue \
                   (rabbitmq.policies.read_model) dropped them; RabbitMQ records neither";

/// The number of inspections before an event is reported as missing: a message that is consumed
/// during an inspection is in the state of the queue, but not in the output.
const INSPECTIONS: usize = 2;

/// The expected contents of the queue.
pub(super) struct ExpectedContents<'a> {
    /// The routing keys that the queue receives.
    pub(super) routing_keys: &'a [String],
    /// The instant of the snapshot. It does not contain events that were published later.
    pub(super) snapshot_at: DateTime<Utc>,
}

/// An event that should be in the queue and is not.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub(super) struct MissingEvent {
    pub(super) event_id: String,
    pub(super) event_type: String,
    pub(super) subject: String,
}

/// The contents of the queue, and the missing events.
#[derive(Debug, Default)]
pub(super) struct ExternalQueueContents {
    pub(super) messages: Vec<QueuedMessage>,
    pub(super) missing: Vec<MissingEvent>,
}

/// Inspects the queue and completes its report.
pub(super) async fn reconcile_external_queue(
    context: &ReconcileContext<'_>,
    queue: &EventQueue,
    expected: &ExpectedContents<'_>,
    report: &mut QueueReport,
) -> Result<ExternalQueueContents, MessagingError> {
    let (mut result, mut waiting) = (ExternalQueueContents::default(), 0);
    let depths = queues::load_depths(context.connection, &[*queue]).await?;
    if depths
        .iter()
        .any(|depth| depth.ready > 0 || depth.consumers > 0)
    {
        for inspection in 0..INSPECTIONS {
            let contents = context
                .queue_inspector
                .inspect(&[queue.name.to_owned()])
                .await?;
            let QueueContents {
                messages,
                unreadable,
            } = contents.into_iter().next().unwrap_or_default();
            let published = load_publish_times(context, expected, &messages).await?;
            waiting = published.len() as i64 + i64::try_from(unreadable).unwrap_or(i64::MAX);
            let mut missing = match complete_since(&messages, &published) {
                Some(since) => find_missing(context, expected, since, &messages).await?,
                None => Vec::new(),
            };
            if inspection > 0 {
                // Only events that are missing in both inspections.
                missing.retain(|event| result.missing.contains(event));
            }
            result = ExternalQueueContents { messages, missing };
            if result.missing.is_empty() {
                break;
            }
            if unreadable > 0 {
                return Err(MessagingError::UnreadableMessages {
                    queue: queue.name,
                    events: result.missing.len(),
                    unreadable,
                });
            }
        }
    }
    complete_report(report, waiting, result.missing.len() as i64);
    Ok(result)
}

/// Completes a report: events that neither wait nor are missing are undetermined.
fn complete_report(report: &mut QueueReport, waiting: i64, missing: i64) {
    report.missing = missing;
    report.waiting = waiting.min(report.published - missing).max(0);
    report.undetermined = report.published - report.waiting - missing;
    report.reason = (report.undetermined > 0).then_some(UNDETERMINED_REASON);
}

/// Returns the publish times of the events of these messages, as of the snapshot.
async fn load_publish_times(
    context: &ReconcileContext<'_>,
    expected: &ExpectedContents<'_>,
    messages: &[QueuedMessage],
) -> Result<HashMap<String, DateTime<Utc>>, MessagingError> {
    let ids = message_ids(messages);
    let mut published = HashMap::new();
    for tables in context.service_tables {
        let statement = format!(
            "SELECT event_id, published_at FROM {}
              WHERE event_id = ANY($1) AND published_at <= $2",
            tables.qualified_table("outbox_events")
        );
        let rows: Vec<(String, DateTime<Utc>)> = sqlx::query_as(AssertSqlSafe(statement))
            .bind(&ids)
            .bind(expected.snapshot_at)
            .fetch_all(context.database)
            .await?;
        published.extend(rows);
    }
    Ok(published)
}

/// Returns the instant since which all events must be in the queue: when the first message was
/// confirmed that was never delivered. A message that a repair or a replay published again is
/// behind younger ones and is ignored.
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

/// Returns the published events that were written after `since` and are none of these messages.
/// A seed inserts rows as published without publishing them, so events older than the last seed
/// are ignored.
async fn find_missing(
    context: &ReconcileContext<'_>,
    expected: &ExpectedContents<'_>,
    since: DateTime<Utc>,
    messages: &[QueuedMessage],
) -> Result<Vec<MissingEvent>, MessagingError> {
    let ids = message_ids(messages);
    let mut missing = BTreeMap::new();
    for tables in context.service_tables {
        let statement = format!(
            "SELECT event_id, event_type, subject FROM {}
              WHERE routing_key = ANY($1) AND published_at <= $2 AND NOT event_id = ANY($4)
                AND created_at > greatest($3, (SELECT max(coalesce(ended_at, now()))
                                                 FROM dm_ops.seed_runs))",
            tables.qualified_table("outbox_events")
        );
        let rows: Vec<MissingEvent> = sqlx::query_as(AssertSqlSafe(statement))
            .bind(expected.routing_keys)
            .bind(expected.snapshot_at)
            .bind(since)
            .bind(&ids)
            .fetch_all(context.database)
            .await?;
        missing.extend(
            rows.into_iter()
                .map(|event| (event.event_id.clone(), event)),
        );
    }
    Ok(missing.into_values().collect())
}

/// Returns the ids of messages without those that contain a zero byte: PostgreSQL rejects them,
/// and no event id contains one.
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

    fn message(id: &str, received: i64, never_delivered: bool) -> QueuedMessage {
        QueuedMessage {
            id: Some(id.into()),
            received_at: Some(at(received)),
            never_delivered,
        }
    }

    #[test]
    fn complete_since_is_the_confirmation_of_the_first_undelivered_message() {
        let published: HashMap<String, DateTime<Utc>> = [("a", 1), ("b", 5), ("c", 9)]
            .map(|(id, second)| (id.to_owned(), at(second)))
            .into();
        let since = |messages: &[QueuedMessage]| complete_since(messages, &published);
        let (b, c) = (message("b", 5, true), message("c", 8, true));
        assert_eq!(since(&[c.clone(), b.clone()]), Some(at(5)));
        // A consumer has or returned it: later messages may have been consumed.
        let held = message("a", 1, false);
        assert_eq!(since(&[held.clone(), c.clone()]), Some(at(9)));
        assert_eq!(since(&[held]), None);
        // It was published again after it was confirmed.
        let republished = message("a", 7, true);
        assert_eq!(since(&[republished, c]), Some(at(9)));
        // No outbox contains it.
        assert_eq!(since(&[message("x", 1, true)]), None);
    }

    #[test]
    fn events_neither_waiting_nor_missing_are_undetermined() {
        let completed = |published, waiting, missing| {
            let mut report = QueueReport::new("q", None, published);
            complete_report(&mut report, waiting, missing);
            (
                report.waiting,
                report.missing,
                report.undetermined,
                report.reason.is_some(),
            )
        };
        assert_eq!(completed(10, 4, 1), (4, 1, 5, true));
        assert_eq!(completed(10, 9, 1), (9, 1, 0, false));
        // Unreadable messages may belong to unknown events.
        assert_eq!(completed(10, 20, 0), (10, 0, 0, false));
        assert_eq!(completed(0, 0, 0), (0, 0, 0, false));
    }
}
