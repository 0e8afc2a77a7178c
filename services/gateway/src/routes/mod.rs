//! The HTTP routes, one module per kind.

mod auth;
mod authorization;
mod body_schema;
mod login;
mod openapi;
mod pages;
mod proxy;
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
    OpenApiRouter::new()
        .merge(pages::routes())
        .merge(login::routes())
        .merge(auth::routes())
        .merge(proxy::routes())
        .merge(stream::routes())
        .with_state(gateway)
}
