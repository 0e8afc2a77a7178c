//! Lists, replays, exports, imports, parks and purges dead letters.
//!
//! ```text
//! listing    reads dead letters, parked messages and replay runs
//! replay     plans, runs and resumes replay runs
//! edit       edits a dead letter until it is a valid event
//! transfer   moves dead letters to files and to the database, and back
//! ```

mod edit;
mod listing;
pub mod replay;
mod transfer;

use dm_messaging::dead_letters::DeadLetterFilter;

pub use listing::{find_details, list_groups, list_letters, list_parked, list_runs};
pub use transfer::{export, export_to_temp_file, import, park, purge, unpark};

/// The dead letters that an operation applies to.
#[derive(Debug, Clone)]
pub struct DeadLetterSelection {
    /// The work queues whose dead letters are selected.
    pub queues: Vec<&'static str>,
    /// The filter for their dead letters.
    pub filter: DeadLetterFilter,
}
