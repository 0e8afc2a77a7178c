//! The user as which services run.

/// The user id of services in their images, and the owner of the files that are mounted for them.
/// The user has no rights to other files there.
pub const SERVICE_UID: u32 = 65532;
