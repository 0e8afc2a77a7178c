//! The part of a backup that a restore restores.

use dm_components::database_setup::OPS_SCHEMA;

use super::{Backup, BackupError};

/// The part of a backup that is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestoreScope<'a> {
    /// The whole backup.
    Full,
    /// One schema of the database.
    Schema(&'a str),
}

impl<'a> RestoreScope<'a> {
    /// Returns the scope of a schema or, without a schema, of the whole backup.
    ///
    /// # Errors
    /// Returns [`BackupError::SchemaNotFound`] if the backup has no schema of this name, and
    /// [`BackupError::OpsSchema`] for the schema of `dm` itself.
    pub fn new(backup: &Backup, schema: Option<&'a str>) -> Result<Self, BackupError> {
        let Some(name) = schema else {
            return Ok(Self::Full);
        };
        // It contains the replays, parked letters and restores of all other schemas.
        if name == OPS_SCHEMA {
            return Err(BackupError::OpsSchema(backup.manifest.id.clone()));
        }
        let known = backup.manifest.schemas();
        if known.contains(name) {
            return Ok(Self::Schema(name));
        }
        Err(BackupError::SchemaNotFound {
            id: backup.manifest.id.clone(),
            name: name.to_owned(),
            known: known
                .into_iter()
                .filter(|known| *known != OPS_SCHEMA)
                .map(str::to_owned)
                .collect(),
        })
    }
}
