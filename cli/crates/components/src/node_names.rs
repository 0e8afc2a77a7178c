//! Names by which parts of the stack wait for others that they know nothing else of.

/// The job that sets up the database.
pub(crate) const DATABASE: &str = "database";
