//! What outboxes and inboxes say, from one snapshot of the database.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use dm_contracts::topology::{self, WORK_QUEUES, WorkQueue};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::edit_chains::EditChains;
use super::report::{FindingKind, Invariant, QueueAccount, ReconcileFinding};
use super::unprocessed::{UnprocessedEvent, UnprocessedEvents};
use super::{ReconcileContext, invariants};
use crate::MessagingError;
use crate::retention::ServiceRetention;
use crate::service_tables::ServiceTables;

/// What is not read to its end: rows that are about to go may be gone from one table and
/// not yet from the other.
const RETENTION_SAFETY_FACTOR: f64 = 0.9;

/// What the snapshot says.
pub(super) struct Snapshot {
    /// The instant of the snapshot.
    pub(super) taken_at: DateTime<Utc>,
    pub(super) pending: i64,
    /// The routing keys that each queue takes.
    pub(super) routing_keys: BTreeMap<&'static str, Vec<String>>,
    pub(super) accounts: Vec<QueueAccount>,
    /// By queue.
    pub(super) unprocessed: BTreeMap<&'static str, UnprocessedEvents>,
    /// What dead letters were edited into.
    pub(super) edit_chains: EditChains,
    pub(super) orphans: Vec<ReconcileFinding>,
    pub(super) invariants: Vec<Invariant>,
    pub(super) violations: Vec<ReconcileFinding>,
}

/// Reads all of it in one transaction that sees one state of everything.
pub(super) async fn take_snapshot(
    context: &ReconcileContext<'_>,
) -> Result<Snapshot, MessagingError> {
    let mut session = context.database.acquire().await?;
    let mut snapshot = session
        .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await?;
    // Whole tables are joined: on disk that takes many times as long.
    sqlx::raw_sql("SET LOCAL work_mem = '256MB'; SET LOCAL jit = off")
        .execute(&mut *snapshot)
        .await?;
    let now = sqlx::query_scalar("SELECT now()")
        .fetch_one(&mut *snapshot)
        .await?;
    let chains = EditChains::load(&mut snapshot).await?;
    let keys = count_by_routing_key(&mut snapshot, context.service_tables).await?;
    let pending = keys.values().map(|(pending, _)| pending).sum();
    let (mut accounts, mut open, mut orphans) = (Vec::new(), BTreeMap::new(), Vec::new());
    let mut taken_by = BTreeMap::new();
    for queue in WORK_QUEUES {
        let taken: Vec<String> = keys
            .keys()
            .filter(|key| {
                queue
                    .bindings
                    .iter()
                    .any(|it| topology::binding_matches(it, key))
            })
            .cloned()
            .collect();
        let published = taken.iter().map(|key| keys[key].1).sum();
        let mut account = QueueAccount::new(queue.name, queue.consumer, published);
        let store = context
            .service_tables
            .iter()
            .find(|store| store.work_queue == Some(queue.name));
        if let Some(store) = store {
            let unhandled =
                find_unprocessed(&mut snapshot, context, store, &queue, &taken, &chains).await?;
            account.consumed = account.published - unhandled.len() as i64;
            open.insert(queue.name, unhandled);
            orphans.extend(find_orphans(&mut snapshot, context, store).await?);
        }
        accounts.push(account);
        taken_by.insert(queue.name, taken);
    }
    let bounds = invariants::AgeLimits {
        events: max_event_age_seconds(context, None),
        notifications: max_notification_age_seconds(context),
    };
    let (laws, broken) =
        invariants::check_invariants(&mut snapshot, context.service_tables, bounds).await?;
    snapshot.rollback().await?;
    Ok(Snapshot {
        taken_at: now,
        pending,
        routing_keys: taken_by,
        accounts,
        unprocessed: open,
        edit_chains: chains,
        orphans,
        invariants: laws,
        violations: broken,
    })
}

/// How long ago an event may have been written and still be known everywhere it should be,
/// in seconds.
pub(super) fn max_event_age_seconds(context: &ReconcileContext<'_>, consumer: Option<&str>) -> f64 {
    let services = context.retention.iter();
    let kept = services.filter(|(service, _)| consumer.is_none_or(|it| it == service.as_str()));
    let shortest = kept.map(|(_, memory)| memory.event_retention()).min();
    let shortest = shortest.unwrap_or_else(|| ServiceRetention::default().event_retention());
    shortest.as_secs_f64() * RETENTION_SAFETY_FACTOR
}

/// How old a notification may be and still be there, in seconds.
fn max_notification_age_seconds(context: &ReconcileContext<'_>) -> f64 {
    let kept = context.retention.get("wuphf").copied().unwrap_or_default();
    kept.notifications.as_secs_f64() * RETENTION_SAFETY_FACTOR
}

/// How many events of each routing key are pending, and published.
async fn count_by_routing_key(
    snapshot: &mut PgConnection,
    service_tables: &[ServiceTables],
) -> Result<BTreeMap<String, (i64, i64)>, MessagingError> {
    let mut keys: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for store in service_tables {
        let statement = format!(
            "SELECT routing_key, count(*) FILTER (WHERE published_at IS NULL),
                    count(published_at)
               FROM {} GROUP BY routing_key",
            store.qualified_table("outbox_events")
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

/// What was published to a queue, and is not in its consumer's inbox. What was edited before
/// it was replayed is looked for under the ids that it went back with, too.
async fn find_unprocessed(
    snapshot: &mut PgConnection,
    context: &ReconcileContext<'_>,
    store: &ServiceTables,
    queue: &WorkQueue,
    keys: &[String],
    chains: &EditChains,
) -> Result<UnprocessedEvents, MessagingError> {
    let mut found = Vec::new();
    for publisher in context.service_tables {
        // By when it was written: it may have been handled long before its relay could note
        // that it was published, and the inbox counts from then on.
        let statement = format!(
            "SELECT event_id, event_type, subject FROM {outbox} AS event
              WHERE routing_key = ANY($1)
                AND published_at IS NOT NULL
                AND created_at > now() - $2 * interval '1 second'
                AND NOT EXISTS (SELECT FROM {inbox} AS seen
                                 WHERE seen.queue = $3 AND seen.event_id = event.event_id)",
            outbox = publisher.qualified_table("outbox_events"),
            inbox = store.qualified_table("inbox_events"),
        );
        let rows: Vec<(String, String, String)> = sqlx::query_as(AssertSqlSafe(statement))
            .bind(keys)
            .bind(max_event_age_seconds(context, Some(&store.service)))
            .bind(queue.name)
            .fetch_all(&mut *snapshot)
            .await?;
        found.extend(rows);
    }
    let mut opened = UnprocessedEvents::default();
    for (id, event_type, subject) in found {
        let edits = chains.edited_ids(queue.name, &id);
        let event = UnprocessedEvent {
            event_type,
            subject,
            edited_ids: edits,
        };
        opened.add(id, event);
    }
    if !chains.is_empty() {
        for id in query_inbox(&mut *snapshot, store, queue.name, &opened.ids()).await? {
            opened.remove(&id);
        }
    }
    Ok(opened)
}

/// What a consumer has handled, and no outbox has written. What was replayed may be older
/// than any outbox has noted.
async fn find_orphans(
    snapshot: &mut PgConnection,
    context: &ReconcileContext<'_>,
    store: &ServiceTables,
) -> Result<Vec<ReconcileFinding>, MessagingError> {
    let here: Vec<String> = context
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
        store.qualified_table("inbox_events"),
        here.join(" ")
    );
    let mut rows: Vec<(String, String, String)> = sqlx::query_as(AssertSqlSafe(statement))
        .bind(max_event_age_seconds(context, None))
        .fetch_all(&mut *snapshot)
        .await?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    // It may have been handled after its outbox forgot it. These are few, and what was
    // forgotten is much: it is asked for by id.
    let ids: Vec<String> = rows.iter().map(|(_, id, _)| id.clone()).collect();
    let known = query_known_ids(snapshot, context.service_tables, &ids, true).await?;
    rows.retain(|(_, id, _)| !known.contains(id));
    Ok(rows
        .into_iter()
        .map(|(queue, event_id, event_type)| ReconcileFinding {
            kind: FindingKind::Orphaned,
            of: queue,
            what: event_id,
            detail: format!("{event_type} was processed, and no outbox contains it"),
        })
        .collect())
}

/// Which of these events a consumer has handled by now.
pub(super) async fn find_processed(
    context: &ReconcileContext<'_>,
    queue: &str,
    ids: &[String],
) -> Result<Vec<String>, MessagingError> {
    let Some(store) = context
        .service_tables
        .iter()
        .find(|store| store.work_queue == Some(queue))
    else {
        return Ok(Vec::new());
    };
    let mut session = context.database.acquire().await?;
    query_inbox(&mut session, store, queue, ids).await
}

async fn query_inbox(
    session: &mut PgConnection,
    store: &ServiceTables,
    queue: &str,
    ids: &[String],
) -> Result<Vec<String>, MessagingError> {
    let statement = format!(
        "SELECT event_id FROM {} WHERE queue = $1 AND event_id = ANY($2)",
        store.qualified_table("inbox_events")
    );
    // No id of ours has a zero byte, and PostgreSQL takes none.
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let ids: Vec<&str> = ids.into_iter().filter(|id| !id.contains('\0')).collect();
    Ok(sqlx::query_scalar(AssertSqlSafe(statement))
        .bind(queue)
        .bind(ids)
        .fetch_all(session)
        .await?)
}

/// Which of these ids an outbox has written, or a person has edited an event into; with
/// `replayed` also those that were replayed as they were, which may be older than any outbox
/// has noted.
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
    // No id of ours has a zero byte, and PostgreSQL takes none.
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let ids: Vec<&str> = ids.into_iter().filter(|id| !id.contains('\0')).collect();
    let found: Vec<String> = sqlx::query_scalar(AssertSqlSafe(known_ids_sql(service_tables)))
        .bind(ids)
        .bind(replayed)
        .fetch_all(session)
        .await?;
    Ok(found.into_iter().collect())
}

/// Asks where an id that is known may stand: in an outbox, in what that has forgotten, or
/// among what was replayed.
fn known_ids_sql(service_tables: &[ServiceTables]) -> String {
    let parts: Vec<String> = service_tables
        .iter()
        .flat_map(|store| {
            ["outbox_events", "forgotten_events"].map(|name| store.qualified_table(name))
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
    fn what_an_outbox_has_forgotten_is_known() {
        let store = |service: &str, schema: &str| ServiceTables {
            service: service.into(),
            schema: schema.into(),
            work_queue: None,
        };
        let text = known_ids_sql(&[store("order", "orders"), store("sales", "sales")]);
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
