//! Where figures were measured: without it they say nothing.

use dm_engine::Engine;
use dm_host::resources;
use serde::Serialize;

/// Facts of the machine and of what ran on it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct MachineInfo {
    /// Processors that a process may use.
    pub(crate) processors: usize,
    /// What the processors call themselves.
    pub(crate) processor: Option<String>,
    /// Memory in bytes.
    pub(crate) memory: Option<u64>,
    /// The load average of the last minute at the beginning: what others did.
    pub(crate) load: Option<f64>,
    /// The engine and its version, e.g. `Docker 20.10.24`.
    pub(crate) engine: String,
    /// Its storage driver.
    pub(crate) storage: Option<String>,
    /// The version of docker-compose, where it ran.
    pub(crate) compose: Option<String>,
}

impl MachineInfo {
    /// This machine with its engine.
    pub(crate) async fn detect(engine: &Engine, compose: Option<String>) -> Self {
        let version = engine.version();
        Self {
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            processor: std::fs::read_to_string("/proc/cpuinfo")
                .ok()
                .and_then(|text| processor_model(&text)),
            memory: resources::read_memory_info().map(|memory| memory.total),
            load: std::fs::read_to_string("/proc/loadavg")
                .ok()
                .and_then(|text| text.split(' ').next()?.parse().ok()),
            engine: format!("{} {}", version.kind, version.engine),
            storage: engine
                .info()
                .await
                .ok()
                .map(|facts| facts.storage_driver.clone()),
            compose,
        }
    }
}

fn processor_model(cpuinfo: &str) -> Option<String> {
    cpuinfo.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim().to_owned())
    })
}
