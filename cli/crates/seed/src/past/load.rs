//! Parts into the tables.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use chrono::{TimeDelta, Utc};
use dm_business::Invention;
use dm_business::facts::{Client, Facts};
use dm_business::rows::{Clerk, Made, Memory, Movement, Rows, Service, Table};
use futures_util::future::try_join_all;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, PgPool};
use tokio_util::sync::CancellationToken;

use super::ledger::{self, Run};
use super::request::{Only, Request};
use super::schemas::Schemas;
use crate::SeedError;
use crate::own::{Ground, Own};

/// How many parts are under way at a time, of each processor: one waits for the disk, or for
/// its rows to be made, while another one goes on.
const WORKERS: usize = 2;
/// How many are under way at most: each takes memory here, and a session there.
const MOST_WORKERS: usize = 8;
/// How much goes to the server at a time, in bytes.
const PORTION: usize = 256 << 10;

/// The ways that a run needs, and how it is told of.
pub struct Site<'a> {
    /// The database, as its superuser.
    pub database: &'a PgPool,
    /// The services' schemas.
    pub schemas: &'a Schemas,
    /// How long outboxes and inboxes remember.
    pub keeps: TimeDelta,
    /// Ends the run between two parts.
    pub interrupt: &'a CancellationToken,
    /// Told how many orders, leads and expenses of how many are there.
    pub told: &'a (dyn Fn(u64, u64) + Sync),
}

/// What a run has brought, this time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// What it is about.
    pub made: Made,
    /// How many rows that took.
    pub rows: u64,
}

/// The products that there are to order.
async fn products(database: &PgPool, schemas: &Schemas) -> Result<Vec<String>, SeedError> {
    let statement = format!(
        "SELECT sku FROM {} ORDER BY sku",
        schemas.table(Service::Inventory, "stock")
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
async fn clients(database: &PgPool, schemas: &Schemas) -> Result<Vec<String>, SeedError> {
    let statement = format!(
        "SELECT client_id FROM {}",
        schemas.table(Service::Sales, "clients")
    );
    Ok(sqlx::query_scalar(AssertSqlSafe(statement))
        .fetch_all(database)
        .await?)
}

/// What there is already that somebody's own files may name.
///
/// # Errors
/// [`SeedError::NoProducts`], or the database is away.
pub async fn ground(database: &PgPool, schemas: &Schemas) -> Result<Ground, SeedError> {
    Ok(Ground {
        skus: products(database, schemas).await?.into_iter().collect(),
        clients: clients(database, schemas).await?.into_iter().collect(),
    })
}

/// Brings somebody's own business: all of it or, where anything fails, nothing.
///
/// # Errors
/// The database fails.
pub async fn load_own(site: &Site<'_>, own: &Own) -> Result<Loaded, SeedError> {
    let counts = own.counts();
    let mut transaction = site.database.begin().await?;
    let first = ledger::set_aside(&mut transaction, site.schemas, counts).await?;
    let memory = Memory {
        now: Utc::now(),
        keeps: site.keeps,
    };
    let rows = Clerk::new(0, first, counts, memory).write(&own.facts);
    bring(&mut transaction, site.schemas, &rows, None).await?;
    transaction.commit().await?;
    settle(site).await?;
    Ok(Loaded {
        rows: rows.count(),
        made: rows.made,
    })
}

/// Brings those parts of a run that are not there yet. Where it is about orders alone, they
/// are of these clients.
///
/// # Errors
/// The database fails, or somebody interrupts: the run can be resumed.
pub async fn load(
    site: &Site<'_>,
    run: &Run,
    invention: &Invention,
    clients: Vec<String>,
) -> Result<Loaded, SeedError> {
    let request = &run.request;
    let memory = Memory {
        now: Utc::now(),
        keeps: site.keeps,
    };
    let clerk = Clerk::new(request.number, run.first, request.counts(invention), memory);
    let people = people(site, request, &clerk, invention).await?;
    let parts = (0..run.parts).filter(|part| !run.done.contains(part));
    let (invention, request, of) = (invention.clone(), request.clone(), run.parts);
    let work = Work {
        site,
        run,
        left: Mutex::new(parts.collect()),
        loaded: Mutex::new(people),
        done: AtomicU64::new(run.done.len() as u64),
        write: Arc::new(move |part| {
            let mut facts = invention.part(part, of);
            narrow(&mut facts, &request, &clients);
            clerk.write(&facts)
        }),
    };
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let workers = (WORKERS * processors).min(MOST_WORKERS);
    try_join_all((0..workers).map(|_| work.parts())).await?;
    if site.interrupt.is_cancelled() && !work.is_done() {
        return Err(SeedError::CutShort {
            done: work.done.load(Ordering::Relaxed),
            parts: run.parts,
        });
    }
    settle(site).await?;
    ledger::end(site.database, &run.id).await?;
    let loaded = work.loaded.into_inner();
    Ok(loaded.unwrap_or_else(PoisonError::into_inner))
}

/// Brings the profiles of those who have none. What somebody has told of themselves stays.
async fn people(
    site: &Site<'_>,
    request: &Request,
    clerk: &Clerk,
    invention: &Invention,
) -> Result<Loaded, SeedError> {
    if !request.has(Only::Profile) {
        return Ok(Loaded::default());
    }
    let table = site
        .schemas
        .table(Service::Profile, Table::UserProfiles.name());
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
    let mut people = invention.people();
    people.retain(|person| !told.contains(&person.member.user));
    let rows = clerk.write(&Facts {
        people,
        ..Facts::default()
    });
    bring(&mut transaction, site.schemas, &rows, None).await?;
    transaction.commit().await?;
    Ok(Loaded {
        rows: rows.count(),
        made: rows.made,
    })
}

/// Leaves what is not asked for, and has those order that are there.
fn narrow(facts: &mut Facts, request: &Request, clients: &[String]) {
    if !request.has(Only::Sales) {
        facts.leads.clear();
    }
    if !request.has(Only::Finance) {
        facts.expenses.clear();
    }
    if !request.has(Only::Order) {
        facts.orders.clear();
    }
    if request.only != Some(Only::Order) || clients.is_empty() {
        return;
    }
    for order in &mut facts.orders {
        if let Client::OfRun(place) = order.client {
            let place = usize::try_from(place).unwrap_or_default() % clients.len();
            order.client = Client::Known(clients[place].clone());
        }
    }
}

/// The planner learns of what is there.
async fn settle(site: &Site<'_>) -> Result<(), SeedError> {
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
struct Work<'a> {
    site: &'a Site<'a>,
    run: &'a Run,
    left: Mutex<VecDeque<u64>>,
    loaded: Mutex<Loaded>,
    done: AtomicU64,
    /// The rows of a part.
    write: Arc<dyn Fn(u64) -> Rows + Send + Sync>,
}

impl Work<'_> {
    fn is_done(&self) -> bool {
        self.done.load(Ordering::Relaxed) == self.run.parts
    }

    fn next(&self) -> Option<u64> {
        if self.site.interrupt.is_cancelled() {
            return None;
        }
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.pop_front()
    }

    /// One part after the other.
    async fn parts(&self) -> Result<(), SeedError> {
        // Of its own, since the pool is for those who ask something now and then.
        let mut session = self.site.database.connect_options().connect().await?;
        while let Some(part) = self.next() {
            let write = Arc::clone(&self.write);
            let rows = tokio::task::spawn_blocking(move || write(part)).await;
            let rows = rows.map_err(std::io::Error::other)?;
            let bring = bring(
                &mut session,
                self.site.schemas,
                &rows,
                Some((&self.run.id, part)),
            );
            tokio::select! {
                brought = bring => brought?,
                () = self.site.interrupt.cancelled() => {
                    // What this session has begun is undone when it goes.
                    return Ok(());
                }
            }
            {
                let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
                loaded.made += &rows.made;
                loaded.rows += rows.count();
            }
            let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
            (self.site.told)(done, self.run.parts);
        }
        Ok(session.close().await?)
    }
}

/// Brings rows in one transaction, with the stock that they need.
async fn bring(
    session: &mut PgConnection,
    schemas: &Schemas,
    rows: &Rows,
    part: Option<(&str, u64)>,
) -> Result<(), SeedError> {
    let mut transaction = session.begin().await?;
    for (table, text, _) in rows.texts() {
        let statement = format!(
            "COPY {} ({}) FROM STDIN",
            schemas.table(table.service(), table.name()),
            table.columns()
        );
        let mut copy = transaction.copy_in_raw(&statement).await?;
        for portion in text.chunks(PORTION) {
            copy.send(portion).await?;
        }
        copy.finish().await?;
    }
    // At last, because every order wants these rows.
    stock(&mut transaction, schemas, &rows.stock).await?;
    if let Some((run, part)) = part {
        ledger::note(&mut transaction, run, part, rows.count()).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// As much comes in of each product as is set aside or has left: what can be promised stays
/// what it was.
async fn stock(
    transaction: &mut PgConnection,
    schemas: &Schemas,
    movements: &BTreeMap<String, Movement>,
) -> Result<(), SeedError> {
    let table = schemas.table(Service::Inventory, "stock");
    let skus: Vec<&str> = movements.keys().map(String::as_str).collect();
    let column =
        |value: fn(&Movement) -> i64| -> Vec<i64> { movements.values().map(value).collect() };
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
