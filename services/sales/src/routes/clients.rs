//! The routes of clients.

use axum::extract::State;
use axum::response::Response;
use dm_contracts::api::error::ErrorBody;
use dm_contracts::api::list::List;
use dm_contracts::api::sales::ClientSummary;
use dm_kit::Database;
use dm_kit::http::{ApiError, Caller, Paging, paged_list_response};

use crate::store::clients::ClientListSource;

/// Lists the clients, newest first
#[utoipa::path(
    get,
    path = "/internal/sales/clients",
    operation_id = "listClients",
    params(
        Caller,
        Paging,
    ),
    responses(
        (status = 200, description = "The clients", body = List<ClientSummary>),
        (status = 400, description = "The paging is invalid", body = ErrorBody),
        (status = 401, description = "The request names no user", body = ErrorBody),
    )
)]
pub(super) async fn list(
    State(database): State<Database>,
    _caller: Caller,
    paging: Paging,
) -> Result<Response, ApiError> {
    paged_list_response(&database, ClientListSource, &paging).await
}
