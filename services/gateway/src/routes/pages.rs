//! Pages of the gateway, and redirects to the apps.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use dm_contracts::App;
use dm_kit::http::OpenApiRouter;
use http::{HeaderMap, StatusCode, Uri};
use utoipa_axum::routes;

use super::app_access::refusal;
use super::apps;
use super::redirect::redirect;
use crate::Gateway;
use crate::html;

pub(super) fn routes() -> OpenApiRouter<Arc<Gateway>> {
    OpenApiRouter::new()
        .routes(routes!(home))
        .routes(routes!(index))
        .routes(routes!(portal))
        .routes(routes!(infinity))
        .routes(routes!(warehouse))
        .routes(routes!(accounting))
        .routes(routes!(apps_portal))
        .routes(routes!(apps_infinity))
        .routes(routes!(apps_warehouse))
        .routes(routes!(apps_accounting))
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
         <a href=\"/accounting\">Accounting</a><a href=\"/warehouse\">Warehouse</a></nav>"
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
    redirect_to_app(&gateway, &headers, &uri, App::Portal)
}

/// Redirects to the sales app.
#[utoipa::path(get, path = "/infinity", tag = "pages", responses(
    (status = 302, description = "Redirects to the app, or to the login."),
    (status = 403, description = "The user has neither the sales nor the manager role.", content_type = "text/html"),
))]
async fn infinity(State(gateway): State<Arc<Gateway>>, headers: HeaderMap, uri: Uri) -> Response {
    redirect_to_app(&gateway, &headers, &uri, App::Infinity)
}

/// Redirects to the warehouse app.
#[utoipa::path(get, path = "/warehouse", tag = "pages", responses(
    (status = 302, description = "Redirects to the app, or to the login."),
    (status = 403, description = "The user has neither the warehouse nor the manager role.", content_type = "text/html"),
))]
async fn warehouse(State(gateway): State<Arc<Gateway>>, headers: HeaderMap, uri: Uri) -> Response {
    redirect_to_app(&gateway, &headers, &uri, App::WarehouseMobile)
}

/// Redirects to the accounting app.
#[utoipa::path(get, path = "/accounting", tag = "pages", responses(
    (status = 302, description = "Redirects to the app, or to the login."),
    (status = 403, description = "The user has neither the accountant nor the manager role.", content_type = "text/html"),
))]
async fn accounting(State(gateway): State<Arc<Gateway>>, headers: HeaderMap, uri: Uri) -> Response {
    redirect_to_app(&gateway, &headers, &uri, App::Accounting)
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

/// Redirects from the path of the warehouse app without its final slash.
#[utoipa::path(get, path = "/apps/warehouse", tag = "pages", responses((status = 302, description = "Redirects to `/warehouse`.")))]
async fn apps_warehouse() -> Response {
    redirect("/warehouse")
}

/// Redirects from the old path of the accounting app.
#[utoipa::path(get, path = "/apps/accounting", tag = "pages", responses((status = 302, description = "Redirects to `/accounting`.")))]
async fn apps_accounting() -> Response {
    redirect("/accounting")
}

/// Redirects to an external front end, or to the built-in app if none is configured.
fn redirect_to_app(gateway: &Gateway, headers: &HeaderMap, uri: &Uri, app: App) -> Response {
    if let Some(response) = refusal(gateway, headers, uri, app) {
        return response;
    }
    let query = uri
        .query()
        .map_or_else(String::new, |query| format!("?{query}"));
    redirect(&match gateway.apps.external(app) {
        Some(base) => format!("{}/{query}", base.as_str()),
        None => format!("{}{query}", apps::page_path(app)),
    })
}
