//! Sales by clicking, in Infinity and in Warehouse.

use libtest_mimic::Failed;

use super::page::Role::{Button, Dialog, Heading, Link, Region};
use super::page::{BADGE, MESSAGE, Page, TIMELINE_STATUS};
use super::{BAD_REQUEST, MANAGER, PRODUCT, browse, id_in};

/// Changes the notes of a lead, as a colleague would, and returns the status of the response.
const COLLEAGUE: &str = "return fetch('/api/v1/sales/leads/LEAD', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ status: 'NEW', notes: 'NOTES' }),
}).then(({ status }) => status);";

/// A lead becomes a client. The client's order is reserved, scanned and dispatched, its timeline
/// follows, and the user is notified.
pub(crate) fn lead_becomes_a_client_whose_order_is_shipped() -> Result<(), Failed> {
    let company = format!("Browser Paper {}", fastrand::u32(..));
    browse(async |page| {
        page.open("/infinity").await?;
        page.sign_in(MANAGER).await?;
        page.find(Heading, "Leads").await?;
        let lead = create_lead(page, &company).await?;
        let client = convert_lead(page, &lead, &company).await?;
        let order = place_order(page, &client).await?;
        ship(page, &order).await?;
        open_notification(page, &order).await?;
        page.see(BADGE, "Shipped").await?;
        page.see(TIMELINE_STATUS, "Shipped").await?;
        page.wait_until_gone(Button, "Cancel order").await
    })
}

/// A cancelled order shows its status and the reason, and cannot be cancelled again.
pub(crate) fn cancelled_order_shows_its_status_and_reason() -> Result<(), Failed> {
    let reason = "Ordered twice";
    browse(async |page| {
        page.open("/infinity?view=orders").await?;
        page.sign_in(MANAGER).await?;
        page.click(Link, "New order").await?;
        page.find(Dialog, "New order").await?;
        page.fill("Client", "client_501").await?;
        let order = place_order(page, "client_501").await?;
        page.click(Button, "Cancel order").await?;
        page.find(Dialog, &format!("Cancel order {order}?")).await?;
        page.fill("Reason optional", reason).await?;
        page.click(Button, "Cancel this order").await?;
        page.see(BADGE, "Cancelled").await?;
        page.see(TIMELINE_STATUS, "Cancelled").await?;
        page.see("dd", reason).await?;
        page.wait_until_gone(Button, "Cancel order").await
    })
}

/// Creates a lead, at first without the required fields, and returns its id.
async fn create_lead(page: &Page, company: &str) -> Result<String, Failed> {
    page.click(Link, "New lead").await?;
    page.find(Dialog, "New lead").await?;
    page.fill("Company", company).await?;
    page.click(Button, "Create lead").await?;
    for label in ["Contact", "E-mail", "Phone"] {
        assert_eq!(page.issue(label).await?, format!("{label} is required"));
    }
    assert_eq!(page.value("Company").await?, company);
    page.assert_no_errors(&[BAD_REQUEST]).await?;

    page.fill("Contact", "Bob Vance").await?;
    page.fill("E-mail", "bob.vance@example.com").await?;
    page.fill("Phone", "570-555-0100").await?;
    page.click(Button, "Create lead").await?;
    let message = page.see(MESSAGE, "Lead lead_…").await?;
    assert!(message.ends_with(" was created."), "{message}");
    id_in(&message)
}

/// Qualifies and converts a lead, begins an order of the new client, and returns the client's id.
async fn convert_lead(page: &Page, lead: &str, company: &str) -> Result<String, Failed> {
    page.click(Link, company).await?;
    page.find(Dialog, &format!("Lead {lead}")).await?;
    page.choose("Status", "Qualified").await?;
    // A colleague writes notes in the meantime, and the draft does not revert them.
    let notes = "Prefers to be called in the morning";
    let script = COLLEAGUE.replace("LEAD", lead).replace("NOTES", notes);
    assert_eq!(page.evaluate::<u16>(&script).await?, 200);
    page.reload().await?;
    page.see(MESSAGE, "Your unsent input was kept.").await?;
    assert_eq!(page.value("Notes optional").await?, notes);
    page.click(Button, "Save").await?;
    page.see(MESSAGE, &format!("Lead {lead} was saved."))
        .await?;
    page.see(BADGE, "Qualified").await?;
    assert_eq!(page.value("Notes optional").await?, notes);
    page.click(Button, "Convert to client").await?;
    let message = page.see(MESSAGE, "Client client_…").await?;
    page.click(Link, "New order").await?;
    id_in(&message)
}

/// Fills in the form of an order, waits until its stock is reserved, and returns its id.
async fn place_order(page: &Page, client: &str) -> Result<String, Failed> {
    page.find(Dialog, "New order").await?;
    assert_eq!(page.value("Client").await?, client);
    page.fill("SKU", PRODUCT).await?;
    page.fill("Quantity", "1.5").await?;
    page.click(Button, "Place order").await?;
    let issue = page.issue("Quantity").await?;
    assert!(issue.starts_with("Enter a whole number"), "{issue}");
    page.fill("Quantity", "2").await?;
    page.click(Button, "Place order").await?;
    let heading = page.find(Heading, "Order ord_…").await?;
    let order = id_in(&heading.text().await?)?;
    page.find(Region, "Timeline").await?;
    page.see(BADGE, "Live").await?;
    for status in ["Created", "Reserved"] {
        page.see(TIMELINE_STATUS, status).await?;
    }
    page.see(BADGE, "Reserved").await?;
    Ok(order)
}

/// Scans and dispatches the shipment of an order in Warehouse.
async fn ship(page: &Page, order: &str) -> Result<(), Failed> {
    page.open("/warehouse").await?;
    page.find(Heading, "Shipments").await?;
    page.fill("Shipment or order", order).await?;
    page.click(Button, "Open").await?;
    page.click(Button, &format!("Scan 2 of {PRODUCT}")).await?;
    page.see(BADGE, "Loading").await?;

    page.open(&format!("/infinity?orderId={order}")).await?;
    page.see(TIMELINE_STATUS, "Picking").await?;
    page.see(BADGE, "Picking").await?;

    page.open(&format!("/warehouse?shipmentId={order}")).await?;
    page.fill("Truck", "T-1").await?;
    page.click(Button, "Dispatch shipment").await?;
    let message = page.see(MESSAGE, "Shipment ship_…").await?;
    assert!(message.ends_with(" was dispatched."), "{message}");
    page.find(Heading, "Shipments").await.map(drop)
}

/// Opens the panel of the bell, marks one notification of the order, and follows another one.
async fn open_notification(page: &Page, order: &str) -> Result<(), Failed> {
    page.click(Button, "Notifications, …").await?;
    page.find(Region, "Notifications").await?;
    let mark = format!("Mark as read: Order {order} created");
    page.click(Button, &mark).await?;
    page.wait_until_gone(Button, &mark).await?;
    let link = format!("Unread: Order {order} shipped…");
    page.click(Link, &link).await?;
    page.find(Heading, &format!("Order {order}"))
        .await
        .map(drop)
}
