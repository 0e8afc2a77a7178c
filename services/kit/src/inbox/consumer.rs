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
use crate::database::{self, Database, sql_state};
use crate::fail_point;
use crate::http::HealthIndicator;
use crate::telemetry::Metrics;
use crate::trace::Trace;

/// Maximum number of unacknowledged deliveries: enough for every lane to have a next one. A
/// larger number has a cost: each kill of the service counts as one delivery of each of these
/// messages, and at the delivery limit of the queue the broker dead-letters them.
const PREFETCH: u16 = 16;

/// Number of lanes, which process events concurrently.
const LANE_COUNT: usize = 4;

/// Initial delay of retries while the database or the broker is unavailable.
const INITIAL_BACKOFF: Duration = Duration::from_millis(100);

/// Maximum delay of these retries.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// The resources of a consumer.
#[derive(Debug, Clone)]
pub(crate) struct ConsumerContext {
    pub(crate) service: &'static str,
    pub(crate) database: Database,
    pub(crate) broker: BrokerConnector,
    pub(crate) metrics: Metrics,
}

/// Processes the events of one work queue, each with one effect.
#[derive(Debug)]
pub(crate) struct Consumer<H> {
    context: ConsumerContext,
    queue: String,
    indicator: HealthIndicator,
    handler: H,
    /// Publishes failed messages. Opened on first use, since failures are rare.
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
    #[error("a lane of the consumer ended unexpectedly")]
    LaneEnded,
}

/// Result of an attempt to process a delivery.
#[derive(Debug)]
enum AttemptOutcome {
    /// The event was processed.
    Processed,
    /// The event had been processed before.
    AlreadyProcessed,
    /// The attempt had failed before, and its failure is recorded.
    AlreadyRecorded(FailureRecord),
    /// The attempt failed.
    Failed(ProcessingFailure),
}

impl<H: EventHandler> Consumer<H> {
    pub(crate) fn new(
        context: ConsumerContext,
        queue: String,
        indicator: HealthIndicator,
        handler: H,
    ) -> Self {
        Self {
            context,
            queue,
            indicator,
            handler,
            publisher: Mutex::default(),
        }
    }

    /// Consumes until the service stops. A failed session is opened again.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let consumer = Arc::new(self);
        let on_failure = |error: SessionError| {
            warn!(
                messaging.destination.name = consumer.queue,
                error.message = %error,
                "consumer session failed; reconnecting"
            );
            consumer.indicator.set(false);
        };
        supervise(&stop, || consumer.run_session(&stop), on_failure).await;
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
        info!(
            messaging.destination.name = self.queue,
            "started consuming the queue"
        );
        self.indicator.set(true);

        // Dropped with the session: open transactions are rolled back, and the broker delivers
        // their events again.
        let mut lanes = JoinSet::new();
        let senders: Vec<_> = (0..LANE_COUNT)
            .map(|_| {
                let (sender, mut receiver) = mpsc::unbounded_channel::<Delivery>();
                let consumer = Arc::clone(self);
                let stop = stop.clone();
                lanes.spawn(async move {
                    while let Some(delivery) = receiver.recv().await {
                        // Deliveries that were not begun return to the queue.
                        if !stop.is_cancelled() {
                            consumer.process_delivery(delivery, &stop).await;
                        }
                    }
                });
                sender
            })
            .collect();
        let result = loop {
            let delivery = tokio::select! {
                () = stop.cancelled() => break Ok(()),
                // The delivery that the lane was processing is delivered again.
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
        if result.is_ok() {
            let tag = deliveries.tag();
            // The connection is closed next, whatever the result.
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
        result
    }

    /// Processes one delivery to its end: processed, retried later, or dead-lettered.
    async fn process_delivery(&self, delivery: Delivery, stop: &CancellationToken) {
        let parent = broker::header_text(&delivery.properties, headers::TRACEPARENT);
        let id = delivery.properties.message_id().as_ref();
        let id = id.map_or("", |id| id.as_str());
        let trace =
            Trace::from_traceparent(parent.as_deref(), span::processing_span_id(&self.queue, id));
        let span = info_span!(
            "event",
            trace_id = %trace.trace_id,
            messaging.destination.name = self.queue,
        );
        async {
            let incoming = IncomingMessage::from_delivery(&self.queue, &delivery);
            // Without an outcome the delivery is not acknowledged: the broker delivers it again.
            let Some((outcome, record)) = self
                .process_and_record(&delivery, &incoming, &trace, stop)
                .await
            else {
                return;
            };
            match delivery.ack(BasicAckOptions::default()).await {
                Ok(true) => {
                    fail_point::reached("consumer.acknowledged").await;
                    self.context.metrics.record_event(&self.queue, outcome);
                }
                // The inbox or the failure record identifies a second delivery.
                Ok(false) => debug!("the acknowledgement was too late"),
                Err(error) => debug!(error.message = %error, "could not acknowledge the delivery"),
            }
            if let Some(record) = record.filter(|_| incoming.letter_id.is_none()) {
                let database = &self.context.database;
                let mark = || failure_record::mark_acknowledged(database, &record.letter_id);
                if let Some(Err(error)) = retry_while_unavailable(stop, mark).await {
                    warn!(
                        db.response.status_code = sql_state(&error).as_deref(),
                        error.message = %error,
                        "could not record the acknowledgement"
                    );
                }
            }
        }
        .instrument(span)
        .await;
    }

    /// Processes the event and, on failure, records it and publishes the retry or dead letter.
    /// Returns the value of the metric label `outcome`, and the record of a failure. Returns `None`
    /// if the service stops first.
    async fn process_and_record(
        &self,
        delivery: &Delivery,
        incoming: &IncomingMessage,
        trace: &Trace,
        stop: &CancellationToken,
    ) -> Option<(&'static str, Option<FailureRecord>)> {
        let record = match self.process_event(incoming, trace, stop).await? {
            AttemptOutcome::Processed => return Some(("processed", None)),
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
            info!(
                dead_letter_id = record.letter_id,
                "the failure was recorded before"
            );
            return Some(("duplicate", Some(record)));
        }
        let disposition = self
            .publish_failure(delivery, incoming, &record, stop)
            .await?;
        fail_point::reached("consumer.failure-published").await;
        let database = &self.context.database;
        let marked =
            retry_while_unavailable(stop, || failure_record::mark_published(database, &record))
                .await?;
        if let Err(error) = marked {
            warn!(
                db.response.status_code = sql_state(&error).as_deref(),
                error.message = %error,
                "could not record that the failure was published"
            );
        }
        fail_point::reached("consumer.marked").await;
        let outcome = match disposition {
            FailureDisposition::Retry(_) => "retried",
            FailureDisposition::DeadLetter => "dead-lettered",
        };
        Some((outcome, Some(record)))
    }

    /// Processes the event. Retries while PostgreSQL is unavailable, and returns `None` if the
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
                let record = retry_while_unavailable(stop, || self.find_record(incoming)).await?;
                return Some(match record {
                    Ok(Some(record)) => AttemptOutcome::AlreadyRecorded(record),
                    Ok(None) => AttemptOutcome::Failed(failure),
                    Err(error) => {
                        warn!(
                            db.response.status_code = sql_state(&error).as_deref(),
                            error.message = %error,
                            "could not read the failure record"
                        );
                        AttemptOutcome::Failed(failure)
                    }
                });
            }
        };
        let mut backoff = Backoff::new(INITIAL_BACKOFF, MAX_BACKOFF);
        loop {
            match self.process_in_transaction(event, incoming, trace).await {
                Ok(attempt) => {
                    if matches!(attempt, AttemptOutcome::Processed) {
                        info!(
                            messaging.message.id = event.id,
                            event_type = event.event_type,
                            duplicate = false,
                            "event processed"
                        );
                    } else {
                        info!(
                            messaging.message.id = event.id,
                            event_type = event.event_type,
                            duplicate = true,
                            "event was delivered before"
                        );
                    }
                    return Some(attempt);
                }
                // Not caused by the event, so it does not count as an attempt. This also
                // covers a commit whose outcome is unknown: the inbox contains the event if it
                // was committed.
                Err(HandlerError::Database(error)) if database::is_unavailable(&error) => {
                    log_unavailable(&error);
                    if !backoff.wait(stop).await {
                        return None;
                    }
                }
                Err(error) => return Some(AttemptOutcome::Failed((&error).into())),
            }
        }
    }

    /// Returns the failure record of a message that is not a valid event, if there is one.
    async fn find_record(
        &self,
        incoming: &IncomingMessage,
    ) -> Result<Option<FailureRecord>, sqlx::Error> {
        let database = &self.context.database;
        match &incoming.letter_id {
            Some(letter_id) => {
                let mut session = database.acquire().await?;
                failure_record::find_by_attempt(&mut session, letter_id, incoming.attempts).await
            }
            // On its first delivery it is a different message, even if it has equal content.
            None if !incoming.redelivered => Ok(None),
            None => {
                failure_record::find_unacknowledged(
                    database,
                    &self.queue,
                    &incoming.content_digest(),
                )
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
        let inserted = sqlx::query(
            "INSERT INTO inbox_events (queue, event_id, event_type) VALUES ($1, $2, $3)
             ON CONFLICT DO NOTHING",
        )
        .bind(&self.queue)
        .bind(&event.id)
        .bind(&event.event_type)
        .execute(&mut *transaction)
        .await?;
        if inserted.rows_affected() == 0 {
            return Ok(AttemptOutcome::AlreadyProcessed);
        }
        // After inserting the inbox row: a transaction that records a failure locks this row.
        let letter_id = incoming.letter_id.as_deref().unwrap_or_default();
        let attempts = incoming.attempts;
        if let Some(record) =
            failure_record::find_by_attempt(&mut transaction, letter_id, attempts).await?
        {
            return Ok(AttemptOutcome::AlreadyRecorded(record));
        }
        fail_point::reached("consumer.inbox-written").await;
        let handling = async {
            fail_point::reached_by_event("consumer.processing", &event.event_type).await;
            self.handler.handle(&mut transaction, event, trace).await
        };
        // A panic is a failure of this event. It ends neither lane nor service.
        AssertUnwindSafe(handling)
            .catch_unwind()
            .await
            .unwrap_or_else(|panic| Err(HandlerError::Panicked(panic_message(&*panic))))?;
        fail_point::reached_by_event("consumer.processed", &event.event_type).await;
        if attempts > 0 {
            failure_record::delete_retries(&mut transaction, letter_id).await?;
        }
        transaction.commit().await?;
        fail_point::reached_by_event("consumer.committed", &event.event_type).await;
        Ok(AttemptOutcome::Processed)
    }

    /// Records a failure before its message is published. Returns `None` if the service stops
    /// first. A failure that cannot be recorded is published all the same: it must neither be
    /// lost nor block later events.
    async fn record_failure(
        &self,
        incoming: &IncomingMessage,
        failure: &ProcessingFailure,
        trace: &Trace,
        stop: &CancellationToken,
    ) -> Option<RecordResult> {
        let record = FailureRecord::new(incoming, failure, &trace.trace_id);
        let (database, queue) = (&self.context.database, &self.queue);
        let write = || failure_record::record_failure(database, queue, incoming, &record);
        let result = match retry_while_unavailable(stop, write).await? {
            Ok(result) => result,
            Err(error) => {
                error!(
                    db.response.status_code = sql_state(&error).as_deref(),
                    error.message = %error,
                    "could not record the failure"
                );
                RecordResult::Recorded(record)
            }
        };
        fail_point::reached("consumer.recorded").await;
        Some(result)
    }

    /// Publishes the failed message to its retry or dead-letter queue, until the broker confirms
    /// it. Returns `None` if the service stops first.
    async fn publish_failure(
        &self,
        delivery: &Delivery,
        incoming: &IncomingMessage,
        record: &FailureRecord,
        stop: &CancellationToken,
    ) -> Option<FailureDisposition> {
        let (queue, service) = (&self.queue, self.context.service);
        let message = failed_message::build_message(delivery, incoming, queue, service, record);
        let (disposition, message_id) = (
            record.disposition(),
            broker::message_id(incoming.properties()),
        );
        match disposition {
            FailureDisposition::Retry(tier) => warn!(
                messaging.message.id = message_id,
                error.type = record.reason,
                error.message = record.error,
                attempts = record.attempts,
                delay_s = tier.delay_seconds(),
                "could not process the event; retrying later"
            ),
            FailureDisposition::DeadLetter => error!(
                messaging.message.id = message_id,
                error.type = record.reason,
                error.message = record.error,
                attempts = record.attempts,
                dead_letter_id = record.letter_id,
                "event dead-lettered"
            ),
        }
        let mut backoff = Backoff::new(INITIAL_BACKOFF, MAX_BACKOFF);
        loop {
            match self.publish(&message).await {
                Ok(PublishOutcome::Confirmed) => return Some(disposition),
                Ok(outcome) => error!(
                    messaging.destination.name = message.exchange,
                    messaging.rabbitmq.destination.routing_key = message.routing_key,
                    outcome = ?outcome,
                    "RabbitMQ did not accept the failed message"
                ),
                Err(error) => warn!(error.message = %error, "could not publish the failed message"),
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
        // Kept only if it still works.
        let outcomes = publisher.publish(std::slice::from_ref(message)).await?;
        *slot = Some(publisher);
        Ok(outcomes.first().copied().unwrap_or(PublishOutcome::Nacked))
    }
}

/// Returns the aggregate of an event, without deserializing the rest of the body.
fn subject(delivery: &Delivery) -> String {
    EventAttributes::from_body(&delivery.data)
        .subject
        .unwrap_or_default()
}

/// Returns the message of a panic.
fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

/// Executes a database operation. Retries while the database is unavailable, and returns `None`
/// if the service stops first.
async fn retry_while_unavailable<T, F>(
    stop: &CancellationToken,
    operation: impl Fn() -> F,
) -> Option<Result<T, sqlx::Error>>
where
    F: Future<Output = Result<T, sqlx::Error>>,
{
    let mut backoff = Backoff::new(INITIAL_BACKOFF, MAX_BACKOFF);
    loop {
        match operation().await {
            Err(error) if database::is_unavailable(&error) => {
                log_unavailable(&error);
                if !backoff.wait(stop).await {
                    return None;
                }
            }
            result => return Some(result),
        }
    }
}

fn log_unavailable(error: &sqlx::Error) {
    warn!(
        db.response.status_code = sql_state(error).as_deref(),
        error.message = %error,
        "PostgreSQL is unavailable; retrying"
    );
}
