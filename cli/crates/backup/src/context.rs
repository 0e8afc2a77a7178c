//! What a restore works on.

use tokio_util::sync::CancellationToken;

use super::broker::RestoreBroker;
use super::republish::OutboxSource;
use super::restore_target::RestoreTarget;
use super::server_container::ServerContainer;

/// What a restore works on, and where it reports.
pub struct RestoreContext<'a> {
    /// Its database.
    pub target: RestoreTarget<'a>,
    /// The containers that use it.
    pub dependent_containers: &'a [String],
    /// The broker.
    pub broker: RestoreBroker<'a>,
    /// The services' tables.
    pub outbox_source: OutboxSource<'a>,
    /// The directory's container, where there is one.
    pub directory: Option<ServerContainer<'a>>,
    /// Ends it while nothing has changed yet.
    pub interrupt: &'a CancellationToken,
    /// Told of each step.
    pub report: &'a (dyn Fn(&str) + Sync),
    /// Told of what is not as in the backup.
    pub warn: &'a (dyn Fn(&str) + Sync),
}
