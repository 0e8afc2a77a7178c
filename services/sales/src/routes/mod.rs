//! The HTTP routes.

mod clients;
mod conversion;
mod leads;
#[cfg(test)]
mod server_tests;

use dm_kit::Database;
use dm_kit::http::{ApiError, OpenApiRouter};
use utoipa_axum::routes;

/// Returns the router of the service.
pub(crate) fn router() -> OpenApiRouter<Database> {
    OpenApiRouter::new()
        .routes(routes!(leads::list, leads::create))
        .routes(routes!(leads::detail, leads::update, leads::patch))
        .routes(routes!(conversion::convert))
        .routes(routes!(clients::list))
}

fn lead_not_found(id: &str) -> ApiError {
    ApiError::not_found("LEAD_NOT_FOUND", format!("Lead {id} was not found"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openapi_document_has_each_endpoint_with_its_statuses() {
        let (_, api) = router().split_for_parts();
        assert_eq!(
            dm_kit::http::list_endpoints(&api),
            [
                "GET /internal/sales/clients listClients 200 400 401",
                "GET /internal/sales/leads listLeads 200 400 401",
                "GET /internal/sales/leads/{leadId} getLead 200 401 404",
                "PATCH /internal/sales/leads/{leadId} patchLead 200 400 401 404",
                "POST /internal/sales/leads createLead 201 400 401",
                "POST /internal/sales/leads/{leadId} updateLead 200 400 401 404",
                "POST /internal/sales/leads/{leadId}/convert convertLead 200 401 404 409",
            ]
        );
    }

    #[test]
    fn each_endpoint_documents_its_errors() {
        let (_, api) = router().split_for_parts();
        assert_eq!(
            dm_kit::http::find_missing_responses(api),
            Vec::<String>::new()
        );
    }
}
