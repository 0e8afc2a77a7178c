//! The consumer of one work queue.

use std::sync::Arc;
use std::time::Duration;

use dm_contracts::envelope::Heading;
use dm_contracts::{Envelope, headers, span};
use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use thiserror::Error;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug, error, info, info_span, warn};

use super::failure::{self, Failure, Fate};
use super::lanes::lane;
use super::{Handler, HandlerError};
use crate::broker::{self, Broker, BrokerError, Outcome, Outgoing, Publisher};
use crate::database::{self, Database};
use crate::fail_point;
use crate::http::Indicator;
use crate::telemetry::Metrics;
use crate::trace::Trace;

/// How many deliveries may wait here: enough for every lane to have the next one at
/// hand. More would gain nothing and cost something: a service that is killed again and
/// again spends one of the queue's deliveries of each of them, and at the limit the
/// broker takes them for dead.
const PREFETCH: u16 = 16;

/// How many are applied at the same time.
const LANES: usize = 4;

/// The longest pause while the database is away.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What a consumer runs on.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub(crate) service: &'static str,
    pub(crate) database: Database,
    pub(crate) broker: Broker,
    pub(crate) metrics: Metrics,
}

/// Applies the events of one work queue, each one once.
#[derive(Debug)]
pub struct Consumer<H> {
    site: Site,
    queue: String,
    indicator: Indicator,
    handler: H,
    /// For what fails. Made when first needed: failures are rare.
    publisher: Mutex<Option<Publisher>>,
}

#[derive(Debug, Error)]
enum SessionError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error("the broker: {0}")]
    Amqp(#[from] lapin::Error),
    #[error("the broker ended the consumer")]
    Cancelled,
}

/// How handling a delivery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Applied {
    Now,
    Before,
}

impl<H: Handler> Consumer<H> {
    pub(crate) fn new(site: Site, queue: String, indicator: Indicator, handler: H) -> Self {
        Self {
            site,
            queue,
            indicator,
            handler,
            publisher: Mutex::default(),
        }
    }

    /// Consumes until it is asked to stop; a broken connection is set up again.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let consumer = Arc::new(self);
        let mut pause = Duration::from_millis(100);
        while !stop.is_cancelled() {
            let began = tokio::time::Instant::now();
            match consumer.session(&stop).await {
                Ok(()) => return,
                Err(error) => warn!(queue = consumer.queue, %error, "the consumer begins again"),
            }
            consumer.indicator.set(false);
            if began.elapsed() > Duration::from_secs(10) {
                pause = Duration::from_millis(100);
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }

    async fn session(self: &Arc<Self>, stop: &CancellationToken) -> Result<(), SessionError> {
        let connection = self.site.broker.connect(&self.queue).await?;
        let channel = connection.create_channel().await?;
        channel
            .basic_qos(PREFETCH, BasicQosOptions::default())
            .await?;
        let mut deliveries = channel
            .basic_consume(
                self.queue.as_str().into(),
                self.site.service.into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await?;
        info!(queue = self.queue, "consuming");
        self.indicator.set(true);

        // Dropped with the session: what is under way is then rolled back, and the
        // broker delivers it again.
        let mut lanes = JoinSet::new();
        let senders: Vec<_> = (0..LANES)
            .map(|_| {
                let (sender, mut receiver) = mpsc::unbounded_channel::<Delivery>();
                let consumer = Arc::clone(self);
                let stop = stop.clone();
                lanes.spawn(async move {
                    while let Some(delivery) = receiver.recv().await {
                        // What was not begun goes back to the queue.
                        if !stop.is_cancelled() {
                            consumer.take(delivery, &stop).await;
                        }
                    }
                });
                sender
            })
            .collect();
        let ended = loop {
            let delivery = tokio::select! {
                () = stop.cancelled() => break Ok(()),
                delivery = deliveries.next() => delivery,
            };
            match delivery {
                Some(Ok(delivery)) => {
                    let lane = lane(&subject(&delivery), LANES);
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
    async fn take(&self, delivery: Delivery, stop: &CancellationToken) {
        let parent = broker::header(&delivery.properties, headers::TRACEPARENT);
        let id = delivery.properties.message_id().as_ref();
        let id = id.map_or("", |id| id.as_str());
        let trace = Trace::of_event(parent.as_deref(), span::of_handling(&self.queue, id));
        let span = info_span!("event", trace_id = %trace.trace_id, queue = self.queue);
        async {
            let outcome = match self.apply(&delivery, &trace, stop).await {
                Some(Ok(Applied::Now)) => "applied",
                Some(Ok(Applied::Before)) => "duplicate",
                Some(Err(failure)) => match self.set_aside(&delivery, &failure, &trace, stop).await
                {
                    Some(Fate::Retry(_)) => "retried",
                    Some(Fate::Dead) => "dead",
                    None => return,
                },
                // Not acknowledged: the broker delivers it again.
                None => return,
            };
            match delivery.ack(BasicAckOptions::default()).await {
                Ok(true) => {
                    fail_point::reached("consumer.acknowledged").await;
                    self.site.metrics.handled(&self.queue, outcome);
                }
                // The inbox absorbs the second delivery.
                Ok(false) => debug!("the acknowledgement came too late"),
                Err(error) => debug!(%error, "not acknowledged"),
            }
        }
        .instrument(span)
        .await;
    }

    /// Applies the event, however long the database is away; `None` where the
    /// service stops first.
    async fn apply(
        &self,
        delivery: &Delivery,
        trace: &Trace,
        stop: &CancellationToken,
    ) -> Option<Result<Applied, Failure>> {
        let event = match Envelope::parse(&delivery.data) {
            Ok(event) => event,
            Err(error) => return Some(Err((&HandlerError::from(error)).into())),
        };
        let mut pause = Duration::from_millis(100);
        loop {
            match self.transact(&event, trace).await {
                Ok(applied) => {
                    info!(
                        event_id = event.id,
                        event_type = event.event_type,
                        ?applied,
                        "event"
                    );
                    return Some(Ok(applied));
                }
                // The event isn't at fault, so that it costs no attempt. This also
                // covers a commit whose outcome is unknown: the inbox knows.
                Err(HandlerError::Database(error)) if database::is_away(&error) => {
                    warn!(%error, "the database is away");
                    tokio::select! {
                        () = stop.cancelled() => return None,
                        () = tokio::time::sleep(pause) => {}
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(error) => return Some(Err((&error).into())),
            }
        }
    }

    async fn transact(&self, event: &Envelope, trace: &Trace) -> Result<Applied, HandlerError> {
        fail_point::reached("consumer.delivered").await;
        let mut transaction = self.site.database.begin().await?;
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
            return Ok(Applied::Before);
        }
        fail_point::reached("consumer.noted").await;
        self.handler.handle(&mut transaction, event, trace).await?;
        fail_point::reached("consumer.applied").await;
        transaction.commit().await?;
        fail_point::reached("consumer.committed").await;
        Ok(Applied::Now)
    }

    /// Publishes the message to where failures go, until the broker has it; `None`
    /// where the service stops first.
    async fn set_aside(
        &self,
        delivery: &Delivery,
        failure: &Failure,
        trace: &Trace,
        stop: &CancellationToken,
    ) -> Option<Fate> {
        let (message, fate) =
            failure::message(delivery, &self.queue, self.site.service, failure, trace);
        let Failure { reason, error, .. } = failure;
        match fate {
            Fate::Retry(tier) => warn!(reason, error, delay = tier.suffix(), "tried again later"),
            Fate::Dead => error!(
                reason,
                error,
                message_id = broker::id(&message.properties),
                "a dead letter"
            ),
        }
        let mut pause = Duration::from_millis(100);
        loop {
            match self.publish(&message).await {
                Ok(Outcome::Confirmed) => return Some(fate),
                Ok(outcome) => error!(
                    ?outcome,
                    exchange = message.exchange,
                    "no place for a failure"
                ),
                Err(error) => warn!(%error, "a failure could not be published"),
            }
            tokio::select! {
                () = stop.cancelled() => return None,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn publish(&self, message: &Outgoing) -> Result<Outcome, BrokerError> {
        let mut slot = self.publisher.lock().await;
        let publisher = match slot.take().filter(Publisher::is_connected) {
            Some(publisher) => publisher,
            None => self.site.broker.publisher("failures", 1).await?,
        };
        // Put back only if it still works.
        let outcomes = publisher.publish(std::slice::from_ref(message)).await?;
        *slot = Some(publisher);
        Ok(outcomes.first().copied().unwrap_or(Outcome::Refused))
    }
}

/// The aggregate of an event, read without reading all of it.
fn subject(delivery: &Delivery) -> String {
    Heading::read(&delivery.data).subject.unwrap_or_default()
}
