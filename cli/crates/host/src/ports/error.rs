//! The errors of allocating ports, and the text of a taken port.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use dm_core::config_keys::port_key;
use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use thiserror::Error;

use super::PortOwner;
use crate::lock::LockError;
use crate::state::StateError;

/// An error of allocating ports.
#[derive(Debug, Error)]
pub enum PortError {
    /// Another process listens on a requested port.
    #[error("port {port} of {component} is {}", describe_taken(.owner.as_ref(), .container.as_deref()))]
    Taken {
        /// The port.
        port: u16,
        /// The component that requests it.
        component: String,
        /// The process that listens, or `None` if the system does not name it.
        owner: Option<PortOwner>,
        /// The container that publishes the port, if the owner is the engine. Set by
        /// [`PortError::with_container`].
        container: Option<String>,
    },
    /// The requested port is allocated to another instance, although no process listens.
    #[error("port {port} of {component} is reserved for instance {instance} of {}", root.display())]
    Reserved {
        /// The port.
        port: u16,
        /// The component that requests it.
        component: String,
        /// The instance to which it is allocated.
        instance: String,
        /// The project of that instance.
        root: PathBuf,
    },
    /// Two components of the same instance request the same port.
    #[error("{first} and {second} both require port {port}")]
    DuplicateRequest {
        /// The port.
        port: u16,
        /// The first component.
        first: String,
        /// The second component.
        second: String,
    },
    /// The range contains no free port.
    #[error("no free port is left between {} and {}", range.start(), range.end())]
    Exhausted {
        /// The range.
        range: RangeInclusive<u16>,
    },
    /// The registry cannot be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// The registry cannot be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// Returns the text of a taken port, for example `taken by postgres (pid 4211)`. The container
/// takes precedence over the process, which is the port forwarder of the engine.
#[must_use]
pub fn describe_taken(owner: Option<&PortOwner>, container: Option<&str>) -> String {
    match (container, owner) {
        (Some(container), _) => format!("taken by container {container}"),
        (None, Some(owner)) => format!("taken by {owner}"),
        (None, None) => "taken by an unknown process".into(),
    }
}

impl PortError {
    /// Sets the container that publishes the taken port.
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
        let use_auto = || "let dm choose free ports: dm up --ports auto".to_owned();
        let set_port =
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
                vec![use_auto(), stop, set_port(component)]
            }
            Self::Reserved {
                component,
                instance,
                root,
                ..
            } => vec![
                use_auto(),
                format!(
                    "or remove that instance: cd {} && dm down --instance {instance}",
                    root.display()
                ),
                set_port(component),
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
