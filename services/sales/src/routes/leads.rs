//! Leads.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use dm_contracts::api::error::{ErrorBody, FieldIssue};
use dm_contracts::api::list::List;
use dm_contracts::api::sales::{CreateLead, LeadDetail, LeadSummary, PatchLead, UpdateLead};
use dm_kit::Database;
use dm_kit::http::{ApiError, Body, Caller, Id, Paging, Params, whole};
use http::StatusCode;
use sqlx::PgPool;

use super::no_lead;
use crate::domain::{Change, LeadStatus, NewLead, PartialChange};
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
    params: Params,
    paging: Paging,
) -> Result<Response, ApiError> {
    let status = params
        .get("status")
        .map(|name| {
            LeadStatus::of(name).ok_or_else(|| {
                ApiError::validation(
                    "Invalid status filter",
                    vec![FieldIssue::new("status", LeadStatus::issue())],
                )
            })
        })
        .transpose()?;
    if !paging.is_on() {
        let pool = PgPool::clone(&database);
        return whole(leads::Listed { pool, status }).await;
    }
    let found = leads::list(&database, status, paging).await?;
    let matching = leads::count(&database, status).await?;
    let items: Vec<_> = found.into_iter().map(LeadSummary::from).collect();
    Ok(Json(paging.list(items, matching)).into_response())
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
    Body(request): Body<CreateLead>,
) -> Result<(StatusCode, Json<LeadDetail>), ApiError> {
    let lead = NewLead::of(request)
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
    Id(id): Id,
) -> Result<Json<LeadDetail>, ApiError> {
    let lead = leads::find(&database, &id)
        .await?
        .ok_or_else(|| no_lead(&id))?;
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
    Id(id): Id,
    Body(request): Body<UpdateLead>,
) -> Result<Json<LeadDetail>, ApiError> {
    let Change { status, notes } = Change::of(request).map_err(invalid)?;
    let change = PartialChange {
        status: Some(status),
        notes: Some(notes),
    };
    apply(&database, &id, &change).await
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
    Id(id): Id,
    Body(request): Body<PatchLead>,
) -> Result<Json<LeadDetail>, ApiError> {
    let change = PartialChange::of(request).map_err(invalid)?;
    apply(&database, &id, &change).await
}

async fn apply(
    database: &Database,
    id: &str,
    change: &PartialChange,
) -> Result<Json<LeadDetail>, ApiError> {
    let lead = leads::update(database, id, change)
        .await?
        .ok_or_else(|| no_lead(id))?;
    Ok(Json(lead.into()))
}

fn invalid(issues: Vec<FieldIssue>) -> ApiError {
    ApiError::validation("Lead update request validation failed", issues)
}
