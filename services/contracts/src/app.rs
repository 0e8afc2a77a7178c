//! The apps of the stack.

use serde::{Deserialize, Serialize};

/// An app for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum App {
    /// The portal.
    Portal,
    /// The sales app.
    Infinity,
    /// The warehouse's app.
    WarehouseMobile,
    /// The accounting app.
    Accounting,
}

impl App {
    /// All, in the order of the contract, in which errors name them, too.
    pub const ALL: [Self; 4] = [
        Self::Portal,
        Self::Infinity,
        Self::WarehouseMobile,
        Self::Accounting,
    ];

    /// Its name in the interface.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portal => "portal",
            Self::Infinity => "infinity",
            Self::WarehouseMobile => "warehouse-mobile",
            Self::Accounting => "accounting",
        }
    }

    /// Its name in the table of profiles.
    #[must_use]
    pub const fn stored_name(self) -> &'static str {
        match self {
            Self::Portal => "PORTAL",
            Self::Infinity => "INFINITY",
            Self::WarehouseMobile => "WAREHOUSE_MOBILE",
            Self::Accounting => "ACCOUNTING",
        }
    }

    /// The app of that name in the interface, in any case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|app| app.name().eq_ignore_ascii_case(name))
    }

    /// The app of that name in the table of profiles, which has no others.
    #[must_use]
    pub fn from_stored_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|app| app.stored_name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
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
