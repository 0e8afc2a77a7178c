//! Dead letters.
//!
//! ```text
//! letter    one of them, understood
//! filter    which of them
//! pass      a pass over those of a queue, each of them once
//! group     some that are alike
//! look      what there is: grouped, each, or one
//! records   what consumers recorded of them, and what became of these
//! replay    the way back: a set that is frozen, published, noted, acknowledged
//! audit     what was replayed, in `dm_ops`
//! edit      one that a person changes first
//! line      one of them as JSON: every property, header and byte
//! header    a header as JSON, with its type
//! text      JSON as text, with every digit
//! copy      as a file, and back
//! parked    put away, and back
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
pub use letter_filter::DeadLetterFilter;

use dm_contracts::topology::WORK_QUEUES;

use super::MessagingError;

/// The work queues of these names, or all of them where there are none.
///
/// # Errors
/// [`MessagingError::UnknownQueue`].
pub fn resolve_queue_names(names: &[String]) -> Result<Vec<&'static str>, MessagingError> {
    let all = || WORK_QUEUES.iter().map(|queue| queue.name);
    if names.is_empty() {
        return Ok(all().collect());
    }
    names
        .iter()
        .map(|name| {
            // As people see it in a list of queues.
            let bare = name.strip_suffix(".dlq").unwrap_or(name);
            all()
                .find(|known| *known == bare)
                .ok_or_else(|| MessagingError::UnknownQueue { name: name.clone() })
        })
        .collect()
}

/// A text as PostgreSQL takes it: anything can stand in a letter, and no text there takes
/// U+0000.
fn to_postgres_text(text: &str) -> String {
    text.replace('\0', "\u{2400}")
}
