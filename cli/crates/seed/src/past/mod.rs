//! A past, written straight into the tables.
//!
//! It comes in parts. Each part is one transaction over all schemas: an order with its
//! shipment, its stock, its events and whoever has handled them. So the account of every
//! event is right at any instant, whether a run is under way, was killed, or is done; and
//! a run that was cut short is resumed with the parts that are not there.
//!
//! ```text
//! request  what is asked for
//! ledger   the run in the database: its numbers, its parts
//! schemas  where the tables are
//! load     parts into the tables, several at a time
//! ```

mod ledger;
mod load;
mod request;
mod schemas;

pub use ledger::{Run, begin, existing, is_empty, unfinished};
pub use load::{Loaded, Site, ground, load, load_own};
pub use request::{Only, Request};
pub use schemas::Schemas;
