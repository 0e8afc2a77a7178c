//! What the gateway costs: the same list by it and by the service itself.

use std::time::Duration;

use dm_components::http_client;
use dm_components::service::{GATEWAY, base_url};
use dm_gateway_client::{BrowserSession, GATEWAY_SECRET, RequestFailure};
use reqwest::header::HeaderValue;
use reqwest::{Client, Method, Request};

use super::{BenchStack, Metric, http_load, percentile};
use crate::error::BenchError;

/// Who asks.
const USER: &str = "jhalpert";
/// A client without orders: what the list itself costs is little.
const QUERY: &str = "?clientId=client_of_nobody";
/// How many ask at once where the rate is measured.
const CONNECTIONS: usize = 8;
/// How long each side is asked, twice.
const DURATION: Duration = Duration::from_secs(2);

/// The share of the rate, and the delay.
pub(super) async fn measure(stack: &BenchStack<'_>) -> Result<Vec<(Metric, f64)>, BenchError> {
    let client = http_client()
        .build()
        .map_err(|error| BenchError::RequestFailed {
            request: "creating an HTTP client".into(),
            reason: error.to_string(),
        })?;
    let refused = |fault: RequestFailure| BenchError::RequestFailed {
        request: format!("signing in as {USER}"),
        reason: fault.what,
    };
    let person = BrowserSession::sign_in(&stack.endpoints, USER)
        .await
        .map_err(refused)?;
    let cookie = person.session_cookie().map_err(refused)?;
    let by_gateway = build_request(
        &client,
        &format!("{}/api/v1/orders{QUERY}", base_url(GATEWAY, stack.ports())),
        ("cookie", &cookie),
    )?;
    let mut direct = build_request(
        &client,
        &format!(
            "{}/internal/orders{QUERY}",
            base_url("order", stack.ports())
        ),
        ("x-user-id", USER),
    )?;
    let secret = HeaderValue::from_str(&stack.endpoints.gateway_secret);
    let secret = secret.map_err(|error| BenchError::RequestFailed {
        request: "creating a request".into(),
        reason: error.to_string(),
    })?;
    direct.headers_mut().insert(GATEWAY_SECRET, secret);
    // Connections, caches and keys, which are not measured.
    for side in [&direct, &by_gateway] {
        http_load::run_closed_loop(&client, side, CONNECTIONS, DURATION / 4).await?;
    }
    let one = async |side: &Request| {
        let mut took = http_load::run_closed_loop(&client, side, 1, DURATION)
            .await?
            .latencies;
        Ok::<_, BenchError>(percentile(&mut took, 50.0))
    };
    let many = async |side: &Request| {
        let load = http_load::run_closed_loop(&client, side, CONNECTIONS, DURATION).await?;
        Ok::<_, BenchError>(load.rate)
    };
    let delay = one(&by_gateway).await? - one(&direct).await?;
    let share = many(&by_gateway).await? / many(&direct).await?;
    Ok(vec![
        (Metric::GatewayRate, share),
        (Metric::GatewayDelay, delay),
    ])
}

fn build_request(client: &Client, url: &str, header: (&str, &str)) -> Result<Request, BenchError> {
    client
        .request(Method::GET, url)
        .header(header.0, header.1)
        .build()
        .map_err(|error| BenchError::RequestFailed {
            request: format!("GET {url}"),
            reason: error.to_string(),
        })
}
