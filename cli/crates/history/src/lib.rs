//! The past of a paper company: what has happened, and the rows that the services would
//! have written of it.
//!
//! ```text
//! facts    what has happened: leads, orders, expenses; and who has told of themselves
//! calendar working days, and how business grows over them
//! words    names of companies and people
//! invent   facts from a number, and from nothing else
//! rows     facts as the services' tables hold them, in PostgreSQL's COPY format
//! ```
//!
//! A crate of its own because a million orders go through it: it is optimised in every
//! profile.

mod calendar;
pub mod generator;
pub mod model;
mod names;
pub mod rows;

pub use generator::{GeneratorInput, HistoryGenerator};
pub use model::{BusinessHistory, Expense, Lead, Order};
pub use rows::{HistoryTable, SequenceCounts, SequenceStarts, TableRows};
