//! Access rules. Only the realm roles of the access token decide; groups are never
//! consulted.

use dm_contracts::App;

/// The role that permits every area.
const MANAGER: &str = "manager";
const SALES: &str = "sales-associate";
const WAREHOUSE: &str = "warehouse-operator";
const ACCOUNTING: &str = "accountant";

/// A part of the business that requires a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Area {
    /// The user's own profile and notifications: needs no role.
    Personal,
    /// Leads, clients and orders.
    Sales,
    /// Shipments.
    Warehouse,
    /// Products, which sales orders and the warehouse ships.
    Products,
    /// Expenses.
    Accounting,
}

impl Area {
    /// Returns the roles of which one is needed. Without any, every signed-in user may enter.
    #[must_use]
    pub(crate) const fn roles(self) -> &'static [&'static str] {
        match self {
            Self::Personal => &[],
            Self::Sales => &[SALES, MANAGER],
            Self::Warehouse => &[WAREHOUSE, MANAGER],
            Self::Products => &[SALES, WAREHOUSE, MANAGER],
            Self::Accounting => &[ACCOUNTING, MANAGER],
        }
    }

    /// Returns whether a user with these roles may enter the area.
    #[must_use]
    pub(crate) fn permits<R: AsRef<str>>(self, roles: &[R]) -> bool {
        let needed = self.roles();
        needed.is_empty() || roles.iter().any(|role| needed.contains(&role.as_ref()))
    }

    /// Returns the error message for a request without a session or a valid token.
    #[must_use]
    pub(crate) const fn unauthenticated_message(self) -> &'static str {
        match self {
            Self::Personal | Self::Sales | Self::Products | Self::Accounting => "Login is required",
            Self::Warehouse => "Bearer token or session is required",
        }
    }

    /// Returns the error message for a user without the required role.
    #[must_use]
    pub(crate) const fn forbidden_message(self) -> &'static str {
        match self {
            // Never sent: the area requires no role.
            Self::Personal => "Access denied",
            Self::Sales => "Sales role is required to access orders",
            Self::Warehouse => "Warehouse role is required to access shipments",
            Self::Products => "Sales or warehouse role is required to access products",
            Self::Accounting => "Accounting role is required to access expenses",
        }
    }

    /// Returns the error message for a bearer token without the required role: it names the roles,
    /// because a script has no page that explains them.
    #[must_use]
    pub(crate) fn forbidden_token_message(self) -> String {
        format!(
            "{}: the token has none of {}",
            self.forbidden_message(),
            self.roles().join(", ")
        )
    }
}

/// Returns the area that an app belongs to.
#[must_use]
pub(crate) const fn area_of_app(app: App) -> Area {
    match app {
        App::Portal => Area::Personal,
        App::Infinity => Area::Sales,
        App::WarehouseMobile => Area::Warehouse,
        App::Accounting => Area::Accounting,
    }
}

/// Returns the names of the apps that a user with these roles may open.
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
    fn each_role_opens_the_apps_of_the_access_table() {
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
    fn refusal_of_a_token_names_the_roles_that_would_permit_it() {
        assert_eq!(
            Area::Sales.forbidden_token_message(),
            "Sales role is required to access orders: \
             the token has none of sales-associate, manager"
        );
        for area in [
            Area::Sales,
            Area::Warehouse,
            Area::Products,
            Area::Accounting,
        ] {
            for role in area.roles() {
                assert!(area.permits(&[role]), "{role}");
                assert!(area.forbidden_token_message().contains(role));
            }
        }
    }

    #[test]
    fn two_roles_open_the_apps_of_both() {
        assert_eq!(
            apps_for_roles(&["accountant", "sales-associate"]),
            ["portal", "infinity", "accounting"]
        );
    }

    #[test]
    fn role_with_a_similar_name_opens_only_the_portal() {
        for role in ["Manager", "manager ", "sales", "/management", "accounting"] {
            assert_eq!(apps_for_roles(&[role]), ["portal"], "{role:?}");
        }
    }

    proptest! {
        #[test]
        fn additional_role_never_removes_an_app(
            roles in proptest::collection::vec(
                prop_oneof![
                    Just("manager".to_owned()), Just("accountant".to_owned()),
                    Just("sales-associate".to_owned()), Just("warehouse-operator".to_owned()),
                    "[a-z-]{1,12}",
                ],
                0..5,
            ),
            extra in "[a-z-]{1,12}",
        ) {
            let before = apps_for_roles(&roles);
            let after = apps_for_roles(&[roles, vec![extra]].concat());
            prop_assert!(before.iter().all(|app| after.contains(app)));
        }
    }
}
