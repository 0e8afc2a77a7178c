//! The table `shipment_scan_log`.

use dm_contracts::api::shipment::LastScan;
use sqlx::PgConnection;

/// Inserts a scan.
pub(crate) async fn insert(
    transaction: &mut PgConnection,
    shipment_id: &str,
    scan: &LastScan,
    key: Option<&str>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO shipment_scan_log
             (shipment_id, barcode, quantity, scanned_by, scanned_at, idempotency_key)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(shipment_id)
    .bind(&scan.barcode)
    .bind(scan.quantity)
    .bind(&scan.scanned_by)
    .bind(scan.scanned_at)
    .bind(key)
    .execute(transaction)
    .await?;
    Ok(())
}
