//! Domain rules.

mod profile_settings;

pub(crate) use profile_settings::ProfileSettings;
