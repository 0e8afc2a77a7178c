//! The stack of an instance: its graph, its plan, the executor and readiness.

pub mod down;
pub mod event;
pub mod executor;
pub mod failure;
pub mod golden;
pub mod golden_build;
mod graph;
pub mod image_progress;
mod local_images;
mod plan;
mod prebuilt_schema;
pub mod readiness;
pub mod reset;
pub mod restart;
pub mod service_build;
pub mod status;
pub mod status_collector;
#[cfg(test)]
mod test_fixtures;
pub mod timings;
pub mod up;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dm_components::database_setup::{self, DatabaseSetup};
use dm_components::prebuilt_schema::PrebuiltSchemaError;
use dm_components::{Component, ComponentError, HostPorts, InstanceLayout};
use dm_core::error::{CompilerError, ExitStatus, Result, UserError};
use dm_core::error_code::ErrorCode;
use dm_core::instance::Instance;
use dm_core::suggest;
use dm_engine::containers::Container;
use dm_engine::spec::{ContainerSpec, DigestKey};
use dm_engine::{Engine, EngineError};
use dm_images::{ImageError, ImageStore};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use graph::{DependencyGraph, GraphError};
use readiness::ProbeTiming;

/// One instance of the stack, with the clients and settings that a command needs.
#[derive(Debug)]
pub struct Stack {
    /// The engine on which it runs.
    pub engine: Engine,
    /// The store of its images.
    pub images: ImageStore,
    /// Cancels pulls and builds in progress.
    pub images_cancel: CancellationToken,
    /// The instance.
    pub instance: Instance,
    /// The instance's ports on the host.
    pub ports: HostPorts,
    /// The project's directory.
    pub root: PathBuf,
    /// The key of its containers' digests.
    pub digest_key: DigestKey,
    /// The directory in which `dm` keeps its state.
    pub state_dir: PathBuf,
    /// The components, each with a long-running container.
    pub components: Vec<Arc<dyn Component>>,
    /// The job that sets up the database.
    pub database: DatabaseSetup,
    /// How long components may take to become ready.
    pub wait_timeout: Duration,
    /// The interval and the timeout of readiness probes.
    pub probe_timing: ProbeTiming,
    /// How long to wait for a lock in the database.
    pub lock_timeout: std::time::Duration,
}

/// An error of a request to the stack.
#[derive(Debug, Error)]
pub enum StackError {
    /// The stack has no component with this name.
    #[error("there is no component `{name}`")]
    UnknownComponent {
        /// The requested name.
        name: String,
        /// The existing names.
        known: Vec<String>,
    },
    /// The stack has no service with this name.
    #[error("there is no service `{name}`")]
    UnknownService {
        /// The requested name.
        name: String,
        /// The existing names.
        known: Vec<String>,
    },
    /// An image was removed while a run needed it.
    #[error("the image of {component} was removed while it was needed{}", image_suffix(image.as_deref()))]
    ImageRemoved {
        /// The component.
        component: String,
        /// The name of the image, if known.
        image: Option<String>,
    },
    /// A file or host path of a component is unusable.
    #[error(transparent)]
    Component(#[from] ComponentError),
    /// Containers outside the instance use its network.
    #[error("could not remove network {network}: it is used by {}", users.join(" and "))]
    NetworkInUse {
        /// The network.
        network: String,
        /// The containers.
        users: Vec<String>,
    },
    /// An engine request failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// An image could not be pulled, built or found.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A component's tables could not be created.
    #[error(transparent)]
    PrebuiltSchema(#[from] PrebuiltSchemaError),
}

fn image_suffix(image: Option<&str>) -> String {
    image.map(|image| format!(": {image}")).unwrap_or_default()
}

impl UserError for StackError {
    fn log_tail(&self) -> &[String] {
        match self {
            Self::Image(error) => error.log_tail(),
            _ => &[],
        }
    }

    fn compiler_errors(&self) -> &[CompilerError] {
        match self {
            Self::Image(error) => error.compiler_errors(),
            _ => &[],
        }
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownComponent { .. } => ErrorCode::ComponentUnknown,
            Self::UnknownService { .. } => ErrorCode::ServiceUnknown,
            Self::ImageRemoved { .. } => ErrorCode::ImageRemoved,
            Self::Component(error) => error.code(),
            Self::NetworkInUse { .. } => ErrorCode::NetworkInUse,
            Self::Engine(error) => error.code(),
            Self::Image(error) => error.code(),
            Self::PrebuiltSchema(error) => error.code(),
        }
    }

    fn exit_status(&self) -> ExitStatus {
        match self {
            Self::UnknownComponent { .. } | Self::UnknownService { .. } => ExitStatus::Usage,
            Self::ImageRemoved { .. } => ExitStatus::Component,
            Self::Component(error) => error.exit_status(),
            Self::NetworkInUse { .. } => ExitStatus::Engine,
            Self::Engine(error) => error.exit_status(),
            Self::Image(error) => error.exit_status(),
            Self::PrebuiltSchema(error) => error.exit_status(),
        }
    }

    fn suggestions(&self) -> Vec<String> {
        match self {
            Self::UnknownComponent { name, known } => suggest_name(name, "components", known),
            Self::UnknownService { name, known } => suggest_name(name, "services", known),
            Self::ImageRemoved { .. } => vec!["dm up".into()],
            Self::Component(error) => error.suggestions(),
            Self::NetworkInUse { network, users } => users
                .iter()
                .map(|user| format!("docker network disconnect {network} {user}"))
                .chain(["dm down".into()])
                .collect(),
            Self::Engine(error) => error.suggestions(),
            Self::Image(error) => error.suggestions(),
            Self::PrebuiltSchema(error) => error.suggestions(),
        }
    }
}

/// Suggests the nearest name, and lists the existing ones.
fn suggest_name(name: &str, plural: &str, known: &[String]) -> Vec<String> {
    suggest::closest_match(name, known)
        .map(|nearest| format!("did you mean `{nearest}`?"))
        .into_iter()
        .chain([format!("the {plural} are {}", known.join(", "))])
        .collect()
}

/// Returns the component with this name.
///
/// # Errors
/// Returns [`StackError::UnknownComponent`] if no component has a requested name.
pub fn find_component<'a>(
    components: &'a [Arc<dyn Component>],
    name: &str,
) -> Result<&'a Arc<dyn Component>, StackError> {
    components
        .iter()
        .find(|component| component.name() == name)
        .ok_or_else(|| StackError::UnknownComponent {
            name: name.to_owned(),
            known: components
                .iter()
                .map(|component| component.name().to_owned())
                .collect(),
        })
}

/// Builds the graph of these components and the stack's jobs.
///
/// # Errors
/// Returns [`GraphError`] if components depend on each other in a cycle.
pub(crate) fn build_graph(
    components: &[Arc<dyn Component>],
) -> Result<DependencyGraph, GraphError> {
    let components = components
        .iter()
        .map(|component| (component.name(), component.start_dependencies().to_vec()));
    let jobs = [(database_setup::NAME, vec![dm_components::postgres::NAME])];
    DependencyGraph::new(components.chain(jobs))
}

/// Returns the names of the requested components and of everything that they
/// need, or all names if `only` is empty.
///
/// # Errors
/// Returns [`StackError::UnknownComponent`] if no component has a requested name.
pub fn select_with_dependencies(
    components: &[Arc<dyn Component>],
    only: &[String],
) -> Result<BTreeSet<String>> {
    let graph = build_graph(components)?;
    if only.is_empty() {
        return Ok(graph.nodes().map(str::to_owned).collect());
    }
    for name in only {
        find_component(components, name)?;
    }
    // A runtime dependency has start and runtime dependencies of its own.
    let mut selected = graph.transitive_dependencies(only);
    loop {
        let needed: Vec<String> = components
            .iter()
            .filter(|component| selected.contains(component.name()))
            .flat_map(|component| component.runtime_dependencies())
            .map(|&name| name.to_owned())
            .collect();
        let more = graph.transitive_dependencies(&needed);
        if more.is_subset(&selected) {
            return Ok(selected);
        }
        selected.extend(more);
    }
}

impl Stack {
    /// Returns the layout for which components are configured.
    #[must_use]
    pub(crate) fn instance_layout(&self) -> InstanceLayout<'_> {
        InstanceLayout {
            instance: &self.instance,
            ports: &self.ports,
            root: &self.root,
            state_dir: &self.state_dir,
        }
    }

    /// Lists the instance's containers.
    ///
    /// # Errors
    /// Returns [`EngineError`] if the engine request fails.
    pub async fn list_containers(&self) -> Result<Vec<Container>, EngineError> {
        self.engine
            .list_containers(&self.instance.label_filter())
            .await
    }

    /// Returns the component with this name.
    ///
    /// # Errors
    /// Returns [`StackError::UnknownComponent`] if no component has a requested name.
    pub(crate) fn component(&self, name: &str) -> Result<&Arc<dyn Component>, StackError> {
        find_component(&self.components, name)
    }

    /// Returns the desired specification of a component's container.
    ///
    /// # Errors
    /// If a fixture cannot be read or the image recipe is invalid.
    pub(crate) fn container_spec(
        &self,
        component: &dyn Component,
        layout: &InstanceLayout<'_>,
    ) -> Result<ContainerSpec> {
        let mut spec = component.container_spec(layout)?;
        spec.recipe = self.images.identity(component.image_name())?;
        spec.digest_key = self.digest_key.clone();
        Ok(spec)
    }

    /// Builds the graph of all components and jobs.
    ///
    /// # Errors
    /// Returns [`GraphError`] if components depend on each other in a cycle.
    pub(crate) fn graph(&self) -> Result<DependencyGraph, GraphError> {
        build_graph(&self.components)
    }
}
