//! Tests of the pages.

use super::{TestGateway, body, header_text};

#[tokio::test]
async fn app_requires_its_role() {
    let server = TestGateway::start().await;
    for (role, path, status, app) in [
        ("sales-associate", "/portal", 302, ""),
        ("sales-associate", "/infinity", 302, ""),
        ("sales-associate", "/accounting", 403, "Accounting"),
        ("accountant", "/infinity", 403, "Infinity"),
        ("accountant", "/accounting", 302, ""),
        ("manager", "/accounting", 302, ""),
        ("warehouse-operator", "/infinity", 403, "Infinity"),
        ("portal-user", "/portal", 302, ""),
    ] {
        let cookie = server.session_cookie("kkapoor", role);
        let response = server.get(path, &[("cookie", &cookie)]).await;
        assert_eq!(response.status(), status, "{role} {path}");
        if status == 403 {
            assert!(header_text(&response, "content-type").starts_with("text/html"));
            let page = body(response).await;
            assert!(page.contains("<h1>Access denied</h1>") && page.contains(app));
        }
    }
}
