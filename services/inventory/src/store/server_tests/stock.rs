//! Tests of the table `stock`.

use std::pin::pin;

use dm_contracts::api::stock::StockLevel;
use dm_contracts::events::MissingItem;

use super::*;
use crate::domain::stock::{self as arithmetic, StockCounts, StockCountsBySku};
use crate::store::stock::{StockListSource, find, lock, update_counts};

fn counts(on_hand: i64, reserved: i64, shipped: i64) -> StockCounts {
    StockCounts {
        on_hand,
        reserved,
        shipped,
    }
}

async fn find_counts(pool: &PgPool, sku: &str) -> StockCounts {
    let level = find(pool, sku).await.unwrap().unwrap();
    counts(level.on_hand, level.reserved, level.shipped)
}

/// Reserves these quantities at 9 o'clock in a transaction of its own, if all are in stock.
async fn reserve(pool: &PgPool, quantities: &[(&str, i64)]) -> Result<(), Vec<MissingItem>> {
    let mut transaction = pool.begin().await.unwrap();
    let needs = needs(quantities);
    let levels = lock(&mut transaction, &needs).await.unwrap();
    let levels = arithmetic::reserve(&needs, &levels)?;
    update_counts(&mut transaction, &levels, at(9))
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    Ok(())
}

#[tokio::test]
async fn reserved_stock_is_shipped_or_released() {
    let pool = create_database_with_stock().await;
    reserve(&pool, &[(PAPER, 7), (TONER, 1)]).await.unwrap();
    let reserved = StockLevel {
        sku: PAPER.into(),
        on_hand: 10,
        reserved: 7,
        available: 3,
        shipped: 0,
        updated_at: at(9),
    };
    assert_eq!(find(&pool, PAPER).await.unwrap(), Some(reserved));

    let mut connection = pool.acquire().await.unwrap();
    let (shipped, released) = (needs(&[(PAPER, 3)]), needs(&[(PAPER, 4)]));
    let levels = lock(&mut connection, &shipped).await.unwrap();
    let levels = arithmetic::ship(&shipped, &levels).unwrap();
    update_counts(&mut connection, &levels, at(10))
        .await
        .unwrap();
    assert_eq!(find_counts(&pool, PAPER).await, counts(7, 4, 3));
    let levels = lock(&mut connection, &released).await.unwrap();
    let levels = arithmetic::release(&released, &levels).unwrap();
    update_counts(&mut connection, &levels, at(11))
        .await
        .unwrap();

    let paper = StockLevel {
        sku: PAPER.into(),
        on_hand: 7,
        reserved: 0,
        available: 7,
        shipped: 3,
        updated_at: at(11),
    };
    let toner = StockLevel {
        sku: TONER.into(),
        on_hand: 5,
        reserved: 1,
        available: 4,
        shipped: 0,
        updated_at: at(9),
    };
    let stock = read_list(&pool, StockListSource { sku: None }).await;
    assert_eq!(stock, [paper, toner]);
}

#[tokio::test]
async fn order_with_an_insufficient_or_unknown_product_reserves_nothing() {
    let pool = create_database_with_stock().await;
    let quantities = [("NO-SUCH", 4), (PAPER, 10), (TONER, 7)];
    let missing = reserve(&pool, &quantities).await.unwrap_err();
    let missing: Vec<_> = missing
        .iter()
        .map(|item| (item.sku.as_str(), item.missing_quantity))
        .collect();
    assert_eq!(missing, [("NO-SUCH", 4), (TONER, 2)]);
    assert_eq!(find_counts(&pool, PAPER).await, counts(10, 0, 0));
    assert_eq!(find_counts(&pool, TONER).await, counts(5, 0, 0));
    assert_eq!(find(&pool, "NO-SUCH").await.unwrap(), None);
}

#[tokio::test]
async fn concurrent_reservations_of_a_product_do_not_oversell_it() {
    let pool = create_database_with_stock().await;
    let mut first = pool.begin().await.unwrap();
    let levels = lock(&mut first, &needs(&[(PAPER, 6)])).await.unwrap();
    assert_eq!(levels, [(PAPER.into(), counts(10, 0, 0))].into());

    let mut other = pool.begin().await.unwrap();
    set_lock_timeout(&mut other).await;
    let levels = lock(&mut other, &needs(&[(TONER, 1)])).await.unwrap();
    assert_eq!(levels, [(TONER.into(), counts(5, 0, 0))].into());
    let both = lock(&mut other, &needs(&[(PAPER, 1), (TONER, 1)])).await;
    assert_error_code(both, LOCK_NOT_AVAILABLE);
    other.rollback().await.unwrap();

    let mut second = pin!(reserve(&pool, &[(PAPER, 6)]));
    run_until_blocked(&pool, second.as_mut()).await;
    let levels = [(PAPER.into(), counts(10, 6, 0))].into();
    update_counts(&mut first, &levels, at(9)).await.unwrap();
    first.commit().await.unwrap();

    let missing = second.await.unwrap_err();
    assert_eq!(missing[0].missing_quantity, 2);
    assert_eq!(find_counts(&pool, PAPER).await, counts(10, 6, 0));
}

#[tokio::test]
async fn table_refuses_counts_that_cannot_be() {
    let pool = create_database_with_stock().await;
    let mut connection = pool.acquire().await.unwrap();
    for (problem, impossible) in [
        ("more is reserved than on hand", counts(10, 11, 0)),
        ("negative reservation", counts(10, -1, 0)),
        ("negative stock", counts(-1, 0, 11)),
        ("negative shipments", counts(11, 0, -1)),
        ("less than was received", counts(9, 0, 0)),
        ("more than was received", counts(10, 0, 1)),
    ] {
        // The valid counts of the other product are refused with them.
        let levels: StockCountsBySku =
            [(PAPER.into(), impossible), (TONER.into(), counts(5, 1, 0))].into();
        let updated = update_counts(&mut connection, &levels, at(9)).await;
        assert!(updated.is_err(), "{problem}");
        assert_error_code(updated, CHECK_VIOLATION);
    }
    assert_eq!(find_counts(&pool, PAPER).await, counts(10, 0, 0));
    assert_eq!(find_counts(&pool, TONER).await, counts(5, 0, 0));
}
