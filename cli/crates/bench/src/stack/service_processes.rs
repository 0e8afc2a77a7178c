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

/// Measures the time until a service is ready. Each service is restarted alone; the slowest counts.
pub(super) async fn measure_readiness(
    stack: &BenchStack<'_>,
) -> Result<Vec<(Metric, f64)>, BenchError> {
    let mut slowest: f64 = 0.0;
    for (name, _) in stack.config().services.all() {
        let duration = restart_service(stack, name).await?;
        slowest = slowest.max(duration.as_secs_f64());
    }
    Ok(vec![(Metric::SlowestServiceReadyTime, slowest)])
}

/// Restarts a service. Returns the time from the start of the container, as reported by the engine,
/// until the service reports that it is ready.
pub(super) async fn restart_service(
    stack: &BenchStack<'_>,
    name: &str,
) -> Result<Duration, BenchError> {
    let client = http_client()
        .timeout(Duration::from_secs(2))
        .build()
        .map_err(|error| BenchError::RequestFailed {
            request: "creating an HTTP client".into(),
            reason: error.to_string(),
        })?;
    let engine = stack.engine();
    let container = stack.container(name);
    engine.stop_container(&container, STOP_TIMEOUT).await?;
    engine.start_container(&container).await?;
    let began = Instant::now();
    let url = format!("{}/health/ready", base_url(name, stack.ports()));
    loop {
        let response = client.get(&url).send().await;
        if response.is_ok_and(|response| response.status().is_success()) {
            return Ok(began.elapsed());
        }
        if began.elapsed() > TIMEOUT {
            return Err(BenchError::Timeout {
                reason: format!("{name} was not ready"),
                timeout: TIMEOUT,
            });
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Returns the peak memory of a service since its start, in bytes: the resident set of its process.
/// `None` if this machine does not run the process or does not report its memory.
pub(super) async fn peak_memory(
    stack: &BenchStack<'_>,
    name: &str,
) -> Result<Option<u64>, BenchError> {
    let labels = stack.clients.project.instance.label_filter();
    let containers = stack.engine().list_containers(&labels).await?;
    let name = stack.container(name);
    let container = containers.iter().find(|container| container.name == name);
    Ok(container.and_then(|container| read_peak_memory(&container.id)))
}

/// Returns the peak memory of the process in a container, in bytes. The control group of a process
/// names its container.
#[cfg(target_os = "linux")]
fn read_peak_memory(container_id: &str) -> Option<u64> {
    let processes = procfs::process::all_processes().ok()?.flatten();
    let is_inside = |process: &procfs::process::Process| {
        let mut groups = process.cgroups().into_iter().flatten();
        groups.any(|group| group.pathname.contains(container_id))
    };
    let peaks = processes
        .filter(is_inside)
        .filter_map(|process| process.status().ok()?.vmhwm);
    // procfs reports kibibytes.
    peaks.max().map(|peak| peak * 1024)
}

#[cfg(not(target_os = "linux"))]
fn read_peak_memory(_: &str) -> Option<u64> {
    None
}
