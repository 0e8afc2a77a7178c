//! `dm`: developer CLI and orchestrator of the Dunder Mifflin demo stack.

pub mod doctor;
pub mod engine;
pub mod error;
pub mod output;
pub mod stack;
