//! TCP ports of this machine: whether they are free, the processes that use them, and their
//! allocation to instances.

mod allocator;
mod owner;

pub use allocator::{PortAllocation, PortAllocator, PortError, PortMode, PortRequest};
pub use owner::{PortOwner, find_port_owner, is_free};
