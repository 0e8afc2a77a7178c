//! `dm`: developer CLI and orchestrator of the Dunder Mifflin demo stack.

mod arguments;
mod attach;
pub mod commands;
mod context;
mod help;
pub mod process;
#[cfg(test)]
mod test_support;
mod views;
