//! The rules.

mod app;
mod settings;

pub(crate) use app::App;
pub(crate) use settings::Settings;
