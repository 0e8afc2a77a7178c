//! The HTTP routes, one module per kind.

mod app_access;
mod apps;
mod auth;
mod authorization;
mod body_schema;
mod login;
pub(crate) mod loopback;
mod openapi;
mod pages;
mod proxy;
mod redirect;
mod reference_page;
mod route_table;
mod stream;
#[cfg(test)]
mod tests;
mod timeline_diff;

use std::sync::Arc;

use dm_kit::http::OpenApiRouter;

use crate::Gateway;

/// Returns the router with all routes of the gateway.
pub(crate) fn router(gateway: Arc<Gateway>) -> OpenApiRouter {
    let routes = OpenApiRouter::new()
        .merge(pages::routes())
        .merge(apps::routes())
        .merge(login::routes())
        .merge(auth::routes())
        .merge(proxy::routes())
        .merge(stream::routes());
    let reference = reference_page::routes(routes.get_openapi());
    routes.merge(reference).with_state(gateway)
}
