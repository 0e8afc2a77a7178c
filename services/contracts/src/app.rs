//! The apps that users open.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An app with a user interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum App {
    /// The portal.
    Portal,
    /// The sales app.
    Infinity,
    /// The warehouse app.
    WarehouseMobile,
    /// The accounting app.
    Accounting,
}

impl App {
    /// All apps in the order of the contract, which is also the order in error messages.
    pub const ALL: [Self; 4] = [
        Self::Portal,
        Self::Infinity,
        Self::WarehouseMobile,
        Self::Accounting,
    ];

    /// Returns the name in the REST interface.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portal => "portal",
            Self::Infinity => "infinity",
            Self::WarehouseMobile => "warehouse-mobile",
            Self::Accounting => "accounting",
        }
    }

    /// Returns the name in the table of profiles.
    #[must_use]
    pub const fn stored_name(self) -> &'static str {
        match self {
            Self::Portal => "PORTAL",
            Self::Infinity => "INFINITY",
            Self::WarehouseMobile => "WAREHOUSE_MOBILE",
            Self::Accounting => "ACCOUNTING",
        }
    }

    /// Returns the app with this name in the REST interface, in any case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|app| app.name().eq_ignore_ascii_case(name))
    }

    /// Returns the app with this name in the table of profiles.
    #[must_use]
    pub fn from_stored_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|app| app.stored_name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_names_round_trip() {
        for app in App::ALL {
            assert_eq!(App::from_name(app.name()), Some(app));
            assert_eq!(App::from_name(&app.name().to_uppercase()), Some(app));
            assert_eq!(App::from_stored_name(app.stored_name()), Some(app));
            let text = serde_json::to_value(app).unwrap();
            assert_eq!(text, app.name());
        }
        for name in ["", "WAREHOUSE_MOBILE", "warehouse mobile", "grafana"] {
            assert_eq!(App::from_name(name), None, "{name:?}");
        }
    }
}
