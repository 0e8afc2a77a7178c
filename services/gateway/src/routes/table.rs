//! The routes of the services, as data.

use dm_contracts::api::finance::{CreateExpense, DecideExpense, Expense};
use dm_contracts::api::notification::{Notification, Notifications};
use dm_contracts::api::order::{OrderDetail, OrderList, OrderPlaced, OrderTimeline, PlaceOrder};
use dm_contracts::api::profile::{Profile, SaveProfile};
use dm_contracts::api::sales::{
    ClientSummary, ConvertedLead, CreateLead, LeadDetail, LeadSummary, UpdateLead,
};
use dm_contracts::api::shipment::{Dispatch, Dispatched, Scan, Scanned, ShipmentList};
use http::Method;

use super::shape::Shape;
use crate::access::Area;
use crate::downstream::Service;

/// What of a request goes on to the service, beside the headers that always do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sends {
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
pub(crate) struct Route {
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
    /// What the body has to be, where one goes on.
    pub takes: Option<Shape>,
    /// The status where all is well.
    pub ok: u16,
    /// What is answered then.
    pub answers: Shape,
    /// The statuses of the refusals that are the service's own.
    pub refuses: &'static [u16],
    /// What it does.
    pub summary: &'static str,
}

const fn get(
    path: &'static str,
    area: Area,
    service: Service,
    sends: Sends,
    answers: Shape,
    summary: &'static str,
) -> Route {
    Route {
        method: Method::GET,
        path,
        area,
        service,
        sends,
        takes: None,
        ok: 200,
        answers,
        refuses: &[],
        summary,
    }
}

const fn post(
    path: &'static str,
    area: Area,
    service: Service,
    sends: Sends,
    ok: u16,
    answers: Shape,
    summary: &'static str,
) -> Route {
    Route {
        method: Method::POST,
        path,
        area,
        service,
        sends,
        takes: None,
        ok,
        answers,
        refuses: &[],
        summary,
    }
}

impl Route {
    /// The same with a body that has to be so.
    const fn taking(mut self, shape: Shape) -> Self {
        self.takes = Some(shape);
        self
    }

    /// The same with statuses that the service may refuse by.
    const fn refusing(mut self, statuses: &'static [u16]) -> Self {
        self.refuses = statuses;
        self
    }
}

/// All routes that go on to a service, in the order of the contract.
pub(crate) static ROUTES: [Route; 20] = {
    use Area::{Accounting, Own, Warehouse};
    use Sends::{Body, BodyAndKey, Nothing, Query};
    use Service::{Finance, Inventory, Order, Wuphf};
    let (leads, sales) = (Service::Sales, Area::Sales);
    [
        get(
            "/api/v1/profile/me",
            Own,
            Service::Profile,
            Nothing,
            Shape::of::<Profile>(),
            "One's own profile",
        ),
        post(
            "/api/v1/profile/me",
            Own,
            Service::Profile,
            Body,
            200,
            Shape::of::<Profile>(),
            "Replaces one's own profile",
        )
        .taking(Shape::of::<SaveProfile>())
        .refusing(&[400]),
        get(
            "/api/v1/sales/leads",
            sales,
            leads,
            Query,
            Shape::list_of::<LeadSummary>(),
            "All leads",
        )
        .refusing(&[400]),
        post(
            "/api/v1/sales/leads",
            sales,
            leads,
            Body,
            201,
            Shape::of::<LeadDetail>(),
            "A new lead",
        )
        .taking(Shape::of::<CreateLead>())
        .refusing(&[400]),
        get(
            "/api/v1/sales/leads/{leadId}",
            sales,
            leads,
            Nothing,
            Shape::of::<LeadDetail>(),
            "A lead",
        )
        .refusing(&[404]),
        post(
            "/api/v1/sales/leads/{leadId}",
            sales,
            leads,
            Body,
            200,
            Shape::of::<LeadDetail>(),
            "Changes a lead",
        )
        .taking(Shape::of::<UpdateLead>())
        .refusing(&[400, 404]),
        post(
            "/api/v1/sales/leads/{leadId}/convert",
            sales,
            leads,
            Nothing,
            200,
            Shape::of::<ConvertedLead>(),
            "Makes a client of a lead",
        )
        .refusing(&[404, 409]),
        get(
            "/api/v1/sales/clients",
            sales,
            leads,
            Query,
            Shape::list_of::<ClientSummary>(),
            "All clients",
        )
        .refusing(&[400]),
        get(
            "/api/v1/orders",
            sales,
            Order,
            Query,
            Shape::of::<OrderList>(),
            "All orders",
        ),
        post(
            "/api/v1/orders",
            sales,
            Order,
            Body,
            201,
            Shape::of::<OrderPlaced>(),
            "Places an order",
        )
        .taking(Shape::of::<PlaceOrder>())
        .refusing(&[400]),
        get(
            "/api/v1/orders/{orderId}",
            sales,
            Order,
            Nothing,
            Shape::of::<OrderDetail>(),
            "An order",
        )
        .refusing(&[404]),
        get(
            "/api/v1/orders/{orderId}/timeline",
            sales,
            Order,
            Nothing,
            Shape::of::<OrderTimeline>(),
            "What happened to an order",
        )
        .refusing(&[404]),
        get(
            "/api/v1/expenses",
            Accounting,
            Finance,
            Query,
            Shape::list_of::<Expense>(),
            "All expenses",
        )
        .refusing(&[400]),
        post(
            "/api/v1/expenses",
            Accounting,
            Finance,
            Body,
            201,
            Shape::of::<Expense>(),
            "A new expense",
        )
        .taking(Shape::of::<CreateExpense>())
        .refusing(&[400]),
        post(
            "/api/v1/expenses/{expenseId}/decision",
            Accounting,
            Finance,
            Body,
            200,
            Shape::of::<Expense>(),
            "Decides on an expense",
        )
        .taking(Shape::of::<DecideExpense>())
        .refusing(&[400, 404, 409]),
        get(
            "/api/v1/notifications",
            Own,
            Wuphf,
            Query,
            Shape::of::<Notifications>(),
            "One's own notifications",
        )
        .refusing(&[400]),
        post(
            "/api/v1/notifications/{id}/read",
            Own,
            Wuphf,
            Body,
            200,
            Shape::of::<Notification>(),
            "Marks a notification read",
        )
        .refusing(&[404]),
        get(
            "/api/v1/warehouse/shipments",
            Warehouse,
            Inventory,
            Query,
            Shape::of::<ShipmentList>(),
            "Shipments",
        )
        .refusing(&[400]),
        post(
            "/api/v1/warehouse/shipments/{id}/scan",
            Warehouse,
            Inventory,
            BodyAndKey,
            200,
            Shape::of::<Scanned>(),
            "Scans a line of a shipment",
        )
        .taking(Shape::of::<Scan>())
        .refusing(&[400, 404, 409]),
        post(
            "/api/v1/warehouse/shipments/{id}/dispatch",
            Warehouse,
            Inventory,
            BodyAndKey,
            200,
            Shape::of::<Dispatched>(),
            "Sends a shipment off",
        )
        .taking(Shape::of::<Dispatch>())
        .refusing(&[400, 404, 409]),
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

    #[test]
    fn a_body_that_goes_on_is_described() {
        for route in &ROUTES {
            let goes_on = matches!(route.sends, Sends::Body | Sends::BodyAndKey);
            // Reading a notification takes none that would say anything.
            let says = goes_on && !route.path.ends_with("/read");
            assert_eq!(route.takes.is_some(), says, "{}", route.path);
        }
    }
}
