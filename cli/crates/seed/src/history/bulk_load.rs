//! Copies the parts of a run into the tables.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use chrono::{TimeDelta, Utc};
use dm_history::HistoryGenerator;
use dm_history::model::{BusinessHistory, ClientRef};
use dm_history::rows::{
    HistoryTable, RetentionWindow, RowWriter, ServiceName, StatusCounts, StockChange, TableRows,
};
use futures_util::future::try_join_all;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, PgPool};
use tokio_util::sync::CancellationToken;

use super::request::{HistoryRequest, HistorySlice};
use super::run_store::{self, SeedRun};
use super::schemas::ServiceSchemas;
use crate::SeedError;
use crate::import::{ImportedData, ReferenceData};

/// The number of concurrent workers per processor: one waits for the disk, or for its rows to
/// be generated, while the other one continues.
const WORKERS_PER_PROCESSOR: usize = 2;
/// The maximum number of workers: each needs memory in this process, and a database session.
const MAX_WORKERS: usize = 8;
/// The size of the chunks that are sent to the server, in bytes.
const COPY_CHUNK_BYTES: usize = 256 << 10;

/// The database, the settings and the progress callback of a load.
pub struct LoadContext<'a> {
    /// The database, as its superuser.
    pub database: &'a PgPool,
    /// The services' schemas.
    pub schemas: &'a ServiceSchemas,
    /// The retention of outboxes and inboxes.
    pub retention: TimeDelta,
    /// Ends the run between two parts.
    pub interrupt: &'a CancellationToken,
    /// Called with the number of completed parts and the number of all parts.
    pub on_progress: &'a (dyn Fn(u64, u64) + Sync),
}

/// The rows that one call of a load has written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadSummary {
    /// Counts of the loaded records.
    pub status_counts: StatusCounts,
    /// The number of written rows.
    pub row_count: u64,
}

/// Fetches the SKUs of all products.
async fn fetch_skus(database: &PgPool, schemas: &ServiceSchemas) -> Result<Vec<String>, SeedError> {
    let statement = format!(
        "SELECT sku FROM {} ORDER BY sku",
        schemas.qualified_name(ServiceName::Inventory, "stock")
    );
    let skus: Vec<String> = sqlx::query_scalar(AssertSqlSafe(statement))
        .fetch_all(database)
        .await?;
    if skus.is_empty() {
        return Err(SeedError::NoProducts);
    }
    Ok(skus)
}

/// Fetches the ids of all clients.
async fn fetch_client_ids(
    database: &PgPool,
    schemas: &ServiceSchemas,
) -> Result<Vec<String>, SeedError> {
    let statement = format!(
        "SELECT client_id FROM {}",
        schemas.qualified_name(ServiceName::Sales, "clients")
    );
    Ok(sqlx::query_scalar(AssertSqlSafe(statement))
        .fetch_all(database)
        .await?)
}

/// Fetches the products and clients that imported files may reference.
///
/// # Errors
/// Returns [`SeedError::NoProducts`] if there are no products, and [`SeedError::Database`] if a
/// query fails.
pub async fn fetch_reference_data(
    database: &PgPool,
    schemas: &ServiceSchemas,
) -> Result<ReferenceData, SeedError> {
    Ok(ReferenceData {
        skus: fetch_skus(database, schemas).await?.into_iter().collect(),
        client_ids: fetch_client_ids(database, schemas)
            .await?
            .into_iter()
            .collect(),
    })
}

/// Loads imported data in one transaction.
///
/// # Errors
/// Returns [`SeedError::Database`] if a statement fails. Nothing is loaded then.
pub async fn load_import(
    context: &LoadContext<'_>,
    import: &ImportedData,
) -> Result<LoadSummary, SeedError> {
    let counts = import.counts();
    let mut transaction = context.database.begin().await?;
    let first = run_store::reserve_sequences(&mut transaction, context.schemas, counts).await?;
    let retention = RetentionWindow {
        now: Utc::now(),
        duration: context.retention,
    };
    let rows = RowWriter::new(0, first, counts, retention).write_rows(&import.history);
    copy_rows(&mut transaction, context.schemas, &rows, None).await?;
    transaction.commit().await?;
    analyze_tables(context).await?;
    Ok(LoadSummary {
        row_count: rows.row_count(),
        status_counts: rows.status_counts,
    })
}

/// Loads the missing parts of a run. If the run contains only orders, they are placed by
/// `clients`.
///
/// # Errors
/// Returns [`SeedError::Database`] if a statement fails, and
/// [`SeedError::HistoryInterrupted`] at an interrupt. The run can be resumed in both cases.
pub async fn load_run(
    context: &LoadContext<'_>,
    run: &SeedRun,
    generator: &HistoryGenerator,
    clients: Vec<String>,
) -> Result<LoadSummary, SeedError> {
    let request = &run.request;
    let retention = RetentionWindow {
        now: Utc::now(),
        duration: context.retention,
    };
    let writer = RowWriter::new(
        request.number,
        run.first,
        request.counts(generator),
        retention,
    );
    let profiles = load_profiles(context, request, &writer, generator).await?;
    let parts = (0..run.parts).filter(|part| !run.completed_parts.contains(part));
    let (generator, request, part_count) = (generator.clone(), request.clone(), run.parts);
    let work = BulkLoad {
        context,
        run,
        pending_parts: Mutex::new(parts.collect()),
        summary: Mutex::new(profiles),
        completed: AtomicU64::new(run.completed_parts.len() as u64),
        generate_rows: Arc::new(move |part| {
            let mut history = generator.generate_part(part, part_count);
            retain_requested(&mut history, &request, &clients);
            writer.write_rows(&history)
        }),
    };
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let workers = (WORKERS_PER_PROCESSOR * processors).min(MAX_WORKERS);
    try_join_all((0..workers).map(|_| work.run_worker())).await?;
    if context.interrupt.is_cancelled() && !work.is_complete() {
        return Err(SeedError::HistoryInterrupted {
            completed: work.completed.load(Ordering::Relaxed),
            parts: run.parts,
        });
    }
    analyze_tables(context).await?;
    run_store::finish_run(context.database, &run.id).await?;
    let summary = work.summary.into_inner();
    Ok(summary.unwrap_or_else(PoisonError::into_inner))
}

/// Loads the profiles of users who have none, and the avatars and app settings of users who have
/// none. Existing rows are not changed.
async fn load_profiles(
    context: &LoadContext<'_>,
    request: &HistoryRequest,
    writer: &RowWriter,
    generator: &HistoryGenerator,
) -> Result<LoadSummary, SeedError> {
    if !request.has_slice(HistorySlice::Profile) {
        return Ok(LoadSummary::default());
    }
    let mut transaction = context.database.begin().await?;
    let with_profile =
        lock_and_fetch_users(context, &mut transaction, HistoryTable::UserProfiles).await?;
    let with_avatar =
        lock_and_fetch_users(context, &mut transaction, HistoryTable::Avatars).await?;
    let with_settings =
        lock_and_fetch_users(context, &mut transaction, HistoryTable::AppSettings).await?;
    let mut profiles = generator.generate_profiles();
    profiles.retain(|profile| !with_profile.contains(&profile.member.user));
    for profile in &mut profiles {
        if with_avatar.contains(&profile.member.user) {
            profile.avatar = None;
        }
        if with_settings.contains(&profile.member.user) {
            profile.portal_settings = None;
        }
    }
    let rows = writer.write_rows(&BusinessHistory {
        profiles,
        ..BusinessHistory::default()
    });
    copy_rows(&mut transaction, context.schemas, &rows, None).await?;
    transaction.commit().await?;
    Ok(LoadSummary {
        row_count: rows.row_count(),
        status_counts: rows.status_counts,
    })
}

/// Returns the users who have a row in a table of profile. No row is inserted into it until the
/// transaction ends.
async fn lock_and_fetch_users(
    context: &LoadContext<'_>,
    transaction: &mut PgConnection,
    table: HistoryTable,
) -> Result<BTreeSet<String>, SeedError> {
    let table = context
        .schemas
        .qualified_name(table.service(), table.name());
    sqlx::raw_sql(AssertSqlSafe(format!(
        "LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE"
    )))
    .execute(&mut *transaction)
    .await?;
    let users: Vec<String> =
        sqlx::query_scalar(AssertSqlSafe(format!("SELECT user_id FROM {table}")))
            .fetch_all(transaction)
            .await?;
    Ok(users.into_iter().collect())
}

/// Removes slices that are not requested, and assigns orders to existing clients if only orders
/// are requested.
fn retain_requested(history: &mut BusinessHistory, request: &HistoryRequest, clients: &[String]) {
    if !request.has_slice(HistorySlice::Sales) {
        history.leads.clear();
    }
    if !request.has_slice(HistorySlice::Finance) {
        history.expenses.clear();
    }
    if !request.has_slice(HistorySlice::Order) {
        history.orders.clear();
    }
    if request.only != Some(HistorySlice::Order) || clients.is_empty() {
        return;
    }
    for order in &mut history.orders {
        if let ClientRef::InRun(index) = order.client {
            let index = usize::try_from(index).unwrap_or_default() % clients.len();
            order.client = ClientRef::Existing(clients[index].clone());
        }
    }
}

/// Updates the statistics of the query planner.
async fn analyze_tables(context: &LoadContext<'_>) -> Result<(), SeedError> {
    for schema in context.schemas.names() {
        let tables: Vec<String> = sqlx::query_scalar(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = $1",
        )
        .bind(schema)
        .fetch_all(context.database)
        .await?;
        let statement = format!("ANALYZE {}", tables.join(", "));
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(context.database)
            .await?;
    }
    Ok(())
}

/// A load in progress.
struct BulkLoad<'a> {
    context: &'a LoadContext<'a>,
    run: &'a SeedRun,
    pending_parts: Mutex<VecDeque<u64>>,
    summary: Mutex<LoadSummary>,
    completed: AtomicU64,
    /// Generates the rows of a part.
    generate_rows: Arc<dyn Fn(u64) -> TableRows + Send + Sync>,
}

impl BulkLoad<'_> {
    fn is_complete(&self) -> bool {
        self.completed.load(Ordering::Relaxed) == self.run.parts
    }

    fn next_part(&self) -> Option<u64> {
        if self.context.interrupt.is_cancelled() {
            return None;
        }
        let mut pending = self
            .pending_parts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        pending.pop_front()
    }

    /// Loads one part after the other.
    async fn run_worker(&self) -> Result<(), SeedError> {
        // A session of its own, because the pool is sized for occasional queries.
        let mut session = self.context.database.connect_options().connect().await?;
        while let Some(part) = self.next_part() {
            let generate_rows = Arc::clone(&self.generate_rows);
            let rows = tokio::task::spawn_blocking(move || generate_rows(part)).await;
            let rows = rows.map_err(std::io::Error::other)?;
            let copy = copy_rows(
                &mut session,
                self.context.schemas,
                &rows,
                Some((&self.run.id, part)),
            );
            tokio::select! {
                result = copy => result?,
                () = self.context.interrupt.cancelled() => {
                    // Closing the session rolls its transaction back.
                    return Ok(());
                }
            }
            {
                let mut summary = self.summary.lock().unwrap_or_else(PoisonError::into_inner);
                summary.status_counts += &rows.status_counts;
                summary.row_count += rows.row_count();
            }
            let completed = self.completed.fetch_add(1, Ordering::Relaxed) + 1;
            (self.context.on_progress)(completed, self.run.parts);
        }
        Ok(session.close().await?)
    }
}

/// Copies rows in one transaction, with the stock that they need.
async fn copy_rows(
    session: &mut PgConnection,
    schemas: &ServiceSchemas,
    rows: &TableRows,
    part: Option<(&str, u64)>,
) -> Result<(), SeedError> {
    let mut transaction = session.begin().await?;
    for (table, text, _) in rows.tables() {
        let statement = format!(
            "COPY {} ({}) FROM STDIN",
            schemas.qualified_name(table.service(), table.name()),
            table.columns()
        );
        let mut copy = transaction.copy_in_raw(&statement).await?;
        for chunk in text.chunks(COPY_CHUNK_BYTES) {
            copy.send(chunk).await?;
        }
        copy.finish().await?;
    }
    // Last, because the transactions of all orders lock these rows.
    add_stock(&mut transaction, schemas, &rows.stock_changes).await?;
    if let Some((run_id, part)) = part {
        run_store::record_part(&mut transaction, run_id, part, rows.row_count()).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Adds as much stock of each product as the orders have reserved or shipped, so that the
/// available stock does not change.
async fn add_stock(
    transaction: &mut PgConnection,
    schemas: &ServiceSchemas,
    changes: &BTreeMap<String, StockChange>,
) -> Result<(), SeedError> {
    let table = schemas.qualified_name(ServiceName::Inventory, "stock");
    let skus: Vec<&str> = changes.keys().map(String::as_str).collect();
    let column =
        |value: fn(&StockChange) -> i64| -> Vec<i64> { changes.values().map(value).collect() };
    // In the lock order of inventory, to avoid deadlocks.
    sqlx::query(AssertSqlSafe(format!(
        "SELECT FROM {table} WHERE sku = ANY($1) ORDER BY sku FOR UPDATE"
    )))
    .bind(&skus)
    .execute(&mut *transaction)
    .await?;
    sqlx::query(AssertSqlSafe(format!(
        "UPDATE {table} AS stock
            SET on_hand = stock.on_hand + moved.reserved,
                reserved = stock.reserved + moved.reserved,
                shipped = stock.shipped + moved.shipped,
                received = stock.received + moved.reserved + moved.shipped,
                updated_at = clock_timestamp()
           FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS moved (sku, reserved, shipped)
          WHERE stock.sku = moved.sku"
    )))
    .bind(&skus)
    .bind(column(|change| change.reserved))
    .bind(column(|change| change.shipped))
    .execute(transaction)
    .await?;
    Ok(())
}
