//! Access to the apps, and the paths that lead to them.

use axum::response::Response;
use dm_contracts::App;
use http::{HeaderMap, StatusCode, Uri};
use url::form_urlencoded;

use super::redirect::redirect;
use crate::Gateway;
use crate::access::area_of_app;
use crate::html;

/// Returns the path that leads to an app, whether it is built in or an external front end.
pub(super) const fn app_path(app: App) -> &'static str {
    match app {
        App::Portal => "/portal",
        App::Infinity => "/infinity",
        App::WarehouseMobile => "/warehouse",
        App::Accounting => "/accounting",
    }
}

/// Returns the response to a request for an app that its user may not open: a redirect to the
/// login, and from there back to the path and query, or a page that names the app.
pub(super) fn refusal(
    gateway: &Gateway,
    headers: &HeaderMap,
    uri: &Uri,
    app: App,
) -> Option<Response> {
    let Some(session) = gateway.sessions.find(headers) else {
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let target: String = form_urlencoded::byte_serialize(target.as_bytes()).collect();
        return Some(redirect(&format!(
            "/oauth2/authorization/keycloak?returnTo={target}"
        )));
    };
    let is_permitted = area_of_app(app).permits(&session.user.roles);
    (!is_permitted).then(|| access_denied_page(app))
}

fn access_denied_page(app: App) -> Response {
    let name = match app {
        App::Portal => "Portal",
        App::Infinity => "Infinity",
        App::WarehouseMobile => "Warehouse",
        App::Accounting => "Accounting",
    };
    let content = format!(
        "<p>Your account has no access to the {name} app.</p>\
         <nav><a href=\"/portal\">Portal</a><a href=\"/logout\">Sign out</a></nav>"
    );
    html::render_page(StatusCode::FORBIDDEN, "Access denied", &content)
}
