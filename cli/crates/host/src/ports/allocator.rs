//! Which instance was given which ports.
//!
//! One file of the state directory records every allocation of this user on
//! this machine, and one lock guards it, so that no port is given out twice,
//! not even by two processes at the same moment. A record outlives its
//! containers: a stopped instance finds its ports again.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use dm_core::config_keys::port_key;
use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::{PortOwner, find_port_owner, is_free};
use crate::lock::LockError;
use crate::state::{StateDir, StateError};

const REGISTRY_FILE: &str = "ports.json";

/// The first port that is given out by [`Mode::Auto`].
const FIRST_AUTO_PORT: u16 = 20_000;

/// The last one where the system's ephemeral range begins so low that nothing
/// is left below it.
const LAST_FALLBACK_PORT: u16 = 29_999;

/// How ports are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortMode {
    /// Exactly the wanted ones, or an error that names who has them.
    Fixed,
    /// The wanted ones where `customary` and they are free, else others.
    Auto {
        /// Whether the instance may take the customary numbers at all: true
        /// for the default one, so that a second instance never keeps the
        /// first from starting.
        prefer_requested: bool,
    },
}

/// What ports are asked for.
#[derive(Debug, Clone, Copy)]
pub struct PortRequest<'a> {
    /// The project's identity, see [`crate::state::project_id`].
    pub project: &'a str,
    /// Where the project lies; once that is gone, its ports are free again.
    pub root: &'a Path,
    /// The instance.
    pub instance: &'a str,
    /// The wanted port of each component, by what it is called in messages,
    /// e.g. `postgres`.
    pub requested: &'a BTreeMap<String, u16>,
    /// How to choose.
    pub mode: PortMode,
    /// Ports that this instance's own containers publish right now: in use,
    /// and rightly so.
    pub published: &'a BTreeSet<u16>,
}

/// The ports of one instance, as recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortAllocation {
    /// The project's identity.
    pub project: String,
    /// Where the project lies.
    pub root: PathBuf,
    /// The instance.
    pub instance: String,
    /// Port by component.
    pub ports: BTreeMap<String, u16>,
}

/// Why ports could not be given.
#[derive(Debug, Error)]
pub enum PortError {
    /// Somebody listens on a wanted port.
    #[error("port {port} of {component} is taken by {}", describe_owner(.owner.as_ref(), .container.as_deref()))]
    Taken {
        /// The port.
        port: u16,
        /// The component that wants it.
        component: String,
        /// Who has it; `None` where the system doesn't say.
        owner: Option<PortOwner>,
        /// The container behind it, where the owner is the engine and the
        /// caller found out which ([`PortError::with_container`]).
        container: Option<String>,
    },
    /// Another instance was given the wanted port, though nobody listens now.
    #[error("port {port} of {component} is reserved for instance {instance} of {}", root.display())]
    Reserved {
        /// The port.
        port: u16,
        /// The component that wants it.
        component: String,
        /// The instance that has it.
        instance: String,
        /// The project of that instance.
        root: PathBuf,
    },
    /// Two components of the same instance want the same port.
    #[error("{first} and {second} both require port {port}")]
    DuplicateRequest {
        /// The port.
        port: u16,
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
    /// There is no free port left in the range.
    #[error("no free port is left between {} and {}", range.start(), range.end())]
    Exhausted {
        /// Where it was looked for.
        range: RangeInclusive<u16>,
    },
    /// The record can't be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// The record's lock can't be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
}

fn describe_owner(owner: Option<&PortOwner>, container: Option<&str>) -> String {
    match (container, owner) {
        (Some(container), _) => format!("container {container}"),
        (None, Some(owner)) => owner.to_string(),
        (None, None) => "a process of another user".into(),
    }
}

impl PortError {
    /// Fills in which container publishes the taken port.
    #[must_use]
    pub fn with_container(mut self, find: impl FnOnce(u16) -> Option<String>) -> Self {
        if let Self::Taken {
            port, container, ..
        } = &mut self
        {
            *container = find(*port);
        }
        self
    }
}

impl UserError for PortError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Taken { .. } => ErrorCode::PortTaken,
            Self::Reserved { .. } => ErrorCode::PortReserved,
            Self::DuplicateRequest { .. } => ErrorCode::PortTwice,
            Self::Exhausted { .. } => ErrorCode::PortExhausted,
            Self::State(error) => error.code(),
            Self::Lock(error) => error.code(),
        }
    }

    fn exit_status(&self) -> ExitStatus {
        match self {
            Self::State(error) => error.exit_status(),
            Self::Lock(error) => error.exit_status(),
            _ => ExitStatus::Usage,
        }
    }

    fn suggestions(&self) -> Vec<String> {
        let auto = || "let dm choose free ports: dm up --ports auto".to_owned();
        let set =
            |component: &str| format!("or set another port in dm.toml: {}", port_key(component));
        match self {
            Self::Taken {
                component,
                owner,
                container,
                ..
            } => {
                let stop = match (container, owner) {
                    (Some(container), _) => format!("or stop it: docker stop {container}"),
                    (None, Some(owner)) => format!("or stop it: kill {}", owner.pid),
                    (None, None) => "or identify the process as root: sudo dm doctor".into(),
                };
                vec![auto(), stop, set(component)]
            }
            Self::Reserved {
                component,
                instance,
                root,
                ..
            } => vec![
                auto(),
                format!(
                    "or remove that instance: cd {} && dm down --instance {instance}",
                    root.display()
                ),
                set(component),
            ],
            Self::DuplicateRequest { second, .. } => {
                vec![format!("set another port in dm.toml: {}", port_key(second))]
            }
            Self::Exhausted { .. } => vec!["dm doctor".into()],
            Self::State(error) => error.suggestions(),
            Self::Lock(error) => error.suggestions(),
        }
    }
}

/// Gives ports to instances and remembers them.
#[derive(Debug, Clone)]
pub struct PortAllocator {
    state: StateDir,
    range: RangeInclusive<u16>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct PortRegistry {
    allocations: Vec<PortAllocation>,
}

impl PortRegistry {
    fn find(&self, project: &str, instance: &str) -> Option<&PortAllocation> {
        self.allocations
            .iter()
            .find(|one| one.project == project && one.instance == instance)
    }

    fn remove(&mut self, project: &str, instance: &str) {
        self.allocations
            .retain(|one| one.project != project || one.instance != instance);
    }

    fn find_by_port(&self, port: u16) -> Option<&PortAllocation> {
        self.allocations
            .iter()
            .find(|one| one.ports.values().any(|held| *held == port))
    }
}

impl PortAllocator {
    /// The allocator whose record lies in `state`.
    #[must_use]
    pub fn new(state: StateDir) -> Self {
        Self {
            state,
            range: below_ephemeral(ephemeral_start()),
        }
    }

    /// Gives an instance its ports, and records them.
    ///
    /// What it was given before it gets again where that still fits: the port
    /// is free or its own, and in [`Mode::Fixed`] still the wanted one.
    ///
    /// # Errors
    /// [`PortError`]; nothing is recorded then.
    pub fn allocate(&self, request: &PortRequest<'_>) -> Result<BTreeMap<String, u16>, PortError> {
        ensure_distinct(request.requested)?;
        let _guard = self
            .state
            .lock("the record of ports", "ports")
            .lock_blocking()?;
        let mut record: PortRegistry = self.state.read(REGISTRY_FILE)?.unwrap_or_default();
        record.allocations.retain(|one| one.root.exists());
        let before = record
            .find(request.project, request.instance)
            .map(|one| one.ports.clone())
            .unwrap_or_default();
        record.remove(request.project, request.instance);

        // What isn't wanted this time keeps its port: an earlier run gave it.
        let mut ports: BTreeMap<String, u16> = before
            .iter()
            .filter(|(component, _)| !request.requested.contains_key(*component))
            .map(|(component, port)| (component.clone(), *port))
            .collect();
        for (component, wanted) in request.requested {
            let port = match request.mode {
                PortMode::Fixed => check_fixed_port(request, &record, component, *wanted)?,
                PortMode::Auto {
                    prefer_requested: customary,
                } => {
                    let fits = |port: u16| {
                        record.find_by_port(port).is_none()
                            && !ports.values().any(|given| *given == port)
                            && (request.published.contains(&port) || is_free(port))
                    };
                    before
                        .get(component)
                        .copied()
                        .into_iter()
                        .chain(customary.then_some(*wanted))
                        .find(|port| fits(*port))
                        .or_else(|| self.find_free_port(request, component, fits))
                        .ok_or_else(|| PortError::Exhausted {
                            range: self.range.clone(),
                        })?
                }
            };
            ports.insert(component.clone(), port);
        }
        record.allocations.push(PortAllocation {
            project: request.project.into(),
            root: request.root.into(),
            instance: request.instance.into(),
            ports: ports.clone(),
        });
        self.state.write(REGISTRY_FILE, &record)?;
        Ok(ports)
    }

    /// The first port that fits, beginning at one that depends on who asks:
    /// so an instance that is made anew tends to get the same ports.
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

    /// What an instance was given; `None` if nothing is recorded.
    ///
    /// # Errors
    /// [`PortError::State`] when the record can't be read.
    pub fn allocated_ports(
        &self,
        project: &str,
        instance: &str,
    ) -> Result<Option<BTreeMap<String, u16>>, PortError> {
        Ok(self
            .list()?
            .into_iter()
            .find(|one| one.project == project && one.instance == instance)
            .map(|one| one.ports))
    }

    /// All allocations, also those whose project is gone.
    ///
    /// # Errors
    /// [`PortError::State`] when the record can't be read.
    pub(crate) fn list(&self) -> Result<Vec<PortAllocation>, PortError> {
        // Reading needs no lock: the file is replaced whole.
        let record: Option<PortRegistry> = self.state.read(REGISTRY_FILE)?;
        Ok(record.unwrap_or_default().allocations)
    }

    /// Takes an instance's ports back; fine if it has none.
    ///
    /// # Errors
    /// [`PortError`] when the record can't be read or written.
    pub fn release(&self, project: &str, instance: &str) -> Result<(), PortError> {
        let _guard = self
            .state
            .lock("the record of ports", "ports")
            .lock_blocking()?;
        let mut record: PortRegistry = self.state.read(REGISTRY_FILE)?.unwrap_or_default();
        if record.find(project, instance).is_some() {
            record.remove(project, instance);
            self.state.write(REGISTRY_FILE, &record)?;
        }
        Ok(())
    }
}

fn check_fixed_port(
    request: &PortRequest<'_>,
    record: &PortRegistry,
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
    match record.find_by_port(port) {
        None => Ok(port),
        Some(other) => Err(PortError::Reserved {
            port,
            component: component.into(),
            instance: other.instance.clone(),
            root: other.root.clone(),
        }),
    }
}

fn ensure_distinct(wanted: &BTreeMap<String, u16>) -> Result<(), PortError> {
    let mut seen = BTreeMap::new();
    for (component, port) in wanted {
        if let Some(first) = seen.insert(*port, component) {
            return Err(PortError::DuplicateRequest {
                port: *port,
                first: first.clone(),
                second: component.clone(),
            });
        }
    }
    Ok(())
}

/// Where the system begins to hand out ports for outgoing connections. A port
/// from that range can be gone between the test and the use.
fn ephemeral_start() -> u16 {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        // The range that IANA suggests, which macOS uses.
        .unwrap_or(49_152)
}

fn below_ephemeral(start: u16) -> RangeInclusive<u16> {
    const ENOUGH: u16 = 1_000;
    if start >= FIRST_AUTO_PORT + ENOUGH {
        FIRST_AUTO_PORT..=start - 1
    } else {
        FIRST_AUTO_PORT..=LAST_FALLBACK_PORT
    }
}

#[cfg(test)]
mod tests;
