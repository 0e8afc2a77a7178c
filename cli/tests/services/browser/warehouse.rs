//! Warehouse without a connection.

use libtest_mimic::Failed;

use super::super::stack::eventually;
use super::page::Role::{Button, Heading, Region};
use super::page::{BADGE, MESSAGE};
use super::{PRODUCT, browse, place_reserved_order};

/// The number of shipments that the browser keeps for the time without a connection.
const KEPT_SHIPMENTS: &str = "return new Promise((resolve, reject) => {
    const request = indexedDB.open('dm-warehouse');
    request.onerror = () => reject(request.error);
    request.onsuccess = () => {
        const store = request.result.transaction('shipments').objectStore('shipments');
        store.count().onsuccess = ({ target }) => resolve(target.result);
    };
});";

/// Dispatches a shipment as another device would, and returns the status of the response.
const DISPATCH: &str = "return fetch('/api/v1/warehouse/shipments/SHIPMENT/dispatch', {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'idempotency-key': 'other-SHIPMENT' },
    body: JSON.stringify({ truckId: 'T-2', dispatchedAt: new Date().toISOString() }),
}).then(({ status }) => status);";

/// A scan without a connection is kept, and sent once when the connection is back. A sign-out is
/// refused without a connection; with one it removes the shipments from the browser. A shipment that
/// was dispatched on another device is not shown as open.
pub(crate) fn scan_without_a_connection_is_sent_later() -> Result<(), Failed> {
    let order = place_reserved_order()?;
    browse(async |page| {
        page.open("/warehouse").await?;
        page.sign_in("dphilbin").await?;
        page.find(Heading, "Shipments").await?;
        page.fill("Shipment or order", &order).await?;
        page.click(Button, "Open").await?;
        page.find(Region, "Scan").await?;

        page.set_offline(true).await?;
        page.fill("Barcode", &format!("SKU:{PRODUCT}")).await?;
        page.fill("Quantity", "1").await?;
        page.click(Button, "Record scan").await?;
        let notice = "Offline. 1 action will be sent later.";
        page.see(MESSAGE, notice).await?;
        page.see(BADGE, "Waiting").await?;

        // The session would not end.
        page.click(Button, "Account of …").await?;
        page.click(Button, "Sign out").await?;
        page.see(MESSAGE, "You are offline: …").await?;
        assert_ne!(page.evaluate::<u32>(KEPT_SHIPMENTS).await?, 0);

        page.set_offline(false).await?;
        page.see(BADGE, "Done").await?;
        page.assert_no_errors(&["net::ERR_INTERNET_DISCONNECTED"])
            .await?;

        assert_ne!(page.evaluate::<u32>(KEPT_SHIPMENTS).await?, 0);
        page.click(Button, "Account of …").await?;
        page.click(Button, "Sign out").await?;
        page.find(Heading, "Dunder Mifflin Gateway").await?;
        // The realm's session has not ended: Keycloak asks for no password.
        page.open("/portal").await?;
        page.find(Heading, "Hello, …").await?;
        assert_eq!(page.evaluate::<u32>(KEPT_SHIPMENTS).await?, 0);

        // The copy in the browser is older than what the gateway has.
        page.open(&format!("/warehouse?shipmentId={order}")).await?;
        page.find(Region, "Scan").await?;
        assert_ne!(page.evaluate::<u32>(KEPT_SHIPMENTS).await?, 0);
        let dispatch = DISPATCH.replace("SHIPMENT", &order.replace("ord_", "ship_"));
        assert_eq!(page.evaluate::<u16>(&dispatch).await?, 200);
        page.reload().await?;
        page.see("p", "This shipment is no longer open, …").await?;
        page.assert_no_errors(&["/favicon.ico"]).await
    })?;
    let scans = format!(
        "SELECT shipment.status || ', ' || count(*)
           FROM inventory.shipments AS shipment
           JOIN inventory.shipment_scan_log AS scan USING (shipment_id)
          WHERE order_id = '{order}'
          GROUP BY shipment.status"
    );
    eventually(&scans, "DISPATCHED, 1")
}
