//! Reads dead letters, parked messages and replay runs.
//!
//! Dead letters stay in their queues. Only copies of a dead letter are removed.

use dm_core::error::Result;
use dm_messaging::dead_letters::browse::{self, DeadLetterDetail, DeadLetterListing};
use dm_messaging::dead_letters::parking::{self, ParkedLetter};
use dm_messaging::dead_letters::replay_audit::{self, ReplayRun};
use dm_messaging::dead_letters::{DeadLetter, FailureRecords, resolve_queue_names};

use super::DeadLetterSelection;
use crate::session::StackClients;

/// Groups the selected dead letters by queue, reason and type. Reads a queue only if it has no
/// complete failure records or the database cannot be reached, and corrects the records then.
///
/// # Errors
/// If the broker cannot be reached, or another process holds the dead-letter lock.
pub async fn list_groups(
    clients: &StackClients,
    selection: &DeadLetterSelection,
) -> Result<DeadLetterListing> {
    let connection = clients.lock_dead_letters().await?;
    // Without the database, the queues are read, which takes longer.
    let (database, service_tables) = (
        clients.connect_database().await.ok(),
        clients.service_tables(),
    );
    let records = database.as_ref().map(|database| FailureRecords {
        database,
        service_tables: &service_tables,
    });
    let DeadLetterSelection { queues, filter } = selection;
    Ok(browse::list_groups(&connection, records.as_ref(), queues, filter).await?)
}

/// Returns the selected dead letters in the order of their queues.
///
/// # Errors
/// If the broker cannot be reached, or another process holds the dead-letter lock.
pub async fn list_letters(
    clients: &StackClients,
    selection: &DeadLetterSelection,
) -> Result<Vec<DeadLetter>> {
    let connection = clients.lock_dead_letters().await?;
    let DeadLetterSelection { queues, filter } = selection;
    let mut letters = Vec::new();
    browse::for_each_letter(&connection, queues, filter, |letter| letters.push(letter)).await?;
    Ok(letters)
}

/// Returns the dead letters with this event id or fingerprint, with their content. Each queue may
/// have several.
///
/// # Errors
/// If no dead letter has the id, the broker cannot be reached, or another process holds the
/// dead-letter lock.
pub async fn find_details(clients: &StackClients, id: &str) -> Result<Vec<DeadLetterDetail>> {
    let connection = clients.lock_dead_letters().await?;
    let queues = resolve_queue_names(&[])?;
    Ok(browse::find_details(&connection, &queues, id).await?)
}

/// Returns the parked messages, latest first.
///
/// # Errors
/// If the database cannot be reached.
pub async fn list_parked(clients: &StackClients) -> Result<Vec<ParkedLetter>> {
    let database = clients.connect_database().await?;
    Ok(parking::list(&database).await?)
}

/// Returns the latest replay runs, at most `limit`, latest first.
///
/// # Errors
/// If the database cannot be reached.
pub async fn list_runs(clients: &StackClients, limit: u32) -> Result<Vec<ReplayRun>> {
    let database = clients.connect_database().await?;
    Ok(replay_audit::latest_runs(&database, limit.into()).await?)
}
