//! TCP ports of this machine: which are free, who has the others, and which
//! instance was given which.

mod allocator;
mod owner;

pub use allocator::{PortAllocation, PortAllocator, PortError, PortMode, PortRequest};
pub use owner::{PortOwner, find_port_owner, is_free};
