//! The table of the routes that are forwarded to services.

use dm_contracts::api::finance::{CreateExpense, DecideExpense, Expense};
use dm_contracts::api::notification::{Notification, Notifications};
use dm_contracts::api::order::{
    CancelOrder, CancelledOrder, OrderDetail, OrderList, OrderPlaced, OrderTimeline, PlaceOrder,
};
use dm_contracts::api::profile::{AppSettings, ImageFile, Profile, SaveAppSettings, SaveProfile};
use dm_contracts::api::sales::{
    ClientSummary, ConvertedLead, CreateLead, LeadDetail, LeadSummary, UpdateLead,
};
use dm_contracts::api::shipment::{Dispatch, Dispatched, Scan, Scanned, ShipmentList};
use dm_contracts::api::stock::ProductList;
use http::Method;

use super::body_schema::BodySchema;
use crate::access::Area;
use crate::downstream::DownstreamService;

/// The part of a request that is forwarded to the service, beside the fixed headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forwarded {
    /// The query string.
    Query,
    /// The body.
    Body,
    /// The body, and the idempotency key if the request has one.
    BodyAndIdempotencyKey,
    /// The body, which is an image, and its content type.
    Image,
    /// The entity tags of the images that the client has. The response is an image.
    EntityTags,
    /// Nothing.
    Nothing,
}

impl Forwarded {
    /// Returns whether the body is forwarded.
    pub(crate) const fn has_body(self) -> bool {
        matches!(self, Self::Body | Self::BodyAndIdempotencyKey | Self::Image)
    }
}

/// A route that is forwarded to a service.
#[derive(Debug)]
pub(crate) struct ServiceRoute {
    /// The HTTP method.
    pub method: Method,
    /// The path with its parameters in braces.
    pub path: &'static str,
    /// The area, which determines the required role.
    pub area: Area,
    /// The service.
    pub service: DownstreamService,
    /// The part of the request that is forwarded.
    pub forwards: Forwarded,
    /// The schema of the request body, if one is forwarded.
    pub request_body: Option<BodySchema>,
    /// The status of a successful response.
    pub success_status: u16,
    /// The schema of a successful response, if it has a body.
    pub response_body: Option<BodySchema>,
    /// The error statuses of the service itself.
    pub error_statuses: &'static [u16],
    /// The summary in the OpenAPI document.
    pub summary: &'static str,
}

const fn get(
    path: &'static str,
    area: Area,
    service: DownstreamService,
    forwards: Forwarded,
    response_body: BodySchema,
    summary: &'static str,
) -> ServiceRoute {
    ServiceRoute {
        method: Method::GET,
        path,
        area,
        service,
        forwards,
        request_body: None,
        success_status: 200,
        response_body: Some(response_body),
        error_statuses: &[],
        summary,
    }
}

const fn post(
    path: &'static str,
    area: Area,
    service: DownstreamService,
    forwards: Forwarded,
    success_status: u16,
    response_body: BodySchema,
    summary: &'static str,
) -> ServiceRoute {
    ServiceRoute {
        method: Method::POST,
        path,
        area,
        service,
        forwards,
        request_body: None,
        success_status,
        response_body: Some(response_body),
        error_statuses: &[],
        summary,
    }
}

const fn put(
    path: &'static str,
    area: Area,
    service: DownstreamService,
    forwards: Forwarded,
    request_body: BodySchema,
    response_body: Option<BodySchema>,
    summary: &'static str,
) -> ServiceRoute {
    ServiceRoute {
        method: Method::PUT,
        path,
        area,
        service,
        forwards,
        request_body: Some(request_body),
        success_status: if response_body.is_some() { 200 } else { 204 },
        response_body,
        error_statuses: &[],
        summary,
    }
}

const fn delete(
    path: &'static str,
    area: Area,
    service: DownstreamService,
    summary: &'static str,
) -> ServiceRoute {
    ServiceRoute {
        method: Method::DELETE,
        path,
        area,
        service,
        forwards: Forwarded::Nothing,
        request_body: None,
        success_status: 204,
        response_body: None,
        error_statuses: &[],
        summary,
    }
}

impl ServiceRoute {
    /// Returns the content types of the request body.
    pub(crate) const fn request_types(&self) -> &'static [&'static str] {
        match self.forwards {
            Forwarded::Image => &["image/png", "image/jpeg", "image/webp"],
            _ => &["application/json"],
        }
    }

    /// Returns the content types of a successful response with a body.
    pub(crate) const fn response_types(&self) -> &'static [&'static str] {
        match self.forwards {
            Forwarded::EntityTags => &["image/png", "image/svg+xml"],
            _ => &["application/json"],
        }
    }

    /// Returns whether the request body can be missing or `null`.
    pub(crate) fn has_optional_body(&self) -> bool {
        self.path.ends_with("/cancel")
    }

    /// Returns whether the response has the service's own content type and entity tag.
    pub(crate) const fn is_image_route(&self) -> bool {
        matches!(self.forwards, Forwarded::Image | Forwarded::EntityTags)
    }

    /// Sets the schema of the request body.
    const fn with_request_body(mut self, schema: BodySchema) -> Self {
        self.request_body = Some(schema);
        self
    }

    /// Sets the error statuses of the service itself.
    const fn with_error_statuses(mut self, statuses: &'static [u16]) -> Self {
        self.error_statuses = statuses;
        self
    }
}

/// All routes that are forwarded to a service, in the order of the contract.
pub(crate) static ROUTES: [ServiceRoute; 28] = {
    use Area::{Accounting, Personal, Products, Warehouse};
    use DownstreamService::{Finance, Inventory, Order, Wuphf};
    use Forwarded::{Body, BodyAndIdempotencyKey, EntityTags, Image, Nothing, Query};
    let (leads, sales) = (DownstreamService::Sales, Area::Sales);
    [
        get(
            "/api/v1/profile/me",
            Personal,
            DownstreamService::Profile,
            Nothing,
            BodySchema::for_type::<Profile>(),
            "Returns the profile of the user",
        ),
        post(
            "/api/v1/profile/me",
            Personal,
            DownstreamService::Profile,
            Body,
            200,
            BodySchema::for_type::<Profile>(),
            "Replaces the profile of the user",
        )
        .with_request_body(BodySchema::for_type::<SaveProfile>())
        .with_error_statuses(&[400]),
        get(
            "/api/v1/profile/me/avatar",
            Personal,
            DownstreamService::Profile,
            EntityTags,
            BodySchema::for_type::<ImageFile>(),
            "Returns the avatar of the user, or an image with initials",
        ),
        put(
            "/api/v1/profile/me/avatar",
            Personal,
            DownstreamService::Profile,
            Image,
            BodySchema::for_type::<ImageFile>(),
            None,
            "Replaces the avatar of the user",
        )
        .with_error_statuses(&[400, 413, 429]),
        delete(
            "/api/v1/profile/me/avatar",
            Personal,
            DownstreamService::Profile,
            "Removes the avatar of the user",
        ),
        get(
            "/api/v1/profile/me/apps/{app}/settings",
            Personal,
            DownstreamService::Profile,
            Nothing,
            BodySchema::for_type::<AppSettings>(),
            "Returns the settings of an app",
        )
        .with_error_statuses(&[404]),
        put(
            "/api/v1/profile/me/apps/{app}/settings",
            Personal,
            DownstreamService::Profile,
            Body,
            BodySchema::for_type::<SaveAppSettings>(),
            Some(BodySchema::for_type::<AppSettings>()),
            "Replaces the settings of an app",
        )
        .with_error_statuses(&[400, 404, 409]),
        get(
            "/api/v1/profile/{userId}/avatar",
            Personal,
            DownstreamService::Profile,
            EntityTags,
            BodySchema::for_type::<ImageFile>(),
            "Returns the avatar of a user, or an image with initials",
        ),
        get(
            "/api/v1/sales/leads",
            sales,
            leads,
            Query,
            BodySchema::for_list::<LeadSummary>(),
            "Lists leads",
        )
        .with_error_statuses(&[400]),
        post(
            "/api/v1/sales/leads",
            sales,
            leads,
            Body,
            201,
            BodySchema::for_type::<LeadDetail>(),
            "Creates a lead",
        )
        .with_request_body(BodySchema::for_type::<CreateLead>())
        .with_error_statuses(&[400]),
        get(
            "/api/v1/sales/leads/{leadId}",
            sales,
            leads,
            Nothing,
            BodySchema::for_type::<LeadDetail>(),
            "Returns a lead",
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
            "Converts a lead to a client",
        )
        .with_error_statuses(&[404, 409]),
        get(
            "/api/v1/sales/clients",
            sales,
            leads,
            Query,
            BodySchema::for_list::<ClientSummary>(),
            "Lists clients",
        )
        .with_error_statuses(&[400]),
        get(
            "/api/v1/orders",
            sales,
            Order,
            Query,
            BodySchema::for_type::<OrderList>(),
            "Lists orders",
        )
        .with_error_statuses(&[400]),
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
            "Returns an order",
        )
        .with_error_statuses(&[404]),
        post(
            "/api/v1/orders/{orderId}/cancel",
            sales,
            Order,
            Body,
            200,
            BodySchema::for_type::<CancelledOrder>(),
            "Cancels an order",
        )
        .with_request_body(BodySchema::for_type::<CancelOrder>())
        .with_error_statuses(&[400, 404, 409]),
        get(
            "/api/v1/orders/{orderId}/timeline",
            sales,
            Order,
            Nothing,
            BodySchema::for_type::<OrderTimeline>(),
            "Returns the timeline of an order",
        )
        .with_error_statuses(&[404]),
        get(
            "/api/v1/expenses",
            Accounting,
            Finance,
            Query,
            BodySchema::for_list::<Expense>(),
            "Lists expenses",
        )
        .with_error_statuses(&[400]),
        post(
            "/api/v1/expenses",
            Accounting,
            Finance,
            Body,
            201,
            BodySchema::for_type::<Expense>(),
            "Creates an expense",
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
            "Lists the notifications of the user",
        )
        .with_error_statuses(&[400]),
        post(
            "/api/v1/notifications/{id}/read",
            Personal,
            Wuphf,
            Body,
            200,
            BodySchema::for_type::<Notification>(),
            "Marks a notification as read",
        )
        // The gateway reads the body, which the service ignores.
        .with_error_statuses(&[404, 408, 413]),
        get(
            "/api/v1/warehouse/shipments",
            Warehouse,
            Inventory,
            Query,
            BodySchema::for_type::<ShipmentList>(),
            "Lists shipments",
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
            "Dispatches a shipment",
        )
        .with_request_body(BodySchema::for_type::<Dispatch>())
        .with_error_statuses(&[400, 404, 409]),
        get(
            "/api/v1/products",
            Products,
            Inventory,
            Query,
            BodySchema::for_type::<ProductList>(),
            "Lists products",
        )
        .with_error_statuses(&[400]),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    /// Section 4 of the contract. Areas: S (sales), W (warehouse), SW (both), A (accounting), any.
    const CONTRACT: &str = "
        GET  /api/v1/profile/me                              any  profile    200
        POST /api/v1/profile/me                              any  profile    200
        GET  /api/v1/profile/me/avatar                       any  profile    200
        PUT  /api/v1/profile/me/avatar                       any  profile    204
        DELETE /api/v1/profile/me/avatar                     any  profile    204
        GET  /api/v1/profile/me/apps/{app}/settings          any  profile    200
        PUT  /api/v1/profile/me/apps/{app}/settings          any  profile    200
        GET  /api/v1/profile/{userId}/avatar                 any  profile    200
        GET  /api/v1/sales/leads                             S    sales      200
        POST /api/v1/sales/leads                             S    sales      201
        GET  /api/v1/sales/leads/{leadId}                    S    sales      200
        POST /api/v1/sales/leads/{leadId}                    S    sales      200
        POST /api/v1/sales/leads/{leadId}/convert            S    sales      200
        GET  /api/v1/sales/clients                           S    sales      200
        GET  /api/v1/orders                                  S    order      200
        POST /api/v1/orders                                  S    order      201
        GET  /api/v1/orders/{orderId}                        S    order      200
        POST /api/v1/orders/{orderId}/cancel                 S    order      200
        GET  /api/v1/orders/{orderId}/timeline               S    order      200
        GET  /api/v1/expenses                                A    finance    200
        POST /api/v1/expenses                                A    finance    201
        POST /api/v1/expenses/{expenseId}/decision           A    finance    200
        GET  /api/v1/notifications                           any  wuphf      200
        POST /api/v1/notifications/{id}/read                 any  wuphf      200
        GET  /api/v1/warehouse/shipments                     W    inventory  200
        POST /api/v1/warehouse/shipments/{id}/scan           W    inventory  200
        POST /api/v1/warehouse/shipments/{id}/dispatch       W    inventory  200
        GET  /api/v1/products                                SW   inventory  200";

    fn words(text: &str) -> Vec<Vec<&str>> {
        text.trim()
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect()
    }

    #[test]
    fn route_table_equals_the_table_of_the_contract() {
        let rows: Vec<_> = ROUTES
            .iter()
            .map(|route| {
                let area = match route.area {
                    Area::Personal => "any",
                    Area::Sales => "S",
                    Area::Warehouse => "W",
                    Area::Products => "SW",
                    Area::Accounting => "A",
                };
                let ServiceRoute {
                    method,
                    path,
                    service,
                    success_status,
                    ..
                } = route;
                format!("{method} {path} {area} {} {success_status}", service.name())
            })
            .collect();
        assert_eq!(words(&rows.join("\n")), words(CONTRACT));
    }

    #[test]
    fn role_opens_the_areas_of_the_contract() {
        let open_areas = |role: &str| -> Vec<&str> {
            let rows = words(CONTRACT);
            let mut areas: Vec<_> = ROUTES
                .iter()
                .zip(&rows)
                .filter(|(route, _)| route.area.permits(&[role]))
                .map(|(_, row)| match row[2] {
                    "any" => "any",
                    "S" => "S",
                    "W" => "W",
                    "SW" => "SW",
                    _ => "A",
                })
                .collect();
            areas.sort_unstable();
            areas.dedup();
            areas
        };
        for (role, areas) in [
            ("sales-associate", &["S", "SW", "any"][..]),
            ("warehouse-operator", &["SW", "W", "any"]),
            ("accountant", &["A", "any"]),
            ("manager", &["A", "S", "SW", "W", "any"]),
            ("portal-user", &["any"]),
            ("it-support", &["any"]),
        ] {
            assert_eq!(open_areas(role), areas, "{role}");
        }
    }

    #[test]
    fn error_messages_are_those_of_the_contract() {
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
                DownstreamService::Inventory if route.area == Area::Products => (
                    "Login is required",
                    "Sales or warehouse role is required to access products",
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
        }
    }

    #[test]
    fn idempotency_key_is_forwarded_only_for_scan_and_dispatch() {
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
    fn only_lists_forward_the_query() {
        for route in ROUTES.iter().filter(|route| route.method == Method::GET) {
            let single = route.path.contains('{') || route.path.ends_with("/me");
            let expected = if route.path.ends_with("/avatar") {
                Forwarded::EntityTags
            } else if single {
                Forwarded::Nothing
            } else {
                Forwarded::Query
            };
            assert_eq!(route.forwards, expected, "{}", route.path);
        }
    }

    #[test]
    fn forwarded_body_has_a_schema_except_for_read() {
        for route in &ROUTES {
            // The body of the read request is ignored.
            let expected = route.forwards.has_body() && !route.path.ends_with("/read");
            assert_eq!(route.request_body.is_some(), expected, "{}", route.path);
        }
    }
}
