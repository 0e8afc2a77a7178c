//! `dm`: developer CLI and orchestrator of the Dunder Mifflin demo stack.

mod arguments;
mod attach;
pub mod commands;
mod context;
mod help;
mod views;
