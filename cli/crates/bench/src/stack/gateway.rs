//! Measures the overhead of the gateway: the same list through the gateway and from the service.

use std::time::Duration;

use dm_components::service::{GATEWAY, base_url};
use dm_contracts::headers;
use dm_gateway_client::{BrowserSession, RequestFailure};
use reqwest::Request;

use super::{BenchStack, Metric, http_load, percentile};
use crate::error::BenchError;

/// The user who sends the requests.
const USER: &str = "jhalpert";
/// The query of a client without orders, so that the list itself is cheap.
const QUERY: &str = "?clientId=client_of_nobody";
/// The number of connections for the measurement of the rate.
const CONNECTIONS: usize = 8;
/// The duration of each of the two measurements of a side.
const DURATION: Duration = Duration::from_secs(2);

/// Measures the ratio of the rates, and the added latency.
pub(super) async fn measure(stack: &BenchStack<'_>) -> Result<Vec<(Metric, f64)>, BenchError> {
    let client = http_load::build_client()?;
    let cookie = sign_in(stack).await?;
    let through_gateway = http_load::build_get(
        &client,
        &format!("{}/api/v1/orders{QUERY}", base_url(GATEWAY, stack.ports())),
        &[("cookie", cookie.as_str())],
    )?;
    let direct = http_load::build_get(
        &client,
        &format!(
            "{}/internal/orders{QUERY}",
            base_url("order", stack.ports())
        ),
        &[
            (headers::USER_ID, USER),
            (
                headers::GATEWAY_SECRET,
                stack.endpoints.gateway_secret.as_str(),
            ),
        ],
    )?;
    // Warms up connections, caches and keys. This is not measured.
    for side in [&direct, &through_gateway] {
        http_load::run_closed_loop(&client, side, CONNECTIONS, DURATION / 4).await?;
    }
    let median_latency = async |side: &Request| {
        let mut latencies = http_load::run_closed_loop(&client, side, 1, DURATION)
            .await?
            .latencies;
        Ok::<_, BenchError>(percentile(&mut latencies, 50.0))
    };
    let rate = async |side: &Request| {
        let load = http_load::run_closed_loop(&client, side, CONNECTIONS, DURATION).await?;
        Ok::<_, BenchError>(load.rate)
    };
    let added_latency = median_latency(&through_gateway).await? - median_latency(&direct).await?;
    let ratio = rate(&through_gateway).await? / rate(&direct).await?;
    Ok(vec![
        (Metric::GatewayThroughputRatio, ratio),
        (Metric::GatewayAddedLatency, added_latency),
    ])
}

/// Signs in like a browser. Returns the session cookie.
pub(super) async fn sign_in(stack: &BenchStack<'_>) -> Result<String, BenchError> {
    let sign_in_failed = |failure: RequestFailure| BenchError::RequestFailed {
        request: format!("signing in as {USER}"),
        reason: failure.message,
    };
    let browser = BrowserSession::sign_in(&stack.endpoints, USER)
        .await
        .map_err(sign_in_failed)?;
    browser.session_cookie().map_err(sign_in_failed)
}
