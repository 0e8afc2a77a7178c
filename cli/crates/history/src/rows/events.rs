//! Events: written, published, handled.

use chrono::{DateTime, TimeDelta, Utc};
use dm_contracts::events::NotificationCreated;
use dm_contracts::topology::WUPHF_QUEUE;
use dm_contracts::{DomainEvent, Envelope, span};

use super::copy_format::CopyRow;
use super::table::{HistoryTable, ServiceName};
use super::{RowWriter, TableRows};
use crate::generator::splitmix64;

/// How long it takes until a fact is committed.
const COMMIT_DELAY: TimeDelta = TimeDelta::milliseconds(9);
/// How long it takes until what is committed is published.
const RELAY_DELAY: TimeDelta = TimeDelta::milliseconds(31);
/// How long it takes until what was published is handled.
const PROCESSING_DELAY: TimeDelta = TimeDelta::milliseconds(14);
/// How long a notification is young: most of those that are older were read.
const RECENT_NOTIFICATION_AGE: TimeDelta = TimeDelta::hours(40);

/// What an event is about: its place says which id and which trace it has.
#[derive(Debug, Clone, Copy)]
pub(super) struct EventKey {
    /// The kind of fact.
    pub(super) kind: u64,
    /// Its place among those.
    pub(super) index: u64,
    /// Which of the events about it.
    pub(super) step: u64,
}

/// An event that was written and published.
#[derive(Debug, Clone)]
pub(super) struct PublishedEvent {
    pub(super) id: String,
    pub(super) event_type: &'static str,
    pub(super) published_at: DateTime<Utc>,
}

/// Who was told of what, in words.
pub(super) struct NotificationContent {
    pub(super) user: String,
    pub(super) kind: &'static str,
    pub(super) title: String,
    pub(super) body: String,
    pub(super) deep_link: String,
    pub(super) created_at: DateTime<Utc>,
}

/// How an event came to be written.
#[derive(Debug, Clone, Copy)]
pub(super) enum EventCause<'a> {
    /// By a request.
    Request,
    /// By the handling of another one, by this queue's consumer.
    Processing(&'static str, &'a str),
}

impl RowWriter {
    pub(super) fn key_hash(&self, place: EventKey) -> u64 {
        splitmix64(
            splitmix64(self.salt ^ place.kind.rotate_left(40) ^ place.step.rotate_left(48))
                ^ place.index,
        )
    }

    pub(super) fn event_id(&self, place: EventKey) -> String {
        let noise = self.key_hash(place);
        format!("evt_{:016x}{:016x}", noise, splitmix64(noise))
    }

    /// A trace for each fact, and a span for what caused the event.
    fn traceparent(&self, place: EventKey, cause: EventCause<'_>) -> String {
        let noise = self.key_hash(EventKey {
            step: u64::MAX,
            ..place
        });
        let trace = format!("{:016x}{:016x}", noise, splitmix64(noise));
        let span = match cause {
            EventCause::Request => format!("{:016x}", splitmix64(noise ^ place.step)),
            EventCause::Processing(queue, event) => span::processing_span_id(queue, event),
        };
        format!("00-{trace}-{span}-01")
    }

    fn is_retained(&self, at: DateTime<Utc>) -> bool {
        self.retention.now - at < self.retention.duration
    }

    /// An event in an outbox, published. It was written for a fact of this instant, or at
    /// the instant of the handling that it comes from, and held back for a while where its
    /// service does so.
    pub(super) fn write_outbox_event<E: DomainEvent>(
        &self,
        rows: &mut TableRows,
        (service, sequence, place): (ServiceName, u64, EventKey),
        event: &E,
        (cause, at): (EventCause<'_>, DateTime<Utc>),
        hold: Option<TimeDelta>,
    ) -> PublishedEvent {
        let id = self.event_id(place);
        let written_at = at + COMMIT_DELAY;
        let not_before = hold.map(|hold| written_at + hold);
        let published_at = not_before.unwrap_or(written_at) + RELAY_DELAY;
        if self.is_retained(published_at) {
            let envelope = Envelope::with_id(event, id.clone());
            rows.begin_row(HistoryTable::Outbox(service))
                .unescaped(sequence)
                .unescaped(&id)
                .unescaped(E::TYPE)
                .unescaped(E::ROUTING_KEY)
                .text(&envelope.subject)
                .unescaped(self.traceparent(place, cause))
                .json(&envelope)
                .instant(written_at)
                .optional(not_before, CopyRow::instant)
                .unescaped(1)
                .instant(published_at);
        }
        PublishedEvent {
            id,
            event_type: E::TYPE,
            published_at,
        }
    }

    /// An event in the inbox of whoever handled it. Answers when that was.
    pub(super) fn write_inbox_event(
        &self,
        rows: &mut TableRows,
        service: ServiceName,
        queue: &'static str,
        event: &PublishedEvent,
    ) -> DateTime<Utc> {
        let at = event.published_at + PROCESSING_DELAY;
        // The two tables forget by themselves: what one has, the other has.
        if self.is_retained(event.published_at) {
            rows.begin_row(HistoryTable::Inbox(service))
                .unescaped(queue)
                .unescaped(&event.id)
                .unescaped(event.event_type)
                .instant(at);
        }
        at
    }

    /// A notification, and the event that tells of it.
    pub(super) fn write_notification(
        &self,
        rows: &mut TableRows,
        (offset, place): (u64, EventKey),
        telling: NotificationContent,
        cause: &PublishedEvent,
    ) {
        let handled_at = self.write_inbox_event(rows, ServiceName::Wuphf, WUPHF_QUEUE, cause);
        let id = format!("ntf_{}", self.sequence_starts.notification + offset);
        let noise = self.key_hash(place);
        let young = self.retention.now - telling.created_at < RECENT_NOTIFICATION_AGE;
        let until_read = TimeDelta::seconds(60 + i64::try_from(noise >> 48).unwrap_or_default());
        let read_at = telling.created_at + until_read;
        let read = noise % 100 < if young { 35 } else { 93 } && read_at < self.retention.now;
        rows.begin_row(HistoryTable::Notifications)
            .unescaped(&id)
            .text(&telling.user)
            .unescaped(telling.kind)
            .text(&telling.title)
            .text(&telling.body)
            .text(&telling.deep_link)
            .unescaped(read)
            .instant(telling.created_at)
            .optional(read.then_some(read_at), CopyRow::instant)
            .unescaped(&cause.id);
        let created = NotificationCreated {
            notification_id: id,
            user_id: telling.user,
            kind: telling.kind.to_owned(),
            title: telling.title,
            body: telling.body,
            deep_link: telling.deep_link,
            created_at: telling.created_at,
        };
        self.write_outbox_event(
            rows,
            (
                ServiceName::Wuphf,
                self.sequence_starts.notification_event + offset,
                place,
            ),
            &created,
            (EventCause::Processing(WUPHF_QUEUE, &cause.id), handled_at),
            None,
        );
    }
}
