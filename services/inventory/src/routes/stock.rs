//! The routes of products, which the gateway forwards, and of stock, which is for tools.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use dm_contracts::api::error::ErrorBody;
use dm_contracts::api::parameters::StockFilters;
use dm_contracts::api::stock::{ProductList, StockLevel, StockList};
use dm_kit::Database;
use dm_kit::http::{
    ApiError, Caller, CursorPaging, PathId, QueryParams, UnorderedPaging, list_response,
};

use crate::store;
use crate::store::products::ProductListSource;
use crate::store::stock::StockListSource;

/// Lists the products of the catalogue, ordered by SKU.
#[utoipa::path(
    get,
    path = "/internal/products",
    tag = "stock",
    params(
        Caller,
        UnorderedPaging,
    ),
    responses(
        (status = 200, body = ProductList),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
    )
)]
pub(super) async fn products(
    _: Caller,
    State(database): State<Database>,
    paging: CursorPaging,
) -> Result<Response, ApiError> {
    list_response(&database, ProductListSource, &paging).await
}

/// Lists the stock of all products, or of one, ordered by SKU.
#[utoipa::path(
    get,
    path = "/internal/stock",
    tag = "stock",
    params(
        Caller,
        StockFilters,
        UnorderedPaging,
    ),
    responses(
        (status = 200, body = StockList),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
    )
)]
pub(super) async fn levels(
    _: Caller,
    State(database): State<Database>,
    params: QueryParams,
    paging: CursorPaging,
) -> Result<Response, ApiError> {
    let sku = params.get("sku").map(str::to_owned);
    list_response(&database, StockListSource { sku }, &paging).await
}

/// Returns the stock level of a product.
#[utoipa::path(
    get,
    path = "/internal/stock/{sku}",
    tag = "stock",
    params(
        Caller,
        ("sku" = String, Path, description = "The stock-keeping unit"),
    ),
    responses(
        (status = 200, body = StockLevel),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
    )
)]
pub(super) async fn level(
    _: Caller,
    State(database): State<Database>,
    PathId(sku): PathId,
) -> Result<Json<StockLevel>, ApiError> {
    let level = store::stock::find(&database, &sku).await?;
    level.map(Json).ok_or_else(|| {
        ApiError::not_found("PRODUCT_NOT_FOUND", format!("Product {sku} was not found"))
    })
}
