//! The stack's data: what fills it.

pub mod seed;
