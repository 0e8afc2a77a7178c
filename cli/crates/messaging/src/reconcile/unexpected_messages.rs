//! Messages in the broker that should not exist: dead letters of processed events, duplicate
//! dead letters of an event, and messages of events that no outbox contains.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::ReconcileContext;
use super::edit_chains::EditChains;
use super::in_flight::BrokerContents;
use super::report::{FindingKind, ReconcileFinding};
use super::snapshot;
use crate::MessagingError;
use crate::dead_letters::DeadLetter;

/// Finds unexpected messages. Messages that the broker received, or the consumer failed to
/// process, before `since` may belong to events whose outbox rows were removed.
pub(super) async fn find_unexpected(
    context: &ReconcileContext<'_>,
    broker_contents: &BrokerContents,
    chains: &EditChains,
    since: DateTime<Utc>,
) -> Result<Vec<ReconcileFinding>, MessagingError> {
    let mut queues: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for letter in &broker_contents.dead_letters {
        let ids = queues.entry(&letter.queue).or_default();
        ids.extend(letter.id.clone());
    }
    // An event may be processed under its own id or the id of an edit.
    let mut processed: HashSet<(String, String)> = HashSet::new();
    let mut known: HashSet<String> = HashSet::new();
    for (queue, ids) in queues {
        let mut original_ids: HashMap<String, Vec<String>> = HashMap::new();
        for id in &ids {
            original_ids.entry(id.clone()).or_default().push(id.clone());
            for edit in chains.edited_ids(queue, id) {
                original_ids.entry(edit).or_default().push(id.clone());
            }
        }
        let all: Vec<String> = original_ids.keys().cloned().collect();
        for id in snapshot::find_processed(context, queue, &all).await? {
            let originals = original_ids.remove(&id).unwrap_or_default();
            processed.extend(originals.into_iter().map(|id| (queue.to_owned(), id)));
        }
        known.extend(snapshot::find_known_ids(context, &ids, false).await?);
    }
    let mut findings = check_dead_letters(&broker_contents.dead_letters, &processed, &known, since);
    let is_recent = |received: Option<DateTime<Utc>>| received.is_none_or(|at| at > since);
    let recent_messages: Vec<_> = broker_contents
        .queued_messages
        .iter()
        .filter(|(_, message)| is_recent(message.received_at))
        .collect();
    let ids: Vec<String> = recent_messages
        .iter()
        .filter_map(|(_, message)| message.id.clone())
        .collect();
    let known = snapshot::find_known_ids(context, &ids, true).await?;
    findings.extend(
        recent_messages
            .iter()
            .filter(|(_, message)| !message.id.as_ref().is_some_and(|id| known.contains(id)))
            .map(|(queue, message)| ReconcileFinding {
                kind: FindingKind::Orphaned,
                scope: (*queue).to_owned(),
                id: message.id.clone().unwrap_or_else(|| "no id".to_owned()),
                detail: "the message is in the queue, and no outbox contains its event".to_owned(),
            }),
    );
    Ok(findings)
}

fn check_dead_letters(
    letters: &[DeadLetter],
    processed: &HashSet<(String, String)>,
    known: &HashSet<String>,
    since: DateTime<Utc>,
) -> Vec<ReconcileFinding> {
    let mut seen = HashSet::new();
    let mut findings = Vec::new();
    for letter in letters {
        let id = letter.id.clone().unwrap_or_default();
        let key = (letter.queue.clone(), id.clone());
        let (kind, detail) = if processed.contains(&key) {
            (
                FindingKind::Doubled,
                "a dead letter of an event that was processed",
            )
        } else if letter.id.is_some() && !seen.insert(key) {
            (
                FindingKind::Doubled,
                "another dead letter of the same event",
            )
        } else if !known.contains(&id) && letter.failed_at.is_none_or(|at| at > since) {
            (
                FindingKind::Orphaned,
                "a dead letter of an event that no outbox contains",
            )
        } else {
            continue;
        };
        findings.push(ReconcileFinding {
            kind,
            scope: letter.queue.clone(),
            id: letter
                .id
                .clone()
                .unwrap_or_else(|| letter.fingerprint.clone()),
            detail: detail.to_owned(),
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use dm_contracts::headers;
    use lapin::BasicProperties;
    use lapin::types::{AMQPValue, FieldTable};

    use super::*;

    fn letter(id: Option<&str>, failed_at: DateTime<Utc>) -> DeadLetter {
        let mut table = FieldTable::default();
        let at = dm_contracts::time::format(failed_at);
        table.insert(headers::FAILED_AT.into(), AMQPValue::LongString(at.into()));
        let properties = BasicProperties::default().with_headers(table);
        let properties = match id {
            Some(id) => properties.with_message_id(id.into()),
            None => properties,
        };
        DeadLetter::from_message("q", 1, &properties, b"")
    }

    #[test]
    fn check_dead_letters_finds_doubled_and_orphaned_letters() {
        let now = Utc::now();
        let since = now - TimeDelta::days(27);
        let old = now - TimeDelta::days(28);
        let processed = HashSet::from([("q".to_owned(), "done".to_owned())]);
        let known = HashSet::from(["done".to_owned(), "once".to_owned()]);
        for (ids, expected) in [
            (vec![(Some("once"), now)], vec![]),
            (vec![(Some("done"), now)], vec![FindingKind::Doubled]),
            (
                vec![(Some("once"), now), (Some("once"), now)],
                vec![FindingKind::Doubled],
            ),
            (vec![(Some("other"), now)], vec![FindingKind::Orphaned]),
            (vec![(None, now)], vec![FindingKind::Orphaned]),
            // Letters without an id are not duplicates of each other.
            (
                vec![(None, now), (None, now)],
                vec![FindingKind::Orphaned, FindingKind::Orphaned],
            ),
            // Its outbox row may be removed, but a duplicate is still reported.
            (vec![(Some("other"), old)], vec![]),
            (
                vec![(Some("other"), old), (Some("other"), old)],
                vec![FindingKind::Doubled],
            ),
        ] {
            let letters: Vec<_> = ids.iter().map(|(id, at)| letter(*id, *at)).collect();
            let findings = check_dead_letters(&letters, &processed, &known, since);
            let kinds: Vec<_> = findings.iter().map(|finding| finding.kind).collect();
            assert_eq!(kinds, expected, "{ids:?}");
        }
    }
}
