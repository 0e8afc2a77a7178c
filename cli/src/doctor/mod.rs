//! `dm doctor`: what is found out about this machine.

mod finding;

pub use finding::{Finding, Status};
