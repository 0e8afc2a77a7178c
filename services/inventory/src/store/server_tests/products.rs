//! Tests of the table `products`.

use dm_contracts::api::stock::Product;

use super::*;
use crate::store::products::{ProductListSource, add_missing};
use crate::store::stock;

fn listed(sku: &str, name: &str, price: f64) -> Product {
    Product {
        sku: sku.into(),
        name: name.into(),
        category: "Supplies".into(),
        unit: "box".into(),
        price,
    }
}

#[tokio::test]
async fn existing_product_and_its_stock_are_unchanged_when_the_catalogue_is_added_again() {
    let pool = create_database_with_stock().await;
    let mut connection = pool.acquire().await.unwrap();
    let catalogue = [product("INK", "0.50", 7), product(PAPER, "5.99", 99)];
    for expected in [1, 0] {
        let added = add_missing(&mut connection, &catalogue).await;
        assert_eq!(added.unwrap(), expected);
    }
    assert_eq!(
        read_list(&pool, ProductListSource).await,
        [
            listed("INK", "name of INK", 0.5),
            listed("PPR-A4-WHT-500", "name of PPR-A4-WHT-500", 4.99),
            listed("TNR-BLK", "name of TNR-BLK", 89.0),
        ]
    );
    for (sku, on_hand) in [("INK", 7), (PAPER, 10), (TONER, 5)] {
        let level = stock::find(&pool, sku).await.unwrap().unwrap();
        assert_eq!((level.on_hand, level.reserved), (on_hand, 0), "{sku}");
    }
}
