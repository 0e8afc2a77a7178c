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

/// One instance of the stack with all that is needed to act on it.
#[derive(Debug)]
pub struct Stack {
    /// The engine that it runs on.
    pub engine: Engine,
    /// Where its images come from.
    pub images: ImageStore,
    /// Ends what is under way for images.
    pub images_cancel: CancellationToken,
    /// The instance.
    pub instance: Instance,
    /// The instance's ports on the host.
    pub ports: HostPorts,
    /// The project's folder.
    pub root: PathBuf,
    /// What the digests of its containers are keyed with.
    pub digest_key: DigestKey,
    /// Where `dm` keeps what it must remember.
    pub state_dir: PathBuf,
    /// The containers that stay up.
    pub components: Vec<Arc<dyn Component>>,
    /// The job that sets up the database.
    pub database: DatabaseSetup,
    /// How long components may take to become ready.
    pub wait_timeout: Duration,
    /// How often and how long to ask for readiness.
    pub probe_timing: ProbeTiming,
    /// How long a lock in the database is waited for.
    pub lock_timeout: std::time::Duration,
}

/// What can be wrong with a request to the stack.
#[derive(Debug, Error)]
pub enum StackError {
    /// There is no such component.
    #[error("there is no component `{name}`")]
    UnknownComponent {
        /// The name that was given.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// There is no such service.
    #[error("there is no service `{name}`")]
    UnknownService {
        /// The name that was given.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// An image that was there is not there any more.
    #[error("the image of {component} was removed while it was needed{}", image_suffix(image.as_deref()))]
    ImageRemoved {
        /// The component.
        component: String,
        /// What the image was called, where that is known.
        image: Option<String>,
    },
    /// What a component's container has of this machine can't be made.
    #[error(transparent)]
    Component(#[from] ComponentError),
    /// Somebody else's containers are on the instance's network.
    #[error("could not remove network {network}: it is used by {}", users.join(" and "))]
    NetworkInUse {
        /// The network.
        network: String,
        /// The containers.
        users: Vec<String>,
    },
    /// The engine refused.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// An image can't be had.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A component's tables can't be made.
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

/// What may have been meant by a name, and what names there are.
fn suggest_name(name: &str, what: &str, known: &[String]) -> Vec<String> {
    suggest::closest_match(name, known)
        .map(|nearest| format!("did you mean `{nearest}`?"))
        .into_iter()
        .chain([format!("the {what} are {}", known.join(", "))])
        .collect()
}

/// The component of that name.
///
/// # Errors
/// [`StackError::UnknownComponent`] with the nearest name.
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

/// The graph of these components and the stack's jobs.
///
/// # Errors
/// [`GraphError`] where components wait for each other.
pub(crate) fn build_graph(
    components: &[Arc<dyn Component>],
) -> Result<DependencyGraph, GraphError> {
    let components = components
        .iter()
        .map(|component| (component.name(), component.start_dependencies().to_vec()));
    let jobs = [(database_setup::NAME, vec![dm_components::postgres::NAME])];
    DependencyGraph::new(components.chain(jobs))
}

/// The names of the chosen components and of all that they need; everything
/// where none is chosen.
///
/// # Errors
/// [`StackError::UnknownComponent`] with the nearest name.
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
    // What a component needs has dependencies of its own, and needs.
    let mut wanted = graph.transitive_dependencies(only);
    loop {
        let needed: Vec<String> = components
            .iter()
            .filter(|component| wanted.contains(component.name()))
            .flat_map(|component| component.runtime_dependencies())
            .map(|&name| name.to_owned())
            .collect();
        let more = graph.transitive_dependencies(&needed);
        if more.is_subset(&wanted) {
            return Ok(wanted);
        }
        wanted.extend(more);
    }
}

impl Stack {
    /// Where components are set up.
    #[must_use]
    pub(crate) fn instance_layout(&self) -> InstanceLayout<'_> {
        InstanceLayout {
            instance: &self.instance,
            ports: &self.ports,
            root: &self.root,
            state_dir: &self.state_dir,
        }
    }

    /// The instance's containers, as they are now.
    ///
    /// # Errors
    /// The engine fails.
    pub async fn list_containers(&self) -> Result<Vec<Container>, EngineError> {
        self.engine
            .list_containers(&self.instance.label_filter())
            .await
    }

    /// The component of that name.
    ///
    /// # Errors
    /// [`StackError::UnknownComponent`] with the nearest name.
    pub(crate) fn component(&self, name: &str) -> Result<&Arc<dyn Component>, StackError> {
        find_component(&self.components, name)
    }

    /// What a component's container should be.
    ///
    /// # Errors
    /// Unreadable fixtures, or an image recipe that can't be.
    pub(crate) fn container_spec(
        &self,
        component: &dyn Component,
        site: &InstanceLayout<'_>,
    ) -> Result<ContainerSpec> {
        let mut spec = component.container_spec(site)?;
        spec.recipe = self.images.identity(component.image_name())?;
        spec.digest_key = self.digest_key.clone();
        Ok(spec)
    }

    /// The graph of all components and jobs.
    ///
    /// # Errors
    /// [`GraphError`] where components wait for each other.
    pub(crate) fn graph(&self) -> Result<DependencyGraph, GraphError> {
        build_graph(&self.components)
    }
}
