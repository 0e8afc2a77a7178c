//! What the services are as processes: memory, and the time until ready.

use std::time::{Duration, Instant};

use dm_components::http_client;
use dm_components::service::base_url;

use super::{BenchStack, Metric};
use crate::error::BenchError;

/// How often a service is asked whether it is ready.
const POLL_INTERVAL: Duration = Duration::from_millis(2);
/// How long one may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long a service may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// The memory of all services.
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
    #[expect(clippy::cast_precision_loss, reason = "some hundred millions")]
    let bytes = bytes as f64;
    Ok(vec![(Metric::ServicesMemory, bytes)])
}

/// The time from the engine's word that the container runs until the service says that
/// it is ready; the slowest of the seven, each alone.
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
            let answer = client.get(&url).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
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
    Ok(vec![(Metric::Ready, slowest)])
}
