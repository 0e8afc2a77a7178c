//! The machine on which metrics were measured.

use dm_engine::Engine;
use dm_host::resources;
use serde::Serialize;

/// The hardware and the load of a machine, and the versions of its engine and docker-compose.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct MachineInfo {
    /// The number of processors that a process may use.
    pub(crate) cpu_count: usize,
    /// The model name of the processors.
    pub(crate) cpu_model: Option<String>,
    /// The memory in bytes.
    pub(crate) memory_bytes: Option<u64>,
    /// The load average of the last minute before the measurement.
    pub(crate) load_average_1m: Option<f64>,
    /// The engine and its version, e.g. `Docker 20.10.24`.
    pub(crate) engine: String,
    /// The storage driver of the engine.
    pub(crate) storage_driver: Option<String>,
    /// The version of docker-compose, if it was measured.
    pub(crate) compose_version: Option<String>,
}

impl MachineInfo {
    /// Detects this machine and its engine.
    pub(crate) async fn detect(engine: &Engine, compose_version: Option<String>) -> Self {
        let version = engine.version();
        Self {
            cpu_count: std::thread::available_parallelism().map_or(1, usize::from),
            cpu_model: std::fs::read_to_string("/proc/cpuinfo")
                .ok()
                .and_then(|text| processor_model(&text)),
            memory_bytes: resources::read_memory_info().map(|memory| memory.total),
            load_average_1m: std::fs::read_to_string("/proc/loadavg")
                .ok()
                .and_then(|text| text.split(' ').next()?.parse().ok()),
            engine: format!("{} {}", version.kind, version.engine),
            storage_driver: engine
                .info()
                .await
                .ok()
                .map(|info| info.storage_driver.clone()),
            compose_version,
        }
    }
}

fn processor_model(cpuinfo: &str) -> Option<String> {
    cpuinfo.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim().to_owned())
    })
}
