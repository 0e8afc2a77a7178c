//! Dead letters: listing, replaying, editing, exporting and parking.
//!
//! ```text
//! letter            a parsed dead letter
//! letter_filter     the conditions for dead letters
//! letter_reader     reads the dead letters of a queue, each of them once
//! group             dead letters with equal queue, reason and type
//! browse            lists dead letters: grouped, each, or one in detail
//! failure_records   the consumers' records of dead letters, and their resolutions
//! replay            replay runs: a fixed set that is published, recorded, acknowledged
//! replay_audit      the audit of replays, in `dm_ops`
//! edit              validates an edited dead letter
//! json_line         a dead letter as a line of JSON: every property, header and byte
//! header_json       a header as JSON, with its type
//! json_text         JSON as text, with every digit
//! import_export     export to a file, and import
//! parking           moves dead letters to `dm_ops.parked_letters`, and back
//! ```

pub mod browse;
pub mod edit;
pub mod failure_records;
#[cfg(test)]
mod fuzz;
mod group;
mod header_json;
pub mod import_export;
pub mod json_line;
mod json_text;
pub(crate) mod letter;
pub(crate) mod letter_filter;
mod letter_reader;
pub mod parking;
pub mod replay;
pub mod replay_audit;

pub use failure_records::FailureRecords;
pub use letter::DeadLetter;
#[cfg(any(test, feature = "examples"))]
pub use letter::examples;
pub use letter_filter::DeadLetterFilter;

use dm_contracts::topology::EVENT_QUEUES;

use super::MessagingError;

/// Returns the names of the event queues, or all if no name is given.
///
/// # Errors
/// Returns [`MessagingError::UnknownQueue`] if a name is unknown.
pub fn resolve_queue_names(names: &[String]) -> Result<Vec<&'static str>, MessagingError> {
    let all = || EVENT_QUEUES.iter().map(|queue| queue.name);
    if names.is_empty() {
        return Ok(all().collect());
    }
    names
        .iter()
        .map(|name| {
            // Lists of queues show the name with this suffix.
            let bare = name.strip_suffix(".dlq").unwrap_or(name);
            all()
                .find(|known| *known == bare)
                .ok_or_else(|| MessagingError::UnknownQueue { name: name.clone() })
        })
        .collect()
}

/// Returns a text without U+0000, which letters can contain and PostgreSQL rejects.
fn to_postgres_text(text: &str) -> String {
    text.replace('\0', "\u{2400}")
}
