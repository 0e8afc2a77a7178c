//! What a restore works on.

use tokio_util::sync::CancellationToken;

use super::broker::Broker;
use super::refill::Events;
use super::server::Server;
use super::target::Target;

/// What a restore works on, and where it reports.
pub struct RestoreContext<'a> {
    /// Its database.
    pub target: Target<'a>,
    /// The containers that use it.
    pub users: &'a [String],
    /// The broker.
    pub broker: Broker<'a>,
    /// The services' tables.
    pub events: Events<'a>,
    /// The directory's container, where there is one.
    pub directory: Option<Server<'a>>,
    /// Ends it while nothing has changed yet.
    pub interrupt: &'a CancellationToken,
    /// Told of each step.
    pub told: &'a (dyn Fn(&str) + Sync),
    /// Told of what is not as in the backup.
    pub warned: &'a (dyn Fn(&str) + Sync),
}
