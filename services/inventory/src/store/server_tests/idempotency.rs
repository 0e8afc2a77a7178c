//! Tests of the table `idempotency_records`.

use std::pin::pin;

use dm_contracts::api::shipment::{LastScan, Scanned};

use super::*;
use crate::store::idempotency::{IdempotentOperation, claim_key, store_response};

const KEY: &str = "wm_scan_1_ab";

fn response() -> Scanned {
    Scanned {
        shipment_id: "ship_1".into(),
        order_id: "ord_1".into(),
        status: ShipmentStatus::Loading,
        last_scan: LastScan {
            barcode: "SKU:TNR-BLK".into(),
            quantity: 2,
            scanned_by: "dphilbin".into(),
            scanned_at: at(9),
        },
    }
}

async fn claim(
    transaction: &mut PgConnection,
    operation: IdempotentOperation,
    key: &str,
) -> Result<Option<Scanned>, sqlx::Error> {
    claim_key(transaction, operation, key).await
}

async fn store(transaction: &mut PgConnection) -> Result<(), sqlx::Error> {
    let operation = IdempotentOperation::Scan;
    store_response(transaction, operation, KEY, "ship_1", &response()).await
}

#[tokio::test]
async fn response_is_stored_once_for_its_operation_and_key() {
    let pool = create_database().await;
    let mut connection = pool.acquire().await.unwrap();
    store(&mut connection).await.unwrap();
    for (operation, key, expected) in [
        (IdempotentOperation::Scan, KEY, Some(response())),
        (IdempotentOperation::Dispatch, KEY, None),
        (IdempotentOperation::Scan, "WM_SCAN_1_AB", None),
    ] {
        let claimed = claim(&mut connection, operation, key).await;
        assert_eq!(claimed.unwrap(), expected, "{operation:?} {key}");
    }
    assert_error_code(store(&mut connection).await, UNIQUE_VIOLATION);
}

#[tokio::test]
async fn concurrent_request_with_the_same_key_gets_what_the_first_one_committed() {
    for (commits, expected) in [(true, Some(response())), (false, None)] {
        let pool = create_database().await;
        let operation = IdempotentOperation::Scan;
        let mut first = pool.begin().await.unwrap();
        assert_eq!(claim(&mut first, operation, KEY).await.unwrap(), None);

        let mut other = pool.begin().await.unwrap();
        set_lock_timeout(&mut other).await;
        let dispatch = claim(&mut other, IdempotentOperation::Dispatch, KEY).await;
        assert_eq!(dispatch.unwrap(), None);
        let scan = claim(&mut other, operation, KEY).await;
        assert_error_code(scan, LOCK_NOT_AVAILABLE);
        other.rollback().await.unwrap();

        let mut second = pin!(async {
            let mut transaction = pool.begin().await.unwrap();
            claim(&mut transaction, operation, KEY).await.unwrap()
        });
        run_until_blocked(&pool, second.as_mut()).await;
        store(&mut first).await.unwrap();
        if commits {
            first.commit().await.unwrap();
        } else {
            first.rollback().await.unwrap();
        }
        assert_eq!(second.await, expected);
    }
}
