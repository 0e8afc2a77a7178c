//! Tests of sign-in and sign-out.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use chrono::{DateTime, Utc};
use http::{StatusCode, header};
use jsonwebtoken::get_current_timestamp;
use serde_json::{Value, json};
use tokio::time::timeout;
use tower::ServiceExt as _;
use url::Url;

use super::{TestGateway, body, header_text, pass, unconfirmed_session};
use crate::oidc::testing::access_claims;

const CALLBACK_PATH: &str = "/login/oauth2/code/keycloak";

impl TestGateway {
    /// Begins a login and returns the authorization URL and the cookie of the browser.
    async fn begin(&self, return_to: &str) -> (Url, String) {
        let path = format!("/oauth2/authorization/keycloak?returnTo={return_to}");
        let response = self.get(&path, &[]).await;
        assert_eq!(response.status(), StatusCode::FOUND);
        let url = Url::parse(header_text(&response, "location")).unwrap();
        let cookie = header_text(&response, "set-cookie")
            .split(';')
            .next()
            .unwrap();
        (url, cookie.to_owned())
    }

    /// Sets the response of the realm to a code.
    fn answer_code(&self, nonce: &str, access: Value) {
        let party = "dunder-mifflin-gateway";
        let identity =
            access_claims(json!({"typ": "ID", "aud": party, "azp": party, "nonce": nonce}));
        let mut claims = access_claims(json!({ "azp": party }));
        for (name, value) in access.as_object().unwrap() {
            claims[name] = value.clone();
        }
        *self.realm.token_response.lock().unwrap() = Some(json!({
            "access_token": self.signer.sign(&claims),
            "id_token": self.signer.sign(&identity),
            "refresh_token": "first",
        }));
    }
}

fn parameter(url: &Url, name: &str) -> String {
    let pair = url.query_pairs().find(|(key, _)| key == name);
    pair.unwrap().1.into_owned()
}

#[tokio::test]
async fn login_returns_to_the_target_with_a_session() {
    let front_end = ("INFINITY_WEB_BASE_URL", "http://localhost:3001");
    let server = TestGateway::start_with(&[front_end]).await;
    let response = server.get("/infinity?orderId=ord_9001&x=%26", &[]).await;
    assert_eq!(
        header_text(&response, "location"),
        "/oauth2/authorization/keycloak?returnTo=%2Finfinity%3ForderId%3Dord_9001%26x%3D%2526"
    );
    let (url, browser) = server
        .begin("%2Finfinity%3ForderId%3Dord_9001%26x%3D%2526")
        .await;
    server.answer_code(
        &parameter(&url, "nonce"),
        json!({"realm_access": {"roles": ["manager"]}}),
    );

    let path = format!(
        "{CALLBACK_PATH}?state={}&code=c0de",
        parameter(&url, "state")
    );
    let response = server.get(&path, &[("cookie", &browser)]).await;
    assert_eq!(response.status(), StatusCode::FOUND);
    assert_eq!(
        header_text(&response, "location"),
        "/infinity?orderId=ord_9001&x=%26"
    );
    assert_eq!(header_text(&response, "cache-control"), "no-store");
    let cookie = header_text(&response, "set-cookie");
    let (cookie, attributes) = cookie.split_once("; ").unwrap();
    assert_eq!(attributes, "HttpOnly; SameSite=Lax; Path=/; Max-Age=1800");

    let form = server.realm.last_token_request.lock().unwrap().clone();
    assert_eq!(form["grant_type"], "authorization_code");
    assert_eq!(form["code"], "c0de");
    assert_eq!(form["redirect_uri"], parameter(&url, "redirect_uri"));
    assert_eq!(form["client_secret"], "gateway-secret-change-me");
    assert_eq!(form["code_verifier"].len(), 43);

    let response = server
        .get(header_text(&response, "location"), &[("cookie", cookie)])
        .await;
    assert_eq!(
        header_text(&response, "location"),
        "http://localhost:3001/?orderId=ord_9001&x=%26"
    );
    let me = body(server.get("/api/v1/auth/me", &[("cookie", cookie)]).await).await;
    let me: Value = serde_json::from_str(&me).unwrap();
    assert_eq!(me["displayName"], "Darryl Philbin");
    assert_eq!(
        me["apps"],
        json!(["portal", "infinity", "warehouse-mobile", "accounting"])
    );

    let again = server.get(&path, &[("cookie", &browser)]).await;
    assert_eq!(again.status(), StatusCode::BAD_REQUEST);
    assert!(body(again).await.contains("Login state expired"));

    let response = server.get("/logout", &[("cookie", cookie)]).await;
    assert_eq!(header_text(&response, "location"), "/");
    assert!(header_text(&response, "set-cookie").ends_with("; Max-Age=0"));
    let response = server.get("/api/v1/auth/me", &[("cookie", cookie)]).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(body(response).await, r#"{"error":"unauthenticated"}"#);
}

#[tokio::test]
async fn session_without_a_refresh_token_ends_with_its_access_token() {
    let server = TestGateway::start().await;
    let (url, browser) = server.begin("/portal").await;
    let expiry = get_current_timestamp() + 200;
    server.answer_code(&parameter(&url, "nonce"), json!({"exp": expiry}));
    if let Some(tokens) = server.realm.token_response.lock().unwrap().as_mut() {
        tokens["refresh_token"] = Value::Null;
    }
    let path = format!("{CALLBACK_PATH}?state={}&code=c", parameter(&url, "state"));
    let response = server.get(&path, &[("cookie", &browser)]).await;
    let (cookie, attributes) = header_text(&response, "set-cookie")
        .split_once("; ")
        .unwrap();
    assert!(!attributes.contains("Max-Age=1800"), "{attributes}");

    let me = async || server.get("/api/v1/auth/me", &[("cookie", cookie)]).await;
    let user: Value = serde_json::from_str(&body(me().await).await).unwrap();
    let end: DateTime<Utc> = serde_json::from_value(user["sessionExpiresAt"].clone()).unwrap();
    assert_eq!(end.timestamp().unsigned_abs(), expiry);
    pass(Duration::from_secs(200)).await;
    assert_eq!(me().await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn callback_rejects_a_login_of_another_browser_or_realm() {
    let server = TestGateway::start().await;
    for (cookie, nonce, access, status) in [
        (Some("dmf_login=another"), None, json!({}), 400),
        (None, None, json!({}), 400),
        (Some(""), Some("another"), json!({}), 401),
        (Some(""), None, json!({"azp": "warehouse-mobile"}), 401),
        (Some(""), None, json!({"sub": "another-subject"}), 401),
        (Some(""), None, json!({"exp": 1}), 401),
    ] {
        let (url, browser) = server.begin("/portal").await;
        let login_nonce = parameter(&url, "nonce");
        server.answer_code(nonce.unwrap_or(&login_nonce), access.clone());
        let cookie = cookie.map(|cookie| if cookie.is_empty() { &browser } else { cookie });
        let headers: Vec<_> = cookie
            .map(|cookie| ("cookie", cookie))
            .into_iter()
            .collect();
        let path = format!("{CALLBACK_PATH}?state={}&code=c", parameter(&url, "state"));
        let response = server.get(&path, &headers).await;
        assert_eq!(response.status(), status, "{cookie:?} {access}");
        assert!(!response.headers().contains_key("set-cookie"));
    }
}

#[tokio::test]
async fn callback_of_a_failed_login_returns_an_html_page() {
    let server = TestGateway::start().await;
    let (url, browser) = server.begin("/portal").await;
    let state = parameter(&url, "state");
    for (query, status) in [
        (String::new(), 400),
        ("state=x".to_owned(), 400),
        ("code=x".to_owned(), 400),
        ("error=access_denied".to_owned(), 401),
        ("state=x&code=x".to_owned(), 400),
        (format!("state={state}&code=stale"), 401),
    ] {
        let response = server
            .get(&format!("{CALLBACK_PATH}?{query}"), &[("cookie", &browser)])
            .await;
        assert_eq!(response.status(), status, "{query}");
        assert!(header_text(&response, "content-type").starts_with("text/html"));
    }
}

#[tokio::test]
async fn login_in_a_second_tab_does_not_replace_the_first() {
    let server = TestGateway::start().await;
    let (url, browser) = server.begin("/portal").await;
    let second = server
        .get("/oauth2/authorization/keycloak", &[("cookie", &browser)])
        .await;
    let other = header_text(&second, "set-cookie")
        .split(';')
        .next()
        .unwrap();
    assert_ne!(other, browser);
    server.answer_code(&parameter(&url, "nonce"), json!({}));
    let path = format!("{CALLBACK_PATH}?state={}&code=c", parameter(&url, "state"));
    let both = format!("{browser}; {other}");
    let response = server.get(&path, &[("cookie", &both)]).await;
    assert_eq!(response.status(), StatusCode::FOUND);
}

#[tokio::test]
async fn many_pending_logins_do_not_evict_those_of_other_browsers() {
    let server = TestGateway::start().await;
    let (url, browser) = server.begin("/portal").await;
    for _ in 0..10_001 {
        server.get("/oauth2/authorization/keycloak", &[]).await;
    }
    server.answer_code(&parameter(&url, "nonce"), json!({}));
    let path = format!("{CALLBACK_PATH}?state={}&code=c", parameter(&url, "state"));
    let response = server.get(&path, &[("cookie", &browser)]).await;
    assert_eq!(response.status(), StatusCode::FOUND);
}

#[tokio::test]
async fn browser_keeps_at_most_five_login_cookies() {
    let server = TestGateway::start().await;
    let mut jar: Vec<String> = Vec::new();
    for _ in 0..20 {
        let cookies = jar.join("; ");
        let response = server
            .get("/oauth2/authorization/keycloak", &[("cookie", &cookies)])
            .await;
        for cookie in response.headers().get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            let pair = cookie.split(';').next().unwrap();
            let name = pair.split('=').next().unwrap();
            jar.retain(|cookie| !cookie.starts_with(name));
            if !cookie.ends_with("Max-Age=0") {
                jar.push(pair.to_owned());
            }
        }
    }
    assert_eq!(jar.len(), 5);
}

#[tokio::test]
async fn login_cookies_of_another_instance_stay() {
    let server = TestGateway::start().await;
    let others: Vec<String> = (0..9)
        .map(|number| format!("dmf_login_24277_{number}=x"))
        .collect();
    let cookies = others.join("; ");
    let response = server
        .get("/oauth2/authorization/keycloak", &[("cookie", &cookies)])
        .await;
    let set: Vec<_> = response.headers().get_all("set-cookie").iter().collect();
    assert_eq!(set.len(), 1);
    assert!(set[0].to_str().unwrap().starts_with("dmf_login_8081_"));
}

#[tokio::test]
async fn login_on_a_loopback_address_is_redirected_to_localhost() {
    let server = TestGateway::start().await;
    let path = "/oauth2/authorization/keycloak?returnTo=%2Fportal%3Fa%3D1";
    let request = |host| {
        let request = Request::builder().uri(path).header(header::HOST, host);
        server
            .router
            .clone()
            .oneshot(request.body(Body::empty()).unwrap())
    };
    for host in ["127.0.0.1:8081", "[::1]:8081"] {
        let response = request(host).await.unwrap();
        assert_eq!(
            header_text(&response, "location"),
            format!("http://localhost:8081{path}")
        );
        assert!(!response.headers().contains_key("set-cookie"));
    }
    let evil = request("evil.example:8081").await.unwrap();
    assert_eq!(evil.status(), StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test]
async fn logout_from_another_site_keeps_the_session() {
    let server = TestGateway::start().await;
    let cookie = server.session_cookie("jhalpert", "manager");
    for (site, status) in [("cross-site", 200), ("same-site", 401)] {
        let headers = [("cookie", cookie.as_str()), ("sec-fetch-site", site)];
        let response = server.get("/logout", &headers).await;
        assert_eq!(header_text(&response, "location"), "/");
        let me = server.get("/api/v1/auth/me", &[("cookie", &cookie)]).await;
        assert_eq!(me.status(), status, "{site}");
    }
}

#[tokio::test]
async fn sign_out_everywhere_ends_all_sessions_of_the_user_and_that_of_the_realm() {
    let server = TestGateway::start().await;
    let (cookie, session) = unconfirmed_session(&server);
    let (_, other) = unconfirmed_session(&server);
    let pam = server.session_cookie("pbeesly", "manager");
    let path = "/logout/everywhere";
    let headers = [
        ("cookie", cookie.as_str()),
        ("sec-fetch-site", "cross-site"),
    ];
    let response = server.get(path, &headers).await;
    assert_eq!(header_text(&response, "location"), "/");
    assert!(server.gateway.sessions.current(&session).is_some());

    let response = server.get(path, &[("cookie", &cookie)]).await;
    let url = Url::parse(header_text(&response, "location")).unwrap();
    assert_eq!(
        url.as_str().split('?').next(),
        Some("http://localhost:8080/realms/scranton-branch/protocol/openid-connect/logout")
    );
    assert_eq!(parameter(&url, "id_token_hint"), "an.identity.token");
    assert_eq!(parameter(&url, "client_id"), "dunder-mifflin-gateway");
    assert_eq!(
        parameter(&url, "post_logout_redirect_uri"),
        "http://localhost:8081/"
    );
    assert!(header_text(&response, "set-cookie").ends_with("; Max-Age=0"));
    for ended in [&session, &other] {
        assert!(server.gateway.sessions.current(ended).is_none());
    }
    let me = server.get("/api/v1/auth/me", &[("cookie", &pam)]).await;
    assert_eq!(me.status(), StatusCode::OK);
    // The realm's session of the other browser.
    let mut requests = server.realm.logout_requests.subscribe();
    let requests = requests.wait_for(|forms| !forms.is_empty());
    let forms = timeout(Duration::from_secs(30), requests).await;
    let forms = forms.unwrap().unwrap().clone();
    assert_eq!(forms.len(), 1);
    assert_eq!(forms[0]["refresh_token"], "first");

    let again = server.get(path, &[("cookie", &cookie)]).await;
    assert_eq!(header_text(&again, "location"), "/");
}
