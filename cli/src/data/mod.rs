//! What the stack holds, and what it is like.

pub mod backup;
pub mod schema;
pub mod seed;
