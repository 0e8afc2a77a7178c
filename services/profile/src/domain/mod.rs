//! Domain rules.

mod app_settings;
mod avatar;
mod profile_settings;

pub(crate) use app_settings::NewAppSettings;
pub(crate) use avatar::{ImageKind, InvalidImage, initials_svg, to_avatar};
pub(crate) use profile_settings::ProfileSettings;
