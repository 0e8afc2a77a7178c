//! Events: written, published, handled.

use chrono::{DateTime, TimeDelta, Utc};
use dm_contracts::events::NotificationCreated;
use dm_contracts::topology::WUPHF_QUEUE;
use dm_contracts::{DomainEvent, Envelope, span};

use super::copy::Line;
use super::table::{Service, Table};
use super::{Clerk, Rows};
use crate::invent::mix;

/// How long it takes until a fact is committed.
const COMMIT: TimeDelta = TimeDelta::milliseconds(9);
/// How long it takes until what is committed is published.
const RELAY: TimeDelta = TimeDelta::milliseconds(31);
/// How long it takes until what was published is handled.
const HANDLE: TimeDelta = TimeDelta::milliseconds(14);
/// How long a notification is young: most of those that are older were read.
const NEWS: TimeDelta = TimeDelta::hours(40);

/// What an event is about: its place says which id and which trace it has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The kind of fact.
    pub(super) kind: u64,
    /// Its place among those.
    pub(super) index: u64,
    /// Which of the events about it.
    pub(super) step: u64,
}

/// An event that was written and published.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) id: String,
    pub(super) event_type: &'static str,
    pub(super) published_at: DateTime<Utc>,
}

/// Who was told of what, in words.
pub(super) struct Telling {
    pub(super) user: String,
    pub(super) kind: &'static str,
    pub(super) title: String,
    pub(super) body: String,
    pub(super) deep_link: String,
    pub(super) created_at: DateTime<Utc>,
}

/// How an event came to be written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cause<'a> {
    /// By a request.
    Request,
    /// By the handling of another one, by this queue's consumer.
    Handling(&'static str, &'a str),
}

impl Clerk {
    pub(super) fn noise(&self, place: Place) -> u64 {
        mix(mix(self.salt ^ place.kind.rotate_left(40) ^ place.step.rotate_left(48)) ^ place.index)
    }

    pub(super) fn event_id(&self, place: Place) -> String {
        let noise = self.noise(place);
        format!("evt_{:016x}{:016x}", noise, mix(noise))
    }

    /// A trace for each fact, and a span for what caused the event.
    fn traceparent(&self, place: Place, cause: Cause<'_>) -> String {
        let noise = self.noise(Place {
            step: u64::MAX,
            ..place
        });
        let trace = format!("{:016x}{:016x}", noise, mix(noise));
        let span = match cause {
            Cause::Request => format!("{:016x}", mix(noise ^ place.step)),
            Cause::Handling(queue, event) => span::of_handling(queue, event),
        };
        format!("00-{trace}-{span}-01")
    }

    fn is_remembered(&self, at: DateTime<Utc>) -> bool {
        self.memory.now - at < self.memory.keeps
    }

    /// An event in an outbox, published. It was written for a fact of this instant, or at
    /// the instant of the handling that it comes from, and held back for a while where its
    /// service does so.
    pub(super) fn tell<E: DomainEvent>(
        &self,
        rows: &mut Rows,
        (service, sequence, place): (Service, u64, Place),
        event: &E,
        (cause, at): (Cause<'_>, DateTime<Utc>),
        hold: Option<TimeDelta>,
    ) -> Written {
        let id = self.event_id(place);
        let written_at = at + COMMIT;
        let not_before = hold.map(|hold| written_at + hold);
        let published_at = not_before.unwrap_or(written_at) + RELAY;
        if self.is_remembered(published_at) {
            let envelope = Envelope::with_id(event, id.clone());
            rows.line(Table::Outbox(service))
                .plain(sequence)
                .plain(&id)
                .plain(E::TYPE)
                .plain(E::ROUTING_KEY)
                .text(&envelope.subject)
                .plain(self.traceparent(place, cause))
                .json(&envelope)
                .instant(written_at)
                .maybe(not_before, Line::instant)
                .plain(1)
                .instant(published_at);
        }
        Written {
            id,
            event_type: E::TYPE,
            published_at,
        }
    }

    /// An event in the inbox of whoever handled it. Answers when that was.
    pub(super) fn handled(
        &self,
        rows: &mut Rows,
        service: Service,
        queue: &'static str,
        event: &Written,
    ) -> DateTime<Utc> {
        let at = event.published_at + HANDLE;
        // The two tables forget by themselves: what one has, the other has.
        if self.is_remembered(event.published_at) {
            rows.line(Table::Inbox(service))
                .plain(queue)
                .plain(&event.id)
                .plain(event.event_type)
                .instant(at);
        }
        at
    }

    /// A notification, and the event that tells of it.
    pub(super) fn notify(
        &self,
        rows: &mut Rows,
        (offset, place): (u64, Place),
        telling: Telling,
        cause: &Written,
    ) {
        let handled_at = self.handled(rows, Service::Wuphf, WUPHF_QUEUE, cause);
        let id = format!("ntf_{}", self.first.notification + offset);
        let noise = self.noise(place);
        let young = self.memory.now - telling.created_at < NEWS;
        let until_read = TimeDelta::seconds(60 + i64::try_from(noise >> 48).unwrap_or_default());
        let read_at = telling.created_at + until_read;
        let read = noise % 100 < if young { 35 } else { 93 } && read_at < self.memory.now;
        rows.line(Table::Notifications)
            .plain(&id)
            .text(&telling.user)
            .plain(telling.kind)
            .text(&telling.title)
            .text(&telling.body)
            .text(&telling.deep_link)
            .plain(read)
            .instant(telling.created_at)
            .maybe(read.then_some(read_at), Line::instant)
            .plain(&cause.id);
        let created = NotificationCreated {
            notification_id: id,
            user_id: telling.user,
            kind: telling.kind.to_owned(),
            title: telling.title,
            body: telling.body,
            deep_link: telling.deep_link,
            created_at: telling.created_at,
        };
        self.tell(
            rows,
            (
                Service::Wuphf,
                self.first.notification_event + offset,
                place,
            ),
            &created,
            (Cause::Handling(WUPHF_QUEUE, &cause.id), handled_at),
            None,
        );
    }
}
