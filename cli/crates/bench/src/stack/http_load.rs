//! Sends HTTP requests in closed loops.

use std::time::{Duration, Instant};

use dm_components::http_client;
use futures_util::future::try_join_all;
use reqwest::{Client, Request};

use crate::error::BenchError;

/// The result of a load.
#[derive(Debug, Default)]
pub(super) struct LoadResult {
    /// Completed requests per second.
    pub(super) rate: f64,
    /// The latency of each request, in seconds.
    pub(super) latencies: Vec<f64>,
}

/// Creates a client.
pub(super) fn build_client() -> Result<Client, BenchError> {
    http_client()
        .build()
        .map_err(|error| BenchError::RequestFailed {
            request: "creating an HTTP client".into(),
            reason: error.to_string(),
        })
}

/// Creates a GET request with these headers.
pub(super) fn build_get(
    client: &Client,
    url: &str,
    headers: &[(&str, &str)],
) -> Result<Request, BenchError> {
    let mut request = client.get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.build().map_err(|error| BenchError::RequestFailed {
        request: format!("GET {url}"),
        reason: error.to_string(),
    })
}

/// Sends the request repeatedly on several connections.
///
/// # Errors
/// Returns [`BenchError::RequestFailed`] at the first response that is not a success.
pub(super) async fn run_closed_loop(
    client: &Client,
    request: &Request,
    connections: usize,
    duration: Duration,
) -> Result<LoadResult, BenchError> {
    let began = Instant::now();
    let connection = async || {
        let mut latencies = Vec::new();
        while began.elapsed() < duration {
            let sent = Instant::now();
            send_request(client, request).await?;
            latencies.push(sent.elapsed().as_secs_f64());
        }
        Ok::<_, BenchError>(latencies)
    };
    let per_connection = try_join_all((0..connections).map(|_| connection())).await?;
    let latencies: Vec<f64> = per_connection.into_iter().flatten().collect();
    Ok(LoadResult {
        rate: as_f64(latencies.len()) / began.elapsed().as_secs_f64(),
        latencies,
    })
}

/// Sends the request once and reads the whole response.
pub(super) async fn send_request(client: &Client, request: &Request) -> Result<String, BenchError> {
    let failed = |reason: String| BenchError::RequestFailed {
        request: format!("{} {}", request.method(), request.url()),
        reason,
    };
    let copy = request
        .try_clone()
        .ok_or_else(|| failed("its body cannot be sent twice".into()))?;
    let response = client
        .execute(copy)
        .await
        .map_err(|error| failed(error.to_string()))?;
    let status = response.status();
    let text = response
        .text()
        .await
        .map_err(|error| failed(error.to_string()))?;
    if status.is_success() {
        Ok(text)
    } else {
        Err(failed(format!("{status}: {text}")))
    }
}

/// Converts a count to a floating-point number.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(super) const fn as_f64(number: usize) -> f64 {
    number as f64
}
