//! Rows of outboxes, inboxes and notifications.

use chrono::{DateTime, TimeDelta, Utc};
use dm_contracts::events::NotificationCreated;
use dm_contracts::topology::WUPHF_QUEUE;
use dm_contracts::{DomainEvent, Envelope, span};

use super::copy_format::CopyRow;
use super::table::{HistoryTable, ServiceName};
use super::{RowWriter, TableRows};
use crate::generator::splitmix64;

/// The delay from a request to the commit.
const COMMIT_DELAY: TimeDelta = TimeDelta::milliseconds(9);
/// The delay from the commit to the publishing.
const RELAY_DELAY: TimeDelta = TimeDelta::milliseconds(31);
/// The delay from the publishing to the processing.
const PROCESSING_DELAY: TimeDelta = TimeDelta::milliseconds(14);
/// The age up to which a notification is recent. Most older notifications are read.
const RECENT_NOTIFICATION_AGE: TimeDelta = TimeDelta::hours(40);

/// The key of an event, from which its id and its trace are derived.
#[derive(Debug, Clone, Copy)]
pub(super) struct EventKey {
    /// The kind of record.
    pub(super) kind: u64,
    /// The index of the record among those of its kind.
    pub(super) index: u64,
    /// The number of the event among those of the record.
    pub(super) step: u64,
}

/// A published event.
#[derive(Debug, Clone)]
pub(super) struct PublishedEvent {
    pub(super) id: String,
    pub(super) event_type: &'static str,
    pub(super) published_at: DateTime<Utc>,
}

/// The content of a notification.
pub(super) struct NotificationContent {
    pub(super) user: String,
    pub(super) kind: &'static str,
    pub(super) title: String,
    pub(super) body: String,
    pub(super) deep_link: String,
    pub(super) created_at: DateTime<Utc>,
}

/// The cause of an event.
#[derive(Debug, Clone, Copy)]
pub(super) enum EventCause<'a> {
    /// A request.
    Request,
    /// The processing of another event: the queue of the consumer, and the event id.
    Processing(&'static str, &'a str),
}

/// Returns the time at which a consumer processes the event of a request.
pub(super) fn processed_at(requested_at: DateTime<Utc>) -> DateTime<Utc> {
    requested_at + COMMIT_DELAY + RELAY_DELAY + PROCESSING_DELAY
}

impl RowWriter {
    pub(super) fn key_hash(&self, key: EventKey) -> u64 {
        splitmix64(
            splitmix64(self.salt ^ key.kind.rotate_left(40) ^ key.step.rotate_left(48)) ^ key.index,
        )
    }

    pub(super) fn event_id(&self, key: EventKey) -> String {
        let hash = self.key_hash(key);
        format!("evt_{:016x}{:016x}", hash, splitmix64(hash))
    }

    /// Returns the traceparent of an event: one trace per record, and the span of the cause.
    fn traceparent(&self, key: EventKey, cause: EventCause<'_>) -> String {
        let hash = self.key_hash(EventKey {
            step: u64::MAX,
            ..key
        });
        let trace = format!("{:016x}{:016x}", hash, splitmix64(hash));
        let span = match cause {
            EventCause::Request => format!("{:016x}", splitmix64(hash ^ key.step)),
            EventCause::Processing(queue, event) => span::processing_span_id(queue, event),
        };
        format!("00-{trace}-{span}-01")
    }

    fn is_retained(&self, published_at: DateTime<Utc>) -> bool {
        self.retention.now - published_at < self.retention.duration
    }

    /// Writes a published event to the outbox of a service. `caused_at` is the time of the request
    /// or of the processing that caused the event. `hold` delays the publishing, as inventory
    /// does.
    pub(super) fn write_outbox_event<E: DomainEvent>(
        &self,
        rows: &mut TableRows,
        (service, sequence, key): (ServiceName, u64, EventKey),
        event: &E,
        (cause, caused_at): (EventCause<'_>, DateTime<Utc>),
        hold: Option<TimeDelta>,
    ) -> PublishedEvent {
        let id = self.event_id(key);
        let written_at = caused_at + COMMIT_DELAY;
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
                .unescaped(self.traceparent(key, cause))
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

    /// Writes an event to the inbox of the service that processed it. Returns the time of the
    /// processing.
    pub(super) fn write_inbox_event(
        &self,
        rows: &mut TableRows,
        service: ServiceName,
        queue: &'static str,
        event: &PublishedEvent,
    ) -> DateTime<Utc> {
        let processed_at = event.published_at + PROCESSING_DELAY;
        // By the time of the publishing, so that outbox and inbox retain the same events.
        if self.is_retained(event.published_at) {
            rows.begin_row(HistoryTable::Inbox(service))
                .unescaped(queue)
                .unescaped(&event.id)
                .unescaped(event.event_type)
                .instant(processed_at);
        }
        processed_at
    }

    /// Writes a notification, and its event.
    pub(super) fn write_notification(
        &self,
        rows: &mut TableRows,
        (offset, key): (u64, EventKey),
        content: NotificationContent,
        cause: &PublishedEvent,
    ) {
        let processed_at = self.write_inbox_event(rows, ServiceName::Wuphf, WUPHF_QUEUE, cause);
        let id = format!("ntf_{}", self.sequence_starts.notification + offset);
        let hash = self.key_hash(key);
        let is_recent = self.retention.now - content.created_at < RECENT_NOTIFICATION_AGE;
        let until_read = TimeDelta::seconds(60 + i64::try_from(hash >> 48).unwrap_or_default());
        let read_at = content.created_at + until_read;
        let is_read = hash % 100 < if is_recent { 35 } else { 93 } && read_at < self.retention.now;
        rows.begin_row(HistoryTable::Notifications)
            .unescaped(&id)
            .text(&content.user)
            .unescaped(content.kind)
            .text(&content.title)
            .text(&content.body)
            .text(&content.deep_link)
            .unescaped(is_read)
            .instant(content.created_at)
            .optional(is_read.then_some(read_at), CopyRow::instant)
            .unescaped(&cause.id);
        let created = NotificationCreated {
            notification_id: id,
            user_id: content.user,
            kind: content.kind.to_owned(),
            title: content.title,
            body: content.body,
            deep_link: content.deep_link,
            created_at: content.created_at,
        };
        self.write_outbox_event(
            rows,
            (
                ServiceName::Wuphf,
                self.sequence_starts.notification_event + offset,
                key,
            ),
            &created,
            (EventCause::Processing(WUPHF_QUEUE, &cause.id), processed_at),
            None,
        );
    }
}
