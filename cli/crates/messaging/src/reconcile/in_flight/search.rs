//! The search for the unprocessed events of a work queue: what each reading of the broker and of
//! the inbox says about them, which readings follow, and which events are missing in the end.

use std::collections::{BTreeMap, HashSet};

use dm_contracts::topology::{EVENT_QUEUES, EventQueue};

use crate::MessagingError;
use crate::dead_letters::DeadLetter;
use crate::dead_letters::parking::ParkedLetter;
use crate::queue_inspector::{QueueContents, QueuedMessage};
use crate::queues;
use crate::reconcile::report::{FindingKind, QueueReport, ReconcileFinding};
use crate::reconcile::unprocessed::{UnprocessedEvent, UnprocessedEvents};

/// The number of inspections before an event is reported as missing: a message may move from a
/// queue that is not inspected yet to an inspected one.
const INSPECTIONS: usize = 2;

/// The search for the unprocessed events of a work queue. An event is counted in the report of
/// the queue when it is located, and only once.
#[derive(Debug)]
pub(super) struct QueueSearch<'a> {
    queue: EventQueue,
    report: &'a mut QueueReport,
    unlocated: UnprocessedEvents,
    /// The messages of the last inspection.
    messages: Vec<QueuedMessage>,
    /// The number of messages that the last inspection could not read.
    unreadable: u64,
    /// The number of inspections so far.
    inspections: usize,
}

/// The result of a search.
#[derive(Debug)]
pub(super) struct SearchResult {
    /// The messages in the work queue and its retry queues. Messages without an id count as one.
    pub(super) messages: Vec<QueuedMessage>,
    /// The events that were not located.
    pub(super) missing: Vec<ReconcileFinding>,
}

/// Begins a search for each work queue. The queue of the read model has none: no service consumes
/// it, and `external_queue` completes its report.
pub(super) fn begin_searches<'a>(
    reports: &'a mut [QueueReport],
    mut unprocessed: BTreeMap<&'static str, UnprocessedEvents>,
) -> Vec<QueueSearch<'a>> {
    reports
        .iter_mut()
        .filter_map(|report| {
            let queue = EVENT_QUEUES
                .into_iter()
                .find(|queue| queue.name == report.queue && queue.consumer.is_some())?;
            Some(QueueSearch {
                queue,
                report,
                unlocated: unprocessed.remove(queue.name).unwrap_or_default(),
                messages: Vec::new(),
                unreadable: 0,
                inspections: 0,
            })
        })
        .collect()
}

impl QueueSearch<'_> {
    /// Returns the work queue.
    pub(super) fn queue(&self) -> EventQueue {
        self.queue
    }

    /// Returns every id of every event that is not located yet.
    pub(super) fn ids(&self) -> Vec<String> {
        self.unlocated.ids()
    }

    /// Returns the number of events that are not located yet.
    pub(super) fn remaining(&self) -> usize {
        self.unlocated.len()
    }

    /// Returns whether every event is located.
    pub(super) fn is_complete(&self) -> bool {
        self.unlocated.is_empty()
    }

    /// Returns whether the queues have to be inspected again. The first inspection takes place in
    /// any case: it also finds messages of unknown events.
    pub(super) fn needs_inspection(&self) -> bool {
        self.inspections == 0 || (self.inspections < INSPECTIONS && !self.is_complete())
    }

    /// Counts the events with these ids, which are in the inbox by now, as processed.
    pub(super) fn add_processed(&mut self, ids: &[String]) {
        for id in ids {
            self.report.processed += i64::from(self.unlocated.remove(id));
        }
    }

    /// Counts the events of letters of this queue as dead-lettered. Each letter has a queue and
    /// the id of an event.
    pub(super) fn add_dead_lettered<'l>(
        &mut self,
        letters: impl IntoIterator<Item = (&'l str, &'l str)>,
    ) {
        for (queue, id) in letters {
            if queue == self.queue.name {
                self.report.dead_lettered += i64::from(self.unlocated.remove(id));
            }
        }
    }

    /// Counts the events of the messages of an inspection as in flight.
    pub(super) fn add_contents(&mut self, contents: Vec<QueueContents>) {
        self.inspections += 1;
        self.unreadable = contents.iter().map(|queue| queue.unreadable).sum();
        self.messages = contents
            .into_iter()
            .flat_map(|queue| queue.messages)
            .collect();
        let ids = self.messages.iter();
        for id in ids.filter_map(|message| message.id.as_deref()) {
            self.report.in_flight += i64::from(self.unlocated.remove(id));
        }
    }

    /// Ends the search. The events that were not located are missing.
    ///
    /// # Errors
    /// Returns [`MessagingError::UnreadableMessages`] if they may be among messages that the last
    /// inspection could not read.
    pub(super) fn finish(self) -> Result<SearchResult, MessagingError> {
        let Self {
            queue,
            report,
            unlocated,
            mut messages,
            unreadable,
            ..
        } = self;
        if !unlocated.is_empty() && unreadable > 0 {
            return Err(MessagingError::UnreadableMessages {
                queue: queue.name,
                events: unlocated.len(),
                unreadable,
            });
        }
        report.missing = unlocated.len() as i64;
        let mut seen = HashSet::new();
        messages.retain(|message| seen.insert(message.id.clone()));
        Ok(SearchResult {
            messages,
            missing: unlocated
                .iter()
                .map(|(id, event)| missing_finding(queue.name, id, event))
                .collect(),
        })
    }
}

fn missing_finding(queue: &str, id: &str, event: &UnprocessedEvent) -> ReconcileFinding {
    let (event_type, subject) = (&event.event_type, &event.subject);
    let detail = match event.edited_ids.last() {
        None => format!("{event_type} of {subject} is neither in the queue nor in the inbox"),
        Some(edit) => format!(
            "{event_type} of {subject}, which was edited into {edit}, is neither in the queue nor \
             in the inbox"
        ),
    };
    ReconcileFinding {
        kind: FindingKind::Missing,
        scope: queue.to_owned(),
        id: id.to_owned(),
        detail,
    }
}

/// Returns queue and event id of each dead letter and each parked letter. A letter without an id
/// belongs to no event.
pub(super) fn dead_lettered_events<'a>(
    letters: &'a [DeadLetter],
    parked: &'a [ParkedLetter],
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let letters = letters
        .iter()
        .filter_map(|letter| Some((letter.queue.as_str(), letter.id.as_deref()?)));
    let parked = parked
        .iter()
        .filter_map(|letter| Some((letter.queue.as_str(), letter.event_id.as_deref()?)));
    letters.chain(parked)
}

/// Returns the work queue and its retry queues in the order in which a message moves: from a
/// retry queue to the work queue, and back.
pub(super) fn inspection_order(queue: &EventQueue) -> Vec<String> {
    let retries = queues::retry_queue_names(queue);
    let work = [queue.name.to_owned()];
    [&retries[..], &work, &retries].concat()
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use dm_contracts::topology::{INVENTORY_QUEUE, ORDER_QUEUE, READ_MODEL_QUEUE, WUPHF_QUEUE};
    use lapin::BasicProperties;

    use super::*;

    const NO_EDITS: &[&str] = &[];

    fn report(queue: &'static str) -> QueueReport {
        QueueReport::new(queue, None, 10)
    }

    /// Returns events with the ids of their edits.
    fn events(events: &[(&str, &[&str])]) -> UnprocessedEvents {
        let mut unprocessed = UnprocessedEvents::default();
        for (id, edits) in events {
            let event = UnprocessedEvent {
                event_type: "t.v1".into(),
                subject: "order/1".into(),
                edited_ids: edits.iter().map(|&edit| edit.to_owned()).collect(),
            };
            unprocessed.add((*id).to_owned(), event);
        }
        unprocessed
    }

    /// Begins the search for these unedited events in the queue of a report.
    fn search<'a>(report: &'a mut QueueReport, ids: &[&str]) -> QueueSearch<'a> {
        let ids: Vec<(&str, &[&str])> = ids.iter().map(|&id| (id, NO_EDITS)).collect();
        let unprocessed = BTreeMap::from([(report.queue, events(&ids))]);
        begin_searches(std::slice::from_mut(report), unprocessed)
            .pop()
            .unwrap()
    }

    fn message(id: Option<&str>) -> QueuedMessage {
        QueuedMessage {
            id: id.map(str::to_owned),
            received_at: None,
            never_delivered: false,
        }
    }

    /// Returns the contents of one queue with these messages.
    fn contents(ids: &[&str], unreadable: u64) -> QueueContents {
        QueueContents {
            messages: ids.iter().map(|&id| message(Some(id))).collect(),
            unreadable,
        }
    }

    fn ids(findings: &[ReconcileFinding]) -> Vec<&str> {
        findings.iter().map(|finding| finding.id.as_str()).collect()
    }

    #[test]
    fn searches_begin_for_work_queues_only() {
        let mut reports = [
            INVENTORY_QUEUE,
            ORDER_QUEUE,
            WUPHF_QUEUE,
            READ_MODEL_QUEUE,
            "unknown.q",
        ]
        .map(report);
        let unprocessed = BTreeMap::from([
            (INVENTORY_QUEUE, events(&[("a", &[]), ("b", &[])])),
            (READ_MODEL_QUEUE, events(&[("c", &[])])),
        ]);
        let searches = begin_searches(&mut reports, unprocessed);
        let found = searches
            .iter()
            .map(|search| (search.queue().name, search.remaining()));
        assert_eq!(
            found.collect::<Vec<_>>(),
            [(INVENTORY_QUEUE, 2), (ORDER_QUEUE, 0), (WUPHF_QUEUE, 0)]
        );
    }

    #[test]
    fn event_is_in_flight_once_wherever_its_messages_are() {
        let mut report = report(INVENTORY_QUEUE);
        let mut search = search(&mut report, &["a", "b", "c"]);
        // The same message in a retry queue and in the work queue, and one of another event.
        search.add_contents(vec![contents(&["a"], 0), contents(&["b", "a", "x"], 0)]);
        assert_eq!(search.ids(), ["c"]);
        search.add_contents(vec![contents(&["a", "b"], 0)]);
        search.finish().unwrap();
        assert_eq!((report.in_flight, report.missing), (2, 1));
    }

    #[test]
    fn event_in_neither_inspection_is_missing() {
        let mut report = report(INVENTORY_QUEUE);
        let mut search = search(&mut report, &["a", "b", "lost"]);
        assert!(search.needs_inspection());
        search.add_contents(vec![contents(&["a"], 0)]);
        assert!(search.needs_inspection());
        // It moved behind the first inspection.
        search.add_contents(vec![contents(&["b"], 0)]);
        assert!(!search.needs_inspection());
        let result = search.finish().unwrap();
        assert_eq!(ids(&result.missing), ["lost"]);
        assert_eq!((report.in_flight, report.missing), (2, 1));
    }

    #[test]
    fn inspections_end_when_every_event_is_located() {
        let mut report = report(INVENTORY_QUEUE);
        let mut search = search(&mut report, &["a", "b"]);
        search.add_contents(vec![contents(&["a"], 0)]);
        search.add_dead_lettered([(INVENTORY_QUEUE, "b")]);
        assert!(search.is_complete());
        assert!(!search.needs_inspection());
        assert!(search.finish().unwrap().missing.is_empty());
        assert_eq!(report.missing, 0);
    }

    #[test]
    fn queue_without_unprocessed_events_is_inspected_once() {
        let mut report = report(INVENTORY_QUEUE);
        let mut search = search(&mut report, &[]);
        assert!(search.is_complete());
        assert!(search.needs_inspection());
        search.add_contents(vec![contents(&["x"], 0)]);
        assert!(!search.needs_inspection());
        assert_eq!(search.finish().unwrap().messages, [message(Some("x"))]);
        assert_eq!((report.in_flight, report.missing), (0, 0));
    }

    #[test]
    fn event_processed_after_the_snapshot_is_neither_in_flight_nor_missing() {
        let mut report = report(INVENTORY_QUEUE);
        let unprocessed = BTreeMap::from([(INVENTORY_QUEUE, events(&[("a", &["a1", "a2"])]))]);
        let mut search = begin_searches(std::slice::from_mut(&mut report), unprocessed)
            .pop()
            .unwrap();
        assert_eq!(search.ids(), ["a", "a1", "a2"]);
        // The consumer processed an edit of the event.
        search.add_processed(&["a1".to_owned(), "a".to_owned(), "x".to_owned()]);
        search.add_contents(vec![contents(&["a2"], 0)]);
        assert!(search.finish().unwrap().missing.is_empty());
        assert_eq!(
            (report.processed, report.in_flight, report.missing),
            (1, 0, 0)
        );
    }

    #[test]
    fn dead_letters_count_once_and_only_in_their_queue() {
        let mut report = report(INVENTORY_QUEUE);
        let mut search = search(&mut report, &["a", "b"]);
        search.add_dead_lettered([
            (ORDER_QUEUE, "b"),
            (INVENTORY_QUEUE, "a"),
            (INVENTORY_QUEUE, "a"),
            (INVENTORY_QUEUE, "x"),
        ]);
        assert_eq!(search.ids(), ["b"]);
        search.finish().unwrap();
        assert_eq!((report.dead_lettered, report.missing), (1, 1));
    }

    #[test]
    fn unreadable_messages_are_an_error_only_if_an_event_may_be_among_them() {
        let finish = |events: &[&str], readings: &[QueueContents]| {
            let mut report = report(INVENTORY_QUEUE);
            let mut search = search(&mut report, events);
            for reading in readings {
                search.add_contents(vec![reading.clone(), contents(&[], 0)]);
            }
            search.finish()
        };
        let unreadable = [contents(&["a"], 0), contents(&["a"], 3)];
        let error = finish(&["a", "b"], &unreadable).unwrap_err();
        assert!(
            matches!(
                error,
                MessagingError::UnreadableMessages {
                    queue: INVENTORY_QUEUE,
                    events: 1,
                    unreadable: 3
                }
            ),
            "{error:?}"
        );
        assert!(finish(&["a"], &unreadable).unwrap().missing.is_empty());
        // The last inspection read every message.
        let readable = [contents(&["a"], 3), contents(&["a"], 0)];
        let result = finish(&["a", "b"], &readable).unwrap();
        assert_eq!(ids(&result.missing), ["b"]);
    }

    #[test]
    fn search_returns_the_messages_of_the_last_inspection_without_copies() {
        let mut report = report(INVENTORY_QUEUE);
        let mut search = search(&mut report, &["a", "lost"]);
        search.add_contents(vec![contents(&["a"], 0)]);
        let mut second = contents(&["b", "c"], 0);
        second.messages.extend([message(None), message(None)]);
        search.add_contents(vec![contents(&["c"], 0), second]);
        let expected = [Some("c"), Some("b"), None].map(message);
        assert_eq!(search.finish().unwrap().messages, expected);
    }

    #[test]
    fn missing_finding_names_the_last_edit() {
        let mut report = report(ORDER_QUEUE);
        let unprocessed =
            BTreeMap::from([(ORDER_QUEUE, events(&[("a", &["a1", "a2"]), ("b", &[])]))]);
        let search = begin_searches(std::slice::from_mut(&mut report), unprocessed)
            .pop()
            .unwrap();
        let missing = search.finish().unwrap().missing;
        let finding = |id: &str, detail: &str| ReconcileFinding {
            kind: FindingKind::Missing,
            scope: ORDER_QUEUE.to_owned(),
            id: id.to_owned(),
            detail: detail.to_owned(),
        };
        assert_eq!(
            missing,
            [
                finding(
                    "a",
                    "t.v1 of order/1, which was edited into a2, is neither in the queue nor in \
                     the inbox"
                ),
                finding(
                    "b",
                    "t.v1 of order/1 is neither in the queue nor in the inbox"
                ),
            ]
        );
    }

    #[test]
    fn dead_lettered_events_include_parked_ones_and_omit_letters_without_an_id() {
        let letter = |id: Option<&str>| {
            let properties = BasicProperties::default();
            let properties = match id {
                Some(id) => properties.with_message_id(id.into()),
                None => properties,
            };
            DeadLetter::from_message(ORDER_QUEUE, 1, &properties, b"")
        };
        let parked = |id: Option<&str>| ParkedLetter {
            fingerprint: "f".into(),
            queue: WUPHF_QUEUE.into(),
            event_id: id.map(str::to_owned),
            event_type: None,
            reason: "invalid-data".into(),
            note: String::new(),
            parked_at: Utc::now(),
        };
        let letters = [letter(Some("a")), letter(None)];
        let parked = [parked(None), parked(Some("b"))];
        let events: Vec<_> = dead_lettered_events(&letters, &parked).collect();
        assert_eq!(events, [(ORDER_QUEUE, "a"), (WUPHF_QUEUE, "b")]);
    }

    #[test]
    fn retry_queues_are_inspected_before_and_after_the_work_queue() {
        let queue = EVENT_QUEUES[0];
        let name = queue.name;
        let retries = ["1s", "10s", "60s"].map(|tier| format!("{name}.retry.{tier}"));
        let work = [name.to_owned()];
        assert_eq!(
            inspection_order(&queue),
            [&retries[..], &work, &retries].concat()
        );
    }
}
