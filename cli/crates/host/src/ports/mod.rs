//! TCP ports of this machine: which are free, who has the others, and which
//! instance was given which.

mod allocator;
mod owner;

pub use allocator::{Allocation, Allocator, Mode, PortError, Request};
pub use owner::{Owner, is_free, owner};
