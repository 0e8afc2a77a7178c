//! Runs in the database: which numbers are theirs, and which of their parts are there.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use dm_history::rows::{HistoryCounts, SequenceStarts, ServiceName};
use serde::Serialize;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use uuid::Uuid;

use super::HistoryRequest;
use super::schemas::ServiceSchemas;
use crate::{ExistingData, SeedError};

/// A run that has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeedRun {
    /// Its id.
    pub id: String,
    /// When it began.
    pub began_at: DateTime<Utc>,
    /// What it is about.
    pub request: HistoryRequest,
    /// Where its numbers begin.
    pub first: SequenceStarts,
    /// How many parts it has.
    pub parts: u64,
    /// Those of them that are there.
    #[serde(skip)]
    pub completed_parts: BTreeSet<u64>,
}

/// The business tables, with the column that says where a row comes from.
const BUSINESS_TABLES: [(ServiceName, &str, &str); 3] = [
    (ServiceName::Sales, "leads", "notes"),
    (ServiceName::Order, "orders", "notes"),
    (ServiceName::Finance, "expenses", "description"),
];

/// Whether the business tables hold nothing but what `dm smoke` has left there.
///
/// # Errors
/// The database is away.
pub async fn is_stack_empty(
    database: &PgPool,
    schemas: &ServiceSchemas,
) -> Result<bool, SeedError> {
    let held = BUSINESS_TABLES.map(|(service, table, column)| {
        let table = schemas.qualified_name(service, table);
        format!("EXISTS (SELECT FROM {table} WHERE {column} <> $1)")
    });
    let statement = format!("SELECT NOT ({})", held.join(" OR "));
    let empty: bool = sqlx::query_scalar(AssertSqlSafe(statement))
        .bind(dm_smoke::DATA_MARKER)
        .fetch_one(database)
        .await?;
    Ok(empty)
}

/// How much the business tables hold.
///
/// # Errors
/// The database is away.
pub async fn count_existing(
    database: &PgPool,
    schemas: &ServiceSchemas,
) -> Result<ExistingData, SeedError> {
    let counts = BUSINESS_TABLES.map(|(service, table, _)| {
        format!(
            "(SELECT count(*) FROM {})",
            schemas.qualified_name(service, table)
        )
    });
    let statement = format!("SELECT {}", counts.join(", "));
    let (leads, orders, expenses): (i64, i64, i64) = sqlx::query_as(AssertSqlSafe(statement))
        .fetch_one(database)
        .await?;
    Ok(ExistingData {
        leads: leads.unsigned_abs(),
        orders: orders.unsigned_abs(),
        expenses: expenses.unsigned_abs(),
    })
}

/// The run that was cut short, if there is one.
///
/// # Errors
/// The database is away.
pub async fn find_unfinished(database: &PgPool) -> Result<Option<SeedRun>, SeedError> {
    #[derive(sqlx::FromRow)]
    struct Row {
        run_id: String,
        began_at: DateTime<Utc>,
        request: Json<HistoryRequest>,
        first: Json<SequenceStarts>,
        parts: i64,
    }
    let row: Option<Row> = sqlx::query_as(
        "SELECT run_id, began_at, request, first, parts FROM dm_ops.seed_runs
          WHERE ended_at IS NULL ORDER BY began_at LIMIT 1",
    )
    .fetch_optional(database)
    .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let done: Vec<i64> = sqlx::query_scalar("SELECT part FROM dm_ops.seed_parts WHERE run_id = $1")
        .bind(&row.run_id)
        .fetch_all(database)
        .await?;
    Ok(Some(SeedRun {
        id: row.run_id,
        began_at: row.began_at,
        request: row.request.0,
        first: row.first.0,
        parts: row.parts.unsigned_abs(),
        completed_parts: done.into_iter().map(i64::unsigned_abs).collect(),
    }))
}

/// Writes a run down and sets its numbers aside, so that no service gives them out.
///
/// # Errors
/// The database is away.
pub async fn begin_run(
    database: &PgPool,
    schemas: &ServiceSchemas,
    request: HistoryRequest,
    counts: HistoryCounts,
) -> Result<SeedRun, SeedError> {
    let mut transaction = database.begin().await?;
    let first = reserve_sequences(&mut transaction, schemas, counts).await?;
    let id = format!("seed_{}", &Uuid::new_v4().simple().to_string()[..12]);
    let parts = request.part_count();
    let began_at: DateTime<Utc> = sqlx::query_scalar(
        "INSERT INTO dm_ops.seed_runs (run_id, request, first, parts) VALUES ($1, $2, $3, $4)
         RETURNING began_at",
    )
    .bind(&id)
    .bind(Json(&request))
    .bind(Json(first))
    .bind(parts.cast_signed())
    .fetch_one(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(SeedRun {
        id,
        began_at,
        request,
        first,
        parts,
        completed_parts: BTreeSet::new(),
    })
}

/// Notes that a part is there, in the transaction that brings it.
pub(super) async fn record_part(
    transaction: &mut PgConnection,
    run: &str,
    part: u64,
    rows: u64,
) -> Result<(), SeedError> {
    // Another process that had the same part in hand fails here, and its rows go.
    sqlx::query("INSERT INTO dm_ops.seed_parts (run_id, part, rows) VALUES ($1, $2, $3)")
        .bind(run)
        .bind(part.cast_signed())
        .bind(rows.cast_signed())
        .execute(transaction)
        .await?;
    Ok(())
}

/// Notes that all of a run is there. Which parts it had is of no use from then on.
pub(super) async fn finish_run(database: &PgPool, run: &str) -> Result<(), SeedError> {
    let mut transaction = database.begin().await?;
    sqlx::query("UPDATE dm_ops.seed_runs SET ended_at = clock_timestamp() WHERE run_id = $1")
        .bind(run)
        .execute(&mut *transaction)
        .await?;
    sqlx::query("DELETE FROM dm_ops.seed_parts WHERE run_id = $1")
        .bind(run)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(())
}

/// Moves every sequence past what a run needs.
pub(super) async fn reserve_sequences(
    transaction: &mut PgConnection,
    schemas: &ServiceSchemas,
    counts: HistoryCounts,
) -> Result<SequenceStarts, SeedError> {
    use ServiceName::{Finance, Inventory, Order, Profile, Sales, Wuphf};
    let needs = counts.sequence_counts();
    let mut first = SequenceStarts::default();
    let outbox = "outbox_events_sequence_seq";
    for (service, sequence, need, first) in [
        (Sales, "lead_number_seq", needs.lead, &mut first.lead),
        (Sales, "client_number_seq", needs.client, &mut first.client),
        (Order, "order_number_seq", needs.order, &mut first.order),
        (
            Order,
            "order_timeline_id_seq",
            needs.timeline,
            &mut first.timeline,
        ),
        (
            Inventory,
            "reservation_number_seq",
            needs.reservation,
            &mut first.reservation,
        ),
        (
            Inventory,
            "shipment_scan_log_id_seq",
            needs.scan,
            &mut first.scan,
        ),
        (
            Finance,
            "expense_number_seq",
            needs.expense,
            &mut first.expense,
        ),
        (
            Wuphf,
            "notification_number_seq",
            needs.notification,
            &mut first.notification,
        ),
        (Sales, outbox, needs.sales_event, &mut first.sales_event),
        (Order, outbox, needs.order_event, &mut first.order_event),
        (
            Inventory,
            outbox,
            needs.inventory_event,
            &mut first.inventory_event,
        ),
        (
            Finance,
            outbox,
            needs.finance_event,
            &mut first.finance_event,
        ),
        (
            Wuphf,
            outbox,
            needs.notification_event,
            &mut first.notification_event,
        ),
        (
            Profile,
            outbox,
            needs.profile_event,
            &mut first.profile_event,
        ),
    ] {
        *first = advance_sequence(
            transaction,
            &schemas.qualified_name(service, sequence),
            need,
        )
        .await?;
    }
    Ok(first)
}

/// Sets so many numbers of a sequence aside, and answers the first of them.
async fn advance_sequence(
    transaction: &mut PgConnection,
    sequence: &str,
    need: u64,
) -> Result<u64, SeedError> {
    // Nobody can draw a number from here on until the transaction ends.
    sqlx::raw_sql(AssertSqlSafe(format!(
        "ALTER SEQUENCE {sequence} INCREMENT BY 1"
    )))
    .execute(&mut *transaction)
    .await?;
    let next: i64 = sqlx::query_scalar(AssertSqlSafe(format!(
        "SELECT CASE WHEN is_called THEN last_value + 1 ELSE last_value END FROM {sequence}"
    )))
    .fetch_one(&mut *transaction)
    .await?;
    let restart = next.saturating_add_unsigned(need);
    sqlx::raw_sql(AssertSqlSafe(format!(
        "ALTER SEQUENCE {sequence} RESTART WITH {restart}"
    )))
    .execute(transaction)
    .await?;
    Ok(next.unsigned_abs())
}
