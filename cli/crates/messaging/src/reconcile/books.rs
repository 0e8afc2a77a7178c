//! What outboxes and inboxes say, from one snapshot of the database.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use dm_contracts::topology::{self, WORK_QUEUES, WorkQueue};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::chains::Chains;
use super::open::{Open, Opened};
use super::report::{Account, Finding, Kind, Law};
use super::{Site, laws};
use crate::MessagingError;
use crate::memory::Memory;
use crate::stores::Store;

/// What is not read to its end: rows that are about to go may be gone from one table and
/// not yet from the other.
const TRUSTED: f64 = 0.9;

/// What the snapshot says.
pub(super) struct Books {
    /// The instant of the snapshot.
    pub(super) now: DateTime<Utc>,
    pub(super) pending: i64,
    /// The routing keys that each queue takes.
    pub(super) taken: BTreeMap<&'static str, Vec<String>>,
    pub(super) accounts: Vec<Account>,
    /// By queue.
    pub(super) open: BTreeMap<&'static str, Opened>,
    /// What dead letters were edited into.
    pub(super) chains: Chains,
    pub(super) orphans: Vec<Finding>,
    pub(super) laws: Vec<Law>,
    pub(super) broken: Vec<Finding>,
}

/// Reads all of it in one transaction that sees one state of everything.
pub(super) async fn read(site: &Site<'_>) -> Result<Books, MessagingError> {
    let mut session = site.database.acquire().await?;
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
    let chains = Chains::read(&mut snapshot).await?;
    let keys = keys(&mut snapshot, site.stores).await?;
    let pending = keys.values().map(|(pending, _)| pending).sum();
    let (mut accounts, mut open, mut orphans) = (Vec::new(), BTreeMap::new(), Vec::new());
    let mut taken_by = BTreeMap::new();
    for queue in WORK_QUEUES {
        let taken: Vec<String> = keys
            .keys()
            .filter(|key| queue.bindings.iter().any(|it| topology::takes(it, key)))
            .cloned()
            .collect();
        let published = taken.iter().map(|key| keys[key].1).sum();
        let mut account = Account::of(queue.name, queue.consumer, published);
        let store = site
            .stores
            .iter()
            .find(|store| store.queue == Some(queue.name));
        if let Some(store) = store {
            let unhandled = unhandled(&mut snapshot, site, store, &queue, &taken, &chains).await?;
            account.consumed = account.published - unhandled.len() as i64;
            open.insert(queue.name, unhandled);
            orphans.extend(unknown(&mut snapshot, site, store).await?);
        }
        accounts.push(account);
        taken_by.insert(queue.name, taken);
    }
    let bounds = laws::Bounds {
        events: oldest(site, None),
        notifications: kept_notifications(site),
    };
    let (laws, broken) = laws::check(&mut snapshot, site.stores, bounds).await?;
    snapshot.rollback().await?;
    Ok(Books {
        now,
        pending,
        taken: taken_by,
        accounts,
        open,
        chains,
        orphans,
        laws,
        broken,
    })
}

/// How long ago an event may have been written and still be known everywhere it should be,
/// in seconds.
pub(super) fn oldest(site: &Site<'_>, consumer: Option<&str>) -> f64 {
    let services = site.memory.iter();
    let kept = services.filter(|(service, _)| consumer.is_none_or(|it| it == service.as_str()));
    let shortest = kept.map(|(_, memory)| memory.of_events()).min();
    let shortest = shortest.unwrap_or_else(|| Memory::default().of_events());
    shortest.as_secs_f64() * TRUSTED
}

/// How old a notification may be and still be there, in seconds.
fn kept_notifications(site: &Site<'_>) -> f64 {
    let kept = site.memory.get("wuphf").copied().unwrap_or_default();
    kept.notifications.as_secs_f64() * TRUSTED
}

/// How many events of each routing key are pending, and published.
async fn keys(
    snapshot: &mut PgConnection,
    stores: &[Store],
) -> Result<BTreeMap<String, (i64, i64)>, MessagingError> {
    let mut keys: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for store in stores {
        let statement = format!(
            "SELECT routing_key, count(*) FILTER (WHERE published_at IS NULL),
                    count(published_at)
               FROM {} GROUP BY routing_key",
            store.table("outbox_events")
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
async fn unhandled(
    snapshot: &mut PgConnection,
    site: &Site<'_>,
    store: &Store,
    queue: &WorkQueue,
    keys: &[String],
    chains: &Chains,
) -> Result<Opened, MessagingError> {
    let mut found = Vec::new();
    for publisher in site.stores {
        // By when it was written: it may have been handled long before its relay could note
        // that it was published, and the inbox counts from then on.
        let statement = format!(
            "SELECT event_id, event_type, subject FROM {outbox} AS event
              WHERE routing_key = ANY($1)
                AND published_at IS NOT NULL
                AND created_at > now() - $2 * interval '1 second'
                AND NOT EXISTS (SELECT FROM {inbox} AS seen
                                 WHERE seen.queue = $3 AND seen.event_id = event.event_id)",
            outbox = publisher.table("outbox_events"),
            inbox = store.table("inbox_events"),
        );
        let rows: Vec<(String, String, String)> = sqlx::query_as(AssertSqlSafe(statement))
            .bind(keys)
            .bind(oldest(site, Some(&store.service)))
            .bind(queue.name)
            .fetch_all(&mut *snapshot)
            .await?;
        found.extend(rows);
    }
    let mut opened = Opened::default();
    for (id, event_type, subject) in found {
        let edits = chains.edits(queue.name, &id);
        let event = Open {
            event_type,
            subject,
            edits,
        };
        opened.add(id, event);
    }
    if !chains.is_empty() {
        for id in in_inbox(&mut *snapshot, store, queue.name, &opened.ids()).await? {
            opened.take(&id);
        }
    }
    Ok(opened)
}

/// What a consumer has handled, and no outbox has written. What was replayed may be older
/// than any outbox has noted.
async fn unknown(
    snapshot: &mut PgConnection,
    site: &Site<'_>,
    store: &Store,
) -> Result<Vec<Finding>, MessagingError> {
    let here: Vec<String> = site
        .stores
        .iter()
        .map(|publisher| {
            format!(
                "AND NOT EXISTS (SELECT FROM {} AS event WHERE event.event_id = seen.event_id)",
                publisher.table("outbox_events")
            )
        })
        .collect();
    let statement = format!(
        "SELECT queue, event_id, event_type FROM {} AS seen
          WHERE processed_at > now() - $1 * interval '1 second' {}",
        store.table("inbox_events"),
        here.join(" ")
    );
    let mut rows: Vec<(String, String, String)> = sqlx::query_as(AssertSqlSafe(statement))
        .bind(oldest(site, None))
        .fetch_all(&mut *snapshot)
        .await?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    // It may have been handled after its outbox forgot it. These are few, and what was
    // forgotten is much: it is asked for by id.
    let ids: Vec<String> = rows.iter().map(|(_, id, _)| id.clone()).collect();
    let known = known(snapshot, site.stores, &ids, true).await?;
    rows.retain(|(_, id, _)| !known.contains(id));
    Ok(rows
        .into_iter()
        .map(|(queue, event_id, event_type)| Finding {
            kind: Kind::Orphaned,
            of: queue,
            what: event_id,
            detail: format!("{event_type} was processed, and no outbox contains it"),
        })
        .collect())
}

/// Which of these events a consumer has handled by now.
pub(super) async fn handled(
    site: &Site<'_>,
    queue: &str,
    ids: &[String],
) -> Result<Vec<String>, MessagingError> {
    let Some(store) = site.stores.iter().find(|store| store.queue == Some(queue)) else {
        return Ok(Vec::new());
    };
    let mut session = site.database.acquire().await?;
    in_inbox(&mut session, store, queue, ids).await
}

async fn in_inbox(
    session: &mut PgConnection,
    store: &Store,
    queue: &str,
    ids: &[String],
) -> Result<Vec<String>, MessagingError> {
    let statement = format!(
        "SELECT event_id FROM {} WHERE queue = $1 AND event_id = ANY($2)",
        store.table("inbox_events")
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
pub(super) async fn written(
    site: &Site<'_>,
    ids: &[String],
    replayed: bool,
) -> Result<HashSet<String>, MessagingError> {
    let mut session = site.database.acquire().await?;
    known(&mut session, site.stores, ids, replayed).await
}

async fn known(
    session: &mut PgConnection,
    stores: &[Store],
    ids: &[String],
    replayed: bool,
) -> Result<HashSet<String>, MessagingError> {
    // No id of ours has a zero byte, and PostgreSQL takes none.
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let ids: Vec<&str> = ids.into_iter().filter(|id| !id.contains('\0')).collect();
    let found: Vec<String> = sqlx::query_scalar(AssertSqlSafe(of_known(stores)))
        .bind(ids)
        .bind(replayed)
        .fetch_all(session)
        .await?;
    Ok(found.into_iter().collect())
}

/// Asks where an id that is known may stand: in an outbox, in what that has forgotten, or
/// among what was replayed.
fn of_known(stores: &[Store]) -> String {
    let parts: Vec<String> = stores
        .iter()
        .flat_map(|store| ["outbox_events", "forgotten_events"].map(|name| store.table(name)))
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
        let store = |service: &str, schema: &str| Store {
            service: service.into(),
            schema: schema.into(),
            queue: None,
        };
        let text = of_known(&[store("order", "orders"), store("sales", "sales")]);
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
