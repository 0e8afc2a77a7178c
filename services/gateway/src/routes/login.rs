//! Sign-in through Keycloak, and sign-out.

use std::borrow::Cow;
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

use super::redirect::redirect;
use crate::oidc::login_cookie::PendingLogin;
use crate::oidc::provider::OidcProvider;
use crate::oidc::realm_tokens::RealmTokens;
use crate::origin::RequestOrigin;
use crate::random::RandomError;
use crate::return_to::ReturnTo;
use crate::sessions::UserSession;
use crate::{Gateway, cookies, html};

/// The path that begins a login.
const BEGIN_PATH: &str = "/oauth2/authorization/keycloak";

/// The maximum number of other pending logins of a browser. Each request carries their cookies.
const MAX_OTHER_LOGINS: usize = 4;

/// Number of characters of the state in the name of a login cookie.
const COOKIE_STATE_LENGTH: usize = 8;

/// The delays before each attempt to end a session at Keycloak.
const REALM_LOGOUT_DELAYS: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
    Duration::from_secs(30),
];

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

pub(super) fn routes() -> OpenApiRouter<Arc<Gateway>> {
    OpenApiRouter::new()
        .routes(routes!(begin))
        .routes(routes!(callback))
        .routes(routes!(logout))
        .routes(routes!(logout_everywhere))
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
    let prefix = gateway.cookie_names.login_prefix(headers);
    let cookie = cookies::set_cookie_header(
        &cookie_name(&prefix, &login.state),
        &login_cookies.seal(&login)?,
        login_cookies.lifetime(),
    );
    let mut response = redirect(&url);
    set_cookie(&mut response, cookie);
    // The login of a second tab must not replace that of the first, and the cookies of many
    // logins must not make requests too large.
    let others: Vec<_> = cookies::names(headers, &prefix).collect();
    for old in &others[..others.len().saturating_sub(MAX_OTHER_LOGINS)] {
        set_cookie(
            &mut response,
            cookies::set_cookie_header(old, "", Duration::ZERO),
        );
    }
    Ok(response)
}

/// Returns the cookie name of a login. Each login has its own cookie.
fn cookie_name(prefix: &str, state: &str) -> String {
    let state = state.get(..COOKIE_STATE_LENGTH).unwrap_or(state);
    format!("{prefix}{state}")
}

/// Returns the login with this state if this browser began it, at most once.
fn redeem_login(gateway: &Gateway, state: &str, headers: &HeaderMap) -> Option<PendingLogin> {
    let name = cookie_name(&gateway.cookie_names.login_prefix(headers), state);
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
    let (user, realm_tokens) = match gateway.provider.complete_login(&login, code).await {
        Ok(signed_in) => signed_in,
        Err(cause) => {
            warn!(error.message = %cause, "login failed");
            return login_failed();
        }
    };
    // Ends the previous session of this browser.
    gateway.sessions.invalidate(&headers);
    match gateway.sessions.create(user, Some(realm_tokens)) {
        Ok(session) => {
            info!(user.id = session.user.id, "user signed in");
            let mut response = redirect(&login.return_to);
            let names = gateway.cookie_names;
            let cookie = cookies::set_cookie_header(
                &names.session(&headers),
                &session.id,
                session.remaining(),
            );
            set_cookie(&mut response, cookie);
            let name = cookie_name(&names.login_prefix(&headers), &login.state);
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
    if is_from_another_site(&headers) {
        return redirect("/");
    }
    let mut response = redirect("/");
    delete_cookies(&gateway.sessions.invalidate(&headers), &mut response);
    response
}

/// Ends all sessions of the user, those at other browsers and the session of Keycloak included.
///
/// A link on a page of another site does not end them.
#[utoipa::path(
    get,
    path = "/logout/everywhere",
    tag = "session",
    responses((
        status = 302,
        description = "Redirects to Keycloak, which ends its session and redirects to the home page of \
                       the gateway. Without a session, redirects to the home page.",
    ))
)]
async fn logout_everywhere(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Response {
    if is_from_another_site(&headers) {
        return redirect("/");
    }
    let session = gateway.sessions.find(&headers);
    let cookies = gateway.sessions.invalidate(&headers);
    let target = session.and_then(|session| end_other_sessions(&gateway, &session, &headers));
    let mut response = redirect(target.as_deref().unwrap_or("/"));
    delete_cookies(&cookies, &mut response);
    response
}

/// Ends the other sessions of the user of a session. Returns the URL at which this browser ends its
/// session at Keycloak, if there is one.
fn end_other_sessions(
    gateway: &Arc<Gateway>,
    session: &UserSession,
    headers: &HeaderMap,
) -> Option<String> {
    let user = &session.user.id;
    let others: Vec<_> = gateway
        .sessions
        .end_all_of(user)
        .into_iter()
        .filter_map(|other| other.realm_tokens())
        .collect();
    info!(user.id = user, "user signed out everywhere");
    let provider = Arc::clone(&gateway.provider);
    // In the background: the browser must not wait for the sessions of other browsers.
    tokio::spawn(async move {
        for tokens in others {
            end_realm_session(&provider, &tokens).await;
        }
    });
    let origin = RequestOrigin::from_headers(headers)?;
    let tokens = session.realm_tokens()?;
    Some(gateway.provider.end_session_url(&origin, &tokens))
}

/// Ends a session at Keycloak, which may be busy or restarting: nothing else would end it before its
/// idle timeout.
async fn end_realm_session(provider: &OidcProvider, tokens: &RealmTokens) {
    for delay in REALM_LOGOUT_DELAYS {
        tokio::time::sleep(delay).await;
        let Err(cause) = provider.end_realm_session(tokens).await else {
            return;
        };
        warn!(error.message = cause, "could not end a session at Keycloak");
    }
}

/// Returns whether a page of another site has sent the browser here. The apps are same-site: a
/// site does not depend on the port.
fn is_from_another_site(headers: &HeaderMap) -> bool {
    headers
        .get(SEC_FETCH_SITE)
        .is_some_and(|site| site == "cross-site")
}

/// Deletes cookies of the browser.
fn delete_cookies(names: &[Cow<'static, str>], response: &mut Response) {
    for name in names {
        set_cookie(
            response,
            cookies::set_cookie_header(name, "", Duration::ZERO),
        );
    }
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
