//! The generated history of a paper company, and the rows that the services would have
//! written for it.
//!
//! ```text
//! model      leads, orders, expenses and user profiles
//! calendar   working days, and the growth of business over them
//! names      names of companies and people
//! generator  generates a history from a seed number alone
//! rows       converts a history to rows of the services' tables, in PostgreSQL's COPY format
//! ```
//!
//! A separate crate because it generates a million orders: it is optimised in every profile.

mod calendar;
pub mod generator;
pub mod model;
mod names;
pub mod rows;

pub use generator::{GeneratorInput, HistoryGenerator};
pub use model::{BusinessHistory, Expense, Lead, Order};
pub use rows::{HistoryTable, SequenceCounts, SequenceStarts, TableRows};
