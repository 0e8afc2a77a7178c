//! The servers that a restore changes.

use tokio_util::sync::CancellationToken;

use super::broker::RestoreBroker;
use super::republish::OutboxSource;
use super::restore_target::RestoreTarget;
use super::server_container::ServerContainer;

/// The servers that a restore changes, and its callbacks.
pub struct RestoreContext<'a> {
    /// The server of the database.
    pub target: RestoreTarget<'a>,
    /// The containers that use the database.
    pub dependent_containers: &'a [String],
    /// The broker.
    pub broker: RestoreBroker<'a>,
    /// The outboxes and inboxes of the services.
    pub outbox_source: OutboxSource<'a>,
    /// The container of OpenLDAP, if the stack has one.
    pub directory: Option<ServerContainer<'a>>,
    /// Cancels the restore as long as nothing has changed.
    pub interrupt: &'a CancellationToken,
    /// Called with each step.
    pub report: &'a (dyn Fn(&str) + Sync),
    /// The command that publishes missing events later, or `None` if the stack will be removed.
    pub repair_command: Option<&'a str>,
    /// Called with each difference from the backup.
    pub warn: &'a (dyn Fn(&str) + Sync),
}
