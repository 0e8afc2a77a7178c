//! The stack of an instance: its graph, its plan, the executor and readiness.

pub mod compile;
pub mod down;
pub mod event;
#[cfg(test)]
mod examples;
pub mod executor;
pub mod failure;
pub mod golden;
mod graph;
pub mod images;
pub mod inspect;
mod local;
mod plan;
pub mod readiness;
mod recorded;
pub mod reset;
pub mod restart;
pub mod scratch;
pub mod status;
pub mod timings;
pub mod up;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dm_components::database::{self, Database};
use dm_components::recorded::RecordedError;
use dm_components::{Component, ComponentError, Ports, Site};
use dm_core::error::{Coded, Exit, Result, SourceError};
use dm_core::error_code::ErrorCode;
use dm_core::instance::Instance;
use dm_core::suggest;
use dm_engine::containers::Container;
use dm_engine::spec::{ContainerSpec, DigestKey};
use dm_engine::{Engine, EngineError};
use dm_images::{ImageError, Images};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use graph::{Graph, GraphError};
use readiness::Pace;

/// One instance of the stack with all that is needed to act on it.
#[derive(Debug)]
pub struct Stack {
    /// The engine that it runs on.
    pub engine: Engine,
    /// Where its images come from.
    pub images: Images,
    /// Ends what is under way for images.
    pub images_cancel: CancellationToken,
    /// The instance.
    pub instance: Instance,
    /// The instance's ports on the host.
    pub ports: Ports,
    /// The project's folder.
    pub root: PathBuf,
    /// What the digests of its containers are keyed with.
    pub key: DigestKey,
    /// Where `dm` keeps what it must remember.
    pub state: PathBuf,
    /// The containers that stay up.
    pub components: Vec<Arc<dyn Component>>,
    /// The job that sets up the database.
    pub database: Database,
    /// How long components may take to become ready.
    pub wait: Duration,
    /// How often and how long to ask for readiness.
    pub pace: Pace,
    /// How long a lock in the database is waited for.
    pub lock_patience: std::time::Duration,
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
    #[error("the image of {component} was removed while it was needed{}", named(image.as_deref()))]
    ImageGone {
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
    Recorded(#[from] RecordedError),
}

fn named(image: Option<&str>) -> String {
    image.map(|image| format!(": {image}")).unwrap_or_default()
}

impl Coded for StackError {
    fn log(&self) -> &[String] {
        match self {
            Self::Image(error) => error.log(),
            _ => &[],
        }
    }

    fn source_errors(&self) -> &[SourceError] {
        match self {
            Self::Image(error) => error.source_errors(),
            _ => &[],
        }
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownComponent { .. } => ErrorCode::ComponentUnknown,
            Self::UnknownService { .. } => ErrorCode::ServiceUnknown,
            Self::ImageGone { .. } => ErrorCode::ImageRemoved,
            Self::Component(error) => error.code(),
            Self::NetworkInUse { .. } => ErrorCode::NetworkInUse,
            Self::Engine(error) => error.code(),
            Self::Image(error) => error.code(),
            Self::Recorded(error) => error.code(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::UnknownComponent { .. } | Self::UnknownService { .. } => Exit::Usage,
            Self::ImageGone { .. } => Exit::Component,
            Self::Component(error) => error.exit(),
            Self::NetworkInUse { .. } => Exit::Engine,
            Self::Engine(error) => error.exit(),
            Self::Image(error) => error.exit(),
            Self::Recorded(error) => error.exit(),
        }
    }

    fn next(&self) -> Vec<String> {
        match self {
            Self::UnknownComponent { name, known } => nearest(name, "components", known),
            Self::UnknownService { name, known } => nearest(name, "services", known),
            Self::ImageGone { .. } => vec!["dm up".into()],
            Self::Component(error) => error.next(),
            Self::NetworkInUse { network, users } => users
                .iter()
                .map(|user| format!("docker network disconnect {network} {user}"))
                .chain(["dm down".into()])
                .collect(),
            Self::Engine(error) => error.next(),
            Self::Image(error) => error.next(),
            Self::Recorded(error) => error.next(),
        }
    }
}

/// What may have been meant by a name, and what names there are.
fn nearest(name: &str, what: &str, known: &[String]) -> Vec<String> {
    suggest::nearest(name, known)
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
pub(crate) fn graph_of(components: &[Arc<dyn Component>]) -> Result<Graph, GraphError> {
    let components = components
        .iter()
        .map(|component| (component.name(), component.after().to_vec()));
    let jobs = [(database::NAME, vec![dm_components::postgres::NAME])];
    Graph::new(components.chain(jobs))
}

/// The names of the chosen components and of all that they need; everything
/// where none is chosen.
///
/// # Errors
/// [`StackError::UnknownComponent`] with the nearest name.
pub fn select(components: &[Arc<dyn Component>], only: &[String]) -> Result<BTreeSet<String>> {
    let graph = graph_of(components)?;
    if only.is_empty() {
        return Ok(graph.nodes().map(str::to_owned).collect());
    }
    for name in only {
        find_component(components, name)?;
    }
    // What a component needs has dependencies of its own, and needs.
    let mut wanted = graph.with_dependencies(only);
    loop {
        let needed: Vec<String> = components
            .iter()
            .filter(|component| wanted.contains(component.name()))
            .flat_map(|component| component.needs())
            .map(|&name| name.to_owned())
            .collect();
        let more = graph.with_dependencies(&needed);
        if more.is_subset(&wanted) {
            return Ok(wanted);
        }
        wanted.extend(more);
    }
}

impl Stack {
    /// Where components are set up.
    #[must_use]
    pub(crate) fn site(&self) -> Site<'_> {
        Site {
            instance: &self.instance,
            ports: &self.ports,
            root: &self.root,
            state: &self.state,
        }
    }

    /// The instance's containers, as they are now.
    ///
    /// # Errors
    /// The engine fails.
    pub async fn containers(&self) -> Result<Vec<Container>, EngineError> {
        self.engine.containers(&self.instance.filter()).await
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
    pub(crate) fn specify(
        &self,
        component: &dyn Component,
        site: &Site<'_>,
    ) -> Result<ContainerSpec> {
        let mut spec = component.specify(site)?;
        spec.recipe = self.images.identity(component.image())?;
        spec.key = self.key.clone();
        Ok(spec)
    }

    /// The graph of all components and jobs.
    ///
    /// # Errors
    /// [`GraphError`] where components wait for each other.
    pub(crate) fn graph(&self) -> Result<Graph, GraphError> {
        graph_of(&self.components)
    }
}
