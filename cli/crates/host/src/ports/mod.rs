//! TCP ports of this machine: whether they are free, the processes that use them, and their
//! allocation to instances.

mod allocator;
mod error;
mod owner;

pub use allocator::{PortAllocation, PortAllocator, PortMode, PortRequest};
pub use error::{PortError, describe_taken};
pub use owner::{PortOwner, find_port_owner, is_free};
