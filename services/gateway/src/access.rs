//! Who may do what. The realm roles of the access token alone decide; groups are
//! never consulted.

use dm_contracts::App;

/// Opens everything.
const MANAGER: &str = "manager";
const SALES: &str = "sales-associate";
const WAREHOUSE: &str = "warehouse-operator";
const ACCOUNTING: &str = "accountant";

/// A part of the business that roles open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Area {
    /// One's own profile and notifications: everybody who is signed in.
    Personal,
    /// Leads, clients and orders.
    Sales,
    /// Shipments.
    Warehouse,
    /// Expenses.
    Accounting,
}

impl Area {
    /// Whether somebody with these roles may enter.
    #[must_use]
    pub(crate) fn permits<R: AsRef<str>>(self, roles: &[R]) -> bool {
        let needed = match self {
            Self::Personal => return true,
            Self::Sales => SALES,
            Self::Warehouse => WAREHOUSE,
            Self::Accounting => ACCOUNTING,
        };
        roles
            .iter()
            .map(AsRef::as_ref)
            .any(|role| role == needed || role == MANAGER)
    }

    /// Whether a bearer token is as good as a session.
    #[must_use]
    pub(crate) const fn accepts_bearer(self) -> bool {
        matches!(self, Self::Warehouse)
    }

    /// What somebody is told who isn't signed in.
    #[must_use]
    pub(crate) const fn unauthenticated_message(self) -> &'static str {
        match self {
            Self::Personal | Self::Sales | Self::Accounting => "Login is required",
            Self::Warehouse => "Bearer token or session is required",
        }
    }

    /// What somebody is told who is signed in without the role.
    #[must_use]
    pub(crate) const fn forbidden_message(self) -> &'static str {
        match self {
            // Nobody is told this.
            Self::Personal => "Access denied",
            Self::Sales => "Sales role is required to access orders",
            Self::Warehouse => "Warehouse role is required to access shipments",
            Self::Accounting => "Accounting role is required to access expenses",
        }
    }
}

/// What an app is for.
#[must_use]
pub(crate) const fn area_of_app(app: App) -> Area {
    match app {
        App::Portal => Area::Personal,
        App::Infinity => Area::Sales,
        App::WarehouseMobile => Area::Warehouse,
        App::Accounting => Area::Accounting,
    }
}

/// The names of the apps that these roles open.
#[must_use]
pub(crate) fn apps_for_roles<R: AsRef<str>>(roles: &[R]) -> Vec<String> {
    App::ALL
        .into_iter()
        .filter(|app| area_of_app(*app).permits(roles))
        .map(|app| app.name().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_row_of_the_access_table() {
        let rows: [(&[&str], &[&str]); 8] = [
            (&["sales-associate"], &["portal", "infinity"]),
            (&["warehouse-operator"], &["portal", "warehouse-mobile"]),
            (&["accountant"], &["portal", "accounting"]),
            (
                &["manager"],
                &["portal", "infinity", "warehouse-mobile", "accounting"],
            ),
            (&["portal-user"], &["portal"]),
            (&["it-support"], &["portal"]),
            (&["default-roles-scranton-branch"], &["portal"]),
            (&[], &["portal"]),
        ];
        for (roles, apps) in rows {
            assert_eq!(apps_for_roles(roles), apps, "{roles:?}");
        }
    }

    #[test]
    fn roles_add_up() {
        assert_eq!(
            apps_for_roles(&["accountant", "sales-associate"]),
            ["portal", "infinity", "accounting"]
        );
    }

    #[test]
    fn names_that_merely_look_alike_open_nothing() {
        for role in ["Manager", "manager ", "sales", "/management", "accounting"] {
            assert_eq!(apps_for_roles(&[role]), ["portal"], "{role:?}");
        }
    }

    proptest! {
        #[test]
        fn one_more_role_never_takes_an_app_away(
            roles in proptest::collection::vec(
                prop_oneof![
                    Just("manager".to_owned()), Just("accountant".to_owned()),
                    Just("sales-associate".to_owned()), Just("warehouse-operator".to_owned()),
                    "[a-z-]{1,12}",
                ],
                0..5,
            ),
            more in "[a-z-]{1,12}",
        ) {
            let before = apps_for_roles(&roles);
            let after = apps_for_roles(&[roles, vec![more]].concat());
            prop_assert!(before.iter().all(|app| after.contains(app)));
        }
    }
}
