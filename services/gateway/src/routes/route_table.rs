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

use super::body_schema::BodySchema;
use crate::access::Area;
use crate::downstream::DownstreamService;

/// What of a request goes on to the service, beside the headers that always do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forwarded {
    /// The query string.
    Query,
    /// The body.
    Body,
    /// The body, and the idempotency key if there is one.
    BodyAndIdempotencyKey,
    /// Nothing.
    Nothing,
}

/// A route of a service.
#[derive(Debug)]
pub(crate) struct ServiceRoute {
    /// The verb.
    pub method: Method,
    /// The path with its placeholders.
    pub path: &'static str,
    /// Who may call it.
    pub area: Area,
    /// Whose it is.
    pub service: DownstreamService,
    /// What goes on.
    pub forwards: Forwarded,
    /// What the body has to be, where one goes on.
    pub request_body: Option<BodySchema>,
    /// The status where all is well.
    pub success_status: u16,
    /// What is answered then.
    pub response_body: BodySchema,
    /// The statuses of the refusals that are the service's own.
    pub error_statuses: &'static [u16],
    /// What it does.
    pub summary: &'static str,
}

const fn get(
    path: &'static str,
    area: Area,
    service: DownstreamService,
    sends: Forwarded,
    answers: BodySchema,
    summary: &'static str,
) -> ServiceRoute {
    ServiceRoute {
        method: Method::GET,
        path,
        area,
        service,
        forwards: sends,
        request_body: None,
        success_status: 200,
        response_body: answers,
        error_statuses: &[],
        summary,
    }
}

const fn post(
    path: &'static str,
    area: Area,
    service: DownstreamService,
    sends: Forwarded,
    ok: u16,
    answers: BodySchema,
    summary: &'static str,
) -> ServiceRoute {
    ServiceRoute {
        method: Method::POST,
        path,
        area,
        service,
        forwards: sends,
        request_body: None,
        success_status: ok,
        response_body: answers,
        error_statuses: &[],
        summary,
    }
}

impl ServiceRoute {
    /// The same with a body that has to be so.
    const fn with_request_body(mut self, shape: BodySchema) -> Self {
        self.request_body = Some(shape);
        self
    }

    /// The same with statuses that the service may refuse by.
    const fn with_error_statuses(mut self, statuses: &'static [u16]) -> Self {
        self.error_statuses = statuses;
        self
    }
}

/// All routes that go on to a service, in the order of the contract.
pub(crate) static ROUTES: [ServiceRoute; 20] = {
    use Area::{Accounting, Personal, Warehouse};
    use DownstreamService::{Finance, Inventory, Order, Wuphf};
    use Forwarded::{Body, BodyAndIdempotencyKey, Nothing, Query};
    let (leads, sales) = (DownstreamService::Sales, Area::Sales);
    [
        get(
            "/api/v1/profile/me",
            Personal,
            DownstreamService::Profile,
            Nothing,
            BodySchema::for_type::<Profile>(),
            "One's own profile",
        ),
        post(
            "/api/v1/profile/me",
            Personal,
            DownstreamService::Profile,
            Body,
            200,
            BodySchema::for_type::<Profile>(),
            "Replaces one's own profile",
        )
        .with_request_body(BodySchema::for_type::<SaveProfile>())
        .with_error_statuses(&[400]),
        get(
            "/api/v1/sales/leads",
            sales,
            leads,
            Query,
            BodySchema::for_list::<LeadSummary>(),
            "All leads",
        )
        .with_error_statuses(&[400]),
        post(
            "/api/v1/sales/leads",
            sales,
            leads,
            Body,
            201,
            BodySchema::for_type::<LeadDetail>(),
            "A new lead",
        )
        .with_request_body(BodySchema::for_type::<CreateLead>())
        .with_error_statuses(&[400]),
        get(
            "/api/v1/sales/leads/{leadId}",
            sales,
            leads,
            Nothing,
            BodySchema::for_type::<LeadDetail>(),
            "A lead",
        )
        .with_error_statuses(&[404]),
        post(
            "/api/v1/sales/leads/{leadId}",
            sales,
            leads,
            Body,
            200,
            BodySchema::for_type::<LeadDetail>(),
            "Changes a lead",
        )
        .with_request_body(BodySchema::for_type::<UpdateLead>())
        .with_error_statuses(&[400, 404]),
        post(
            "/api/v1/sales/leads/{leadId}/convert",
            sales,
            leads,
            Nothing,
            200,
            BodySchema::for_type::<ConvertedLead>(),
            "Makes a client of a lead",
        )
        .with_error_statuses(&[404, 409]),
        get(
            "/api/v1/sales/clients",
            sales,
            leads,
            Query,
            BodySchema::for_list::<ClientSummary>(),
            "All clients",
        )
        .with_error_statuses(&[400]),
        get(
            "/api/v1/orders",
            sales,
            Order,
            Query,
            BodySchema::for_type::<OrderList>(),
            "All orders",
        ),
        post(
            "/api/v1/orders",
            sales,
            Order,
            Body,
            201,
            BodySchema::for_type::<OrderPlaced>(),
            "Places an order",
        )
        .with_request_body(BodySchema::for_type::<PlaceOrder>())
        .with_error_statuses(&[400]),
        get(
            "/api/v1/orders/{orderId}",
            sales,
            Order,
            Nothing,
            BodySchema::for_type::<OrderDetail>(),
            "An order",
        )
        .with_error_statuses(&[404]),
        get(
            "/api/v1/orders/{orderId}/timeline",
            sales,
            Order,
            Nothing,
            BodySchema::for_type::<OrderTimeline>(),
            "What happened to an order",
        )
        .with_error_statuses(&[404]),
        get(
            "/api/v1/expenses",
            Accounting,
            Finance,
            Query,
            BodySchema::for_list::<Expense>(),
            "All expenses",
        )
        .with_error_statuses(&[400]),
        post(
            "/api/v1/expenses",
            Accounting,
            Finance,
            Body,
            201,
            BodySchema::for_type::<Expense>(),
            "A new expense",
        )
        .with_request_body(BodySchema::for_type::<CreateExpense>())
        .with_error_statuses(&[400]),
        post(
            "/api/v1/expenses/{expenseId}/decision",
            Accounting,
            Finance,
            Body,
            200,
            BodySchema::for_type::<Expense>(),
            "Decides on an expense",
        )
        .with_request_body(BodySchema::for_type::<DecideExpense>())
        .with_error_statuses(&[400, 404, 409]),
        get(
            "/api/v1/notifications",
            Personal,
            Wuphf,
            Query,
            BodySchema::for_type::<Notifications>(),
            "One's own notifications",
        )
        .with_error_statuses(&[400]),
        post(
            "/api/v1/notifications/{id}/read",
            Personal,
            Wuphf,
            Body,
            200,
            BodySchema::for_type::<Notification>(),
            "Marks a notification read",
        )
        .with_error_statuses(&[404]),
        get(
            "/api/v1/warehouse/shipments",
            Warehouse,
            Inventory,
            Query,
            BodySchema::for_type::<ShipmentList>(),
            "Shipments",
        )
        .with_error_statuses(&[400]),
        post(
            "/api/v1/warehouse/shipments/{id}/scan",
            Warehouse,
            Inventory,
            BodyAndIdempotencyKey,
            200,
            BodySchema::for_type::<Scanned>(),
            "Scans a line of a shipment",
        )
        .with_request_body(BodySchema::for_type::<Scan>())
        .with_error_statuses(&[400, 404, 409]),
        post(
            "/api/v1/warehouse/shipments/{id}/dispatch",
            Warehouse,
            Inventory,
            BodyAndIdempotencyKey,
            200,
            BodySchema::for_type::<Dispatched>(),
            "Sends a shipment off",
        )
        .with_request_body(BodySchema::for_type::<Dispatch>())
        .with_error_statuses(&[400, 404, 409]),
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
                    Area::Personal => "any",
                    Area::Sales => "S",
                    Area::Warehouse => "W",
                    Area::Accounting => "A",
                };
                let ServiceRoute {
                    method,
                    path,
                    service,
                    success_status: ok,
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
                DownstreamService::Order | DownstreamService::Sales => (
                    "Login is required",
                    "Sales role is required to access orders",
                ),
                DownstreamService::Finance => (
                    "Login is required",
                    "Accounting role is required to access expenses",
                ),
                DownstreamService::Inventory => (
                    "Bearer token or session is required",
                    "Warehouse role is required to access shipments",
                ),
                DownstreamService::Profile | DownstreamService::Wuphf => {
                    assert!(route.area.permits::<&str>(&[]), "{} has a 403", route.path);
                    ("Login is required", route.area.forbidden_message())
                }
            };
            assert_eq!(route.area.unauthenticated_message(), unauthenticated);
            assert_eq!(route.area.forbidden_message(), forbidden);
            let bearers = route.service == DownstreamService::Inventory;
            assert_eq!(route.area.accepts_bearer(), bearers, "{}", route.path);
        }
    }

    #[test]
    fn keys_go_on_with_scans_and_dispatches_alone() {
        for route in &ROUTES {
            let keyed = route.path.ends_with("/scan") || route.path.ends_with("/dispatch");
            assert_eq!(
                route.forwards == Forwarded::BodyAndIdempotencyKey,
                keyed,
                "{}",
                route.path
            );
        }
    }

    #[test]
    fn every_list_is_asked_with_its_filters() {
        for route in ROUTES.iter().filter(|route| route.method == Method::GET) {
            let one = route.path.contains('{') || route.path.ends_with("/me");
            let expected = if one {
                Forwarded::Nothing
            } else {
                Forwarded::Query
            };
            assert_eq!(route.forwards, expected, "{}", route.path);
        }
    }

    #[test]
    fn a_body_that_goes_on_is_described() {
        for route in &ROUTES {
            let goes_on = matches!(
                route.forwards,
                Forwarded::Body | Forwarded::BodyAndIdempotencyKey
            );
            // Reading a notification takes none that would say anything.
            let says = goes_on && !route.path.ends_with("/read");
            assert_eq!(route.request_body.is_some(), says, "{}", route.path);
        }
    }
}
