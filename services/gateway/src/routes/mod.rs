//! The routes, a file a kind.

mod auth;
mod changes;
mod describe;
mod entry;
mod login;
mod pages;
mod proxy;
mod shape;
mod stream;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use dm_kit::http::OpenApiRouter;

use crate::Gateway;

/// All of the gateway's own routes.
pub(crate) fn all(gateway: Arc<Gateway>) -> OpenApiRouter {
    OpenApiRouter::new()
        .merge(pages::routes())
        .merge(login::routes())
        .merge(auth::routes())
        .merge(proxy::routes())
        .merge(stream::routes())
        .with_state(gateway)
}
