//! The routes of leads.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use dm_contracts::api::error::{ErrorBody, FieldIssue};
use dm_contracts::api::list::List;
use dm_contracts::api::parameters::LeadFilters;
use dm_contracts::api::sales::{CreateLead, LeadDetail, LeadSummary, PatchLead, UpdateLead};
use dm_kit::Database;
use dm_kit::http::{ApiError, Caller, JsonBody, Paging, PathId, QueryParams, paged_list_response};
use http::StatusCode;

use super::lead_not_found;
use crate::domain::{LeadPatch, LeadStatus, LeadUpdate, NewLead};
use crate::store::leads;

/// Lists the leads, newest first
#[utoipa::path(
    get,
    path = "/internal/sales/leads",
    operation_id = "listLeads",
    params(
        Caller,
        LeadFilters,
        Paging,
    ),
    responses(
        (status = 200, description = "The leads", body = List<LeadSummary>),
        (status = 400, description = "The status or the paging is invalid", body = ErrorBody),
        (status = 401, description = "The request names no user", body = ErrorBody),
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
    paged_list_response(&database, leads::LeadListSource { status }, &paging).await
}

/// Creates a lead
#[utoipa::path(
    post,
    path = "/internal/sales/leads",
    operation_id = "createLead",
    params(Caller),
    request_body = CreateLead,
    responses(
        (status = 201, description = "The lead", body = LeadDetail),
        (status = 400, description = "A field is invalid", body = ErrorBody),
        (status = 401, description = "The request names no user", body = ErrorBody),
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

/// Returns a lead
#[utoipa::path(
    get,
    path = "/internal/sales/leads/{leadId}",
    operation_id = "getLead",
    params(
        Caller,
        ("leadId" = String, Path, description = "Id of the lead"),
    ),
    responses(
        (status = 200, description = "The lead", body = LeadDetail),
        (status = 401, description = "The request names no user", body = ErrorBody),
        (status = 404, description = "The lead does not exist", body = ErrorBody),
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

/// Replaces the status and notes of a lead
#[utoipa::path(
    post,
    path = "/internal/sales/leads/{leadId}",
    operation_id = "updateLead",
    params(
        Caller,
        ("leadId" = String, Path, description = "Id of the lead"),
    ),
    request_body = UpdateLead,
    responses(
        (status = 200, description = "The lead", body = LeadDetail),
        (status = 400, description = "A field is invalid", body = ErrorBody),
        (status = 401, description = "The request names no user", body = ErrorBody),
        (status = 404, description = "The lead does not exist", body = ErrorBody),
    )
)]
pub(super) async fn update(
    State(database): State<Database>,
    _caller: Caller,
    PathId(id): PathId,
    JsonBody(request): JsonBody<UpdateLead>,
) -> Result<Json<LeadDetail>, ApiError> {
    let LeadUpdate { status, notes } = LeadUpdate::from_request(request).map_err(invalid_update)?;
    let patch = LeadPatch {
        status: Some(status),
        notes: Some(notes),
    };
    apply_patch(&database, &id, &patch).await
}

/// Updates the given fields of a lead: status, notes
#[utoipa::path(
    patch,
    path = "/internal/sales/leads/{leadId}",
    operation_id = "patchLead",
    params(
        Caller,
        ("leadId" = String, Path, description = "Id of the lead"),
    ),
    request_body = PatchLead,
    responses(
        (status = 200, description = "The lead", body = LeadDetail),
        (status = 400, description = "A field is invalid", body = ErrorBody),
        (status = 401, description = "The request names no user", body = ErrorBody),
        (status = 404, description = "The lead does not exist", body = ErrorBody),
    )
)]
pub(super) async fn patch(
    State(database): State<Database>,
    _caller: Caller,
    PathId(id): PathId,
    JsonBody(request): JsonBody<PatchLead>,
) -> Result<Json<LeadDetail>, ApiError> {
    let patch = LeadPatch::from_request(request).map_err(invalid_update)?;
    apply_patch(&database, &id, &patch).await
}

async fn apply_patch(
    database: &Database,
    id: &str,
    patch: &LeadPatch,
) -> Result<Json<LeadDetail>, ApiError> {
    let lead = leads::update(database, id, patch)
        .await?
        .ok_or_else(|| lead_not_found(id))?;
    Ok(Json(lead.into()))
}

fn invalid_update(issues: Vec<FieldIssue>) -> ApiError {
    ApiError::validation("Lead update request validation failed", issues)
}
