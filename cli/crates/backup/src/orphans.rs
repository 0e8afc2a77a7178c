//! What no outbox has written, and is not in the backup just so.

use std::collections::BTreeMap;

use dm_messaging::service_tables::ServiceTables;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use super::BackupError;
use super::broker::DeadLetterIds;

/// Which of these, queue and event or letter, have come since the last restore. `letters` are
/// the dead letters that came with it.
///
/// # Errors
/// The server fails.
pub async fn orphaned_since_restore(
    options: &PgConnectOptions,
    stores: &[ServiceTables],
    orphans: Vec<(String, String)>,
    letters: &DeadLetterIds,
) -> Result<Vec<(String, String)>, BackupError> {
    let mut since = without_known_letters(orphans, letters);
    if since.is_empty() {
        return Ok(since);
    }
    let mut session = options.connect().await?;
    for store in stores {
        let Some(queue) = store.work_queue else {
            continue;
        };
        let ids: Vec<&str> = since
            .iter()
            .filter(|(of, _)| of == queue)
            .map(|(_, id)| id.as_str())
            .collect();
        // By the server's clock, as the inbox has it.
        let statement = format!(
            "SELECT event_id FROM \"{}\".inbox_events
              WHERE queue = $1 AND event_id = ANY($2)
                AND processed_at < (SELECT max(restored_at) FROM dm_ops.restores
                                     WHERE schema_name IS NULL)",
            store.schema
        );
        let before: Vec<String> = sqlx::query_scalar(AssertSqlSafe(statement))
            .bind(queue)
            .bind(ids)
            .fetch_all(&mut session)
            .await?;
        since.retain(|(of, id)| of != queue || !before.contains(id));
    }
    session.close().await?;
    Ok(since)
}

/// Those that no dead letter of a set is like: by the event's id, or by how many of its queue
/// have none.
fn without_known_letters(
    orphans: Vec<(String, String)>,
    letters: &DeadLetterIds,
) -> Vec<(String, String)> {
    let mut nameless: BTreeMap<&str, usize> = BTreeMap::new();
    for (queue, ids) in letters {
        let count = ids.iter().filter(|id| id.is_none()).count();
        nameless.insert(queue, count);
    }
    let is_unknown = |(queue, what): &(String, String)| {
        let ids = letters.get(queue);
        if ids.is_some_and(|ids| ids.iter().flatten().any(|id| id == what)) {
            return false;
        }
        match nameless.get_mut(queue.as_str()) {
            Some(left) if *left > 0 => {
                *left -= 1;
                false
            }
            _ => true,
        }
    };
    let mut is_unknown = is_unknown;
    orphans.into_iter().filter(|it| is_unknown(it)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_of_the_backup_is_no_news() {
        let letters = DeadLetterIds::from([("q".to_owned(), vec![Some("evt_1".to_owned()), None])]);
        let orphan = |what: &str| ("q".to_owned(), what.to_owned());
        let found = without_known_letters(
            vec![orphan("evt_1"), orphan("print_1"), orphan("evt_2")],
            &letters,
        );
        assert_eq!(found, [orphan("evt_2")]);
        assert_eq!(
            without_known_letters(vec![orphan("evt_1")], &DeadLetterIds::new()).len(),
            1
        );
    }
}
