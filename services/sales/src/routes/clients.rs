//! The routes of clients.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use dm_contracts::api::error::ErrorBody;
use dm_contracts::api::list::List;
use dm_contracts::api::sales::ClientSummary;
use dm_kit::Database;
use dm_kit::http::{ApiError, Caller, Paging, list_response};
use sqlx::PgPool;

use crate::store::clients;

/// Lists the clients, newest first
#[utoipa::path(
    get,
    path = "/internal/sales/clients",
    operation_id = "listClients",
    params(
        ("x-user-id" = String, Header, description = "Name of the signed-in user"),
        ("page" = Option<u32>, Query, description = "Number of the page, from 0. The list is complete without `page` and `size`"),
        ("size" = Option<u32>, Query, description = "Clients per page, at most 500"),
    ),
    responses(
        (status = 200, description = "The clients", body = List<ClientSummary>),
        (status = 400, description = "The page is invalid", body = ErrorBody),
        (status = 401, description = "The request names no user", body = ErrorBody),
    )
)]
pub(super) async fn list(
    State(database): State<Database>,
    _caller: Caller,
    paging: Paging,
) -> Result<Response, ApiError> {
    if !paging.is_requested() {
        return list_response(clients::ClientListSource(PgPool::clone(&database))).await;
    }
    let items = clients::fetch_page(&database, paging).await?;
    let total = clients::count(&database).await?;
    Ok(Json(paging.into_list(items, total)).into_response())
}
