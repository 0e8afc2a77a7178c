//! Sign-in through Keycloak, and sign-out.

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

/// The path that begins a login.
const BEGIN_PATH: &str = "/oauth2/authorization/keycloak";

/// The maximum number of other pending logins of a browser. Each request carries their cookies.
const MAX_OTHER_LOGINS: usize = 4;

/// Number of characters of the state in the name of a login cookie.
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
/// A request to a loopback address is first redirected to `localhost`.
#[utoipa::path(
    get,
    path = "/oauth2/authorization/keycloak",
    tag = "session",
    params(("returnTo" = Option<String>, Query, description = "The path on this gateway to return to.")),
    responses(
        (status = 302, description = "Redirects to Keycloak."),
        (status = 400, description = "The `Host` header is invalid.", content_type = "text/html"),
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
        let target: String =
            form_urlencoded::byte_serialize(return_to.as_str().as_bytes()).collect();
        return redirect(&format!(
            "{}{BEGIN_PATH}?returnTo={target}",
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
    let login_cookies = &gateway.provider.login_cookies;
    let name = cookie_name(gateway, &login.state);
    let cookie = cookies::set_cookie_header(
        &name,
        &login_cookies.seal(&login)?,
        login_cookies.lifetime(),
    );
    let mut response = redirect(&url);
    set_cookie(&mut response, cookie);
    // The login of a second tab must not replace that of the first, and the cookies of many
    // logins must not make requests too large.
    let others: Vec<_> = cookies::names(headers, &gateway.login_cookie_prefix).collect();
    for old in &others[..others.len().saturating_sub(MAX_OTHER_LOGINS)] {
        set_cookie(
            &mut response,
            cookies::set_cookie_header(old, "", Duration::ZERO),
        );
    }
    Ok(response)
}

/// Returns the cookie name of a login. Each login has its own cookie.
fn cookie_name(gateway: &Gateway, state: &str) -> String {
    format!(
        "{}{}",
        gateway.login_cookie_prefix,
        state.get(..COOKIE_STATE_LENGTH).unwrap_or(state)
    )
}

/// Returns the login with this state if this browser began it, at most once.
fn redeem_login(gateway: &Gateway, state: &str, headers: &HeaderMap) -> Option<PendingLogin> {
    let name = cookie_name(gateway, state);
    gateway
        .provider
        .login_cookies
        .redeem(state, cookies::values(headers, &name))
}

/// Completes a login. Keycloak redirects the browser to this path.
#[utoipa::path(
    get,
    path = "/login/oauth2/code/keycloak",
    tag = "session",
    params(
        ("state" = Option<String>, Query, description = "Identifies the login."),
        ("code" = Option<String>, Query, description = "The authorization code."),
        ("error" = Option<String>, Query, description = "The error code if there is no authorization code."),
    ),
    responses(
        (status = 302, description = "Redirects to the target of the login, with a session cookie."),
        (status = 400, description = "The login is unknown, expired or already used.", content_type = "text/html"),
        (status = 401, description = "Keycloak rejected the login.", content_type = "text/html"),
    )
)]
async fn callback(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    params: QueryParams,
) -> Response {
    let state = params.get("state");
    if let Some(error) = params.get("error") {
        // The login ends, whether or not its cookie is valid.
        let _ = state.and_then(|state| redeem_login(&gateway, state, &headers));
        warn!(error.type = %truncate(error), "Keycloak refused the login");
        return login_failed();
    }
    let (Some(state), Some(code)) = (state, params.get("code")) else {
        return html::login_failed_page(
            StatusCode::BAD_REQUEST,
            "Login incomplete",
            "The response to the login is incomplete.",
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
            warn!(error.message = %cause, "login failed");
            return login_failed();
        }
    };
    // Ends the previous session of this browser.
    gateway.sessions.invalidate(&headers);
    match gateway.sessions.create(user) {
        Ok(session) => {
            info!(user.id = session.user.id, "user signed in");
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

/// Ends the session of the gateway. The session of Keycloak continues.
///
/// A link on a page of another site does not end the session.
#[utoipa::path(
    get,
    path = "/logout",
    tag = "session",
    responses((status = 302, description = "Redirects to the home page of the gateway."))
)]
async fn logout(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Response {
    let mut response = redirect("/");
    // The apps are same-site: a site does not depend on the port.
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
    error!(error.message = %cause, "could not start a login or session");
    html::login_failed_page(
        StatusCode::INTERNAL_SERVER_ERROR,
        "Login failed",
        "Signing in is not possible right now.",
    )
}
