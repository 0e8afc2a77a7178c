//! Tests of the API reference.

use http::StatusCode;

use super::super::route_table::ROUTES;
use super::{TestGateway, body, header_text};
use crate::access::Area;

#[tokio::test]
async fn reference_page_describes_each_route_of_the_table() {
    let server = TestGateway::start().await;
    let response = server.get("/api", &[]).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(header_text(&response, "content-type").starts_with("text/html"));
    let policy = header_text(&response, "content-security-policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'unsafe-inline'"));
    let page = body(response).await;
    let streams = [
        "GET /api/v1/auth/me".to_owned(),
        "GET /api/v1/orders/{orderId}/stream".to_owned(),
        "GET /api/v1/orders/{orderId}/timeline/stream".to_owned(),
    ];
    let routes = ROUTES
        .iter()
        .map(|route| format!("{} {}", route.method, route.path));
    for route in routes.chain(streams) {
        let heading = format!("<h3><code>{route}</code></h3>");
        assert!(page.contains(&heading), "{route}");
    }
    for route in ROUTES.iter().filter(|route| route.area != Area::Personal) {
        for role in route.area.roles() {
            assert!(page.contains(&format!("<code>{role}</code>")), "{role}");
        }
        assert!(page.contains(route.area.forbidden_message()));
    }
}
