//! The host's ports that an instance has, and how it gets them.

use std::collections::BTreeSet;
use std::sync::Arc;

use dm_components::{Component, HostPorts};
use dm_config::{LoadedConfig, ValueOrigin};
use dm_core::config_keys::port_key;
use dm_core::error::Result;
use dm_engine::Engine;
use dm_engine::containers::{Container, ContainerState};
use dm_host::ports::{PortAllocator, PortError, PortMode, PortRequest};
use dm_stack::select_with_dependencies;

use super::Project;

/// How an operation needs the instance's ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortUse<'a> {
    /// Allocate them.
    Allocate {
        /// Free ones where those of `dm.toml` are taken; every instance but the
        /// default one gets free ones anyway.
        free: bool,
        /// For these components and what they need; for all where empty.
        only: &'a [String],
    },
    /// Those that the instance has.
    Existing,
}

/// The ports that `dm.toml` asks for, by name.
pub(super) fn configured_ports(loaded: &LoadedConfig) -> HostPorts {
    dm_components::all_components(&loaded.config, &loaded.root)
        .iter()
        .flat_map(|component| component.ports())
        .map(|wish| (wish.name.to_owned(), wish.host_port))
        .collect()
}

/// What was said of ports for this call alone and has no effect, since the instance got
/// others.
pub(super) fn ignored_port_warnings(loaded: &LoadedConfig, ports: &HostPorts) -> Vec<String> {
    let entries = loaded.effective_values(None, false).unwrap_or_default();
    let explicit = |name: &str| {
        let key = port_key(name);
        entries.iter().find(|entry| {
            entry.key == key
                && matches!(
                    entry.origin,
                    Some(ValueOrigin::Flag { .. } | ValueOrigin::Variable { .. })
                )
        })
    };
    ports
        .iter()
        .filter_map(|(name, port)| {
            let entry = explicit(name)?;
            (entry.value != *port).then(|| {
                let (key, value) = (&entry.key, &entry.value);
                format!("{key} = {value} has no effect: the instance has its own port {port}")
            })
        })
        .collect()
}

/// The ports of the instance's containers, which are the truth; those recorded
/// where there are no containers.
///
/// # Errors
/// An unreadable record, or a failing engine.
pub async fn existing_ports(project: &Project, engine: &Engine) -> Result<HostPorts> {
    let containers = engine
        .list_containers(&project.instance.label_filter())
        .await?;
    container_ports(project, &containers)
}

/// The ports of these containers; those recorded where they have none.
pub(super) fn container_ports(project: &Project, containers: &[Container]) -> Result<HostPorts> {
    let mut ports = project.ports()?;
    for container in containers {
        ports.extend(container.ports.clone());
    }
    Ok(ports)
}

/// The ports that these containers hold. A paused one does just as a running one.
pub(super) fn held_ports(containers: &[Container]) -> BTreeSet<u16> {
    let holding = [
        ContainerState::Running,
        ContainerState::Paused,
        ContainerState::Restarting,
    ];
    containers
        .iter()
        .filter(|container| holding.contains(&container.state))
        .flat_map(|container| container.ports.values().copied())
        .collect()
}

/// The ports that these components and what they need ask for; those of all where none is
/// named.
pub(super) fn requested_ports(
    components: &[Arc<dyn Component>],
    only: &[String],
) -> Result<HostPorts> {
    let selected = select_with_dependencies(components, only)?;
    Ok(components
        .iter()
        .filter(|component| selected.contains(component.name()))
        .flat_map(|component| component.ports())
        .map(|wish| (wish.name.to_owned(), wish.host_port))
        .collect())
}

/// The ports for the wanted ones; `ours` are held by the instance itself.
///
/// # Errors
/// A port is taken, and no other one will do.
pub(super) async fn allocate(
    project: &Project,
    engine: &Engine,
    free: bool,
    wanted: &HostPorts,
    ours: &BTreeSet<u16>,
) -> Result<HostPorts> {
    let mode = if free || !project.instance.is_default() {
        PortMode::Auto {
            prefer_requested: project.instance.is_default(),
        }
    } else {
        PortMode::Fixed
    };
    let request = PortRequest {
        project: &project.instance.project,
        root: &project.instance.root,
        instance: &project.instance.name,
        requested: wanted,
        mode,
        published: ours,
    };
    match PortAllocator::new(project.state.clone()).allocate(&request) {
        Ok(ports) => Ok(ports),
        Err(error @ PortError::Taken { .. }) => {
            // The engine's own forwarder is nobody that a person could stop.
            let published = engine.list_published_ports().await?;
            let container = |port| published.get(&port).map(|it| it.container.clone());
            Err(error.with_container(container).into())
        }
        Err(error) => Err(error.into()),
    }
}
