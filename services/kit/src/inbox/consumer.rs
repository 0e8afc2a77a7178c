//! The consumer of one work queue.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use dm_amqp::{Backoff, supervise};
use dm_contracts::envelope::EventAttributes;
use dm_contracts::{Envelope, headers, span};
use futures_util::{FutureExt as _, StreamExt as _};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use thiserror::Error;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug, error, info, info_span, warn};

use super::failed_message;
use super::failure::{FailureDisposition, ProcessingFailure};
use super::failure_record::{self, FailureRecord, RecordResult};
use super::incoming::IncomingMessage;
use super::lanes::lane_for;
use super::{EventHandler, HandlerError};
use crate::broker::{
    self, BrokerConnector, BrokerError, OutgoingMessage, PublishOutcome, Publisher,
};
use crate::database::{self, Database};
use crate::fail_point;
use crate::http::HealthIndicator;
use crate::telemetry::Metrics;
use crate::trace::Trace;

/// How many deliveries may wait here: enough for every lane to have the next one at
/// hand. More would gain nothing and cost something: a service that is killed again and
/// again spends one of the queue's deliveries of each of them, and at the limit the
/// broker takes them for dead.
const PREFETCH: u16 = 16;

/// How many are applied at the same time.
const LANE_COUNT: usize = 4;

/// The first pause while the database, or the place for failures, is away.
const INITIAL_BACKOFF: Duration = Duration::from_millis(100);

/// The longest one.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// What a consumer runs on.
#[derive(Debug, Clone)]
pub(crate) struct ConsumerContext {
    pub(crate) service: &'static str,
    pub(crate) database: Database,
    pub(crate) broker: BrokerConnector,
    pub(crate) metrics: Metrics,
}

/// Applies the events of one work queue, each one once.
#[derive(Debug)]
pub(crate) struct Consumer<H> {
    context: ConsumerContext,
    queue: String,
    indicator: HealthIndicator,
    handler: H,
    /// For what fails. Made when first needed: failures are rare.
    publisher: Mutex<Option<Publisher>>,
}

#[derive(Debug, Error)]
enum SessionError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error("could not communicate with RabbitMQ: {0}")]
    Amqp(#[from] lapin::Error),
    #[error("RabbitMQ cancelled the consumer")]
    Cancelled,
    #[error("a lane of the consumer ended")]
    LaneEnded,
}

/// How an attempt at a delivery ended.
#[derive(Debug)]
enum AttemptOutcome {
    /// It was applied now.
    Processed,
    /// It was applied before.
    AlreadyProcessed,
    /// It failed before, and that is recorded.
    AlreadyRecorded(FailureRecord),
    /// It failed now.
    Failed(ProcessingFailure),
}

impl<H: EventHandler> Consumer<H> {
    pub(crate) fn new(
        site: ConsumerContext,
        queue: String,
        indicator: HealthIndicator,
        handler: H,
    ) -> Self {
        Self {
            context: site,
            queue,
            indicator,
            handler,
            publisher: Mutex::default(),
        }
    }

    /// Consumes until it is asked to stop; a broken connection is set up again.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let consumer = Arc::new(self);
        let broken = |error: SessionError| {
            warn!(queue = consumer.queue, %error, "the consumer restarts");
            consumer.indicator.set(false);
        };
        supervise(&stop, || consumer.run_session(&stop), broken).await;
    }

    async fn run_session(self: &Arc<Self>, stop: &CancellationToken) -> Result<(), SessionError> {
        let connection = self.context.broker.connect(&self.queue).await?;
        let channel = connection.create_channel().await?;
        channel
            .basic_qos(PREFETCH, BasicQosOptions::default())
            .await?;
        let mut deliveries = channel
            .basic_consume(
                self.queue.as_str().into(),
                self.context.service.into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await?;
        info!(queue = self.queue, "consuming");
        self.indicator.set(true);

        // Dropped with the session: what is under way is then rolled back, and the
        // broker delivers it again.
        let mut lanes = JoinSet::new();
        let senders: Vec<_> = (0..LANE_COUNT)
            .map(|_| {
                let (sender, mut receiver) = mpsc::unbounded_channel::<Delivery>();
                let consumer = Arc::clone(self);
                let stop = stop.clone();
                lanes.spawn(async move {
                    while let Some(delivery) = receiver.recv().await {
                        // What was not begun goes back to the queue.
                        if !stop.is_cancelled() {
                            consumer.process_delivery(delivery, &stop).await;
                        }
                    }
                });
                sender
            })
            .collect();
        let ended = loop {
            let delivery = tokio::select! {
                () = stop.cancelled() => break Ok(()),
                // What such a lane had in hand is delivered again.
                Some(_) = lanes.join_next() => break Err(SessionError::LaneEnded),
                delivery = deliveries.next() => delivery,
            };
            match delivery {
                Some(Ok(delivery)) => {
                    let lane = lane_for(&subject(&delivery), LANE_COUNT);
                    // A lane ends only with the session.
                    let _ = senders[lane].send(delivery);
                }
                Some(Err(error)) => break Err(error.into()),
                None => break Err(SessionError::Cancelled),
            }
        };
        if ended.is_ok() {
            let tag = deliveries.tag();
            // The connection is closed next, whatever the answer.
            let _ = channel
                .basic_cancel(tag, BasicCancelOptions::default())
                .await;
            drop(senders);
            while lanes.join_next().await.is_some() {}
            let _ = connection.close(200, "done".into()).await;
            if let Some(publisher) = self.publisher.lock().await.take() {
                publisher.close().await;
            }
        }
        ended
    }

    /// Handles one delivery to its end: applied, retried later, or dead.
    async fn process_delivery(&self, delivery: Delivery, stop: &CancellationToken) {
        let parent = broker::header_text(&delivery.properties, headers::TRACEPARENT);
        let id = delivery.properties.message_id().as_ref();
        let id = id.map_or("", |id| id.as_str());
        let trace =
            Trace::from_traceparent(parent.as_deref(), span::processing_span_id(&self.queue, id));
        let span = info_span!("event", trace_id = %trace.trace_id, queue = self.queue);
        async {
            let incoming = IncomingMessage::from_delivery(&self.queue, &delivery);
            // Without an outcome it is not acknowledged: the broker delivers it again.
            let Some((outcome, record)) = self
                .resolve_outcome(&delivery, &incoming, &trace, stop)
                .await
            else {
                return;
            };
            match delivery.ack(BasicAckOptions::default()).await {
                Ok(true) => {
                    fail_point::reached("consumer.acknowledged").await;
                    self.context.metrics.record_event(&self.queue, outcome);
                }
                // Inbox or record absorb the second delivery.
                Ok(false) => debug!("the acknowledgement was too late"),
                Err(error) => debug!(%error, "not acknowledged"),
            }
            if let Some(record) = record.filter(|_| incoming.letter_id.is_none()) {
                let database = &self.context.database;
                let settle = || failure_record::mark_acknowledged(database, &record.letter_id);
                if let Some(Err(error)) = retry_while_unavailable(stop, settle).await {
                    warn!(%error, "could not record an acknowledgement");
                }
            }
        }
        .instrument(span)
        .await;
    }

    /// What becomes of a delivery, and its record where it failed; `None` where the service
    /// stops first.
    async fn resolve_outcome(
        &self,
        delivery: &Delivery,
        incoming: &IncomingMessage,
        trace: &Trace,
        stop: &CancellationToken,
    ) -> Option<(&'static str, Option<FailureRecord>)> {
        let record = match self.process_event(incoming, trace, stop).await? {
            AttemptOutcome::Processed => return Some(("applied", None)),
            AttemptOutcome::AlreadyProcessed => return Some(("duplicate", None)),
            AttemptOutcome::AlreadyRecorded(record) => record,
            AttemptOutcome::Failed(failure) => {
                match self.record_failure(incoming, &failure, trace, stop).await? {
                    RecordResult::AlreadyProcessed => return Some(("duplicate", None)),
                    RecordResult::Recorded(record) => record,
                }
            }
        };
        if record.published_at.is_some() || !record.is_for_delivery(incoming) {
            info!(letter = record.letter_id, "a failure that is recorded");
            return Some(("duplicate", Some(record)));
        }
        let fate = self
            .publish_failure(delivery, incoming, &record, stop)
            .await?;
        fail_point::reached("consumer.set-aside").await;
        let database = &self.context.database;
        let marked =
            retry_while_unavailable(stop, || failure_record::mark_published(database, &record))
                .await?;
        if let Err(error) = marked {
            warn!(%error, "could not record a failure as published");
        }
        fail_point::reached("consumer.marked").await;
        let outcome = match fate {
            FailureDisposition::Retry(_) => "retried",
            FailureDisposition::DeadLetter => "dead",
        };
        Some((outcome, Some(record)))
    }

    /// Applies the event, however long PostgreSQL is not available; `None` where the
    /// service stops first.
    async fn process_event(
        &self,
        incoming: &IncomingMessage,
        trace: &Trace,
        stop: &CancellationToken,
    ) -> Option<AttemptOutcome> {
        let event = match &incoming.event {
            Ok(event) => event,
            Err(error) => {
                let failure = ProcessingFailure::from_envelope_error(error);
                let known = retry_while_unavailable(stop, || self.find_record(incoming)).await?;
                return Some(match known {
                    Ok(Some(record)) => AttemptOutcome::AlreadyRecorded(record),
                    Ok(None) => AttemptOutcome::Failed(failure),
                    Err(error) => {
                        warn!(%error, "could not read the recorded failures");
                        AttemptOutcome::Failed(failure)
                    }
                });
            }
        };
        let mut backoff = Backoff::new(INITIAL_BACKOFF, MAX_BACKOFF);
        loop {
            match self.process_in_transaction(event, incoming, trace).await {
                Ok(attempt) => {
                    let applied = matches!(attempt, AttemptOutcome::Processed);
                    info!(
                        event_id = event.id,
                        event_type = event.event_type,
                        applied = if applied { "Now" } else { "Before" },
                        "event"
                    );
                    return Some(attempt);
                }
                // The event isn't at fault, so that it costs no attempt. This also
                // covers a commit whose outcome is unknown: the inbox knows.
                Err(HandlerError::Database(error)) if database::is_unavailable(&error) => {
                    warn!(%error, "PostgreSQL is not available");
                    if !backoff.wait(stop).await {
                        return None;
                    }
                }
                Err(error) => return Some(AttemptOutcome::Failed((&error).into())),
            }
        }
    }

    /// The record of a message that is no event, where there is one.
    async fn find_record(
        &self,
        incoming: &IncomingMessage,
    ) -> Result<Option<FailureRecord>, sqlx::Error> {
        let database = &self.context.database;
        match &incoming.letter_id {
            Some(letter) => {
                let mut session = database.acquire().await?;
                failure_record::find_by_attempt(&mut session, letter, incoming.attempts).await
            }
            // Delivered for the first time it is another one, however alike they are.
            None if !incoming.redelivered => Ok(None),
            None => {
                failure_record::find_unacknowledged(database, &self.queue, &incoming.fingerprint())
                    .await
            }
        }
    }

    async fn process_in_transaction(
        &self,
        event: &Envelope,
        incoming: &IncomingMessage,
        trace: &Trace,
    ) -> Result<AttemptOutcome, HandlerError> {
        if event.id.contains('\0') {
            return Err(HandlerError::invalid_data(
                "the id of the event contains U+0000",
            ));
        }
        fail_point::reached("consumer.delivered").await;
        let mut transaction = self.context.database.begin().await?;
        let noted = sqlx::query(
            "INSERT INTO inbox_events (queue, event_id, event_type) VALUES ($1, $2, $3)
             ON CONFLICT DO NOTHING",
        )
        .bind(&self.queue)
        .bind(&event.id)
        .bind(&event.event_type)
        .execute(&mut *transaction)
        .await?;
        if noted.rows_affected() == 0 {
            return Ok(AttemptOutcome::AlreadyProcessed);
        }
        // After the row of the inbox, which a failure that is being recorded holds.
        let letter = incoming.letter_id.as_deref().unwrap_or_default();
        let attempts = incoming.attempts;
        if let Some(record) =
            failure_record::find_by_attempt(&mut transaction, letter, attempts).await?
        {
            return Ok(AttemptOutcome::AlreadyRecorded(record));
        }
        fail_point::reached("consumer.noted").await;
        let handled = async {
            fail_point::reached("consumer.handling").await;
            self.handler.handle(&mut transaction, event, trace).await
        };
        // A panic is a failure of this event, and ends neither lane nor service.
        AssertUnwindSafe(handled)
            .catch_unwind()
            .await
            .unwrap_or_else(|panic| Err(HandlerError::Panicked(panic_message(&*panic))))?;
        fail_point::reached("consumer.applied").await;
        if attempts > 0 {
            failure_record::delete_retries(&mut transaction, letter).await?;
        }
        transaction.commit().await?;
        fail_point::reached("consumer.committed").await;
        Ok(AttemptOutcome::Processed)
    }

    /// Records a failure before anything is published; `None` where the service stops
    /// first. What can't be recorded is published all the same: it must not be lost, nor
    /// block what comes after it.
    async fn record_failure(
        &self,
        incoming: &IncomingMessage,
        failure: &ProcessingFailure,
        trace: &Trace,
        stop: &CancellationToken,
    ) -> Option<RecordResult> {
        let record = FailureRecord::new(incoming, failure, &trace.trace_id);
        let (database, queue) = (&self.context.database, &self.queue);
        let note = || failure_record::record_failure(database, queue, incoming, &record);
        let noted = match retry_while_unavailable(stop, note).await? {
            Ok(noted) => noted,
            Err(error) => {
                error!(%error, "could not record a failure");
                RecordResult::Recorded(record)
            }
        };
        fail_point::reached("consumer.recorded").await;
        Some(noted)
    }

    /// Publishes the message to where failures go, until the broker has it; `None`
    /// where the service stops first.
    async fn publish_failure(
        &self,
        delivery: &Delivery,
        incoming: &IncomingMessage,
        record: &FailureRecord,
        stop: &CancellationToken,
    ) -> Option<FailureDisposition> {
        let (queue, service) = (&self.queue, self.context.service);
        let message = failed_message::build_message(delivery, incoming, queue, service, record);
        let (fate, FailureRecord { reason, error, .. }) = (record.disposition(), record);
        match fate {
            FailureDisposition::Retry(tier) => {
                warn!(reason, error, delay = tier.suffix(), "tried again later")
            }
            FailureDisposition::DeadLetter => error!(
                reason,
                error,
                message_id = broker::message_id(incoming.properties()),
                letter = record.letter_id,
                "a dead letter"
            ),
        }
        let mut backoff = Backoff::new(INITIAL_BACKOFF, MAX_BACKOFF);
        loop {
            match self.publish(&message).await {
                Ok(PublishOutcome::Confirmed) => return Some(fate),
                Ok(outcome) => error!(
                    ?outcome,
                    exchange = message.exchange,
                    "RabbitMQ has no queue for a failure"
                ),
                Err(error) => warn!(%error, "could not publish a failure"),
            }
            if !backoff.wait(stop).await {
                return None;
            }
        }
    }

    async fn publish(&self, message: &OutgoingMessage) -> Result<PublishOutcome, BrokerError> {
        let mut slot = self.publisher.lock().await;
        let publisher = match slot.take().filter(Publisher::is_connected) {
            Some(publisher) => publisher,
            None => self.context.broker.open_publisher("failures", 1).await?,
        };
        // Put back only if it still works.
        let outcomes = publisher.publish(std::slice::from_ref(message)).await?;
        *slot = Some(publisher);
        Ok(outcomes.first().copied().unwrap_or(PublishOutcome::Nacked))
    }
}

/// The aggregate of an event, read without reading all of it.
fn subject(delivery: &Delivery) -> String {
    EventAttributes::from_body(&delivery.data)
        .subject
        .unwrap_or_default()
}

/// What a panic said.
fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "nothing".to_owned())
}

/// Works with the database, however long it is away; `None` where the service stops first.
async fn retry_while_unavailable<T, F>(
    stop: &CancellationToken,
    work: impl Fn() -> F,
) -> Option<Result<T, sqlx::Error>>
where
    F: Future<Output = Result<T, sqlx::Error>>,
{
    let mut backoff = Backoff::new(INITIAL_BACKOFF, MAX_BACKOFF);
    loop {
        match work().await {
            Err(error) if database::is_unavailable(&error) => {
                warn!(%error, "PostgreSQL is not available");
                if !backoff.wait(stop).await {
                    return None;
                }
            }
            done => return Some(done),
        }
    }
}
