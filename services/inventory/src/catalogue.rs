//! The catalogue of `fixtures/products.csv`: reference data that is embedded in the service.

use dm_kit::Database;
use dm_kit::StartError;
use tracing::info;

use crate::domain::product;
use crate::store;

const FIXTURE: &str = include_str!("../../../fixtures/products.csv");

/// Inserts the products that the database lacks. Existing rows are unchanged: their stock
/// has changed since.
pub(crate) async fn load(database: &Database) -> Result<(), StartError> {
    let products = product::parse(FIXTURE)
        .map_err(|error| StartError::Service(format!("could not load the catalogue: {error}")))?;
    let mut transaction = database.begin().await?;
    let added = store::products::add_missing(&mut transaction, &products).await?;
    transaction.commit().await?;
    info!(
        product_count = products.len(),
        added_count = added,
        "product catalogue loaded"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixture_has_40_to_60_products_with_stock() {
        let products = product::parse(FIXTURE).unwrap();
        assert!((40..=60).contains(&products.len()), "{}", products.len());
        let white = products
            .iter()
            .find(|product| product.sku == "PPR-A4-WHT-500")
            .unwrap();
        assert_eq!((white.on_hand, white.unit.as_str()), (1_000_000, "ream"));
        assert!(products.iter().all(|product| product.on_hand >= 1000));
    }
}
