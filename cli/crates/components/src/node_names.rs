//! The names of nodes on which components depend without importing their modules.

/// The job that sets up the database.
pub(crate) const DATABASE: &str = "database";
