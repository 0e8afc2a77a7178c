//! Orphaned events and dead letters that the backup does not contain.

use std::collections::BTreeMap;

use dm_messaging::service_tables::ServiceTables;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use super::BackupError;
use super::broker::DeadLetterIds;

/// Returns those orphans, as queue and id of an event or letter, that were added since the last
/// restore. `letters` are the dead letters of the restored backup.
///
/// # Errors
/// Returns [`BackupError`] if the database cannot be queried.
pub async fn orphaned_since_restore(
    options: &PgConnectOptions,
    service_tables: &[ServiceTables],
    orphans: Vec<(String, String)>,
    letters: &DeadLetterIds,
) -> Result<Vec<(String, String)>, BackupError> {
    let mut new_orphans = without_known_letters(orphans, letters);
    if new_orphans.is_empty() {
        return Ok(new_orphans);
    }
    let mut session = options.connect().await?;
    for tables in service_tables {
        let Some(queue) = tables.work_queue else {
            continue;
        };
        let ids: Vec<&str> = new_orphans
            .iter()
            .filter(|(orphan_queue, _)| orphan_queue == queue)
            .map(|(_, id)| id.as_str())
            .collect();
        // By the clock of the server, which the inbox uses.
        let statement = format!(
            "SELECT event_id FROM \"{}\".inbox_events
              WHERE queue = $1 AND event_id = ANY($2)
                AND processed_at < (SELECT max(restored_at) FROM dm_ops.restores
                                     WHERE schema_name IS NULL)",
            tables.schema
        );
        let before: Vec<String> = sqlx::query_scalar(AssertSqlSafe(statement))
            .bind(queue)
            .bind(ids)
            .fetch_all(&mut session)
            .await?;
        new_orphans.retain(|(orphan_queue, id)| orphan_queue != queue || !before.contains(id));
    }
    session.close().await?;
    Ok(new_orphans)
}

/// Removes the orphans that are dead letters of the backup: by the id of the event, or by the
/// number of dead letters without an id in the same queue.
fn without_known_letters(
    orphans: Vec<(String, String)>,
    letters: &DeadLetterIds,
) -> Vec<(String, String)> {
    let mut without_id: BTreeMap<&str, usize> = BTreeMap::new();
    for (queue, ids) in letters {
        let count = ids.iter().filter(|id| id.is_none()).count();
        without_id.insert(queue, count);
    }
    let mut is_unknown = |(queue, orphan): &(String, String)| {
        let ids = letters.get(queue);
        if ids.is_some_and(|ids| ids.iter().flatten().any(|id| id == orphan)) {
            return false;
        }
        match without_id.get_mut(queue.as_str()) {
            Some(remaining) if *remaining > 0 => {
                *remaining -= 1;
                false
            }
            _ => true,
        }
    };
    let unknown = orphans.into_iter().filter(|orphan| is_unknown(orphan));
    unknown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_letters_of_the_backup_are_not_orphans() {
        let letters = DeadLetterIds::from([("q".to_owned(), vec![Some("evt_1".to_owned()), None])]);
        let orphan = |id: &str| ("q".to_owned(), id.to_owned());
        let remaining = without_known_letters(
            vec![orphan("evt_1"), orphan("print_1"), orphan("evt_2")],
            &letters,
        );
        assert_eq!(remaining, [orphan("evt_2")]);
        assert_eq!(
            without_known_letters(vec![orphan("evt_1")], &DeadLetterIds::new()).len(),
            1
        );
    }
}
