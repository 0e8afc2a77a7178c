//! Leads.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use dm_contracts::api::error::{ErrorBody, FieldIssue};
use dm_contracts::api::list::List;
use dm_contracts::api::sales::{CreateLead, LeadDetail, LeadSummary, PatchLead, UpdateLead};
use dm_kit::Database;
use dm_kit::http::{ApiError, Caller, JsonBody, Paging, PathId, QueryParams, list_response};
use http::StatusCode;
use sqlx::PgPool;

use super::lead_not_found;
use crate::domain::{LeadPatch, LeadStatus, LeadUpdate, NewLead};
use crate::store::leads;

/// Lists the leads, newest first
#[utoipa::path(
    get,
    path = "/internal/sales/leads",
    operation_id = "listLeads",
    params(
        ("x-user-id" = String, Header, description = "Who calls"),
        ("status" = Option<String>, Query, description = "Leads of this status alone"),
        ("page" = Option<u32>, Query, description = "One page alone, from 0"),
        ("size" = Option<u32>, Query, description = "How many leads a page has, at most 500"),
    ),
    responses(
        (status = 200, description = "The leads", body = List<LeadSummary>),
        (status = 400, description = "No such status, or no such page", body = ErrorBody),
        (status = 401, description = "Nobody is signed in", body = ErrorBody),
    )
)]
pub(super) async fn list(
    State(database): State<Database>,
    _caller: Caller,
    params: QueryParams,
    paging: Paging,
) -> Result<Response, ApiError> {
    let status = params
        .get("status")
        .map(|name| {
            LeadStatus::from_name(name).ok_or_else(|| {
                ApiError::validation(
                    "Invalid status filter",
                    vec![FieldIssue::new(
                        "status",
                        LeadStatus::invalid_name_message(),
                    )],
                )
            })
        })
        .transpose()?;
    if !paging.is_requested() {
        let pool = PgPool::clone(&database);
        return list_response(leads::LeadListSource { pool, status }).await;
    }
    let found = leads::fetch_page(&database, status, paging).await?;
    let matching = leads::count(&database, status).await?;
    let items: Vec<_> = found.into_iter().map(LeadSummary::from).collect();
    Ok(Json(paging.into_list(items, matching)).into_response())
}

/// Notes a lead
#[utoipa::path(
    post,
    path = "/internal/sales/leads",
    operation_id = "createLead",
    params(("x-user-id" = String, Header, description = "Who calls")),
    request_body = CreateLead,
    responses(
        (status = 201, description = "The lead", body = LeadDetail),
        (status = 400, description = "Fields break a rule", body = ErrorBody),
        (status = 401, description = "Nobody is signed in", body = ErrorBody),
    )
)]
pub(super) async fn create(
    State(database): State<Database>,
    Caller(caller): Caller,
    JsonBody(request): JsonBody<CreateLead>,
) -> Result<(StatusCode, Json<LeadDetail>), ApiError> {
    let lead = NewLead::from_request(request)
        .map_err(|issues| ApiError::validation("Lead request validation failed", issues))?;
    let lead = leads::insert(&database, &lead, &caller).await?;
    Ok((StatusCode::CREATED, Json(lead.into())))
}

/// Answers one lead
#[utoipa::path(
    get,
    path = "/internal/sales/leads/{leadId}",
    operation_id = "getLead",
    params(
        ("x-user-id" = String, Header, description = "Who calls"),
        ("leadId" = String, Path, description = "Which lead"),
    ),
    responses(
        (status = 200, description = "The lead", body = LeadDetail),
        (status = 401, description = "Nobody is signed in", body = ErrorBody),
        (status = 404, description = "No such lead", body = ErrorBody),
    )
)]
pub(super) async fn detail(
    State(database): State<Database>,
    _caller: Caller,
    PathId(id): PathId,
) -> Result<Json<LeadDetail>, ApiError> {
    let lead = leads::find(&database, &id)
        .await?
        .ok_or_else(|| lead_not_found(&id))?;
    Ok(Json(lead.into()))
}

/// Replaces a lead's status and notes
#[utoipa::path(
    post,
    path = "/internal/sales/leads/{leadId}",
    operation_id = "updateLead",
    params(
        ("x-user-id" = String, Header, description = "Who calls"),
        ("leadId" = String, Path, description = "Which lead"),
    ),
    request_body = UpdateLead,
    responses(
        (status = 200, description = "The lead", body = LeadDetail),
        (status = 400, description = "Fields break a rule", body = ErrorBody),
        (status = 401, description = "Nobody is signed in", body = ErrorBody),
        (status = 404, description = "No such lead", body = ErrorBody),
    )
)]
pub(super) async fn update(
    State(database): State<Database>,
    _caller: Caller,
    PathId(id): PathId,
    JsonBody(request): JsonBody<UpdateLead>,
) -> Result<Json<LeadDetail>, ApiError> {
    let LeadUpdate { status, notes } = LeadUpdate::from_request(request).map_err(invalid_update)?;
    let change = LeadPatch {
        status: Some(status),
        notes: Some(notes),
    };
    apply_patch(&database, &id, &change).await
}

/// Changes what is given of a lead's status and notes
#[utoipa::path(
    patch,
    path = "/internal/sales/leads/{leadId}",
    operation_id = "patchLead",
    params(
        ("x-user-id" = String, Header, description = "Who calls"),
        ("leadId" = String, Path, description = "Which lead"),
    ),
    request_body = PatchLead,
    responses(
        (status = 200, description = "The lead", body = LeadDetail),
        (status = 400, description = "Fields break a rule", body = ErrorBody),
        (status = 401, description = "Nobody is signed in", body = ErrorBody),
        (status = 404, description = "No such lead", body = ErrorBody),
    )
)]
pub(super) async fn patch(
    State(database): State<Database>,
    _caller: Caller,
    PathId(id): PathId,
    JsonBody(request): JsonBody<PatchLead>,
) -> Result<Json<LeadDetail>, ApiError> {
    let change = LeadPatch::from_request(request).map_err(invalid_update)?;
    apply_patch(&database, &id, &change).await
}

async fn apply_patch(
    database: &Database,
    id: &str,
    change: &LeadPatch,
) -> Result<Json<LeadDetail>, ApiError> {
    let lead = leads::update(database, id, change)
        .await?
        .ok_or_else(|| lead_not_found(id))?;
    Ok(Json(lead.into()))
}

fn invalid_update(issues: Vec<FieldIssue>) -> ApiError {
    ApiError::validation("Lead update request validation failed", issues)
}
