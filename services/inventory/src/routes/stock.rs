//! The routes of products and stock, for tools: they are not part of the contract.

use axum::Json;
use axum::extract::State;
use dm_contracts::api::error::ErrorBody;
use dm_contracts::api::stock::{ProductList, StockLevel, StockList};
use dm_kit::Database;
use dm_kit::http::{ApiError, Caller, PathId};

use crate::store;

/// Lists the products of the catalogue, ordered by SKU.
#[utoipa::path(
    get,
    path = "/internal/products",
    tag = "stock",
    params(("x-user-id" = String, Header, description = "Name of the signed-in user")),
    responses((status = 200, body = ProductList), (status = 401, body = ErrorBody))
)]
pub(super) async fn products(
    _: Caller,
    State(database): State<Database>,
) -> Result<Json<ProductList>, ApiError> {
    let items = store::products::list(&database).await?;
    Ok(Json(ProductList {
        total: items.len(),
        items,
    }))
}

/// Lists the stock of all products, ordered by SKU.
#[utoipa::path(
    get,
    path = "/internal/stock",
    tag = "stock",
    params(("x-user-id" = String, Header, description = "Name of the signed-in user")),
    responses((status = 200, body = StockList), (status = 401, body = ErrorBody))
)]
pub(super) async fn levels(
    _: Caller,
    State(database): State<Database>,
) -> Result<Json<StockList>, ApiError> {
    let items = store::stock::list(&database).await?;
    Ok(Json(StockList {
        total: items.len(),
        items,
    }))
}

/// Returns the stock level of a product.
#[utoipa::path(
    get,
    path = "/internal/stock/{sku}",
    tag = "stock",
    params(
        ("x-user-id" = String, Header, description = "Name of the signed-in user"),
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
