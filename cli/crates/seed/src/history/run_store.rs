//! Runs in the database: their reserved numbers and their completed parts.

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

/// A run that has been recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeedRun {
    /// The id of the run.
    pub id: String,
    /// When it began.
    pub began_at: DateTime<Utc>,
    /// The parameters of the run.
    pub request: HistoryRequest,
    /// The first reserved number of each sequence.
    pub first: SequenceStarts,
    /// The number of parts.
    pub parts: u64,
    /// The parts that are already loaded.
    #[serde(skip)]
    pub completed_parts: BTreeSet<u64>,
}

/// The tables of leads, orders and expenses, with the column in which `dm smoke` marks its rows.
const SMOKE_MARKED_TABLES: [(ServiceName, &str, &str); 3] = [
    (ServiceName::Sales, "leads", "notes"),
    (ServiceName::Order, "orders", "notes"),
    (ServiceName::Finance, "expenses", "description"),
];

/// Returns whether the tables of leads, orders and expenses contain only rows of `dm smoke`.
///
/// # Errors
/// Returns [`SeedError::Database`] if a query fails.
pub async fn has_only_smoke_rows(
    database: &PgPool,
    schemas: &ServiceSchemas,
) -> Result<bool, SeedError> {
    let conditions = SMOKE_MARKED_TABLES.map(|(service, table, column)| {
        let table = schemas.qualified_name(service, table);
        format!("EXISTS (SELECT FROM {table} WHERE {column} <> $1)")
    });
    let statement = format!("SELECT NOT ({})", conditions.join(" OR "));
    let has_only_smoke_rows: bool = sqlx::query_scalar(AssertSqlSafe(statement))
        .bind(dm_smoke::DATA_MARKER)
        .fetch_one(database)
        .await?;
    Ok(has_only_smoke_rows)
}

/// Counts the leads, orders and expenses.
///
/// # Errors
/// Returns [`SeedError::Database`] if a query fails.
pub async fn count_existing(
    database: &PgPool,
    schemas: &ServiceSchemas,
) -> Result<ExistingData, SeedError> {
    let counts = SMOKE_MARKED_TABLES.map(|(service, table, _)| {
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

/// Returns the oldest unfinished run, if any.
///
/// # Errors
/// Returns [`SeedError::Database`] if a query fails.
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
    let completed: Vec<i64> =
        sqlx::query_scalar("SELECT part FROM dm_ops.seed_parts WHERE run_id = $1")
            .bind(&row.run_id)
            .fetch_all(database)
            .await?;
    Ok(Some(SeedRun {
        id: row.run_id,
        began_at: row.began_at,
        request: row.request.0,
        first: row.first.0,
        parts: row.parts.unsigned_abs(),
        completed_parts: completed.into_iter().map(i64::unsigned_abs).collect(),
    }))
}

/// Records a run and reserves its numbers, so that no service assigns them.
///
/// # Errors
/// Returns [`SeedError::Database`] if a query fails.
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

/// Records a part as completed, in the transaction that loads it.
pub(super) async fn record_part(
    transaction: &mut PgConnection,
    run_id: &str,
    part: u64,
    rows: u64,
) -> Result<(), SeedError> {
    // Fails in a second process that loads the same part, and rolls its rows back.
    sqlx::query("INSERT INTO dm_ops.seed_parts (run_id, part, rows) VALUES ($1, $2, $3)")
        .bind(run_id)
        .bind(part.cast_signed())
        .bind(rows.cast_signed())
        .execute(transaction)
        .await?;
    Ok(())
}

/// Records a run as finished, and deletes the records of its parts.
pub(super) async fn finish_run(database: &PgPool, run_id: &str) -> Result<(), SeedError> {
    let mut transaction = database.begin().await?;
    sqlx::query("UPDATE dm_ops.seed_runs SET ended_at = clock_timestamp() WHERE run_id = $1")
        .bind(run_id)
        .execute(&mut *transaction)
        .await?;
    sqlx::query("DELETE FROM dm_ops.seed_parts WHERE run_id = $1")
        .bind(run_id)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(())
}

/// Advances every sequence beyond the numbers that a run needs.
pub(super) async fn reserve_sequences(
    transaction: &mut PgConnection,
    schemas: &ServiceSchemas,
    counts: HistoryCounts,
) -> Result<SequenceStarts, SeedError> {
    use ServiceName::{Finance, Inventory, Order, Profile, Sales, Wuphf};
    let required = counts.sequence_counts();
    let mut starts = SequenceStarts::default();
    let outbox = "outbox_events_sequence_seq";
    for (service, sequence, count, start) in [
        (Sales, "lead_number_seq", required.lead, &mut starts.lead),
        (
            Sales,
            "client_number_seq",
            required.client,
            &mut starts.client,
        ),
        (Order, "order_number_seq", required.order, &mut starts.order),
        (
            Order,
            "order_timeline_id_seq",
            required.timeline,
            &mut starts.timeline,
        ),
        (
            Inventory,
            "reservation_number_seq",
            required.reservation,
            &mut starts.reservation,
        ),
        (
            Inventory,
            "shipment_scan_log_id_seq",
            required.scan,
            &mut starts.scan,
        ),
        (
            Finance,
            "expense_number_seq",
            required.expense,
            &mut starts.expense,
        ),
        (
            Wuphf,
            "notification_number_seq",
            required.notification,
            &mut starts.notification,
        ),
        (Sales, outbox, required.sales_event, &mut starts.sales_event),
        (Order, outbox, required.order_event, &mut starts.order_event),
        (
            Inventory,
            outbox,
            required.inventory_event,
            &mut starts.inventory_event,
        ),
        (
            Finance,
            outbox,
            required.finance_event,
            &mut starts.finance_event,
        ),
        (
            Wuphf,
            outbox,
            required.notification_event,
            &mut starts.notification_event,
        ),
        (
            Profile,
            outbox,
            required.profile_event,
            &mut starts.profile_event,
        ),
    ] {
        *start = advance_sequence(
            transaction,
            &schemas.qualified_name(service, sequence),
            count,
        )
        .await?;
    }
    Ok(starts)
}

/// Reserves `count` numbers of a sequence, and returns the first of them.
async fn advance_sequence(
    transaction: &mut PgConnection,
    sequence: &str,
    count: u64,
) -> Result<u64, SeedError> {
    // Blocks nextval() in other sessions until the transaction ends.
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
    let restart = next.saturating_add_unsigned(count);
    sqlx::raw_sql(AssertSqlSafe(format!(
        "ALTER SEQUENCE {sequence} RESTART WITH {restart}"
    )))
    .execute(transaction)
    .await?;
    Ok(next.unsigned_abs())
}
