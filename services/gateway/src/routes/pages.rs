//! Pages of the gateway, and redirects to the apps.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use dm_contracts::App;
use dm_kit::http::OpenApiRouter;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use url::form_urlencoded;
use utoipa_axum::routes;

use crate::Gateway;
use crate::access::area_of_app;
use crate::html;
use crate::return_to::percent_encode_header;
use crate::settings::BaseUrl;

pub(super) fn routes() -> OpenApiRouter<Arc<Gateway>> {
    OpenApiRouter::new()
        .routes(routes!(home))
        .routes(routes!(index))
        .routes(routes!(portal))
        .routes(routes!(infinity))
        .routes(routes!(accounting))
        .routes(routes!(apps_portal))
        .routes(routes!(apps_infinity))
        .routes(routes!(apps_accounting))
}

/// Returns a redirect that is not cached.
pub(super) fn redirect(location: &str) -> Response {
    let mut response = StatusCode::FOUND.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(location) = HeaderValue::from_str(&percent_encode_header(location)) {
        headers.insert(header::LOCATION, location);
    }
    response
}

/// The home page of the gateway.
#[utoipa::path(get, path = "/", tag = "pages", responses((status = 200, content_type = "text/html")))]
async fn home(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Response {
    let notice = match gateway.sessions.find(&headers) {
        Some(session) => format!(
            "<p>You are signed in as {}. <a href=\"/logout\">Sign out</a></p>",
            html::escape(&session.user.display_name)
        ),
        None => "<p>You are not signed in. \
                 <a href=\"/oauth2/authorization/keycloak?returnTo=%2F\">Sign in</a></p>"
            .to_owned(),
    };
    let content = format!(
        "{notice}<nav><a href=\"/portal\">Portal</a><a href=\"/infinity\">Infinity</a>\
         <a href=\"/accounting\">Accounting</a></nav>"
    );
    html::render_page(StatusCode::OK, "Dunder Mifflin Gateway", &content)
}

/// The home page of the gateway, under its alternative path.
#[utoipa::path(get, path = "/index.html", tag = "pages", responses((status = 200, content_type = "text/html")))]
async fn index(state: State<Arc<Gateway>>, headers: HeaderMap) -> Response {
    home(state, headers).await
}

/// Redirects to the portal.
#[utoipa::path(get, path = "/portal", tag = "pages", responses((status = 302, description = "Redirects to the app, or to the login.")))]
async fn portal(State(gateway): State<Arc<Gateway>>, headers: HeaderMap, uri: Uri) -> Response {
    redirect_to_app(&gateway, &headers, &uri, App::Portal, &gateway.apps.portal)
}

/// Redirects to the sales app.
#[utoipa::path(get, path = "/infinity", tag = "pages", responses(
    (status = 302, description = "Redirects to the app, or to the login."),
    (status = 403, description = "The user has neither the sales nor the manager role.", content_type = "text/html"),
))]
async fn infinity(State(gateway): State<Arc<Gateway>>, headers: HeaderMap, uri: Uri) -> Response {
    redirect_to_app(
        &gateway,
        &headers,
        &uri,
        App::Infinity,
        &gateway.apps.infinity,
    )
}

/// Redirects to the accounting app.
#[utoipa::path(get, path = "/accounting", tag = "pages", responses(
    (status = 302, description = "Redirects to the app, or to the login."),
    (status = 403, description = "The user has neither the accountant nor the manager role.", content_type = "text/html"),
))]
async fn accounting(State(gateway): State<Arc<Gateway>>, headers: HeaderMap, uri: Uri) -> Response {
    redirect_to_app(
        &gateway,
        &headers,
        &uri,
        App::Accounting,
        &gateway.apps.accounting,
    )
}

/// Redirects from the old path of the portal.
#[utoipa::path(get, path = "/apps/portal", tag = "pages", responses((status = 302, description = "Redirects to `/portal`.")))]
async fn apps_portal() -> Response {
    redirect("/portal")
}

/// Redirects from the old path of the sales app.
#[utoipa::path(get, path = "/apps/infinity", tag = "pages", responses((status = 302, description = "Redirects to `/infinity`.")))]
async fn apps_infinity() -> Response {
    redirect("/infinity")
}

/// Redirects from the old path of the accounting app.
#[utoipa::path(get, path = "/apps/accounting", tag = "pages", responses((status = 302, description = "Redirects to `/accounting`.")))]
async fn apps_accounting() -> Response {
    redirect("/accounting")
}

fn redirect_to_app(
    gateway: &Gateway,
    headers: &HeaderMap,
    uri: &Uri,
    app: App,
    base: &BaseUrl,
) -> Response {
    let Some(session) = gateway.sessions.find(headers) else {
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let target: String = form_urlencoded::byte_serialize(target.as_bytes()).collect();
        return redirect(&format!("/oauth2/authorization/keycloak?returnTo={target}"));
    };
    if !area_of_app(app).permits(&session.user.roles) {
        return access_denied_page(app);
    }
    let query = uri
        .query()
        .map_or_else(String::new, |query| format!("?{query}"));
    redirect(&format!("{}/{query}", base.as_str()))
}

fn access_denied_page(app: App) -> Response {
    let name = match app {
        App::Infinity => "Sales",
        App::Accounting => "Accounting",
        App::Portal | App::WarehouseMobile => app.name(),
    };
    let content = format!(
        "<p>Your account has no access to the {name} app.</p>\
         <nav><a href=\"/portal\">Portal</a><a href=\"/logout\">Sign out</a></nav>"
    );
    html::render_page(StatusCode::FORBIDDEN, "Access denied", &content)
}
