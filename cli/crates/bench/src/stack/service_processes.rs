//! Measures the memory of the services, and the time until they are ready.

use std::time::{Duration, Instant};

use dm_components::http_client;
use dm_components::service::base_url;

use super::{BenchStack, Metric};
use crate::error::BenchError;

/// The interval between readiness requests.
const POLL_INTERVAL: Duration = Duration::from_millis(2);
/// The timeout for the readiness of a service.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The timeout for the stop of a service.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Measures the memory of all services.
pub(super) async fn measure_memory(
    stack: &BenchStack<'_>,
) -> Result<Vec<(Metric, f64)>, BenchError> {
    let mut bytes: u64 = 0;
    for (name, _) in stack.config().services.all() {
        bytes += stack
            .engine()
            .memory_usage(&stack.container(name))
            .await?
            .unwrap_or_default();
    }
    #[expect(clippy::cast_precision_loss, reason = "some hundred megabytes")]
    let bytes = bytes as f64;
    Ok(vec![(Metric::ServicesMemory, bytes)])
}

/// Measures the time from the start of the container, as reported by the engine, until the service
/// reports that it is ready. Each service is measured alone; the slowest counts.
pub(super) async fn measure_readiness(
    stack: &BenchStack<'_>,
) -> Result<Vec<(Metric, f64)>, BenchError> {
    let client = http_client()
        .timeout(Duration::from_secs(2))
        .build()
        .map_err(|error| BenchError::RequestFailed {
            request: "creating an HTTP client".into(),
            reason: error.to_string(),
        })?;
    let engine = stack.engine();
    let mut slowest: f64 = 0.0;
    for (name, _) in stack.config().services.all() {
        let container = stack.container(name);
        engine.stop_container(&container, STOP_TIMEOUT).await?;
        engine.start_container(&container).await?;
        let began = Instant::now();
        let url = format!("{}/health/ready", base_url(name, stack.ports()));
        loop {
            let response = client.get(&url).send().await;
            if response.is_ok_and(|response| response.status().is_success()) {
                break;
            }
            if began.elapsed() > TIMEOUT {
                return Err(BenchError::Timeout {
                    reason: format!("{name} was not ready"),
                    timeout: TIMEOUT,
                });
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        slowest = slowest.max(began.elapsed().as_secs_f64());
    }
    Ok(vec![(Metric::SlowestServiceReadyTime, slowest)])
}
