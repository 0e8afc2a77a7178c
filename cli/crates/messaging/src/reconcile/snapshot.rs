//! Outboxes and inboxes in one snapshot of the database.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use dm_contracts::topology::{self, EVENT_QUEUES, EventQueue};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::edit_chains::EditChains;
use super::report::{FindingKind, Invariant, QueueReport, ReconcileFinding};
use super::unprocessed::{UnprocessedEvent, UnprocessedEvents};
use super::{ReconcileContext, invariants};
use crate::MessagingError;
use crate::retention::ServiceRetention;
use crate::service_tables::ServiceTables;

/// The share of the retention period that is checked: rows at its end may be removed from one
/// table and not yet from the other.
const RETENTION_SAFETY_FACTOR: f64 = 0.9;

/// The state of outboxes and inboxes in one snapshot of the database.
pub(super) struct Snapshot {
    /// The instant of the snapshot.
    pub(super) taken_at: DateTime<Utc>,
    pub(super) pending: i64,
    /// The routing keys that each queue receives.
    pub(super) routing_keys: BTreeMap<&'static str, Vec<String>>,
    pub(super) reports: Vec<QueueReport>,
    /// The unprocessed events by queue.
    pub(super) unprocessed: BTreeMap<&'static str, UnprocessedEvents>,
    /// The edits of dead letters.
    pub(super) edit_chains: EditChains,
    pub(super) orphans: Vec<ReconcileFinding>,
    pub(super) invariants: Vec<Invariant>,
    pub(super) violations: Vec<ReconcileFinding>,
}

/// Reads all tables in one transaction with one snapshot of the database.
pub(super) async fn take_snapshot(
    context: &ReconcileContext<'_>,
) -> Result<Snapshot, MessagingError> {
    let mut session = context.database.acquire().await?;
    let mut snapshot = session
        .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await?;
    // Joins of whole tables take many times as long on disk.
    sqlx::raw_sql("SET LOCAL work_mem = '256MB'; SET LOCAL jit = off")
        .execute(&mut *snapshot)
        .await?;
    let taken_at = sqlx::query_scalar("SELECT now()")
        .fetch_one(&mut *snapshot)
        .await?;
    let edit_chains = EditChains::load(&mut snapshot).await?;
    let keys = count_by_routing_key(&mut snapshot, context.service_tables).await?;
    let pending = keys.values().map(|(pending, _)| pending).sum();
    let (mut reports, mut unprocessed, mut orphans) = (Vec::new(), BTreeMap::new(), Vec::new());
    let mut routing_keys = BTreeMap::new();
    for queue in EVENT_QUEUES {
        let queue_keys: Vec<String> = keys
            .keys()
            .filter(|key| {
                queue
                    .bindings
                    .iter()
                    .any(|binding| topology::binding_matches(binding, key))
            })
            .cloned()
            .collect();
        let published = queue_keys.iter().map(|key| keys[key].1).sum();
        let mut report = QueueReport::new(queue.name, queue.consumer, published);
        let tables = context
            .service_tables
            .iter()
            .find(|tables| tables.work_queue == Some(queue.name));
        if let Some(tables) = tables {
            let events = find_unprocessed(
                &mut snapshot,
                context,
                tables,
                &queue,
                &queue_keys,
                &edit_chains,
            )
            .await?;
            report.processed = report.published - events.len() as i64;
            unprocessed.insert(queue.name, events);
            orphans.extend(find_orphans(&mut snapshot, context, tables).await?);
        }
        reports.push(report);
        routing_keys.insert(queue.name, queue_keys);
    }
    let age_limits = invariants::AgeLimits {
        events: max_event_age_seconds(context, None),
        notifications: max_notification_age_seconds(context),
    };
    let (invariants, violations) =
        invariants::check_invariants(&mut snapshot, context.service_tables, age_limits).await?;
    snapshot.rollback().await?;
    Ok(Snapshot {
        taken_at,
        pending,
        routing_keys,
        reports,
        unprocessed,
        edit_chains,
        orphans,
        invariants,
        violations,
    })
}

/// Returns the maximum age at which an event is still in every table that must contain it, in
/// seconds.
pub(super) fn max_event_age_seconds(context: &ReconcileContext<'_>, consumer: Option<&str>) -> f64 {
    let services = context.retention.iter();
    let relevant = services
        .filter(|(service, _)| consumer.is_none_or(|consumer| consumer == service.as_str()));
    let shortest = relevant
        .map(|(_, retention)| retention.event_retention())
        .min();
    let shortest = shortest.unwrap_or_else(|| ServiceRetention::default().event_retention());
    shortest.as_secs_f64() * RETENTION_SAFETY_FACTOR
}

/// Returns the maximum age at which a notification still exists, in seconds.
fn max_notification_age_seconds(context: &ReconcileContext<'_>) -> f64 {
    let retention = context.retention.get("wuphf").copied().unwrap_or_default();
    retention.notifications.as_secs_f64() * RETENTION_SAFETY_FACTOR
}

/// Returns the numbers of pending and published events by routing key.
async fn count_by_routing_key(
    snapshot: &mut PgConnection,
    service_tables: &[ServiceTables],
) -> Result<BTreeMap<String, (i64, i64)>, MessagingError> {
    let mut keys: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for tables in service_tables {
        let statement = format!(
            "SELECT routing_key, count(*) FILTER (WHERE published_at IS NULL),
                    count(published_at)
               FROM {} GROUP BY routing_key",
            tables.qualified_table("outbox_events")
        );
        let rows: Vec<(String, i64, i64)> = sqlx::query_as(AssertSqlSafe(statement))
            .fetch_all(&mut *snapshot)
            .await?;
        for (key, pending, published) in rows {
            let sum = keys.entry(key).or_default();
            sum.0 += pending;
            sum.1 += published;
        }
    }
    Ok(keys)
}

/// Returns the events that were published to a queue and are not in the inbox of its consumer.
/// Edited events are also searched by the ids of their edits.
async fn find_unprocessed(
    snapshot: &mut PgConnection,
    context: &ReconcileContext<'_>,
    tables: &ServiceTables,
    queue: &EventQueue,
    keys: &[String],
    chains: &EditChains,
) -> Result<UnprocessedEvents, MessagingError> {
    let mut unprocessed_rows = Vec::new();
    for publisher in context.service_tables {
        // By the instant of writing: an event may be processed long before its relay records
        // that it was published, and the inbox retention starts at the processing.
        let statement = format!(
            "SELECT event_id, event_type, subject FROM {outbox} AS event
              WHERE routing_key = ANY($1)
                AND published_at IS NOT NULL
                AND created_at > now() - $2 * interval '1 second'
                AND NOT EXISTS (SELECT FROM {inbox} AS seen
                                 WHERE seen.queue = $3 AND seen.event_id = event.event_id)",
            outbox = publisher.qualified_table("outbox_events"),
            inbox = tables.qualified_table("inbox_events"),
        );
        let rows: Vec<(String, String, String)> = sqlx::query_as(AssertSqlSafe(statement))
            .bind(keys)
            .bind(max_event_age_seconds(context, Some(&tables.service)))
            .bind(queue.name)
            .fetch_all(&mut *snapshot)
            .await?;
        unprocessed_rows.extend(rows);
    }
    let mut unprocessed = UnprocessedEvents::default();
    for (id, event_type, subject) in unprocessed_rows {
        let edited_ids = chains.edited_ids(queue.name, &id);
        let event = UnprocessedEvent {
            event_type,
            subject,
            edited_ids,
        };
        unprocessed.add(id, event);
    }
    if !chains.is_empty() {
        for id in query_inbox(&mut *snapshot, tables, queue.name, &unprocessed.ids()).await? {
            unprocessed.remove(&id);
        }
    }
    Ok(unprocessed)
}

/// Returns the events that a consumer has processed and no outbox contains. Replayed events may
/// be older than the outboxes.
async fn find_orphans(
    snapshot: &mut PgConnection,
    context: &ReconcileContext<'_>,
    tables: &ServiceTables,
) -> Result<Vec<ReconcileFinding>, MessagingError> {
    let not_in_outbox: Vec<String> = context
        .service_tables
        .iter()
        .map(|publisher| {
            format!(
                "AND NOT EXISTS (SELECT FROM {} AS event WHERE event.event_id = seen.event_id)",
                publisher.qualified_table("outbox_events")
            )
        })
        .collect();
    let statement = format!(
        "SELECT queue, event_id, event_type FROM {} AS seen
          WHERE processed_at > now() - $1 * interval '1 second' {}",
        tables.qualified_table("inbox_events"),
        not_in_outbox.join(" ")
    );
    let mut rows: Vec<(String, String, String)> = sqlx::query_as(AssertSqlSafe(statement))
        .bind(max_event_age_seconds(context, None))
        .fetch_all(&mut *snapshot)
        .await?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    // An event may be processed after its outbox row was removed. The candidates are few and
    // the removed rows are many, so they are queried by id.
    let ids: Vec<String> = rows.iter().map(|(_, id, _)| id.clone()).collect();
    let known = query_known_ids(snapshot, context.service_tables, &ids, true).await?;
    rows.retain(|(_, id, _)| !known.contains(id));
    Ok(rows
        .into_iter()
        .map(|(queue, event_id, event_type)| ReconcileFinding {
            kind: FindingKind::Orphaned,
            scope: queue,
            id: event_id,
            detail: format!("{event_type} was processed, and no outbox contains the event"),
        })
        .collect())
}

/// Returns which of these events a consumer has processed by now.
pub(super) async fn find_processed(
    context: &ReconcileContext<'_>,
    queue: &str,
    ids: &[String],
) -> Result<Vec<String>, MessagingError> {
    let Some(tables) = context
        .service_tables
        .iter()
        .find(|tables| tables.work_queue == Some(queue))
    else {
        return Ok(Vec::new());
    };
    let mut session = context.database.acquire().await?;
    query_inbox(&mut session, tables, queue, ids).await
}

async fn query_inbox(
    session: &mut PgConnection,
    tables: &ServiceTables,
    queue: &str,
    ids: &[String],
) -> Result<Vec<String>, MessagingError> {
    let statement = format!(
        "SELECT event_id FROM {} WHERE queue = $1 AND event_id = ANY($2)",
        tables.qualified_table("inbox_events")
    );
    // PostgreSQL rejects texts with a zero byte, and no event id contains one.
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let ids: Vec<&str> = ids.into_iter().filter(|id| !id.contains('\0')).collect();
    Ok(sqlx::query_scalar(AssertSqlSafe(statement))
        .bind(queue)
        .bind(ids)
        .fetch_all(session)
        .await?)
}

/// Returns which of these ids are in an outbox or are the result of an edit. With `replayed`
/// also the ids that were replayed without an edit, which may be older than the outboxes.
pub(super) async fn find_known_ids(
    context: &ReconcileContext<'_>,
    ids: &[String],
    replayed: bool,
) -> Result<HashSet<String>, MessagingError> {
    let mut session = context.database.acquire().await?;
    query_known_ids(&mut session, context.service_tables, ids, replayed).await
}

async fn query_known_ids(
    session: &mut PgConnection,
    service_tables: &[ServiceTables],
    ids: &[String],
    replayed: bool,
) -> Result<HashSet<String>, MessagingError> {
    // PostgreSQL rejects texts with a zero byte, and no event id contains one.
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let ids: Vec<&str> = ids.into_iter().filter(|id| !id.contains('\0')).collect();
    let known: Vec<String> = sqlx::query_scalar(AssertSqlSafe(known_ids_sql(service_tables)))
        .bind(ids)
        .bind(replayed)
        .fetch_all(session)
        .await?;
    Ok(known.into_iter().collect())
}

/// Returns the query for known ids: in an outbox, among the ids of removed outbox rows, or among
/// the replayed events.
fn known_ids_sql(service_tables: &[ServiceTables]) -> String {
    let parts: Vec<String> = service_tables
        .iter()
        .flat_map(|tables| {
            ["outbox_events", "forgotten_events"].map(|name| tables.qualified_table(name))
        })
        .map(|table| format!("SELECT event_id FROM {table} WHERE event_id = ANY($1)"))
        .chain([
            "SELECT edited_as FROM dm_ops.replay_messages WHERE edited_as = ANY($1)".to_owned(),
            "SELECT event_id FROM dm_ops.replay_messages WHERE event_id = ANY($1) AND $2"
                .to_owned(),
        ])
        .collect();
    parts.join(" UNION ALL ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_ids_sql_includes_forgotten_events() {
        let tables = |service: &str, schema: &str| ServiceTables {
            service: service.into(),
            schema: schema.into(),
            work_queue: None,
        };
        let text = known_ids_sql(&[tables("order", "orders"), tables("sales", "sales")]);
        for table in [
            "\"orders\".outbox_events",
            "\"orders\".forgotten_events",
            "\"sales\".outbox_events",
            "\"sales\".forgotten_events",
        ] {
            assert!(text.contains(&format!("FROM {table} ")), "{text}");
        }
    }
}
