//! Tests of lists that are read by cursor.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dm_contracts::time;
use libtest_mimic::Failed;
use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::faults::memory;
use super::flow;
use super::stack::{SleepingSession, TIMEOUT, block_on, client, eventually, request, sql};

/// The client of the orders that these tests place.
const CLIENT_ID: &str = "client_of_lists";

/// Each list, one of its filters, and whether it has a parameter `order`.
const LISTS: [(&str, &str, &str, bool); 8] = [
    ("order", "/internal/orders", "clientId=client_501", true),
    ("inventory", "/internal/shipments", "status=PENDING", true),
    ("sales", "/internal/sales/leads", "status=NEW", true),
    ("sales", "/internal/sales/clients", "", true),
    ("finance", "/internal/expenses", "status=PENDING", true),
    ("wuphf", "/internal/notifications", "unreadOnly=true", true),
    ("inventory", "/internal/stock", "sku=PPR-A4-WHT-500", false),
    ("inventory", "/internal/products", "", false),
];

/// Places an order that no stock is reserved for, and returns its id.
async fn place_order(client: &Client) -> Result<String, Failed> {
    let answer = request(client, Method::POST, "order", "/internal/orders")
        .json(&json!({
            "clientId": CLIENT_ID,
            "requestedShipDate": "2030-01-31",
            "items": [{"sku": "NOT-IN-THE-CATALOGUE", "quantity": 1}],
        }))
        .send()
        .await?;
    let body: Value = answer.error_for_status()?.json().await?;
    Ok(body["orderId"].as_str().unwrap().to_owned())
}

async fn get(client: &Client, service: &str, path: &str) -> Result<(u16, Value), Failed> {
    let answer = request(client, Method::GET, service, path).send().await?;
    Ok((answer.status().as_u16(), answer.json().await?))
}

/// Returns the items of each response to a query, which is continued by cursor.
async fn read_pages(
    client: &Client,
    service: &str,
    path: &str,
    query: &str,
) -> Result<Vec<Vec<Value>>, Failed> {
    let mut pages = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("{path}?{query}&cursor={cursor}");
        let (status, body) = get(client, service, &path).await?;
        assert_eq!(status, 200, "{path}: {body}");
        let items = body["items"].as_array().unwrap().clone();
        assert!(body["total"].as_u64() >= u64::try_from(items.len()).ok());
        pages.push(items);
        match body["nextCursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => return Ok(pages),
        }
    }
}

/// Returns the sort key of an order.
fn key(order: &Value) -> (chrono::DateTime<chrono::Utc>, usize, String) {
    let text = |field: &str| order[field].as_str().unwrap().to_owned();
    let (at, id) = (time::parse(&text("createdAt")).unwrap(), text("orderId"));
    (at, id.len(), id)
}

/// Orders are read by cursor in each order while orders are placed: each older order is on exactly
/// one page, and no order is on two.
pub(crate) fn orders_read_by_cursor_while_orders_are_placed_are_complete() -> Result<(), Failed> {
    block_on(async {
        let client = client();
        for _ in 0..20 {
            place_order(&client).await?;
        }
        let older = sql("SELECT order_id FROM orders.orders")?;
        let older: BTreeSet<&str> = older.lines().collect();
        let is_read = AtomicBool::new(false);
        let placing = async {
            let mut placed = 0;
            while !is_read.load(Ordering::Relaxed) {
                place_order(&client).await?;
                placed += 1;
            }
            Ok::<_, Failed>(placed)
        };
        let reading = async {
            let mut read = BTreeMap::new();
            for query in ["limit=9", "limit=9&order=newest", "limit=9&order=oldest"] {
                let pages = read_pages(&client, "order", "/internal/orders", query).await;
                read.insert(query, pages);
            }
            is_read.store(true, Ordering::Relaxed);
            read
        };
        let (placed, read) = futures_util::future::join(placing, reading).await;
        assert!(placed? > 0, "no order was placed while orders were read");
        for (query, pages) in read {
            let pages = pages?;
            let (last, full) = pages.split_last().unwrap();
            assert!(last.len() <= 9 && full.iter().all(|page| page.len() == 9));
            let orders: Vec<_> = pages.concat().iter().map(key).collect();
            let is_sorted = match query {
                "limit=9&order=oldest" => orders.is_sorted(),
                "limit=9&order=newest" => orders.is_sorted_by(|first, second| first > second),
                // The newest ones come first, and each response is in the order of the contract.
                _ => pages.iter().all(|page| page.is_sorted_by_key(key)),
            };
            assert!(is_sorted, "{query}: {orders:?}");
            let ids: BTreeSet<&str> = orders.iter().map(|(_, _, id)| id.as_str()).collect();
            assert_eq!(ids.len(), orders.len(), "{query}: an order was read twice");
            let missing: Vec<_> = older.difference(&ids).collect();
            assert!(missing.is_empty(), "{query}: {missing:?} were not read");
        }
        Ok(())
    })
}

/// The filters of orders select their orders, alone and together, and a cursor keeps them.
pub(crate) fn orders_are_filtered_by_client_and_status() -> Result<(), Failed> {
    let failed = "FAILED_INSUFFICIENT_STOCK";
    let ids = block_on(async {
        let client = client();
        let mut ids = BTreeSet::new();
        for _ in 0..3 {
            ids.insert(place_order(&client).await?);
        }
        Ok::<_, Failed>(ids)
    })?;
    let list = ids.iter().map(|id| format!("'{id}'"));
    let list = list.collect::<Vec<_>>().join(", ");
    eventually(
        &format!(
            "SELECT count(*) FROM orders.orders
              WHERE order_id IN ({list}) AND status = '{failed}'"
        ),
        "3",
    )?;
    block_on(async {
        let client = client();
        for (query, status) in [
            (format!("limit=2&clientId={CLIENT_ID}"), None),
            (format!("limit=2&status={failed}"), Some(failed)),
            (
                format!("limit=2&clientId={CLIENT_ID}&status={failed}"),
                Some(failed),
            ),
        ] {
            let pages = read_pages(&client, "order", "/internal/orders", &query).await?;
            let orders = pages.concat();
            let found: BTreeSet<_> = orders
                .iter()
                .filter_map(|order| order["orderId"].as_str())
                .collect();
            assert!(ids.iter().all(|id| found.contains(id.as_str())), "{query}");
            for order in &orders {
                let has_client = !query.contains("clientId") || order["clientId"] == CLIENT_ID;
                let has_status = status.is_none_or(|status| order["status"] == status);
                assert!(has_client && has_status, "{query}: {order}");
            }
        }
        let path = format!("/internal/orders?clientId={CLIENT_ID}&status=SHIPPED");
        let (status, body) = get(&client, "order", &path).await?;
        assert_eq!(
            (status, body),
            (200, json!({"items": [], "total": 0, "nextCursor": null}))
        );
        let (status, body) = get(&client, "order", "/internal/orders?status=shipped").await?;
        assert_eq!(status, 400, "{body}");
        assert_eq!(body["error"]["message"], "Invalid status filter");
        Ok(())
    })
}

/// Every list is limited, and refuses invalid parameters and the cursors of other lists.
pub(crate) fn lists_refuse_invalid_parameters_and_foreign_cursors() -> Result<(), Failed> {
    let refused = async |client: &Client, service: &str, path: &str, query: &str| {
        let path = format!("{path}?{query}");
        let (status, body) = get(client, service, &path).await?;
        assert_eq!(status, 400, "{path}: {body}");
        assert_eq!(body["error"]["message"], "Invalid paging", "{path}");
        Ok::<_, Failed>(())
    };
    block_on(async {
        let client = client();
        place_order(&client).await?;
        place_order(&client).await?;
        let mut cursors = Vec::new();
        for (service, path, filter, has_order) in LISTS {
            let (status, body) = get(&client, service, &format!("{path}?limit=1")).await?;
            assert_eq!(status, 200, "{path}: {body}");
            assert!(body["items"].as_array().unwrap().len() <= 1, "{path}");
            for query in ["limit=0", "limit=1001", "limit=x", "cursor=AQ", "order=up"] {
                refused(&client, service, path, query).await?;
            }
            let Some(cursor) = body["nextCursor"].as_str() else {
                continue;
            };
            let (status, next) = get(&client, service, &format!("{path}?cursor={cursor}")).await?;
            assert_eq!(status, 200, "{path}: {next}");
            assert_ne!(next["items"][0], body["items"][0], "{path}");
            let changed = format!("cursor={cursor}A");
            refused(&client, service, path, &changed).await?;
            if has_order {
                let oldest = format!("cursor={cursor}&order=oldest");
                refused(&client, service, path, &oldest).await?;
            }
            if !filter.is_empty() {
                let filtered = format!("cursor={cursor}&{filter}");
                refused(&client, service, path, &filtered).await?;
            }
            cursors.push((path, cursor.to_owned()));
        }
        assert!(cursors.iter().any(|(path, _)| *path == "/internal/orders"));
        for (service, path, _, _) in LISTS {
            for (other, cursor) in cursors.iter().filter(|(other, _)| *other != path) {
                let query = format!("cursor={cursor}");
                refused(&client, service, path, &query)
                    .await
                    .map_err(|failed| format!("the cursor of {other}: {failed:?}"))?;
            }
        }
        Ok(())
    })
}

/// Without `limit`, a response has the newest 1,000 rows. Ten clients that read all rows by cursor
/// use little memory of the service, which stays ready.
pub(crate) fn clients_reading_all_orders_by_cursor_use_little_memory() -> Result<(), Failed> {
    const ROWS: usize = 20_000;
    const CLIENTS: usize = 10;
    /// Maximum memory of the service in kB.
    const MAX_MEMORY: u64 = 40 * 1024;
    sql(&format!(
        "INSERT INTO orders.orders
             (order_id, client_id, requested_ship_date, items, created_by, status, created_at)
         SELECT 'ord_list_' || n, '{CLIENT_ID}', '2030-01-01', '[]', 'jhalpert', 'CREATED',
                now() + n * interval '1 microsecond'
           FROM generate_series(1, {ROWS}) AS n"
    ))?;
    let total: u64 = sql("SELECT count(*) FROM orders.orders")?.parse()?;
    let measured = block_on(async {
        let client = client();
        // The total may have been counted before the rows were written, and is then counted again.
        let until = Instant::now() + TIMEOUT;
        let newest = loop {
            let (_, newest) = get(&client, "order", "/internal/orders").await?;
            if newest["total"] == total || Instant::now() > until {
                break newest;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        let readers: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move {
                    let query = "limit=1000";
                    let pages = read_pages(&client, "order", "/internal/orders", query).await?;
                    Ok::<_, Failed>(pages.iter().map(Vec::len).sum::<usize>())
                })
            })
            .collect();
        let mut maximum = 0;
        let mut is_ready = true;
        while readers.iter().any(|reader| !reader.is_finished()) {
            maximum = maximum.max(memory("order", "VmRSS")?);
            let ready = request(&client, Method::GET, "order", "/health/ready").send();
            is_ready &= ready.await?.status() == 200;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mut read = Vec::new();
        for reader in readers {
            read.push(reader.await??);
        }
        Ok::<_, Failed>((newest, maximum, is_ready, read))
    });
    sql("DELETE FROM orders.orders WHERE order_id LIKE 'ord_list_%'")?;
    let (newest, maximum, is_ready, read) = measured?;
    let items = newest["items"].as_array().unwrap();
    assert_eq!(items.len(), 1_000);
    assert_eq!(items[0]["orderId"], format!("ord_list_{}", ROWS - 999));
    assert_eq!(items[999]["orderId"], format!("ord_list_{ROWS}"));
    assert_eq!(newest["total"], total);
    assert!(newest["nextCursor"].is_string());
    for length in read {
        assert_eq!(u64::try_from(length)?, total);
    }
    assert!(is_ready, "the service was not ready while lists were read");
    eprintln!(
        "{CLIENTS} clients that read {total} orders: {} MB",
        maximum / 1024
    );
    assert!(maximum <= MAX_MEMORY, "the service used {maximum} kB");
    Ok(())
}

/// Inventory is ready and processes events while no connection for lists is free. Slow clients do
/// not occupy these connections, because none is held while a client receives a response.
pub(crate) fn inventory_without_a_free_list_connection_is_ready_and_processes_events()
-> Result<(), Failed> {
    const READERS: usize = 10;
    const WAITING: &str = "SELECT count(*) FROM pg_stat_activity
         WHERE application_name = 'inventory-service' AND wait_event_type = 'Lock'
           AND query LIKE '%products%'";
    // No event needs this table.
    let _lock = SleepingSession::start("LOCK TABLE inventory.products")?;
    block_on(async {
        // The requests that wait for the table must not time out.
        let patient = Client::builder().no_proxy().build()?;
        let readers: Vec<_> = (0..READERS)
            .map(|_| {
                let client = patient.clone();
                tokio::spawn(async move { get(&client, "inventory", "/internal/products").await })
            })
            .collect();
        let until = Instant::now() + TIMEOUT;
        loop {
            let waiting: usize = sql(WAITING)?.parse()?;
            let ended = readers.iter().filter(|reader| reader.is_finished()).count();
            if waiting > 0 && waiting + ended == READERS {
                break;
            }
            assert!(
                Instant::now() < until,
                "{waiting} requests wait for the table and {ended} have ended, of {READERS}"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        for reader in readers.into_iter().filter(|reader| reader.is_finished()) {
            let (status, body) = reader.await??;
            assert_eq!(status, 500, "a connection was free: {body}");
        }
        let client = client();
        let (status, body) = get(&client, "inventory", "/health/ready").await?;
        assert_eq!(status, 200, "{body}");
        let order = flow::place_order(&client, "PPR-A4-WHT-500", 1).await;
        eventually(
            &format!("SELECT count(*) FROM inventory.reservations WHERE order_id = '{order}'"),
            "1",
        )?;
        let (status, body) = get(&client, "inventory", "/health/ready").await?;
        assert_eq!(status, 200, "{body}");
        assert_ne!(sql(WAITING)?, "0", "connections for lists became free");
        Ok(())
    })
}
