//! What is asked, and what is answered.

mod decision;
mod expenses;

use dm_kit::http::OpenApiRouter;
use sqlx::postgres::PgPool;
use utoipa_axum::routes;

/// Every route of the service.
pub(crate) fn all() -> OpenApiRouter<PgPool> {
    OpenApiRouter::new()
        .routes(routes!(expenses::list, expenses::create))
        .routes(routes!(decision::decide))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_has_every_endpoint_with_its_answers() {
        let (_, api) = all().split_for_parts();
        assert_eq!(
            dm_kit::http::endpoints(&api),
            [
                "GET /internal/expenses listExpenses 200 400 401 500",
                "POST /internal/expenses createExpense 201 400 401 413 500",
                "POST /internal/expenses/{expenseId}/decision decideExpense 200 400 401 404 409 413 500",
            ]
        );
    }
}
