//! The routes of orders.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use dm_contracts::api::error::{ErrorBody, FieldIssue};
use dm_contracts::api::order::{OrderDetail, OrderList, OrderPlaced, OrderStatus, PlaceOrder};
use dm_contracts::api::parameters::OrderFilters;
use dm_contracts::events::OrderCreated;
use dm_kit::Database;
use dm_kit::http::{
    ApiError, Caller, CurrentTrace, CursorPaging, JsonBody, PathId, QueryParams, list_response,
};
use dm_kit::outbox;
use http::StatusCode;

use super::not_found;
use crate::SERVICE;
use crate::domain::placement;
use crate::store::{orders, timeline};

/// Lists the orders of all users, oldest first unless another order is requested.
#[utoipa::path(
    get,
    path = "/internal/orders",
    tag = "orders",
    params(
        Caller,
        OrderFilters,
        CursorPaging,
    ),
    responses(
        (status = 200, body = OrderList),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
    )
)]
pub(super) async fn list(
    _: Caller,
    State(database): State<Database>,
    params: QueryParams,
    paging: CursorPaging,
) -> Result<Response, ApiError> {
    let status = params
        .get("status")
        .map(|name| OrderStatus::from_name(name).ok_or_else(invalid_status))
        .transpose()?;
    let list = orders::OrderListSource {
        client_id: params.get("clientId").map(str::to_owned),
        status,
    };
    list_response(&database, list, &paging).await
}

/// Returns the error of a filter that is not a status of an order.
fn invalid_status() -> ApiError {
    let names = OrderStatus::ALL.map(OrderStatus::as_str).join(", ");
    let issue = FieldIssue::new("status", format!("status must be one of: {names}"));
    ApiError::validation("Invalid status filter", vec![issue])
}

/// Places an order.
#[utoipa::path(
    post,
    path = "/internal/orders",
    tag = "orders",
    params(Caller),
    request_body = PlaceOrder,
    responses(
        (status = 201, body = OrderPlaced),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
    )
)]
pub(super) async fn place(
    Caller(user): Caller,
    State(database): State<Database>,
    CurrentTrace(trace): CurrentTrace,
    JsonBody(request): JsonBody<PlaceOrder>,
) -> Result<(StatusCode, Json<OrderPlaced>), ApiError> {
    let order = placement::validate(request)
        .map_err(|issues| ApiError::validation("Order request validation failed", issues))?;
    let status = OrderStatus::Created;
    let mut transaction = database.begin().await?;
    let (order_id, created_at) = orders::insert(&mut transaction, &order, &user).await?;
    timeline::append(
        &mut transaction,
        &order_id,
        status,
        created_at,
        SERVICE.name,
    )
    .await?;
    let event = OrderCreated {
        order_id: order_id.clone(),
        client_id: order.client_id,
        requested_ship_date: order.requested_ship_date,
        items: order.items,
        created_by: user,
        created_at,
    };
    outbox::append(&mut transaction, &event, &trace).await?;
    transaction.commit().await?;
    let placed = OrderPlaced {
        order_id,
        status,
        created_at,
    };
    Ok((StatusCode::CREATED, Json(placed)))
}

/// Returns an order.
#[utoipa::path(
    get,
    path = "/internal/orders/{orderId}",
    tag = "orders",
    params(
        Caller,
        ("orderId" = String, Path, description = "Id of the order"),
    ),
    responses(
        (status = 200, body = OrderDetail),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
    )
)]
pub(super) async fn detail(
    _: Caller,
    State(database): State<Database>,
    PathId(order_id): PathId,
) -> Result<Json<OrderDetail>, ApiError> {
    let order = orders::find(&database, &order_id).await?;
    order.map(Json).ok_or_else(|| not_found(&order_id))
}
