//! Tests of the table `shipment_scan_log`.

use dm_contracts::api::shipment::LastScan;

use super::*;
use crate::store::scans::insert;

/// Shipment, barcode, quantity, user, time and key.
type ScanRow = (String, String, i32, String, DateTime<Utc>, Option<String>);

#[tokio::test]
async fn parcel_can_be_scanned_again_but_not_with_the_same_key() {
    let pool = create_database().await;
    for order_id in ["ord_1", "ord_2"] {
        insert_pending_shipment(&pool, order_id).await;
    }
    let scan = LastScan {
        barcode: "SKU:PPR-A4-WHT-500".into(),
        quantity: i32::MAX,
        scanned_by: "dphilbin".into(),
        scanned_at: at(9),
    };
    let mut connection = pool.acquire().await.unwrap();
    for (shipment_id, key, error) in [
        ("ship_1", Some("key_1"), None),
        ("ship_1", None, None),
        ("ship_1", None, None),
        ("ship_1", Some("key_1"), Some(UNIQUE_VIOLATION)),
        ("ship_2", Some("key_1"), None),
        ("ship_3", None, Some(FOREIGN_KEY_VIOLATION)),
    ] {
        let inserted = insert(&mut connection, shipment_id, &scan, key).await;
        match error {
            Some(code) => assert_error_code(inserted, code),
            None => inserted.unwrap(),
        }
    }

    let rows: Vec<ScanRow> = sqlx::query_as(
        "SELECT shipment_id, barcode, quantity, scanned_by, scanned_at, idempotency_key
           FROM shipment_scan_log
          ORDER BY id",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    let expected = [
        ("ship_1", Some("key_1")),
        ("ship_1", None),
        ("ship_1", None),
        ("ship_2", Some("key_1")),
    ];
    let expected = expected.map(|(shipment_id, key)| {
        (
            shipment_id.to_owned(),
            "SKU:PPR-A4-WHT-500".to_owned(),
            2_147_483_647,
            "dphilbin".to_owned(),
            at(9),
            key.map(str::to_owned),
        )
    });
    assert_eq!(rows, expected);
}
