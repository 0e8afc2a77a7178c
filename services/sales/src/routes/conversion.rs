//! The route that converts a lead to a client.

use axum::Json;
use axum::extract::State;
use dm_contracts::api::error::{ErrorBody, FieldIssue};
use dm_contracts::api::sales::ConvertedLead;
use dm_contracts::events::LeadConverted;
use dm_kit::Database;
use dm_kit::http::{ApiError, Caller, CurrentTrace, PathId};
use dm_kit::outbox;

use super::lead_not_found;
use crate::domain::{Conversion, NotQualified, check_conversion};
use crate::store::{clients, leads};

/// Converts a qualified lead to a client, at most once
#[utoipa::path(
    post,
    path = "/internal/sales/leads/{leadId}/convert",
    operation_id = "convertLead",
    params(
        Caller,
        ("leadId" = String, Path, description = "Id of the lead"),
    ),
    responses(
        (status = 200, description = "The client, new or existing", body = ConvertedLead),
        (status = 401, description = "The request names no user", body = ErrorBody),
        (status = 404, description = "The lead does not exist", body = ErrorBody),
        (status = 409, description = "The lead is not qualified", body = ErrorBody),
    )
)]
pub(super) async fn convert(
    State(database): State<Database>,
    Caller(caller): Caller,
    CurrentTrace(trace): CurrentTrace,
    PathId(id): PathId,
) -> Result<Json<ConvertedLead>, ApiError> {
    let mut transaction = database.begin().await?;
    // Concurrent requests wait for the lock and then find the client.
    let lead = leads::lock(&mut transaction, &id)
        .await?
        .ok_or_else(|| lead_not_found(&id))?;
    let conversion = check_conversion(&lead.status, lead.converted_client())
        .map_err(|reason| not_qualified_error(&id, &reason))?;
    let (client, already_converted) = match conversion {
        Conversion::AlreadyConverted(client) => (client, true),
        Conversion::Required => {
            let client = clients::insert(&mut transaction, &lead, &caller).await?;
            leads::mark_converted(&mut transaction, &id, &client).await?;
            let event = LeadConverted {
                lead_id: lead.lead_id,
                client_id: client.client_id.clone(),
                company_name: lead.company_name,
                contact_name: lead.contact_name,
                contact_email: lead.contact_email,
                converted_by: caller,
                converted_at: client.at,
            };
            outbox::append(&mut transaction, &event, &trace).await?;
            (client, false)
        }
    };
    transaction.commit().await?;
    Ok(Json(ConvertedLead {
        lead_id: id,
        client_id: client.client_id,
        converted_at: client.at,
        already_converted,
    }))
}

fn not_qualified_error(id: &str, NotQualified { status }: &NotQualified) -> ApiError {
    ApiError {
        issues: Some(vec![FieldIssue::new(
            "status",
            format!("current status is {status}"),
        )]),
        ..ApiError::conflict("LEAD_NOT_QUALIFIED", format!("Lead {id} is not qualified"))
    }
}
