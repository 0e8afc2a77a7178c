//! The table `stock`.

use chrono::{DateTime, Utc};
use dm_contracts::api::stock::StockLevel;
use dm_kit::http::{IdKey, ListFilter, ListOrder, TableList};
use sqlx::postgres::PgPool;
use sqlx::{FromRow, PgConnection};

use crate::domain::stock::{RequiredQuantities, StockCounts, StockCountsBySku};

/// A row of the table.
#[derive(FromRow)]
pub(crate) struct StockRow {
    sku: String,
    on_hand: i64,
    reserved: i64,
    shipped: i64,
    updated_at: DateTime<Utc>,
}

impl From<StockRow> for StockLevel {
    fn from(row: StockRow) -> Self {
        let level = StockCounts {
            on_hand: row.on_hand,
            reserved: row.reserved,
            shipped: row.shipped,
        };
        Self {
            sku: row.sku,
            on_hand: level.on_hand,
            reserved: level.reserved,
            available: level.available(),
            shipped: level.shipped,
            updated_at: row.updated_at,
        }
    }
}

/// Locks the rows of the required products until the transaction ends, in order of their SKU,
/// and returns their counts. An unknown SKU has none.
pub(crate) async fn lock(
    transaction: &mut PgConnection,
    needs: &RequiredQuantities,
) -> Result<StockCountsBySku, sqlx::Error> {
    let skus: Vec<&str> = needs.keys().map(String::as_str).collect();
    let rows: Vec<StockRow> = sqlx::query_as(
        "SELECT sku, on_hand, reserved, shipped, updated_at
           FROM stock
          WHERE sku = ANY($1)
          ORDER BY sku
            FOR UPDATE",
    )
    .bind(skus)
    .fetch_all(transaction)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let level = StockCounts {
                on_hand: row.on_hand,
                reserved: row.reserved,
                shipped: row.shipped,
            };
            (row.sku, level)
        })
        .collect())
}

/// Updates the counts of locked rows.
pub(crate) async fn update_counts(
    transaction: &mut PgConnection,
    levels: &StockCountsBySku,
    at: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let skus: Vec<&str> = levels.keys().map(String::as_str).collect();
    let column =
        |value: fn(&StockCounts) -> i64| -> Vec<i64> { levels.values().map(value).collect() };
    sqlx::query(
        "UPDATE stock
            SET on_hand = new.on_hand, reserved = new.reserved, shipped = new.shipped,
                updated_at = $5
           FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[])
                AS new (sku, on_hand, reserved, shipped)
          WHERE stock.sku = new.sku",
    )
    .bind(skus)
    .bind(column(|level| level.on_hand))
    .bind(column(|level| level.reserved))
    .bind(column(|level| level.shipped))
    .bind(at)
    .execute(transaction)
    .await?;
    Ok(())
}

/// The stock, ordered by SKU, optionally of one product.
pub(crate) struct StockListSource {
    pub(crate) sku: Option<String>,
}

impl TableList for StockListSource {
    type Row = StockRow;
    type Item = StockLevel;
    type Key = IdKey;

    const TABLE: &'static str = "stock";
    const COLUMNS: &'static str = "sku, on_hand, reserved, shipped, updated_at";
    const ID: &'static str = "sku";
    const ORDER: ListOrder = ListOrder::ById;

    fn filter(&self) -> ListFilter {
        ListFilter::all().equal("sku", self.sku.as_deref())
    }

    fn item(row: StockRow) -> Result<StockLevel, sqlx::Error> {
        Ok(row.into())
    }

    fn key(level: &StockLevel) -> IdKey {
        IdKey(level.sku.clone())
    }
}

/// Returns the stock level of a product.
pub(crate) async fn find(pool: &PgPool, sku: &str) -> Result<Option<StockLevel>, sqlx::Error> {
    let row: Option<StockRow> = sqlx::query_as(
        "SELECT sku, on_hand, reserved, shipped, updated_at FROM stock WHERE sku = $1",
    )
    .bind(sku)
    .fetch_optional(pool)
    .await?;
    Ok(row.map(StockLevel::from))
}
