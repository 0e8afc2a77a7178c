//! The routes of the services, as data.

use http::Method;

use crate::access::Area;
use crate::downstream::Service;

/// What of a request goes on to the service, beside the headers that always do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sends {
    /// The query string.
    Query,
    /// The body.
    Body,
    /// The body, and the idempotency key if there is one.
    BodyAndKey,
    /// Nothing.
    Nothing,
}

/// A route of a service.
#[derive(Debug)]
pub struct Route {
    /// The verb.
    pub method: Method,
    /// The path with its placeholders.
    pub path: &'static str,
    /// Who may call it.
    pub area: Area,
    /// Whose it is.
    pub service: Service,
    /// What goes on.
    pub sends: Sends,
    /// The status where all is well.
    pub ok: u16,
    /// What it does.
    pub summary: &'static str,
}

const fn get(
    path: &'static str,
    area: Area,
    service: Service,
    sends: Sends,
    summary: &'static str,
) -> Route {
    Route {
        method: Method::GET,
        path,
        area,
        service,
        sends,
        ok: 200,
        summary,
    }
}

const fn post(
    path: &'static str,
    area: Area,
    service: Service,
    sends: Sends,
    ok: u16,
    summary: &'static str,
) -> Route {
    Route {
        method: Method::POST,
        path,
        area,
        service,
        sends,
        ok,
        summary,
    }
}

/// All routes that go on to a service, in the order of the contract.
pub static ROUTES: [Route; 20] = {
    use Area::{Accounting, Own, Warehouse};
    use Sends::{Body, BodyAndKey, Nothing, Query};
    use Service::{Finance, Inventory, Order, Profile, Wuphf};
    let (leads, sales) = (Service::Sales, Area::Sales);
    [
        get(
            "/api/v1/profile/me",
            Own,
            Profile,
            Nothing,
            "One's own profile",
        ),
        post(
            "/api/v1/profile/me",
            Own,
            Profile,
            Body,
            200,
            "Replaces one's own profile",
        ),
        get("/api/v1/sales/leads", sales, leads, Query, "All leads"),
        post("/api/v1/sales/leads", sales, leads, Body, 201, "A new lead"),
        get(
            "/api/v1/sales/leads/{leadId}",
            sales,
            leads,
            Nothing,
            "A lead",
        ),
        post(
            "/api/v1/sales/leads/{leadId}",
            sales,
            leads,
            Body,
            200,
            "Changes a lead",
        ),
        post(
            "/api/v1/sales/leads/{leadId}/convert",
            sales,
            leads,
            Nothing,
            200,
            "Makes a client of a lead",
        ),
        get("/api/v1/sales/clients", sales, leads, Query, "All clients"),
        get("/api/v1/orders", sales, Order, Query, "All orders"),
        post("/api/v1/orders", sales, Order, Body, 201, "Places an order"),
        get(
            "/api/v1/orders/{orderId}",
            sales,
            Order,
            Nothing,
            "An order",
        ),
        get(
            "/api/v1/orders/{orderId}/timeline",
            sales,
            Order,
            Nothing,
            "What happened to an order",
        ),
        get(
            "/api/v1/expenses",
            Accounting,
            Finance,
            Query,
            "All expenses",
        ),
        post(
            "/api/v1/expenses",
            Accounting,
            Finance,
            Body,
            201,
            "A new expense",
        ),
        post(
            "/api/v1/expenses/{expenseId}/decision",
            Accounting,
            Finance,
            Body,
            200,
            "Decides on an expense",
        ),
        get(
            "/api/v1/notifications",
            Own,
            Wuphf,
            Query,
            "One's own notifications",
        ),
        post(
            "/api/v1/notifications/{id}/read",
            Own,
            Wuphf,
            Body,
            200,
            "Marks a notification read",
        ),
        get(
            "/api/v1/warehouse/shipments",
            Warehouse,
            Inventory,
            Query,
            "Shipments",
        ),
        post(
            "/api/v1/warehouse/shipments/{id}/scan",
            Warehouse,
            Inventory,
            BodyAndKey,
            200,
            "Scans a line of a shipment",
        ),
        post(
            "/api/v1/warehouse/shipments/{id}/dispatch",
            Warehouse,
            Inventory,
            BodyAndKey,
            200,
            "Sends a shipment off",
        ),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    /// Section 4 of the contract: S, W, A and any.
    const CONTRACT: &str = "
        GET  /api/v1/profile/me                              any  profile    200
        POST /api/v1/profile/me                              any  profile    200
        GET  /api/v1/sales/leads                             S    sales      200
        POST /api/v1/sales/leads                             S    sales      201
        GET  /api/v1/sales/leads/{leadId}                    S    sales      200
        POST /api/v1/sales/leads/{leadId}                    S    sales      200
        POST /api/v1/sales/leads/{leadId}/convert            S    sales      200
        GET  /api/v1/sales/clients                           S    sales      200
        GET  /api/v1/orders                                  S    order      200
        POST /api/v1/orders                                  S    order      201
        GET  /api/v1/orders/{orderId}                        S    order      200
        GET  /api/v1/orders/{orderId}/timeline               S    order      200
        GET  /api/v1/expenses                                A    finance    200
        POST /api/v1/expenses                                A    finance    201
        POST /api/v1/expenses/{expenseId}/decision           A    finance    200
        GET  /api/v1/notifications                           any  wuphf      200
        POST /api/v1/notifications/{id}/read                 any  wuphf      200
        GET  /api/v1/warehouse/shipments                     W    inventory  200
        POST /api/v1/warehouse/shipments/{id}/scan           W    inventory  200
        POST /api/v1/warehouse/shipments/{id}/dispatch       W    inventory  200";

    fn words(text: &str) -> Vec<Vec<&str>> {
        text.trim()
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect()
    }

    #[test]
    fn every_row_of_the_contract_is_there_and_no_other() {
        let rows: Vec<_> = ROUTES
            .iter()
            .map(|route| {
                let who = match route.area {
                    Area::Own => "any",
                    Area::Sales => "S",
                    Area::Warehouse => "W",
                    Area::Accounting => "A",
                };
                let Route {
                    method,
                    path,
                    service,
                    ok,
                    ..
                } = route;
                format!("{method} {path} {who} {} {ok}", service.name())
            })
            .collect();
        assert_eq!(words(&rows.join("\n")), words(CONTRACT));
    }

    #[test]
    fn roles_open_the_rows_that_they_should() {
        let open = |role: &str| -> Vec<&str> {
            let rows = words(CONTRACT);
            let mut who: Vec<_> = ROUTES
                .iter()
                .zip(&rows)
                .filter(|(route, _)| route.area.permits(&[role]))
                .map(|(_, row)| match row[2] {
                    "any" => "any",
                    "S" => "S",
                    "W" => "W",
                    _ => "A",
                })
                .collect();
            who.sort_unstable();
            who.dedup();
            who
        };
        for (role, rows) in [
            ("sales-associate", &["S", "any"][..]),
            ("warehouse-operator", &["W", "any"]),
            ("accountant", &["A", "any"]),
            ("manager", &["A", "S", "W", "any"]),
            ("portal-user", &["any"]),
            ("it-support", &["any"]),
        ] {
            assert_eq!(open(role), rows, "{role}");
        }
    }

    #[test]
    fn refusals_are_in_the_words_of_the_contract() {
        for route in &ROUTES {
            let (unauthenticated, forbidden) = match route.service {
                Service::Order | Service::Sales => (
                    "Login is required",
                    "Sales role is required to access orders",
                ),
                Service::Finance => (
                    "Login is required",
                    "Accounting role is required to access expenses",
                ),
                Service::Inventory => (
                    "Bearer token or session is required",
                    "Warehouse role is required to access shipments",
                ),
                Service::Profile | Service::Wuphf => {
                    assert!(route.area.permits::<&str>(&[]), "{} has a 403", route.path);
                    ("Login is required", route.area.forbidden())
                }
            };
            assert_eq!(route.area.unauthenticated(), unauthenticated);
            assert_eq!(route.area.forbidden(), forbidden);
            let bearers = route.service == Service::Inventory;
            assert_eq!(route.area.takes_bearers(), bearers, "{}", route.path);
        }
    }

    #[test]
    fn keys_go_on_with_scans_and_dispatches_alone() {
        for route in &ROUTES {
            let keyed = route.path.ends_with("/scan") || route.path.ends_with("/dispatch");
            assert_eq!(route.sends == Sends::BodyAndKey, keyed, "{}", route.path);
        }
    }

    #[test]
    fn every_list_is_asked_with_its_filters() {
        for route in ROUTES.iter().filter(|route| route.method == Method::GET) {
            let one = route.path.contains('{') || route.path.ends_with("/me");
            let expected = if one { Sends::Nothing } else { Sends::Query };
            assert_eq!(route.sends, expected, "{}", route.path);
        }
    }
}
