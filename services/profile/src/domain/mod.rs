//! The rules.

mod settings;

pub(crate) use settings::Settings;
