//! What is missing is published again.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use sqlx::{AssertSqlSafe, FromRow};

use dm_contracts::{envelope, headers};

use super::Site;
use super::report::{Finding, Kind};
use crate::messaging::MessagingError;
use crate::messaging::broker::{Outgoing, publish};
use crate::messaging::dead::Records;

/// Publishes each missing event to the one queue where it is missing, as its outbox has
/// it, under its own id: should it come after all, the inbox absorbs it. Answers how many
/// are there.
///
/// # Errors
/// The broker or the database fails: some of them may be there.
pub async fn repair(site: &Site<'_>, findings: &[Finding]) -> Result<u64, MessagingError> {
    let channel = site.connection.create_channel().await?;
    let mut repaired = 0;
    for finding in findings.iter().filter(|it| it.kind == Kind::Missing) {
        let Some(message) = message(site, finding).await? else {
            continue;
        };
        let there = publish(&channel, &[message]).await?;
        repaired += u64::from(there == [true]);
    }
    channel.close(200, "done".into()).await?;
    Ok(repaired)
}

/// The event as its relay publishes it.
async fn message(site: &Site<'_>, finding: &Finding) -> Result<Option<Outgoing>, MessagingError> {
    #[derive(FromRow)]
    struct Event {
        event_type: String,
        traceparent: Option<String>,
        payload: String,
    }
    for store in site.stores {
        let statement = format!(
            "SELECT event_type, traceparent, payload::text AS payload FROM {}
              WHERE event_id = $1",
            store.table("outbox_events")
        );
        let found: Option<Event> = sqlx::query_as(AssertSqlSafe(statement))
            .bind(&finding.what)
            .fetch_optional(site.database)
            .await?;
        let Some(event) = found else { continue };
        let mut table = FieldTable::default();
        if let Some(parent) = &event.traceparent {
            table.insert(
                headers::TRACEPARENT.into(),
                AMQPValue::LongString(parent.as_str().into()),
            );
        }
        // In a round that its consumer has a record of, it would not be handled.
        let records = Records {
            database: site.database,
            stores: site.stores,
        };
        if let Some(round) = records.new_round(&finding.of, &finding.what).await? {
            table.insert(headers::REPLAYS.into(), AMQPValue::LongLongInt(round));
        }
        return Ok(Some(Outgoing {
            exchange: String::new(),
            routing_key: finding.of.clone(),
            mandatory: true,
            properties: BasicProperties::default()
                .with_message_id(finding.what.as_str().into())
                .with_type(event.event_type.as_str().into())
                .with_content_type(envelope::CONTENT_TYPE.into())
                .with_delivery_mode(2)
                .with_headers(table),
            body: event.payload.into_bytes(),
        }));
    }
    Ok(None)
}
