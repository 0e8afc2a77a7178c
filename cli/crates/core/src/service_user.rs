//! The user that services run as.

/// Its id in a container: in the images that services are in, and of the files that they are
/// given. It has no right to anything else there.
pub const SERVICE_UID: u32 = 65532;
