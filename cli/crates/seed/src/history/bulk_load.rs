//! Parts into the tables.

use std::collections::{BTreeMap, VecDeque};
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

/// How many parts are under way at a time, of each processor: one waits for the disk, or for
/// its rows to be made, while another one goes on.
const WORKERS_PER_PROCESSOR: usize = 2;
/// How many are under way at most: each takes memory here, and a session there.
const MAX_WORKERS: usize = 8;
/// How much goes to the server at a time, in bytes.
const COPY_CHUNK_BYTES: usize = 256 << 10;

/// The ways that a run needs, and how it is told of.
pub struct LoadContext<'a> {
    /// The database, as its superuser.
    pub database: &'a PgPool,
    /// The services' schemas.
    pub schemas: &'a ServiceSchemas,
    /// How long outboxes and inboxes remember.
    pub retention: TimeDelta,
    /// Ends the run between two parts.
    pub interrupt: &'a CancellationToken,
    /// Told how many orders, leads and expenses of how many are there.
    pub on_progress: &'a (dyn Fn(u64, u64) + Sync),
}

/// What a run has brought, this time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadSummary {
    /// What it is about.
    pub status_counts: StatusCounts,
    /// How many rows that took.
    pub row_count: u64,
}

/// The products that there are to order.
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

/// The clients that there are.
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

/// What there is already that somebody's own files may name.
///
/// # Errors
/// [`SeedError::NoProducts`], or the database is away.
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

/// Brings somebody's own business: all of it or, where anything fails, nothing.
///
/// # Errors
/// The database fails.
pub async fn load_import(
    site: &LoadContext<'_>,
    own: &ImportedData,
) -> Result<LoadSummary, SeedError> {
    let counts = own.counts();
    let mut transaction = site.database.begin().await?;
    let first = run_store::reserve_sequences(&mut transaction, site.schemas, counts).await?;
    let memory = RetentionWindow {
        now: Utc::now(),
        duration: site.retention,
    };
    let rows = RowWriter::new(0, first, counts, memory).write_rows(&own.history);
    copy_rows(&mut transaction, site.schemas, &rows, None).await?;
    transaction.commit().await?;
    analyze_tables(site).await?;
    Ok(LoadSummary {
        row_count: rows.row_count(),
        status_counts: rows.status_counts,
    })
}

/// Brings those parts of a run that are not there yet. Where it is about orders alone, they
/// are of these clients.
///
/// # Errors
/// The database fails, or somebody interrupts: the run can be resumed.
pub async fn load_run(
    site: &LoadContext<'_>,
    run: &SeedRun,
    invention: &HistoryGenerator,
    clients: Vec<String>,
) -> Result<LoadSummary, SeedError> {
    let request = &run.request;
    let memory = RetentionWindow {
        now: Utc::now(),
        duration: site.retention,
    };
    let clerk = RowWriter::new(request.number, run.first, request.counts(invention), memory);
    let people = load_profiles(site, request, &clerk, invention).await?;
    let parts = (0..run.parts).filter(|part| !run.completed_parts.contains(part));
    let (invention, request, of) = (invention.clone(), request.clone(), run.parts);
    let work = BulkLoad {
        context: site,
        run,
        pending_parts: Mutex::new(parts.collect()),
        summary: Mutex::new(people),
        completed: AtomicU64::new(run.completed_parts.len() as u64),
        generate_rows: Arc::new(move |part| {
            let mut facts = invention.generate_part(part, of);
            retain_requested(&mut facts, &request, &clients);
            clerk.write_rows(&facts)
        }),
    };
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let workers = (WORKERS_PER_PROCESSOR * processors).min(MAX_WORKERS);
    try_join_all((0..workers).map(|_| work.run_worker())).await?;
    if site.interrupt.is_cancelled() && !work.is_complete() {
        return Err(SeedError::HistoryInterrupted {
            completed: work.completed.load(Ordering::Relaxed),
            parts: run.parts,
        });
    }
    analyze_tables(site).await?;
    run_store::finish_run(site.database, &run.id).await?;
    let loaded = work.summary.into_inner();
    Ok(loaded.unwrap_or_else(PoisonError::into_inner))
}

/// Brings the profiles of those who have none. What somebody has told of themselves stays.
async fn load_profiles(
    site: &LoadContext<'_>,
    request: &HistoryRequest,
    clerk: &RowWriter,
    invention: &HistoryGenerator,
) -> Result<LoadSummary, SeedError> {
    if !request.has_slice(HistorySlice::Profile) {
        return Ok(LoadSummary::default());
    }
    let table = site
        .schemas
        .qualified_name(ServiceName::Profile, HistoryTable::UserProfiles.name());
    let mut transaction = site.database.begin().await?;
    // Nobody tells of themselves between the look and the write.
    sqlx::raw_sql(AssertSqlSafe(format!(
        "LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE"
    )))
    .execute(&mut *transaction)
    .await?;
    let told: Vec<String> =
        sqlx::query_scalar(AssertSqlSafe(format!("SELECT user_id FROM {table}")))
            .fetch_all(&mut *transaction)
            .await?;
    let mut people = invention.generate_profiles();
    people.retain(|person| !told.contains(&person.member.user));
    let rows = clerk.write_rows(&BusinessHistory {
        profiles: people,
        ..BusinessHistory::default()
    });
    copy_rows(&mut transaction, site.schemas, &rows, None).await?;
    transaction.commit().await?;
    Ok(LoadSummary {
        row_count: rows.row_count(),
        status_counts: rows.status_counts,
    })
}

/// Leaves what is not asked for, and has those order that are there.
fn retain_requested(facts: &mut BusinessHistory, request: &HistoryRequest, clients: &[String]) {
    if !request.has_slice(HistorySlice::Sales) {
        facts.leads.clear();
    }
    if !request.has_slice(HistorySlice::Finance) {
        facts.expenses.clear();
    }
    if !request.has_slice(HistorySlice::Order) {
        facts.orders.clear();
    }
    if request.only != Some(HistorySlice::Order) || clients.is_empty() {
        return;
    }
    for order in &mut facts.orders {
        if let ClientRef::InRun(place) = order.client {
            let place = usize::try_from(place).unwrap_or_default() % clients.len();
            order.client = ClientRef::Existing(clients[place].clone());
        }
    }
}

/// The planner learns of what is there.
async fn analyze_tables(site: &LoadContext<'_>) -> Result<(), SeedError> {
    for schema in site.schemas.names() {
        let tables: Vec<String> = sqlx::query_scalar(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = $1",
        )
        .bind(schema)
        .fetch_all(site.database)
        .await?;
        let statement = format!("ANALYZE {}", tables.join(", "));
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(site.database)
            .await?;
    }
    Ok(())
}

/// A run under way.
struct BulkLoad<'a> {
    context: &'a LoadContext<'a>,
    run: &'a SeedRun,
    pending_parts: Mutex<VecDeque<u64>>,
    summary: Mutex<LoadSummary>,
    completed: AtomicU64,
    /// The rows of a part.
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
        let mut left = self
            .pending_parts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        left.pop_front()
    }

    /// One part after the other.
    async fn run_worker(&self) -> Result<(), SeedError> {
        // Of its own, since the pool is for those who ask something now and then.
        let mut session = self.context.database.connect_options().connect().await?;
        while let Some(part) = self.next_part() {
            let write = Arc::clone(&self.generate_rows);
            let rows = tokio::task::spawn_blocking(move || write(part)).await;
            let rows = rows.map_err(std::io::Error::other)?;
            let bring = copy_rows(
                &mut session,
                self.context.schemas,
                &rows,
                Some((&self.run.id, part)),
            );
            tokio::select! {
                brought = bring => brought?,
                () = self.context.interrupt.cancelled() => {
                    // What this session has begun is undone when it goes.
                    return Ok(());
                }
            }
            {
                let mut loaded = self.summary.lock().unwrap_or_else(PoisonError::into_inner);
                loaded.status_counts += &rows.status_counts;
                loaded.row_count += rows.row_count();
            }
            let done = self.completed.fetch_add(1, Ordering::Relaxed) + 1;
            (self.context.on_progress)(done, self.run.parts);
        }
        Ok(session.close().await?)
    }
}

/// Brings rows in one transaction, with the stock that they need.
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
        for portion in text.chunks(COPY_CHUNK_BYTES) {
            copy.send(portion).await?;
        }
        copy.finish().await?;
    }
    // At last, because every order wants these rows.
    add_stock(&mut transaction, schemas, &rows.stock_changes).await?;
    if let Some((run, part)) = part {
        run_store::record_part(&mut transaction, run, part, rows.row_count()).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// As much comes in of each product as is set aside or has left: what can be promised stays
/// what it was.
async fn add_stock(
    transaction: &mut PgConnection,
    schemas: &ServiceSchemas,
    movements: &BTreeMap<String, StockChange>,
) -> Result<(), SeedError> {
    let table = schemas.qualified_name(ServiceName::Inventory, "stock");
    let skus: Vec<&str> = movements.keys().map(String::as_str).collect();
    let column =
        |value: fn(&StockChange) -> i64| -> Vec<i64> { movements.values().map(value).collect() };
    // In the order in which inventory takes them, so that nobody waits in a circle.
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
    .bind(column(|movement| movement.reserved))
    .bind(column(|movement| movement.shipped))
    .execute(transaction)
    .await?;
    Ok(())
}
