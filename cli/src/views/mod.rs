//! The output of several commands, as pure functions of a value and a
//! [`Canvas`](dm_terminal::canvas::Canvas). The output of a single command is in its module.

pub(crate) mod backup;
pub(crate) mod backup_comparison;
pub(crate) mod events;
pub(crate) mod limit_violations;
pub(crate) mod outbox;
pub(crate) mod rebuild;
pub(crate) mod reconcile;
pub(crate) mod seed;
pub(crate) mod smoke;
pub(crate) mod status;
