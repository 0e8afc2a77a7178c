//! The container engine: the only place that knows bollard.

pub mod error;

pub use error::EngineError;
