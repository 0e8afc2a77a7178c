//! Signing in through Keycloak, and out.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use dm_kit::http::{OpenApiRouter, Params};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tracing::{error, info, warn};
use utoipa_axum::routes;

use super::pages::found;
use crate::oidc::provider::Login;
use crate::origin::Origin;
use crate::random::{self, NoRandomness};
use crate::return_to::ReturnTo;
use crate::{Gateway, cookies, html, sessions};

/// The cookie that ties a login to the browser that began it.
const BROWSER: &str = "dmf_login";

/// The length of its value.
const BROWSER_LENGTH: usize = 32;

pub(super) fn routes() -> OpenApiRouter<Arc<Gateway>> {
    OpenApiRouter::new()
        .routes(routes!(begin))
        .routes(routes!(callback))
        .routes(routes!(logout))
}

/// Begins a login.
#[utoipa::path(
    get,
    path = "/oauth2/authorization/keycloak",
    tag = "session",
    params(("returnTo" = Option<String>, Query, description = "Where to go on, a path here.")),
    responses(
        (status = 302, description = "To Keycloak."),
        (status = 400, description = "The `Host` header is none.", content_type = "text/html"),
    )
)]
async fn begin(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let Some(origin) = Origin::of_request(&headers) else {
        return html::login_failed(
            StatusCode::BAD_REQUEST,
            "Unusable address",
            "The address of this page is not usable for signing in.",
        );
    };
    let return_to = ReturnTo::new(params.get("returnTo"));
    match send_out(&gateway, &headers, &origin, return_to) {
        Ok(response) => response,
        Err(cause) => out_of_order(&cause),
    }
}

fn send_out(
    gateway: &Gateway,
    headers: &HeaderMap,
    origin: &Origin,
    return_to: ReturnTo,
) -> Result<Response, NoRandomness> {
    // A second tab's login must not spoil the first one's.
    let known = cookies::values(headers, BROWSER).find(|value| is_browser(value));
    let browser = match known {
        Some(browser) => browser.to_owned(),
        None => random::text::<24>()?,
    };
    let cookie = cookies::set(BROWSER, &browser, gateway.provider.login_life());
    let url = gateway.provider.begin(origin, return_to, browser)?;
    let mut response = found(&url);
    set_cookie(&mut response, cookie);
    Ok(response)
}

fn is_browser(value: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    value.len() == BROWSER_LENGTH && value.bytes().all(plain)
}

/// Ends a login: Keycloak sends the browser here.
#[utoipa::path(
    get,
    path = "/login/oauth2/code/keycloak",
    tag = "session",
    params(
        ("state" = Option<String>, Query, description = "Which login it is."),
        ("code" = Option<String>, Query, description = "What the tokens are had for."),
        ("error" = Option<String>, Query, description = "Why there is no code."),
    ),
    responses(
        (status = 302, description = "To where the login was begun for, with a session."),
        (status = 400, description = "No such login, or not any more.", content_type = "text/html"),
        (status = 401, description = "Keycloak refused.", content_type = "text/html"),
    )
)]
async fn callback(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let state = params.get("state");
    if let Some(error) = params.get("error") {
        // Whatever comes of it, that login is over.
        let _ = state.and_then(|state| gateway.provider.take(state));
        warn!(error, "Keycloak refused a login");
        return failed();
    }
    let (Some(state), Some(code)) = (state, params.get("code")) else {
        return html::login_failed(
            StatusCode::BAD_REQUEST,
            "Login incomplete",
            "The answer of the login is incomplete.",
        );
    };
    let login = gateway.provider.take(state);
    let Some(login) = login.filter(|login| is_of(login, &headers)) else {
        return html::login_failed(
            StatusCode::BAD_REQUEST,
            "Login state expired",
            "This login took too long, was used already, or was begun in another browser.",
        );
    };
    let user = match gateway.provider.end(&login, code).await {
        Ok(user) => user,
        Err(cause) => {
            warn!(%cause, "a login failed");
            return failed();
        }
    };
    // Whoever was signed in in this browser is so no more.
    gateway.sessions.end(&headers);
    match gateway.sessions.begin(user) {
        Ok(session) => {
            info!(user = session.user.id, "signed in");
            let mut response = found(login.return_to.as_str());
            let cookie = cookies::set(sessions::COOKIE, &session.id, gateway.sessions.life());
            set_cookie(&mut response, cookie);
            response
        }
        Err(cause) => out_of_order(&cause),
    }
}

/// Whether a login was begun in this browser.
fn is_of(login: &Login, headers: &HeaderMap) -> bool {
    cookies::values(headers, BROWSER).any(|value| value == login.browser)
}

/// Ends the session here; Keycloak's own goes on.
#[utoipa::path(
    get,
    path = "/logout",
    tag = "session",
    responses((status = 302, description = "To the gateway's home."))
)]
async fn logout(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Response {
    gateway.sessions.end(&headers);
    let mut response = found("/");
    set_cookie(
        &mut response,
        cookies::set(sessions::COOKIE, "", Duration::ZERO),
    );
    response
}

fn set_cookie(response: &mut Response, cookie: Option<HeaderValue>) {
    if let Some(cookie) = cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

fn failed() -> Response {
    html::login_failed(
        StatusCode::UNAUTHORIZED,
        "Login failed",
        "The login did not succeed.",
    )
}

fn out_of_order(cause: &NoRandomness) -> Response {
    error!(%cause, "nobody can sign in");
    html::login_failed(
        StatusCode::INTERNAL_SERVER_ERROR,
        "Login failed",
        "Signing in is not possible right now.",
    )
}
