//! Tests against a database.

mod idempotency;
mod products;
mod reservations;
mod scans;
mod shipments;
mod stock;

use std::fmt::Debug;
use std::pin::Pin;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use dm_contracts::api::order::OrderItem;
use dm_contracts::api::shipment::ShipmentStatus;
use dm_contracts::time;
use dm_test_kit::read_list;
use dm_test_servers::{assert_error_code, set_lock_timeout};
use sqlx::{PgConnection, PgPool};

use crate::domain::product::CatalogueProduct;
use crate::domain::shipment::NewShipment;
use crate::domain::stock::RequiredQuantities;

const CHECK_VIOLATION: &str = "23514";
const FOREIGN_KEY_VIOLATION: &str = "23503";
const LOCK_NOT_AVAILABLE: &str = "55P03";
const UNIQUE_VIOLATION: &str = "23505";

const PAPER: &str = "PPR-A4-WHT-500";
const TONER: &str = "TNR-BLK";

async fn create_database() -> PgPool {
    dm_test_servers::create_database("inventory", &crate::MIGRATIONS).await
}

/// Creates a database with 10 of `PAPER` and 5 of `TONER`.
async fn create_database_with_stock() -> PgPool {
    let pool = create_database().await;
    let products = [product(PAPER, "4.99", 10), product(TONER, "89.00", 5)];
    let mut connection = pool.acquire().await.unwrap();
    super::products::add_missing(&mut connection, &products)
        .await
        .unwrap();
    pool
}

fn product(sku: &str, price: &str, on_hand: i64) -> CatalogueProduct {
    CatalogueProduct {
        sku: sku.into(),
        name: format!("name of {sku}"),
        category: "Supplies".into(),
        unit: "box".into(),
        price: price.into(),
        on_hand,
    }
}

fn needs(quantities: &[(&str, i64)]) -> RequiredQuantities {
    let needs = quantities
        .iter()
        .map(|(sku, quantity)| ((*sku).into(), *quantity));
    needs.collect()
}

/// Returns a time on a fixed day.
fn at(hour: u32) -> DateTime<Utc> {
    time::parse(&format!("2026-02-03T{hour:02}:00:00.000001Z")).unwrap()
}

fn new_shipment(order_id: &str) -> NewShipment {
    NewShipment {
        order_id: order_id.into(),
        client_id: "client_501".into(),
        requested_ship_date: NaiveDate::from_ymd_opt(2026, 12, 24).unwrap(),
        items: vec![OrderItem {
            sku: PAPER.into(),
            quantity: 3,
        }],
        created_by: "jhalpert".into(),
        created_at: at(8),
    }
}

/// Inserts the shipment `ship_1` of the order `ord_1`, and so on.
async fn insert_pending_shipment(pool: &PgPool, order_id: &str) {
    let mut connection = pool.acquire().await.unwrap();
    let order = new_shipment(order_id);
    let inserted = super::shipments::insert(&mut connection, &order, ShipmentStatus::Pending).await;
    assert!(inserted.unwrap());
}

/// Runs a future until one of its statements waits for a lock.
async fn run_until_blocked<F: Future<Output: Debug>>(pool: &PgPool, future: Pin<&mut F>) {
    tokio::select! {
        outcome = future => panic!("no statement waited for a lock: {outcome:?}"),
        () = statement_is_blocked(pool) => {}
    }
}

/// Returns as soon as a statement waits for a lock in this database.
async fn statement_is_blocked(pool: &PgPool) {
    let count_blocked = "SELECT count(*) FROM pg_stat_activity
                          WHERE datname = current_database() AND wait_event_type = 'Lock'";
    loop {
        let count = sqlx::query_scalar(count_blocked).fetch_one(pool).await;
        let count: i64 = count.unwrap();
        if count > 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
