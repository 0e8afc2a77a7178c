//! The host ports of an instance and their allocation.

use std::collections::BTreeSet;
use std::sync::Arc;

use dm_components::{Component, HostPorts};
use dm_config::{LoadedConfig, ValueOrigin};
use dm_core::config_keys::port_key;
use dm_core::error::{ExitStatus, Result, UserError};
use dm_core::error_code::ErrorCode;
use dm_engine::Engine;
use dm_engine::containers::Container;
use dm_host::ports::{PortAllocator, PortError, PortMode, PortRequest};
use dm_stack::select_with_dependencies;
use thiserror::Error;

use super::Project;

/// How an operation obtains the ports of the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortUse<'a> {
    /// Allocates ports.
    Allocate {
        /// Whether free ports replace those of `dm.toml` that are taken. Instances other than
        /// the default one always get free ports.
        free: bool,
        /// Only for these components and their dependencies; for all if empty.
        only: &'a [String],
    },
    /// Uses the existing ports of the instance, or those of `dm.toml` if it has none.
    Existing,
    /// Like [`PortUse::Existing`], but allocates ports for an instance that has none: those of
    /// `dm.toml` may belong to another instance.
    ExistingOrAllocated,
}

/// The instance has no containers, or has never run.
#[derive(Debug, Error)]
#[error("instance {instance} is not running")]
pub(crate) struct InstanceNotRunning {
    instance: String,
}

impl InstanceNotRunning {
    fn new(project: &Project) -> Self {
        Self {
            instance: project.instance.name.clone(),
        }
    }
}

impl UserError for InstanceNotRunning {
    fn code(&self) -> ErrorCode {
        ErrorCode::ComponentNotRunning
    }

    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Component
    }

    fn suggestions(&self) -> Vec<String> {
        vec!["dm up".into()]
    }
}

/// Returns the ports that `dm.toml` configures, by name.
pub(super) fn configured_ports(loaded: &LoadedConfig) -> HostPorts {
    dm_components::all_components(&loaded.config, &loaded.root)
        .iter()
        .flat_map(|component| component.ports())
        .map(|port| (port.name.to_owned(), port.host_port))
        .collect()
}

/// Returns a warning for each port that a flag or a variable sets, but that has no effect
/// because the instance has another one.
pub(super) fn ignored_port_warnings(loaded: &LoadedConfig, ports: &HostPorts) -> Vec<String> {
    let entries = loaded.effective_values(None, false).unwrap_or_default();
    let explicit_entry = |name: &str| {
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
            let entry = explicit_entry(name)?;
            (entry.value != *port).then(|| {
                let (key, value) = (&entry.key, &entry.value);
                format!("{key} = {value} has no effect: the instance has its own port {port}")
            })
        })
        .collect()
}

/// Returns the ports of the instance's containers. They take precedence over the recorded
/// ports, which are used for components without a container.
///
/// # Errors
/// Fails for an instance without containers and recorded ports: a mistyped name must not lead to
/// the servers of another instance. Fails if the record cannot be read or the engine fails.
pub async fn existing_ports(project: &Project, engine: &Engine) -> Result<HostPorts> {
    let containers = engine
        .list_containers(&project.instance.label_filter())
        .await?;
    if has_no_ports(project, &containers)? {
        return Err(InstanceNotRunning::new(project).into());
    }
    container_ports(project, &containers)
}

/// Returns whether the instance has neither containers nor recorded ports.
pub(crate) fn has_no_ports(project: &Project, containers: &[Container]) -> Result<bool> {
    Ok(containers.is_empty() && project.recorded_ports()?.is_none())
}

/// Fails if an instance has no containers.
///
/// # Errors
/// Returns [`InstanceNotRunning`] then.
pub(crate) fn require_containers(project: &Project, containers: &[Container]) -> Result<()> {
    if containers.is_empty() {
        return Err(InstanceNotRunning::new(project).into());
    }
    Ok(())
}

/// Returns the ports of these containers, or the recorded ones of components without one.
pub(super) fn container_ports(project: &Project, containers: &[Container]) -> Result<HostPorts> {
    let mut ports = project.ports()?;
    for container in containers {
        ports.extend(container.ports.clone());
    }
    Ok(ports)
}

/// Returns the host ports that these containers occupy. A paused container occupies its ports
/// as well.
pub(super) fn held_ports(containers: &[Container]) -> BTreeSet<u16> {
    containers
        .iter()
        .filter(|container| container.state.is_active())
        .flat_map(|container| container.ports.values().copied())
        .collect()
}

/// Returns the configured ports of these components and their dependencies, or of all
/// components if `only` is empty.
pub(super) fn requested_ports(
    components: &[Arc<dyn Component>],
    only: &[String],
) -> Result<HostPorts> {
    let selected = select_with_dependencies(components, only)?;
    Ok(components
        .iter()
        .filter(|component| selected.contains(component.name()))
        .flat_map(|component| component.ports())
        .map(|port| (port.name.to_owned(), port.host_port))
        .collect())
}

/// Allocates the requested ports. `published` are those that the instance itself occupies.
///
/// # Errors
/// Returns [`PortError`] if a port is taken and no other one may be used.
pub(super) async fn allocate(
    project: &Project,
    engine: &Engine,
    free: bool,
    requested: &HostPorts,
    published: &BTreeSet<u16>,
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
        requested,
        mode,
        published,
    };
    match PortAllocator::new(project.state.clone()).allocate(&request) {
        Ok(ports) => Ok(ports),
        Err(error @ PortError::Taken { .. }) => {
            // Name the container instead of the port forwarder of the engine.
            let engine_ports = engine.list_published_ports().await?;
            let container = |port| {
                let published_port = engine_ports.get(&port);
                published_port.map(|published_port| published_port.container.clone())
            };
            Err(error.with_container(container).into())
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use dm_config::{Config, LoadOptions};

    use super::*;
    use crate::test_support;

    #[test]
    fn ignored_port_warnings_name_ports_of_flags_and_variables() {
        let directory = tempfile::tempdir().unwrap();
        let tables = "[rabbitmq]\nport = 5673\n";
        let overrides = [
            "keycloak.port=80",
            "postgres.port=5433",
            "rabbitmq.management_port=15673",
            "services.finance.port=9095",
        ];
        let project = test_support::project_with(directory.path(), tables, &overrides);
        let ports = [
            ("finance", 24_095),
            ("keycloak", 24_080),
            // The port of `--set`.
            ("postgres", 5433),
            // The file sets another port. Ports of the file cause no warning.
            ("rabbitmq", 24_672),
            ("rabbitmq-management", 24_673),
        ];
        let ports = HostPorts::from(ports.map(|(name, port)| (name.to_owned(), port)));
        assert_eq!(
            ignored_port_warnings(&project.loaded, &ports),
            [
                "services.finance.port = 9095 has no effect: the instance has its own port 24095",
                "keycloak.port = 80 has no effect: the instance has its own port 24080",
                "rabbitmq.management_port = 15673 has no effect: the instance has its own port 24673"
            ]
        );
        let options = LoadOptions {
            project_dir: Some(directory.path().to_owned()),
            ..LoadOptions::default()
        };
        let variable = ("DM_KEYCLOAK__PORT".into(), "80".into());
        let loaded = Config::load(&options, [variable]).unwrap();
        assert_eq!(
            ignored_port_warnings(&loaded, &ports),
            ["keycloak.port = 80 has no effect: the instance has its own port 24080"]
        );
    }
}
