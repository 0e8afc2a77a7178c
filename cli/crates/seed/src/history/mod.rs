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

mod bulk_load;
mod request;
mod run_store;
mod schemas;

pub use bulk_load::{LoadContext, LoadSummary, fetch_reference_data, load_import, load_run};
pub use request::{HistoryRequest, HistorySlice};
pub use run_store::{SeedRun, begin_run, count_existing, find_unfinished, is_stack_empty};
pub use schemas::ServiceSchemas;
