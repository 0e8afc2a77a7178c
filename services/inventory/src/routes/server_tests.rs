//! Tests of lists against a database.

use dm_contracts::api::shipment::{Shipment, ShipmentStatus};
use dm_contracts::time;
use dm_test_kit::{TestService, field_texts};

use crate::domain::product::CatalogueProduct;
use crate::store::products;

/// The shipments that [`start_with_shipments`] inserts, in their order: id, hour and status.
/// Shipments of one hour have the same time.
const SHIPMENTS: [(&str, u32, ShipmentStatus); 6] = [
    ("ship_7", 7, ShipmentStatus::Loading),
    ("ship_9", 8, ShipmentStatus::Pending),
    ("ship_10", 8, ShipmentStatus::Dispatched),
    ("ship_11", 8, ShipmentStatus::Pending),
    ("ship_4", 9, ShipmentStatus::Failed),
    ("ship_5", 10, ShipmentStatus::Cancelled),
];

/// The products of the catalogue, in the order of their SKU, with their stock.
const PRODUCTS: [(&str, i64); 4] = [("INK", 7), ("PAPER", 10), ("PENCIL", 0), ("TONER", 5)];

async fn start() -> TestService {
    TestService::start(&crate::SCHEMA, super::router).await
}

async fn start_with_shipments() -> TestService {
    let service = start().await;
    for (id, hour, status) in SHIPMENTS.into_iter().rev() {
        sqlx::query(
            "INSERT INTO shipments (shipment_id, order_id, created_at, status, client_id,
                                    requested_ship_date, items, created_by, updated_at,
                                    dispatched_at, dispatched_by, truck_id, dispatch_id)
             VALUES ($1, replace($1, 'ship', 'ord'), $2, $3, 'cli_1',
                     '2026-12-24', '[{\"sku\": \"PAPER\", \"quantity\": 3}]', 'jhalpert', $2,
                     CASE WHEN $3 = 'DISPATCHED' THEN $2 END,
                     CASE WHEN $3 = 'DISPATCHED' THEN 'dphilbin' END,
                     CASE WHEN $3 = 'DISPATCHED' THEN 'truck_1' END,
                     CASE WHEN $3 = 'DISPATCHED' THEN 'dsp_1' END)",
        )
        .bind(id)
        .bind(time::parse(&format!("2026-02-03T{hour:02}:00:00Z")).unwrap())
        .bind(status.as_str())
        .execute(&service.pool)
        .await
        .unwrap();
    }
    service
}

async fn start_with_products() -> TestService {
    let service = start().await;
    let products = PRODUCTS.map(|(sku, on_hand)| CatalogueProduct {
        sku: sku.into(),
        name: format!("name of {sku}"),
        category: "Supplies".into(),
        unit: "box".into(),
        price: "4.99".into(),
        on_hand,
    });
    let mut connection = service.pool.acquire().await.unwrap();
    let added = products::add_missing(&mut connection, &products).await;
    assert_eq!(added.unwrap(), 4);
    service
}

#[tokio::test]
async fn pages_of_any_size_have_each_shipment_once() {
    let service = start_with_shipments().await;
    let (path, id) = ("/internal/shipments", "shipmentId");
    let mut ids = SHIPMENTS.map(|(id, ..)| id);
    // Without an order, the newest shipments are selected and sorted like the list.
    service.assert_pages_from_end(path, id, &ids).await;
    let oldest_first = format!("{path}?order=oldest");
    service.assert_pages(&oldest_first, id, &ids).await;
    ids.reverse();
    let newest_first = format!("{path}?order=newest");
    service.assert_pages(&newest_first, id, &ids).await;
}

#[tokio::test]
async fn pending_shipments_are_those_that_can_be_dispatched() {
    let service = start_with_shipments().await;
    let path = "/internal/shipments?status=PENDING";
    let expected = ["ship_7", "ship_9", "ship_11"];
    assert_eq!(service.read_pages(path, "shipmentId").await, [expected]);
    let of_two = format!("{path}&limit=2&order=oldest");
    let pages = service.read_pages(&of_two, "shipmentId").await;
    assert_eq!(pages.concat(), expected);

    let list = service.get(path).await.unwrap();
    let shipments: Vec<Shipment> = serde_json::from_value(list["items"].clone()).unwrap();
    assert_eq!(shipments[0].order_id, "ord_7");
    assert_eq!(shipments[0].status, ShipmentStatus::Loading);
    assert_eq!(shipments[0].items[0].quantity, 3);
    let other = service.get("/internal/shipments?status=FAILED").await;
    assert_eq!(other, Err("VALIDATION_ERROR"));
}

#[tokio::test]
async fn cursor_of_all_shipments_is_refused_for_pending_ones() {
    let service = start_with_shipments().await;
    let list = service.get("/internal/shipments?limit=1").await.unwrap();
    let cursor = list["nextCursor"].as_str().unwrap();
    let path = format!("/internal/shipments?cursor={cursor}");
    let rest = service.get(&path).await.unwrap();
    assert_eq!(field_texts(&rest, "shipmentId").len(), 5);
    let pending = service.get(&format!("{path}&status=PENDING")).await;
    assert_eq!(pending, Err("VALIDATION_ERROR"));
    let path = format!("/internal/stock?cursor={cursor}");
    assert_eq!(service.get(&path).await, Err("VALIDATION_ERROR"));
}

#[tokio::test]
async fn products_and_stock_are_sorted_by_sku_on_pages_of_any_size() {
    let service = start_with_products().await;
    let skus = PRODUCTS.map(|(sku, _)| sku);
    for path in ["/internal/products", "/internal/stock"] {
        service.assert_pages(path, "sku", &skus).await;
    }
    for (sku, on_hand) in PRODUCTS {
        let path = format!("/internal/stock?sku={sku}");
        let list = service.get(&path).await.unwrap();
        assert_eq!(field_texts(&list, "sku"), [sku]);
        assert_eq!(list["items"][0]["available"], on_hand, "{sku}");
        assert_eq!(list["total"], 1);
    }
    let unknown = service.get("/internal/stock?sku=STAPLER").await.unwrap();
    assert_eq!(field_texts(&unknown, "sku"), [""; 0]);
    for path in ["/internal/products?limit=0", "/internal/stock?limit=1001"] {
        assert_eq!(service.get(path).await, Err("VALIDATION_ERROR"), "{path}");
    }
}
