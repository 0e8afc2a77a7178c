//! The table `products`.

use dm_contracts::api::stock as api;
use dm_kit::http::{IdKey, ListFilter, ListOrder, TableList};
use sqlx::PgConnection;

use crate::domain::product::CatalogueProduct;

/// Inserts the products that the table lacks, and their stock. Returns the number of new
/// products. The products must be ordered by SKU, so that processes that start at the same time
/// cannot deadlock.
pub(crate) async fn add_missing(
    transaction: &mut PgConnection,
    products: &[CatalogueProduct],
) -> Result<u64, sqlx::Error> {
    let texts =
        |text: fn(&CatalogueProduct) -> &str| -> Vec<&str> { products.iter().map(text).collect() };
    let skus = texts(|product| &product.sku);
    let added = sqlx::query(
        "INSERT INTO products (sku, name, category, unit, price)
         SELECT sku, name, category, unit, price::numeric
           FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
                AS catalogue (sku, name, category, unit, price)
         ON CONFLICT (sku) DO NOTHING",
    )
    .bind(&skus)
    .bind(texts(|product| &product.name))
    .bind(texts(|product| &product.category))
    .bind(texts(|product| &product.unit))
    .bind(texts(|product| &product.price))
    .execute(&mut *transaction)
    .await?
    .rows_affected();
    let on_hand: Vec<i64> = products.iter().map(|product| product.on_hand).collect();
    sqlx::query(
        "INSERT INTO stock (sku, on_hand, received)
         SELECT sku, on_hand, on_hand FROM unnest($1::text[], $2::bigint[]) AS catalogue (sku, on_hand)
         ON CONFLICT (sku) DO NOTHING",
    )
    .bind(&skus)
    .bind(on_hand)
    .execute(transaction)
    .await?;
    Ok(added)
}

/// A row of the catalogue: SKU, name, category, unit and price.
type ProductRow = (String, String, String, String, f64);

/// The catalogue, ordered by SKU.
pub(crate) struct ProductListSource;

impl TableList for ProductListSource {
    type Row = ProductRow;
    type Item = api::Product;
    type Key = IdKey;

    const TABLE: &'static str = "products";
    const COLUMNS: &'static str = "sku, name, category, unit, price::float8";
    const ID: &'static str = "sku";
    const ORDER: ListOrder = ListOrder::ById;

    fn filter(&self) -> ListFilter {
        ListFilter::all()
    }

    fn item((sku, name, category, unit, price): ProductRow) -> Result<api::Product, sqlx::Error> {
        Ok(api::Product {
            sku,
            name,
            category,
            unit,
            price,
        })
    }

    fn key(product: &api::Product) -> IdKey {
        IdKey(product.sku.clone())
    }
}
