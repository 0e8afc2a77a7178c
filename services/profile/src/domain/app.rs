//! The apps of the stack.

/// An app that a user can open first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum App {
    Portal,
    Infinity,
    WarehouseMobile,
    Accounting,
}

impl App {
    /// Every app, in the order in which errors name them.
    pub(crate) const ALL: [Self; 4] = [
        Self::Portal,
        Self::Infinity,
        Self::WarehouseMobile,
        Self::Accounting,
    ];

    /// Its name on the wire.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Portal => "portal",
            Self::Infinity => "infinity",
            Self::WarehouseMobile => "warehouse-mobile",
            Self::Accounting => "accounting",
        }
    }

    /// Its name in the table.
    pub(crate) const fn stored(self) -> &'static str {
        match self {
            Self::Portal => "PORTAL",
            Self::Infinity => "INFINITY",
            Self::WarehouseMobile => "WAREHOUSE_MOBILE",
            Self::Accounting => "ACCOUNTING",
        }
    }

    /// The app of that name on the wire, in any case.
    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|app| app.name().eq_ignore_ascii_case(name))
    }

    /// The app of that name in the table, which has no others.
    pub(crate) fn of_stored(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|app| app.stored() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        for app in App::ALL {
            assert_eq!(App::of(app.name()), Some(app));
            assert_eq!(App::of(&app.name().to_uppercase()), Some(app));
            assert_eq!(App::of_stored(app.stored()), Some(app));
        }
        for name in ["", "WAREHOUSE_MOBILE", "warehouse mobile", "grafana"] {
            assert_eq!(App::of(name), None, "{name:?}");
        }
    }
}
