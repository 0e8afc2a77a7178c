//! What is asked, and what is answered.

mod decision;
mod expenses;

use dm_kit::Database;
use dm_kit::http::OpenApiRouter;
use utoipa_axum::routes;

/// Every route of the service.
pub(crate) fn router() -> OpenApiRouter<Database> {
    OpenApiRouter::new()
        .routes(routes!(expenses::list, expenses::create))
        .routes(routes!(decision::decide))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_has_every_endpoint_with_its_answers() {
        let (_, api) = router().split_for_parts();
        assert_eq!(
            dm_kit::http::list_endpoints(&api),
            [
                "GET /internal/expenses listExpenses 200 400 401",
                "POST /internal/expenses createExpense 201 400 401",
                "POST /internal/expenses/{expenseId}/decision decideExpense 200 400 401 404 409",
            ]
        );
    }
}
