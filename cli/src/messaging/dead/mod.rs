//! Dead letters.
//!
//! ```text
//! letter    one of them, understood
//! filter    which of them
//! look      what there is: grouped, each, or one
//! replay    the way back: a set that is frozen, published, noted, acknowledged
//! audit     what was replayed, in `dm_ops`
//! edit      one that a person changes first
//! copy      as a file, and back
//! parked    put away, and back
//! ```

pub mod audit;
pub mod copy;
pub mod edit;
pub mod filter;
pub mod letter;
pub mod look;
pub mod parked;
pub mod replay;

pub use filter::Filter;
pub use letter::DeadLetter;

use dm_contracts::topology::WORK_QUEUES;

use super::MessagingError;

/// The work queues of these names, or all of them where there are none.
///
/// # Errors
/// [`MessagingError::UnknownQueue`].
pub fn queues(names: &[String]) -> Result<Vec<&'static str>, MessagingError> {
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
