//! `dm`: developer CLI and orchestrator of the Dunder Mifflin demo stack.

pub mod bench;
pub mod ci;
pub mod commands;

pub mod dev;
pub mod doctor;
pub mod views;
