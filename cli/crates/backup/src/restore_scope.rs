//! How much of a set a restore brings back.

use dm_components::database_setup::OPS_SCHEMA;

use super::{Backup, BackupError};

/// How much of a set is brought back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestoreScope<'a> {
    /// All of it.
    Full,
    /// A schema of its database.
    Schema(&'a str),
}

impl<'a> RestoreScope<'a> {
    /// All of a set, or this schema.
    ///
    /// # Errors
    /// [`BackupError::NoSchema`] where the set has none of that name;
    /// [`BackupError::OwnSchema`] for that of `dm` itself.
    pub fn new(set: &Backup, schema: Option<&'a str>) -> Result<Self, BackupError> {
        let Some(name) = schema else {
            return Ok(Self::Full);
        };
        // It has the notes of replays, parked letters and restores of all the others.
        if name == OPS_SCHEMA {
            return Err(BackupError::OpsSchema(set.manifest.id.clone()));
        }
        let known = set.manifest.schemas();
        if known.contains(name) {
            return Ok(Self::Schema(name));
        }
        Err(BackupError::SchemaNotFound {
            id: set.manifest.id.clone(),
            name: name.to_owned(),
            known: known
                .into_iter()
                .filter(|known| *known != OPS_SCHEMA)
                .map(str::to_owned)
                .collect(),
        })
    }
}
