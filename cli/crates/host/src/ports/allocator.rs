//! Allocation of ports to instances.
//!
//! One file of the state directory records every allocation of this user on
//! this machine, and one lock guards it, so that no port is allocated twice,
//! even by parallel processes. An allocation outlives its containers: a stopped
//! instance keeps its ports.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{PortError, find_port_owner, is_free};
use crate::state::StateDir;

const REGISTRY_FILE: &str = "ports.json";

/// The first port that [`PortMode::Auto`] allocates.
const FIRST_AUTO_PORT: u16 = 20_000;

/// The last port if the system's ephemeral range begins so low that no ports remain below it.
const LAST_FALLBACK_PORT: u16 = 29_999;

/// The way ports are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortMode {
    /// Exactly the requested ports, or an error that names their owner.
    Fixed,
    /// The earlier port if it is free, else the requested one if `prefer_requested`, else another.
    Auto {
        /// Whether the instance may use the requested ports. It is true for the default
        /// instance only, so that a second instance never prevents the first from starting.
        prefer_requested: bool,
    },
}

/// A request for ports.
#[derive(Debug, Clone, Copy)]
pub struct PortRequest<'a> {
    /// The project's id, see [`crate::state::project_id`].
    pub project: &'a str,
    /// The project's directory. When it no longer exists, its ports are free again.
    pub root: &'a Path,
    /// The instance.
    pub instance: &'a str,
    /// The requested port of each component, by the component's name, e.g. `postgres`.
    pub requested: &'a BTreeMap<String, u16>,
    /// The way to choose.
    pub mode: PortMode,
    /// The ports that the instance's own containers currently publish. Their use is not a
    /// conflict.
    pub published: &'a BTreeSet<u16>,
}

/// The recorded ports of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortAllocation {
    /// The project's id.
    pub project: String,
    /// The project's directory.
    pub root: PathBuf,
    /// The instance.
    pub instance: String,
    /// The ports by component.
    pub ports: BTreeMap<String, u16>,
}

/// Allocates ports to instances and records them.
#[derive(Debug, Clone)]
pub struct PortAllocator {
    state: StateDir,
    range: RangeInclusive<u16>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct PortRegistry {
    allocations: Vec<PortAllocation>,
}

impl PortRegistry {
    fn find(&self, project: &str, instance: &str) -> Option<&PortAllocation> {
        let position = self.position(project, instance)?;
        self.allocations.get(position)
    }

    fn position(&self, project: &str, instance: &str) -> Option<usize> {
        self.allocations
            .iter()
            .position(|allocation| allocation.project == project && allocation.instance == instance)
    }

    fn remove(&mut self, project: &str, instance: &str) {
        self.allocations
            .retain(|allocation| allocation.project != project || allocation.instance != instance);
    }

    fn find_by_port(&self, port: u16) -> Option<&PortAllocation> {
        self.allocations.iter().find(|allocation| {
            allocation
                .ports
                .values()
                .any(|allocated| *allocated == port)
        })
    }
}

impl PortAllocator {
    /// Creates an allocator with its registry in `state`.
    #[must_use]
    pub fn new(state: StateDir) -> Self {
        Self {
            state,
            range: below_ephemeral(ephemeral_start()),
        }
    }

    /// Allocates the ports of an instance and records them.
    ///
    /// A component keeps its earlier port if that port is free or published by the instance, and
    /// in [`PortMode::Fixed`] still the requested one.
    ///
    /// # Errors
    /// Returns [`PortError`] if a port cannot be allocated. Nothing is recorded then.
    pub fn allocate(&self, request: &PortRequest<'_>) -> Result<BTreeMap<String, u16>, PortError> {
        ensure_distinct(request.requested)?;
        let _guard = self
            .state
            .lock("the port registry", "ports")
            .lock_blocking()?;
        let recorded: PortRegistry = self.state.read(REGISTRY_FILE)?.unwrap_or_default();
        let mut registry = recorded.clone();
        registry
            .allocations
            .retain(|allocation| allocation.root.exists());
        let earlier_ports = registry
            .find(request.project, request.instance)
            .map(|allocation| allocation.ports.clone())
            .unwrap_or_default();
        // The order stays, so that an unchanged allocation leaves the registry unchanged.
        let position = registry
            .position(request.project, request.instance)
            .unwrap_or(registry.allocations.len());
        registry.remove(request.project, request.instance);

        // A component that is not in this request keeps its port from an earlier run.
        let mut ports: BTreeMap<String, u16> = earlier_ports
            .iter()
            .filter(|(component, _)| !request.requested.contains_key(*component))
            .map(|(component, port)| (component.clone(), *port))
            .collect();
        for (component, requested) in request.requested {
            let port = match request.mode {
                PortMode::Fixed => check_fixed_port(request, &registry, component, *requested)?,
                PortMode::Auto { prefer_requested } => {
                    let fits = |port: u16| {
                        registry.find_by_port(port).is_none()
                            && !ports.values().any(|allocated| *allocated == port)
                            && (request.published.contains(&port) || is_free(port))
                    };
                    earlier_ports
                        .get(component)
                        .copied()
                        .into_iter()
                        .chain(prefer_requested.then_some(*requested))
                        .find(|port| fits(*port))
                        .or_else(|| self.find_free_port(request, component, fits))
                        .ok_or_else(|| PortError::Exhausted {
                            range: self.range.clone(),
                        })?
                }
            };
            ports.insert(component.clone(), port);
        }
        let allocation = PortAllocation {
            project: request.project.into(),
            root: request.root.into(),
            instance: request.instance.into(),
            ports: ports.clone(),
        };
        registry.allocations.insert(position, allocation);
        // A run that changes nothing must not wait for the disk.
        if registry != recorded {
            self.state.write(REGISTRY_FILE, &registry)?;
        }
        Ok(ports)
    }

    /// Returns the first port that fits. The search begins at a port that depends on the request,
    /// so that a recreated instance tends to get the same ports.
    fn find_free_port(
        &self,
        request: &PortRequest<'_>,
        component: &str,
        fits: impl Fn(u16) -> bool,
    ) -> Option<u16> {
        let (first, last) = (*self.range.start(), *self.range.end());
        let size = u32::from(last - first) + 1;
        let digest = Sha256::new()
            .chain_update(request.project)
            .chain_update([0])
            .chain_update(request.instance)
            .chain_update([0])
            .chain_update(component)
            .finalize();
        let start = digest
            .iter()
            .take(4)
            .fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
        (0..size)
            .filter_map(|step| {
                let offset = (start % size + step) % size;
                u16::try_from(u32::from(first) + offset).ok()
            })
            .find(|port| fits(*port))
    }

    /// Returns the ports of an instance, or `None` if none are recorded.
    ///
    /// # Errors
    /// Returns [`PortError::State`] if the registry cannot be read.
    pub fn allocated_ports(
        &self,
        project: &str,
        instance: &str,
    ) -> Result<Option<BTreeMap<String, u16>>, PortError> {
        Ok(self
            .list()?
            .into_iter()
            .find(|allocation| allocation.project == project && allocation.instance == instance)
            .map(|allocation| allocation.ports))
    }

    /// Returns all allocations, including those of projects that no longer exist.
    ///
    /// # Errors
    /// Returns [`PortError::State`] if the registry cannot be read.
    pub(crate) fn list(&self) -> Result<Vec<PortAllocation>, PortError> {
        // Reading needs no lock, because the file is replaced atomically.
        let registry: Option<PortRegistry> = self.state.read(REGISTRY_FILE)?;
        Ok(registry.unwrap_or_default().allocations)
    }

    /// Releases an instance's ports. Does nothing if it has none.
    ///
    /// # Errors
    /// Returns [`PortError`] if the registry cannot be locked, read or written.
    pub fn release(&self, project: &str, instance: &str) -> Result<(), PortError> {
        let _guard = self
            .state
            .lock("the port registry", "ports")
            .lock_blocking()?;
        let mut registry: PortRegistry = self.state.read(REGISTRY_FILE)?.unwrap_or_default();
        if registry.find(project, instance).is_some() {
            registry.remove(project, instance);
            self.state.write(REGISTRY_FILE, &registry)?;
        }
        Ok(())
    }
}

fn check_fixed_port(
    request: &PortRequest<'_>,
    registry: &PortRegistry,
    component: &str,
    port: u16,
) -> Result<u16, PortError> {
    if request.published.contains(&port) {
        return Ok(port);
    }
    if !is_free(port) {
        return Err(PortError::Taken {
            port,
            component: component.into(),
            owner: find_port_owner(port),
            container: None,
        });
    }
    match registry.find_by_port(port) {
        None => Ok(port),
        Some(other) => Err(PortError::Reserved {
            port,
            component: component.into(),
            instance: other.instance.clone(),
            root: other.root.clone(),
        }),
    }
}

fn ensure_distinct(requested: &BTreeMap<String, u16>) -> Result<(), PortError> {
    let mut components = BTreeMap::new();
    for (component, port) in requested {
        if let Some(first) = components.insert(*port, component) {
            return Err(PortError::DuplicateRequest {
                port: *port,
                first: first.clone(),
                second: component.clone(),
            });
        }
    }
    Ok(())
}

/// Returns the first port that the system assigns to outgoing connections. A port from that
/// range can be taken between the check and its use.
fn ephemeral_start() -> u16 {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        // The range of IANA, which macOS uses.
        .unwrap_or(49_152)
}

fn below_ephemeral(start: u16) -> RangeInclusive<u16> {
    const MIN_PORTS: u16 = 1_000;
    if start >= FIRST_AUTO_PORT + MIN_PORTS {
        FIRST_AUTO_PORT..=start - 1
    } else {
        FIRST_AUTO_PORT..=LAST_FALLBACK_PORT
    }
}

#[cfg(test)]
mod tests;
