//! A million events that are through: what it takes to look at them, and what they cost
//! those that come after.

use dm_core::error::Result;
use serde_json::Value;
use sqlx::AssertSqlSafe;

use super::{Figure, Stack, child, relay};
use crate::error::BenchError;

/// How many.
const MILLION: i32 = 1_000_000;

/// Events of many aggregates, published some time ago, one a millisecond.
const WRITE: &str = "
    INSERT INTO {schema}.outbox_events
        (event_id, event_type, routing_key, subject, traceparent, payload, created_at, attempts,
         published_at)
    SELECT 'evt_bench_' || number, $1, $2, 'bench/' || number / 3,
           '00-' || md5(number::text) || '-00f067aa0ba902b7-01',
           json_build_object('id', 'evt_bench_' || number, 'data', repeat('x', 400)),
           now() - interval '1 hour' + number * interval '1 millisecond', 1,
           now() - interval '1 hour' + number * interval '1 millisecond'
      FROM generate_series(1, $3) AS number
     ORDER BY number";

/// Wuphf has handled all of them.
const HANDLE: &str = "
    INSERT INTO notifications.inbox_events (queue, event_id, event_type, processed_at)
    SELECT 'wuphf.domain-events.q', event_id, event_type, published_at
      FROM finance.outbox_events WHERE subject LIKE 'bench/%'";

/// How long `dm outbox ls` takes, and `dm reconcile`, with a million events of finance
/// that wuphf has handled.
pub(super) async fn looked_at(stack: &Stack<'_>) -> Result<Vec<(Figure, f64)>> {
    write(
        stack,
        "finance",
        "com.dundermifflin.expense.submitted.v1",
        "finance.expense.submitted.v1",
    )
    .await?;
    execute(stack, HANDLE).await?;
    stack.vacuum("finance.outbox_events").await?;
    stack.vacuum("notifications.inbox_events").await?;
    let listed = child::run(stack, &["outbox", "ls", "--json"]).await?;
    let accounted = child::run(stack, &["reconcile", "--json"]).await?;
    let report: Value = serde_json::from_slice(&accounted.output).unwrap_or_default();
    let handled = report["accounts"].as_array().into_iter().flatten();
    let handled: i64 = handled.filter_map(|it| it["consumed"].as_i64()).sum();
    if handled < i64::from(MILLION) {
        return Err(BenchError::Missing {
            what: format!("{handled} of {MILLION} events were reconciled"),
            patience: accounted.time,
        }
        .into());
    }
    clear(stack, "finance").await?;
    execute(
        stack,
        "DELETE FROM notifications.inbox_events WHERE event_id LIKE 'evt_bench_%'",
    )
    .await?;
    stack.vacuum("finance.outbox_events").await?;
    stack.vacuum("notifications.inbox_events").await?;
    Ok(vec![
        (Figure::OutboxList, listed.time.as_secs_f64()),
        (Figure::Reconcile, accounted.time.as_secs_f64()),
    ])
}

/// The relay's rate with a million published events in its table, as a share of its rate
/// without them.
pub(super) async fn relayed_among(stack: &Stack<'_>) -> Result<Vec<(Figure, f64)>> {
    clear(stack, "notifications").await?;
    stack.vacuum("notifications.outbox_events").await?;
    let alone = relay::rate(stack).await?;
    clear(stack, "notifications").await?;
    write(
        stack,
        "notifications",
        "com.dundermifflin.notification.created.v1",
        "notification.created.v1",
    )
    .await?;
    stack.vacuum("notifications.outbox_events").await?;
    let among = relay::rate(stack).await?;
    clear(stack, "notifications").await?;
    Ok(vec![(Figure::RelayAmong, among / alone)])
}

async fn write(
    stack: &Stack<'_>,
    schema: &str,
    event_type: &str,
    routing_key: &str,
) -> Result<(), BenchError> {
    sqlx::query(AssertSqlSafe(WRITE.replace("{schema}", schema)))
        .bind(event_type)
        .bind(routing_key)
        .bind(MILLION)
        .execute(&stack.database)
        .await?;
    Ok(())
}

/// All rows of the bench go, and the space that they took where nothing else is there.
async fn clear(stack: &Stack<'_>, schema: &str) -> Result<(), BenchError> {
    let table = format!("{schema}.outbox_events");
    let rest = format!("SELECT EXISTS (SELECT FROM {table} WHERE subject NOT LIKE 'bench/%')");
    let keeps: bool = sqlx::query_scalar(AssertSqlSafe(rest))
        .fetch_one(&stack.database)
        .await?;
    let statement = if keeps {
        format!("DELETE FROM {table} WHERE subject LIKE 'bench/%'")
    } else {
        format!("TRUNCATE {table}")
    };
    execute(stack, &statement).await
}

async fn execute(stack: &Stack<'_>, statement: &str) -> Result<(), BenchError> {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(&stack.database)
        .await?;
    Ok(())
}
