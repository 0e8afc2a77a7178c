//! Signing in through Keycloak, and out.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use dm_kit::http::{OpenApiRouter, Params};
use dm_kit::telemetry::cut;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tracing::{error, info, warn};
use url::form_urlencoded;
use utoipa_axum::routes;

use super::pages::found;
use crate::oidc::pending::Login;
use crate::origin::Origin;
use crate::random::NoRandomness;
use crate::return_to::ReturnTo;
use crate::{Gateway, cookies, html};

/// Where a login begins.
const BEGIN: &str = "/oauth2/authorization/keycloak";

/// How many other logins of a browser stay open. Their cookies come with every request.
const OTHERS: usize = 4;

/// How much of the state the name of a login's cookie has.
const TAG: usize = 8;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

pub(super) fn routes() -> OpenApiRouter<Arc<Gateway>> {
    OpenApiRouter::new()
        .routes(routes!(begin))
        .routes(routes!(callback))
        .routes(routes!(logout))
}

/// Begins a login.
///
/// On an address of this machine that is not its name, it begins on that name.
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
    if let Some(canonical) = origin.canonical() {
        let here: String = form_urlencoded::byte_serialize(return_to.as_str().as_bytes()).collect();
        return found(&format!("{}{BEGIN}?returnTo={here}", canonical.to_text()));
    }
    match send_out(&gateway, &headers, &origin, &return_to) {
        Ok(response) => response,
        Err(cause) => out_of_order(&cause),
    }
}

fn send_out(
    gateway: &Gateway,
    headers: &HeaderMap,
    origin: &Origin,
    return_to: &ReturnTo,
) -> Result<Response, NoRandomness> {
    let (url, login) = gateway.provider.begin(origin, return_to)?;
    let pending = &gateway.provider.pending;
    let name = cookie_name(gateway, &login.state);
    let cookie = cookies::set(&name, &pending.seal(&login)?, pending.life());
    let mut response = found(&url);
    set_cookie(&mut response, cookie);
    // A second tab's login must not spoil the first one's, and many of them must not make
    // requests too large to be read.
    let others: Vec<_> = cookies::names(headers, &gateway.login_cookie).collect();
    for old in &others[..others.len().saturating_sub(OTHERS)] {
        set_cookie(&mut response, cookies::set(old, "", Duration::ZERO));
    }
    Ok(response)
}

/// The cookie of a login. Each has its own.
fn cookie_name(gateway: &Gateway, state: &str) -> String {
    format!(
        "{}{}",
        gateway.login_cookie,
        state.get(..TAG).unwrap_or(state)
    )
}

/// The login of a state that was begun in this browser, once.
fn take(gateway: &Gateway, state: &str, headers: &HeaderMap) -> Option<Login> {
    let name = cookie_name(gateway, state);
    gateway
        .provider
        .pending
        .take(state, cookies::values(headers, &name))
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
        let _ = state.and_then(|state| take(&gateway, state, &headers));
        warn!(error = %cut(error), "Keycloak refused a login");
        return failed();
    }
    let (Some(state), Some(code)) = (state, params.get("code")) else {
        return html::login_failed(
            StatusCode::BAD_REQUEST,
            "Login incomplete",
            "The answer of the login is incomplete.",
        );
    };
    let Some(login) = take(&gateway, state, &headers) else {
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
            let mut response = found(&login.return_to);
            let name = gateway.sessions.cookie();
            let cookie = cookies::set(name, &session.id, gateway.sessions.life());
            set_cookie(&mut response, cookie);
            let name = cookie_name(&gateway, &login.state);
            set_cookie(&mut response, cookies::set(&name, "", Duration::ZERO));
            response
        }
        Err(cause) => out_of_order(&cause),
    }
}

/// Ends the session here; Keycloak's own goes on.
///
/// A link on a page of another site does not end it.
#[utoipa::path(
    get,
    path = "/logout",
    tag = "session",
    responses((status = 302, description = "To the gateway's home."))
)]
async fn logout(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Response {
    let mut response = found("/");
    // The apps are of the same site, whatever their port.
    if headers
        .get(FETCH_SITE)
        .is_some_and(|site| site == "cross-site")
    {
        return response;
    }
    gateway.sessions.end(&headers);
    let cookie = cookies::set(gateway.sessions.cookie(), "", Duration::ZERO);
    set_cookie(&mut response, cookie);
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
    error!(%cause, "sign-in is not possible");
    html::login_failed(
        StatusCode::INTERNAL_SERVER_ERROR,
        "Login failed",
        "Signing in is not possible right now.",
    )
}
