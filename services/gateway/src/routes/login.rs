//! Signing in through Keycloak, and out.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use dm_kit::http::{OpenApiRouter, QueryParams};
use dm_kit::telemetry::truncate;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tracing::{error, info, warn};
use url::form_urlencoded;
use utoipa_axum::routes;

use super::pages::redirect;
use crate::oidc::login_cookie::PendingLogin;
use crate::origin::RequestOrigin;
use crate::random::RandomError;
use crate::return_to::ReturnTo;
use crate::{Gateway, cookies, html};

/// Where a login begins.
const BEGIN_PATH: &str = "/oauth2/authorization/keycloak";

/// How many other logins of a browser stay open. Their cookies come with every request.
const MAX_OTHER_LOGINS: usize = 4;

/// How much of the state the name of a login's cookie has.
const COOKIE_STATE_LENGTH: usize = 8;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

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
    params: QueryParams,
) -> Response {
    let Some(origin) = RequestOrigin::from_headers(&headers) else {
        return html::login_failed_page(
            StatusCode::BAD_REQUEST,
            "Unusable address",
            "The address of this page is not usable for signing in.",
        );
    };
    let return_to = ReturnTo::new(params.get("returnTo"));
    if let Some(canonical) = origin.canonical() {
        let here: String = form_urlencoded::byte_serialize(return_to.as_str().as_bytes()).collect();
        return redirect(&format!(
            "{}{BEGIN_PATH}?returnTo={here}",
            canonical.to_text()
        ));
    }
    match redirect_to_keycloak(&gateway, &headers, &origin, &return_to) {
        Ok(response) => response,
        Err(cause) => login_unavailable(&cause),
    }
}

fn redirect_to_keycloak(
    gateway: &Gateway,
    headers: &HeaderMap,
    origin: &RequestOrigin,
    return_to: &ReturnTo,
) -> Result<Response, RandomError> {
    let (url, login) = gateway.provider.begin_login(origin, return_to)?;
    let pending = &gateway.provider.login_cookies;
    let name = cookie_name(gateway, &login.state);
    let cookie = cookies::set_cookie_header(&name, &pending.seal(&login)?, pending.lifetime());
    let mut response = redirect(&url);
    set_cookie(&mut response, cookie);
    // A second tab's login must not spoil the first one's, and many of them must not make
    // requests too large to be read.
    let others: Vec<_> = cookies::names(headers, &gateway.login_cookie_prefix).collect();
    for old in &others[..others.len().saturating_sub(MAX_OTHER_LOGINS)] {
        set_cookie(
            &mut response,
            cookies::set_cookie_header(old, "", Duration::ZERO),
        );
    }
    Ok(response)
}

/// The cookie of a login. Each has its own.
fn cookie_name(gateway: &Gateway, state: &str) -> String {
    format!(
        "{}{}",
        gateway.login_cookie_prefix,
        state.get(..COOKIE_STATE_LENGTH).unwrap_or(state)
    )
}

/// The login of a state that was begun in this browser, once.
fn redeem_login(gateway: &Gateway, state: &str, headers: &HeaderMap) -> Option<PendingLogin> {
    let name = cookie_name(gateway, state);
    gateway
        .provider
        .login_cookies
        .redeem(state, cookies::values(headers, &name))
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
    params: QueryParams,
) -> Response {
    let state = params.get("state");
    if let Some(error) = params.get("error") {
        // Whatever comes of it, that login is over.
        let _ = state.and_then(|state| redeem_login(&gateway, state, &headers));
        warn!(error = %truncate(error), "Keycloak refused a login");
        return login_failed();
    }
    let (Some(state), Some(code)) = (state, params.get("code")) else {
        return html::login_failed_page(
            StatusCode::BAD_REQUEST,
            "Login incomplete",
            "The answer of the login is incomplete.",
        );
    };
    let Some(login) = redeem_login(&gateway, state, &headers) else {
        return html::login_failed_page(
            StatusCode::BAD_REQUEST,
            "Login state expired",
            "This login took too long, was used already, or was begun in another browser.",
        );
    };
    let user = match gateway.provider.complete_login(&login, code).await {
        Ok(user) => user,
        Err(cause) => {
            warn!(%cause, "a login failed");
            return login_failed();
        }
    };
    // Whoever was signed in in this browser is so no more.
    gateway.sessions.invalidate(&headers);
    match gateway.sessions.create(user) {
        Ok(session) => {
            info!(user = session.user.id, "signed in");
            let mut response = redirect(&login.return_to);
            let name = gateway.sessions.cookie_name();
            let cookie = cookies::set_cookie_header(name, &session.id, gateway.sessions.lifetime());
            set_cookie(&mut response, cookie);
            let name = cookie_name(&gateway, &login.state);
            set_cookie(
                &mut response,
                cookies::set_cookie_header(&name, "", Duration::ZERO),
            );
            response
        }
        Err(cause) => login_unavailable(&cause),
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
    let mut response = redirect("/");
    // The apps are of the same site, whatever their port.
    if headers
        .get(SEC_FETCH_SITE)
        .is_some_and(|site| site == "cross-site")
    {
        return response;
    }
    gateway.sessions.invalidate(&headers);
    let cookie = cookies::set_cookie_header(gateway.sessions.cookie_name(), "", Duration::ZERO);
    set_cookie(&mut response, cookie);
    response
}

fn set_cookie(response: &mut Response, cookie: Option<HeaderValue>) {
    if let Some(cookie) = cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

fn login_failed() -> Response {
    html::login_failed_page(
        StatusCode::UNAUTHORIZED,
        "Login failed",
        "The login did not succeed.",
    )
}

fn login_unavailable(cause: &RandomError) -> Response {
    error!(%cause, "sign-in is not possible");
    html::login_failed_page(
        StatusCode::INTERNAL_SERVER_ERROR,
        "Login failed",
        "Signing in is not possible right now.",
    )
}
