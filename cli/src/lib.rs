//! `dm`: developer CLI and orchestrator of the Dunder Mifflin demo stack.

pub mod engine;
pub mod error;
pub mod host;
pub mod stack;
