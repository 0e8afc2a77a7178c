//! A generated history, written directly into the tables.
//!
//! A history is loaded in parts. Each part is one transaction over all schemas: orders with
//! their shipments, their stock, their events and the inbox rows of the consumers. So
//! `dm reconcile` is clean at any instant, whether a run is in progress, was killed, or is
//! complete; and an interrupted run is resumed with the missing parts.
//!
//! ```text
//! request    the parameters of a run
//! run_store  runs in the database: reserved numbers, completed parts
//! schemas    the schemas of the services
//! bulk_load  copies parts into the tables, several at a time
//! ```

mod bulk_load;
mod request;
mod run_store;
mod schemas;

pub use bulk_load::{LoadContext, LoadSummary, fetch_reference_data, load_import, load_run};
pub use request::{HistoryRequest, HistorySlice};
pub use run_store::{SeedRun, begin_run, count_existing, find_unfinished, has_only_smoke_rows};
pub use schemas::ServiceSchemas;
