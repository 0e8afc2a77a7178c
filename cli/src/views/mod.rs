//! What several commands show, as pure functions of a value and a
//! [`Canvas`](dm_terminal::Canvas). What one command shows stands in its folder.

pub mod backup;
pub mod comparison;
pub mod dev;
pub mod events;
pub mod limits;
pub mod outbox;
pub mod reconcile;
pub mod seed;
pub mod smoke;
pub mod status;
