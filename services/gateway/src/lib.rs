//! The gateway: the one door for browsers and phones.

use dm_kit::http::{DetailsStyle, OpenApiRouter};
use dm_kit::{Description, Environment, StartError};

/// What this service is.
pub const SERVICE: Description = Description {
    name: "gateway",
    port: 8081,
    details: DetailsStyle::Absent,
};

/// Puts the gateway together.
///
/// # Errors
/// Where a setting can't be used.
pub async fn build(_environment: &mut Environment) -> Result<OpenApiRouter, StartError> {
    Ok(OpenApiRouter::new())
}
