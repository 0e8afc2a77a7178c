//! Requests: as fast as they are answered, or at a rate.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use reqwest::{Client, Request};

use crate::error::BenchError;

/// What came of a load.
#[derive(Debug, Default)]
pub(super) struct LoadResult {
    /// Requests that were answered, a second.
    pub(super) rate: f64,
    /// How long each took, in seconds.
    pub(super) latencies: Vec<f64>,
}

/// Sends the request again and again on so many connections at once. Every answer has
/// to be a success: another one measures something else.
pub(super) async fn run_closed_loop(
    client: &Client,
    request: &Request,
    connections: usize,
    duration: Duration,
) -> Result<LoadResult, BenchError> {
    let began = Instant::now();
    let connection = async || {
        let mut took = Vec::new();
        while began.elapsed() < duration {
            let sent = Instant::now();
            send_request(client, request).await?;
            took.push(sent.elapsed().as_secs_f64());
        }
        Ok::<_, BenchError>(took)
    };
    let all = try_join_all((0..connections).map(|_| connection())).await?;
    let took: Vec<f64> = all.into_iter().flatten().collect();
    Ok(LoadResult {
        rate: as_f64(took.len()) / began.elapsed().as_secs_f64(),
        latencies: took,
    })
}

/// Sends the request once and reads the whole answer.
pub(super) async fn send_request(client: &Client, request: &Request) -> Result<String, BenchError> {
    let failed = |what: String| BenchError::RequestFailed {
        request: format!("{} {}", request.method(), request.url()),
        reason: what,
    };
    let copy = request
        .try_clone()
        .ok_or_else(|| failed("its body cannot be sent twice".into()))?;
    let answer = client
        .execute(copy)
        .await
        .map_err(|error| failed(error.to_string()))?;
    let status = answer.status();
    let text = answer
        .text()
        .await
        .map_err(|error| failed(error.to_string()))?;
    if status.is_success() {
        Ok(text)
    } else {
        Err(failed(format!("{status}: {text}")))
    }
}

/// A number of things as a number to divide by.
#[expect(
    clippy::cast_precision_loss,
    reason = "nothing here is counted up to 2^52"
)]
pub(super) const fn as_f64(number: usize) -> f64 {
    number as f64
}
