//! An instance of the stack, with its names and labels in the engine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::error::{ExitStatus, UserError};
use crate::error_code::ErrorCode;
use crate::labels;

/// The instance that commands use by default.
pub const DEFAULT_INSTANCE: &str = "default";

/// One running stack of a project: its own network, volumes, containers and ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// The project, with a digest of its directory, e.g. `dunder-mifflin-1f3a9c`.
    pub project: String,
    /// The instance's name.
    pub name: String,
    /// The project's directory.
    pub root: PathBuf,
}

/// The error for an invalid instance name.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{name}` is not a valid instance name: {reason}")]
pub struct InvalidInstanceName {
    name: String,
    reason: &'static str,
}

impl UserError for InvalidInstanceName {
    fn code(&self) -> ErrorCode {
        ErrorCode::InstanceName
    }

    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Usage
    }

    fn suggestions(&self) -> Vec<String> {
        vec![
            "use at most 32 lower-case letters, digits and dashes, for example `--instance review-7`"
                .into(),
        ]
    }
}

impl Instance {
    /// Creates the instance `name` of a project.
    ///
    /// # Errors
    /// Returns [`InvalidInstanceName`] if the name cannot be part of a host name.
    pub fn new(
        project: impl Into<String>,
        name: impl Into<String>,
        root: impl AsRef<Path>,
    ) -> Result<Self, InvalidInstanceName> {
        let name = name.into();
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let reason = if name.is_empty() {
            Some("the name is empty")
        } else if name.len() > 32 {
            Some("the name is longer than 32 characters")
        } else if !name.chars().all(allowed) {
            Some("the name has a character that is not allowed")
        } else if name.starts_with('-') || name.ends_with('-') {
            Some("the name begins or ends with a dash")
        } else {
            None
        };
        match reason {
            Some(reason) => Err(InvalidInstanceName { name, reason }),
            None => Ok(Self {
                project: project.into(),
                name,
                root: root.as_ref().to_owned(),
            }),
        }
    }

    /// Returns whether this is the default instance, which uses the ports of `dm.toml`.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.name == DEFAULT_INSTANCE
    }

    /// Returns the full name of a component's container.
    #[must_use]
    pub fn container_name(&self, component: &str) -> String {
        format!("{}-{}-{component}", self.project, self.name)
    }

    /// Returns the full name of a component's volume.
    #[must_use]
    pub fn volume_name(&self, component: &str) -> String {
        format!("{}-{}-{component}-data", self.project, self.name)
    }

    /// Returns the name of the volume that exists during a reset.
    #[must_use]
    pub fn reset_marker_volume(&self) -> String {
        self.volume_name("reset")
    }

    /// Returns the name of the network.
    #[must_use]
    pub fn network_name(&self) -> String {
        format!("{}-{}", self.project, self.name)
    }

    /// Returns the labels of every object of the instance.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            (labels::PROJECT.to_owned(), self.project.clone()),
            (labels::INSTANCE.to_owned(), self.name.clone()),
            (labels::ROOT.to_owned(), self.root.display().to_string()),
        ])
    }

    /// Returns the labels that select exactly the objects of the instance.
    #[must_use]
    pub fn label_filter(&self) -> [(&str, &str); 2] {
        [
            (labels::PROJECT, &self.project),
            (labels::INSTANCE, &self.name),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_contain_project_and_instance() {
        let instance = Instance::new("dunder-mifflin-1f3a9c", "review-7", "/p").unwrap();
        assert_eq!(
            instance.container_name("postgres"),
            "dunder-mifflin-1f3a9c-review-7-postgres"
        );
        assert_eq!(instance.network_name(), "dunder-mifflin-1f3a9c-review-7");
        assert!(!instance.is_default());
    }

    #[test]
    fn instance_name_that_is_no_dns_label_is_rejected() {
        for name in ["", "A", "a_b", "-a", "a-", "a b", "ä", &"x".repeat(33)] {
            assert!(
                Instance::new("p", name, "/").is_err(),
                "{name:?} was accepted"
            );
        }
    }
}
