//! Measures the list of a million orders: its pages, and order-service while clients read it.

use std::time::{Duration, Instant};

use dm_components::service::{GATEWAY, base_url};
use dm_contracts::api::list::List;
use futures_util::future::try_join_all;
use reqwest::{Client, Request};
use serde::de::IgnoredAny;
use tokio_util::sync::CancellationToken;

use super::http_load::{self, as_f64};
use super::{BenchStack, Metric, gateway, percentile, service_processes};
use crate::error::BenchError;

/// The number of orders.
const ORDER_COUNT: i32 = 1_000_000;
/// The number of orders of a measured page.
const PAGE_ORDERS: u32 = 50;
/// The number of orders that precede the measured pages in the middle.
const PRECEDING_ORDERS: u32 = 500_000;
/// The duration of each of the two measurements of pages.
const DURATION: Duration = Duration::from_secs(2);
/// The maximum number of orders of a page.
const MAX_PAGE_ORDERS: u32 = 1_000;
/// The number of clients that read the list at the same time.
const READERS: usize = 10;
/// The number of orders that each of them reads. All orders would take minutes.
const ORDERS_PER_READER: u32 = 100_000;
/// The interval between readiness requests.
const READINESS_INTERVAL: Duration = Duration::from_millis(50);
/// The name of the service.
const ORDER_SERVICE: &str = "order";

/// Inserts orders of a thousand clients, one per millisecond, without events or timelines.
const INSERT_ORDERS: &str = r#"
    INSERT INTO orders.orders
        (order_id, client_id, requested_ship_date, items, created_by, status, created_at)
    SELECT 'ord_bench_' || number, 'client_bench_' || number % 1000, '2030-01-31',
           '[{"sku": "PPR-A4-WHT-500", "quantity": 1}]', 'jhalpert',
           (ARRAY['CREATED', 'RESERVED', 'PICKING', 'SHIPPED'])[1 + number % 4],
           now() - interval '1 hour' + number * interval '1 millisecond'
      FROM generate_series(1, $1) AS number"#;

/// Measures the latency of pages, and the memory and the readiness of order-service while ten
/// clients read the list.
pub(super) async fn measure(stack: &BenchStack<'_>) -> Result<Vec<(Metric, f64)>, BenchError> {
    sqlx::query(INSERT_ORDERS)
        .bind(ORDER_COUNT)
        .execute(&stack.database)
        .await?;
    stack.vacuum_and_checkpoint("orders.orders").await?;
    let list = OrderList::open(stack).await?;
    let mut metrics = measure_pages(&list).await?;
    metrics.extend(measure_readers(stack, &list).await?);
    // The other cases measure without these orders.
    sqlx::query("DELETE FROM orders.orders WHERE order_id LIKE 'ord_bench_%'")
        .execute(&stack.database)
        .await?;
    stack.vacuum_and_checkpoint("orders.orders").await?;
    Ok(metrics)
}

/// Measures the latency of the first page, and of consecutive pages in the middle.
async fn measure_pages(list: &OrderList) -> Result<Vec<(Metric, f64)>, BenchError> {
    let first_page = list.page_request(PAGE_ORDERS, None)?;
    // Warms up connections, plans and caches. This is not measured.
    http_load::run_closed_loop(&list.client, &first_page, 1, DURATION / 4).await?;
    let load = http_load::run_closed_loop(&list.client, &first_page, 1, DURATION).await?;
    let mut first = load.latencies;
    let mut cursor = list.read_orders(PRECEDING_ORDERS).await?;
    let mut middle = Vec::new();
    let began = Instant::now();
    while began.elapsed() < DURATION {
        let page = list.read_page(PAGE_ORDERS, cursor.as_deref()).await?;
        middle.push(page.latency);
        cursor = Some(page.next_cursor);
    }
    let first_p50 = percentile(&mut first, 50.0);
    let middle_p50 = percentile(&mut middle, 50.0);
    let mut all = [first, middle].concat();
    Ok(vec![
        (Metric::ListFirstPageP50, first_p50),
        (Metric::ListMiddlePageP50, middle_p50),
        (Metric::ListPageP99, percentile(&mut all, 99.0)),
    ])
}

/// Measures the peak memory of order-service from its start, and its slowest readiness response,
/// while clients read the list page by page. The memory is omitted if this machine does not report
/// it.
async fn measure_readers(
    stack: &BenchStack<'_>,
    list: &OrderList,
) -> Result<Vec<(Metric, f64)>, BenchError> {
    // The peak is that of a process.
    service_processes::restart_service(stack, ORDER_SERVICE).await?;
    let done = CancellationToken::new();
    let read = async {
        try_join_all((0..READERS).map(|_| list.read_orders(ORDERS_PER_READER))).await?;
        done.cancel();
        Ok::<_, BenchError>(())
    };
    let ((), slowest) =
        tokio::try_join!(read, slowest_readiness_until(stack, &list.client, &done))?;
    let mut metrics = vec![(Metric::ListReadersReadiness, slowest)];
    let peak = service_processes::peak_memory(stack, ORDER_SERVICE).await?;
    metrics.extend(peak.map(|bytes| (Metric::ListReadersMemory, as_f64(bytes as usize))));
    Ok(metrics)
}

/// Requests the readiness of order-service until the token is cancelled. Returns the time of the
/// slowest response, in seconds.
///
/// # Errors
/// Returns [`BenchError::RequestFailed`] if the service is not ready.
async fn slowest_readiness_until(
    stack: &BenchStack<'_>,
    client: &Client,
    done: &CancellationToken,
) -> Result<f64, BenchError> {
    let url = format!("{}/health/ready", base_url(ORDER_SERVICE, stack.ports()));
    let request = http_load::build_get(client, &url, &[])?;
    let mut slowest: f64 = 0.0;
    while !done.is_cancelled() {
        let sent = Instant::now();
        http_load::send_request(client, &request).await?;
        slowest = slowest.max(sent.elapsed().as_secs_f64());
        tokio::time::sleep(READINESS_INTERVAL).await;
    }
    Ok(slowest)
}

/// The list of orders through the gateway, with a session.
struct OrderList {
    client: Client,
    url: String,
    cookie: String,
}

/// A page that was read.
struct PageRead {
    /// The cursor of the next page.
    next_cursor: String,
    /// The latency of the request, in seconds.
    latency: f64,
}

impl OrderList {
    /// Signs in at the gateway.
    async fn open(stack: &BenchStack<'_>) -> Result<Self, BenchError> {
        Ok(Self {
            client: http_load::build_client()?,
            url: format!("{}/api/v1/orders", base_url(GATEWAY, stack.ports())),
            cookie: gateway::sign_in(stack).await?,
        })
    }

    /// Creates the request for the page after a cursor, or for the first page. A cursor consists of
    /// characters that need no encoding.
    fn page_request(&self, limit: u32, cursor: Option<&str>) -> Result<Request, BenchError> {
        let mut url = format!("{}?limit={limit}", self.url);
        if let Some(cursor) = cursor {
            url.push_str("&cursor=");
            url.push_str(cursor);
        }
        http_load::build_get(&self.client, &url, &[("cookie", self.cookie.as_str())])
    }

    /// Reads the page after a cursor, or the first page. It must be full, and not the last one.
    async fn read_page(&self, limit: u32, cursor: Option<&str>) -> Result<PageRead, BenchError> {
        let request = self.page_request(limit, cursor)?;
        let sent = Instant::now();
        let text = http_load::send_request(&self.client, &request).await?;
        let latency = sent.elapsed().as_secs_f64();
        let failed = |reason: String| BenchError::RequestFailed {
            request: format!("GET {}", request.url()),
            reason,
        };
        let page: List<IgnoredAny> =
            serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
        let length = page.items.len();
        match page.next_cursor {
            Some(next_cursor) if length == limit as usize => Ok(PageRead {
                next_cursor,
                latency,
            }),
            _ => Err(failed(format!("the list ends after {length} orders"))),
        }
    }

    /// Reads the newest orders, page by page. Returns the cursor of the page after them.
    async fn read_orders(&self, count: u32) -> Result<Option<String>, BenchError> {
        let mut cursor: Option<String> = None;
        for _ in 0..count / MAX_PAGE_ORDERS {
            let page = self.read_page(MAX_PAGE_ORDERS, cursor.as_deref()).await?;
            cursor = Some(page.next_cursor);
        }
        Ok(cursor)
    }
}
