//! Tests of the built-in apps and of the redirects to external front ends.

use axum::response::Response;
use http::{Method, StatusCode};

use super::{TestGateway, body, header_text};

const FRONT_ENDS: [(&str, &str); 3] = [
    ("PORTAL_WEB_BASE_URL", "http://localhost:3000"),
    ("INFINITY_WEB_BASE_URL", "http://localhost:3001"),
    ("ACCOUNTING_WEB_BASE_URL", "http://localhost:3002"),
];

const DIRECTORIES: [&str; 4] = ["portal", "infinity", "warehouse", "accounting"];

impl TestGateway {
    /// Returns the response to a request of a manager.
    async fn get_as_manager(&self, path: &str) -> Response {
        let cookie = self.session_cookie("mscott", "manager");
        self.get(path, &[("cookie", &cookie)]).await
    }

    /// Returns a path below `/apps/assets`, with the digest that the pages name.
    async fn asset_path(&self, file: &str) -> String {
        let page = body(self.get_as_manager("/apps/portal/").await).await;
        let (_, rest) = page.split_once("/apps/assets/").unwrap();
        let (digest, _) = rest.split_once('/').unwrap();
        format!("/apps/assets/{digest}/{file}")
    }
}

#[tokio::test]
async fn built_in_app_takes_the_place_of_a_missing_front_end() {
    let server = TestGateway::start().await;
    for (path, target) in [
        ("/portal", "/apps/portal/"),
        (
            "/infinity?orderId=ord_9001&x=%26",
            "/apps/infinity/?orderId=ord_9001&x=%26",
        ),
        ("/warehouse", "/apps/warehouse/"),
        ("/accounting?x", "/apps/accounting/?x"),
    ] {
        let response = server.get_as_manager(path).await;
        assert_eq!(response.status(), StatusCode::FOUND, "{path}");
        assert_eq!(header_text(&response, "location"), target);
        assert_eq!(header_text(&response, "cache-control"), "no-store");
    }
    for directory in DIRECTORIES {
        let path = format!("/apps/{directory}");
        let response = server.get_as_manager(&path).await;
        assert_eq!(header_text(&response, "location"), format!("/{directory}"));
        let response = server.get_as_manager(&format!("{path}/?a=b")).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn configured_front_end_takes_the_place_of_the_built_in_app() {
    let server = TestGateway::start_with(&FRONT_ENDS).await;
    for (path, target) in [
        ("/portal", "http://localhost:3000/"),
        (
            "/infinity?orderId=ord_1",
            "http://localhost:3001/?orderId=ord_1",
        ),
        ("/accounting", "http://localhost:3002/"),
        ("/apps/portal/", "/portal"),
        ("/apps/infinity/?orderId=ord_1", "/infinity?orderId=ord_1"),
        ("/apps/accounting/", "/accounting"),
        ("/warehouse", "/apps/warehouse/"),
    ] {
        let response = server.get_as_manager(path).await;
        assert_eq!(response.status(), StatusCode::FOUND, "{path}");
        assert_eq!(header_text(&response, "location"), target, "{path}");
    }
    let response = server.get_as_manager("/apps/warehouse/").await;
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn empty_front_end_setting_keeps_the_built_in_app() {
    let server = TestGateway::start_with(&[("PORTAL_WEB_BASE_URL", "")]).await;
    let response = server.get_as_manager("/portal").await;
    assert_eq!(header_text(&response, "location"), "/apps/portal/");
}

#[tokio::test]
async fn page_of_an_app_without_a_session_leads_to_the_login_and_back() {
    let server = TestGateway::start().await;
    for (path, return_to) in [
        ("/apps/portal/", "%2Fapps%2Fportal%2F"),
        (
            "/apps/infinity/?view=leads&new",
            "%2Fapps%2Finfinity%2F%3Fview%3Dleads%26new",
        ),
        ("/warehouse", "%2Fwarehouse"),
    ] {
        let response = server.get(path, &[]).await;
        assert_eq!(response.status(), StatusCode::FOUND);
        assert_eq!(
            header_text(&response, "location"),
            format!("/oauth2/authorization/keycloak?returnTo={return_to}")
        );
    }
}

#[tokio::test]
async fn page_of_an_app_requires_its_role() {
    let server = TestGateway::start().await;
    for (role, path, status, app) in [
        ("portal-user", "/apps/portal/", 200, ""),
        ("portal-user", "/apps/infinity/", 403, "Infinity"),
        ("sales-associate", "/apps/infinity/", 200, ""),
        ("sales-associate", "/apps/warehouse/", 403, "Warehouse"),
        ("sales-associate", "/warehouse", 403, "Warehouse"),
        ("warehouse-operator", "/apps/warehouse/", 200, ""),
        ("warehouse-operator", "/apps/accounting/", 403, "Accounting"),
        ("accountant", "/apps/accounting/", 200, ""),
        ("manager", "/apps/accounting/", 200, ""),
    ] {
        let cookie = server.session_cookie("kkapoor", role);
        let response = server.get(path, &[("cookie", &cookie)]).await;
        assert_eq!(response.status(), status, "{role} {path}");
        let page = body(response).await;
        assert_eq!(page.contains("<h1>Access denied</h1>"), status == 403);
        assert!(page.contains(app), "{role} {path}");
    }
}

#[tokio::test]
async fn page_of_an_app_permits_only_its_own_scripts_and_is_validated() {
    let server = TestGateway::start().await;
    for directory in DIRECTORIES {
        let path = format!("/apps/{directory}/");
        let response = server.get_as_manager(&path).await;
        assert_eq!(
            header_text(&response, "content-security-policy"),
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
             connect-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; \
             form-action 'self'; frame-ancestors 'none'"
        );
        assert_eq!(header_text(&response, "cache-control"), "private, no-cache");
        assert_eq!(
            header_text(&response, "content-type"),
            "text/html; charset=utf-8"
        );
        let etag = header_text(&response, "etag").to_owned();
        let cookie = server.session_cookie("mscott", "manager");
        let headers = [("cookie", cookie.as_str()), ("if-none-match", &etag)];
        let response = server.get(&path, &headers).await;
        assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(header_text(&response, "etag"), etag);
        // The headers of a 304 replace those in the browser's cache.
        let policy = header_text(&response, "content-security-policy");
        assert!(policy.contains("script-src 'self'"));
        assert_eq!(body(response).await, "");
        // The tag is no proof of a session.
        let response = server.get(&path, &[("if-none-match", &etag)]).await;
        assert_eq!(response.status(), StatusCode::FOUND);
    }
}

#[tokio::test]
async fn asset_is_public_and_immutable_under_its_digest() {
    let server = TestGateway::start().await;
    for (file, content_type) in [
        ("shared/app.css", "text/css; charset=utf-8"),
        ("shared/shell.js", "text/javascript; charset=utf-8"),
        ("warehouse/app.js", "text/javascript; charset=utf-8"),
        ("shared/icon.svg", "image/svg+xml"),
    ] {
        let path = server.asset_path(file).await;
        let response = server.get(&path, &[]).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(header_text(&response, "content-type"), content_type);
        assert_eq!(
            header_text(&response, "cache-control"),
            "public, max-age=31536000, immutable"
        );
        assert!(!response.headers().contains_key("set-cookie"));
        let etag = header_text(&response, "etag").to_owned();
        let length = body(response).await.len();

        let head = server.request(Method::HEAD, &path, &[]).await;
        assert_eq!(head.status(), StatusCode::OK);
        assert_eq!(header_text(&head, "content-length"), length.to_string());
        assert_eq!(header_text(&head, "etag"), etag);
        assert_eq!(body(head).await, "");

        let known = [("if-none-match", etag.as_str())];
        let response = server.get(&path, &known).await;
        assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(body(response).await, "");

        let response = server.request(Method::POST, &path, &[]).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}

#[tokio::test]
async fn asset_of_another_version_is_this_version_and_not_kept() {
    let server = TestGateway::start().await;
    let current = server.asset_path("shared/dom.js").await;
    let other = server.get("/apps/assets/0123/shared/dom.js", &[]).await;
    assert_eq!(header_text(&other, "cache-control"), "no-cache");
    let current = server.get(&current, &[]).await;
    assert_eq!(body(other).await, body(current).await);
}

#[tokio::test]
async fn path_that_is_not_a_file_of_the_bundle_is_not_found() {
    let server = TestGateway::start().await;
    let cookie = server.session_cookie("mscott", "manager");
    for path in [
        "/apps/assets/x",
        "/apps/assets/x/",
        "/apps/assets/x/shared",
        "/apps/assets/x/shared/",
        "/apps/assets/x/shared/app.css/",
        "/apps/assets/x/shared//app.css",
        "/apps/assets/x/../shared/app.css",
        "/apps/assets/x/shared/../../Cargo.toml",
        "/apps/assets/x/..%2f..%2fCargo.toml",
        "/apps/assets/x/%2e%2e/%2e%2e/src/lib.rs",
        "/apps/assets/x/shared%2Fapp.css",
        "/apps/assets/x/SHARED/app.css",
        "/apps/assets/x/portal/index.html",
        "/apps/assets/x/shared/page.html",
        "/apps/assets/x/warehouse/sw.js",
        "/apps/portal/app.js",
        "/apps/portal/index.html",
        "/apps/warehouse/../portal/",
        "/apps/grafana/",
    ] {
        let response = server.get(path, &[("cookie", &cookie)]).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn service_worker_may_fetch_and_is_validated() {
    let server = TestGateway::start().await;
    for (path, content_type) in [
        ("/apps/warehouse/sw.js", "text/javascript; charset=utf-8"),
        (
            "/apps/warehouse/manifest.webmanifest",
            "application/manifest+json",
        ),
    ] {
        let response = server.get(path, &[]).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(header_text(&response, "content-type"), content_type);
        assert_eq!(header_text(&response, "cache-control"), "no-cache");
        // A worker has the policy of its own response.
        let policy = header_text(&response, "content-security-policy");
        assert!(policy.contains("connect-src 'self'"));
    }
}

#[tokio::test]
async fn home_page_keeps_its_elements_and_links_to_all_apps() {
    let server = TestGateway::start().await;
    for path in ["/", "/index.html"] {
        let page = body(server.get_as_manager(path).await).await;
        for element in [
            "<title>Dunder Mifflin Gateway</title>",
            "<h1>Dunder Mifflin Gateway</h1>",
            "<a href=\"/logout\">Sign out</a>",
            "<a href=\"/portal\">Portal</a>",
            "<a href=\"/infinity\">Infinity</a>",
            "<a href=\"/accounting\">Accounting</a>",
            "<a href=\"/warehouse\">Warehouse</a>",
        ] {
            assert!(page.contains(element), "{path} lacks {element}");
        }
    }
}
