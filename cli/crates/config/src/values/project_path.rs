//! Paths relative to the project.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::InvalidValue;

/// The path of a file or a directory. A relative path is relative to the project's directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct ProjectPath(PathBuf);

impl ProjectPath {
    /// Returns the path as it was written.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// Returns the path resolved against the project's directory `root`.
    #[must_use]
    pub fn in_project(&self, root: &Path) -> PathBuf {
        root.join(&self.0)
    }
}

impl TryFrom<String> for ProjectPath {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        if text.is_empty() {
            return Err(InvalidValue::new("a path cannot be empty"));
        }
        if text.starts_with('~') {
            return Err(InvalidValue::new("`~` is not expanded")
                .with_help("write the path in full, or relative to dm.toml"));
        }
        if text.contains('\0') {
            return Err(InvalidValue::new("a path cannot contain a NUL character"));
        }
        Ok(Self(PathBuf::from(text)))
    }
}

impl std::fmt::Display for ProjectPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.display().fmt(f)
    }
}

impl JsonSchema for ProjectPath {
    fn schema_name() -> Cow<'static, str> {
        "Path".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "title": "Path", "type": "string", "minLength": 1 })
    }

    fn inline_schema() -> bool {
        true
    }
}
