//! Measures the listing of a million published events, and the relay beside them.

use dm_core::error::Result;
use serde_json::Value;
use sqlx::AssertSqlSafe;

use super::{BenchStack, Metric, measured_command, relay};
use crate::error::BenchError;

/// The number of events.
const EVENT_COUNT: i32 = 1_000_000;

/// Inserts events of many aggregates, published an hour ago, one per millisecond.
const INSERT_OUTBOX: &str = "
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

/// Inserts the events into the inbox of wuphf.
const INSERT_INBOX: &str = "
    INSERT INTO notifications.inbox_events (queue, event_id, event_type, processed_at)
    SELECT 'wuphf.domain-events.q', event_id, event_type, published_at
      FROM finance.outbox_events WHERE subject LIKE 'bench/%'";

/// Measures `dm outbox ls` and `dm reconcile` with a million events of finance that wuphf has
/// processed.
pub(super) async fn measure_listing(stack: &BenchStack<'_>) -> Result<Vec<(Metric, f64)>> {
    insert_outbox_events(
        stack,
        "finance",
        "com.dundermifflin.expense.submitted.v1",
        "finance.expense.submitted.v1",
    )
    .await?;
    execute_sql(stack, INSERT_INBOX).await?;
    stack.vacuum_and_checkpoint("finance.outbox_events").await?;
    stack
        .vacuum_and_checkpoint("notifications.inbox_events")
        .await?;
    let listing = measured_command::run_measured(stack, &["outbox", "ls", "--json"]).await?;
    let reconcile = measured_command::run_measured(stack, &["reconcile", "--json"]).await?;
    let report: Value = serde_json::from_slice(&reconcile.output).unwrap_or_default();
    let queues = report["queues"].as_array().into_iter().flatten();
    let processed: i64 = queues.filter_map(|queue| queue["processed"].as_i64()).sum();
    if processed < i64::from(EVENT_COUNT) {
        return Err(BenchError::Timeout {
            reason: format!("{processed} of {EVENT_COUNT} events were reconciled"),
            timeout: reconcile.duration,
        }
        .into());
    }
    delete_bench_events(stack, "finance").await?;
    execute_sql(
        stack,
        "DELETE FROM notifications.inbox_events WHERE event_id LIKE 'evt_bench_%'",
    )
    .await?;
    stack
        .vacuum_and_checkpoint("notifications.inbox_events")
        .await?;
    Ok(vec![
        (Metric::OutboxList, listing.duration.as_secs_f64()),
        (Metric::Reconcile, reconcile.duration.as_secs_f64()),
    ])
}

/// Measures the ratio of the rate of the relay with a million published events in its table to its
/// rate without them.
pub(super) async fn measure_relay_rate(stack: &BenchStack<'_>) -> Result<Vec<(Metric, f64)>> {
    delete_bench_events(stack, "notifications").await?;
    let rate_without = relay::measure_rate(stack).await?;
    delete_bench_events(stack, "notifications").await?;
    insert_outbox_events(
        stack,
        "notifications",
        "com.dundermifflin.notification.created.v1",
        "notification.created.v1",
    )
    .await?;
    stack
        .vacuum_and_checkpoint("notifications.outbox_events")
        .await?;
    let rate_with = relay::measure_rate(stack).await?;
    delete_bench_events(stack, "notifications").await?;
    Ok(vec![(Metric::RelayLargeOutbox, rate_with / rate_without)])
}

async fn insert_outbox_events(
    stack: &BenchStack<'_>,
    schema: &str,
    event_type: &str,
    routing_key: &str,
) -> Result<(), BenchError> {
    sqlx::query(AssertSqlSafe(INSERT_OUTBOX.replace("{schema}", schema)))
        .bind(event_type)
        .bind(routing_key)
        .bind(EVENT_COUNT)
        .execute(&stack.database)
        .await?;
    Ok(())
}

/// Deletes all rows of the bench, and their index entries, which a list of the newest rows would read
/// until they are removed. Truncates the table if it has no other rows, to free the space.
async fn delete_bench_events(stack: &BenchStack<'_>, schema: &str) -> Result<(), BenchError> {
    let table = format!("{schema}.outbox_events");
    let query = format!("SELECT EXISTS (SELECT FROM {table} WHERE subject NOT LIKE 'bench/%')");
    let has_other_rows: bool = sqlx::query_scalar(AssertSqlSafe(query))
        .fetch_one(&stack.database)
        .await?;
    let statement = if has_other_rows {
        format!("DELETE FROM {table} WHERE subject LIKE 'bench/%'")
    } else {
        format!("TRUNCATE {table}")
    };
    execute_sql(stack, &statement).await?;
    stack.vacuum_and_checkpoint(&table).await
}

async fn execute_sql(stack: &BenchStack<'_>, statement: &str) -> Result<(), BenchError> {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(&stack.database)
        .await?;
    Ok(())
}
