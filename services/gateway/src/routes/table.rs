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
        get(
            "/api/v1/sales/clients",
            sales,
            leads,
            Nothing,
            "All clients",
        ),
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
