//! The parameters `limit`, `cursor` and `order` of lists.

use axum::extract::FromRequestParts;
use dm_contracts::api::error::FieldIssue;
use dm_contracts::api::parameters::{list_order_schema, query_parameter};
use http::request::Parts;
use utoipa::IntoParams;
use utoipa::openapi::RefOr;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::schema::{AnyOfBuilder, ObjectBuilder, Schema, Type};

use super::super::error::ApiError;
use super::super::field_issues::FieldIssues;
use super::super::params::{QueryParams, parse_number};
use super::order::RequestedOrder;

/// Maximum of the parameter `limit`.
const MAX_LIMIT: u32 = 1_000;

/// The message of an error about these parameters.
pub(in crate::http) const INVALID_PAGING: &str = "Invalid paging";

/// Pattern of the parameter `cursor`.
const CURSOR: &str = r"^\s*[A-Za-z0-9_-]*\s*$";

/// Pattern of a blank text.
const BLANK: &str = r"^\s*$";

/// The part of a list that a request asks for with `limit` (1 to 1,000), `cursor` and `order`
/// (`newest` or `oldest`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CursorPaging {
    pub(super) limit: Option<u32>,
    pub(super) cursor: Option<String>,
    pub(super) order: Option<RequestedOrder>,
}

impl CursorPaging {
    /// Parses the parameters. Whether the cursor is valid depends on the list.
    ///
    /// # Errors
    /// Returns a validation error if a parameter is not valid.
    pub(in crate::http) fn from_params(params: &QueryParams) -> Result<Self, ApiError> {
        let mut issues = FieldIssues::default();
        let limit: Option<u32> =
            number_text(params, "limit").map(|text| parse_number(text).unwrap_or_default());
        if limit.is_some_and(|limit| !(1..=MAX_LIMIT).contains(&limit)) {
            let issue = format!("limit must be a number from 1 to {MAX_LIMIT}");
            issues.add("limit", issue);
        }
        let name = params.get("order");
        let order = name.and_then(RequestedOrder::from_name);
        if name.is_some() && order.is_none() {
            let names = RequestedOrder::ALL.map(RequestedOrder::as_str);
            issues.add("order", format!("order must be {}", names.join(" or ")));
        }
        let paging = Self {
            limit,
            cursor: params.get("cursor").map(str::to_owned),
            order,
        };
        issues
            .into_result(paging)
            .map_err(|issues| ApiError::validation(INVALID_PAGING, issues))
    }

    /// Returns whether the request has at least one of the parameters.
    pub(in crate::http) fn is_requested(&self) -> bool {
        *self != Self::default()
    }

    /// Returns whether the request asks for a part of the list with `limit` or `cursor`.
    #[must_use]
    pub const fn is_partial(&self) -> bool {
        self.limit.is_some() || self.cursor.is_some()
    }

    /// Returns whether the request continues a list after a cursor.
    #[must_use]
    pub const fn has_cursor(&self) -> bool {
        self.cursor.is_some()
    }

    /// Sets the maximum number of items of a request without `limit`.
    #[must_use]
    pub fn with_default_limit(self, limit: u32) -> Self {
        Self {
            limit: self.limit.or(Some(limit)),
            ..self
        }
    }

    /// Returns the error of a cursor that is not one of the list.
    pub(super) fn invalid_cursor() -> ApiError {
        let issue = "cursor must be a nextCursor of this list with the same filters and order";
        ApiError::validation(INVALID_PAGING, vec![FieldIssue::new("cursor", issue)])
    }
}

impl<S: Sync> FromRequestParts<S> for CursorPaging {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Self::from_params(&QueryParams::parse(parts.uri.query().unwrap_or_default()))
    }
}

impl IntoParams for CursorPaging {
    fn into_params(parameter_in: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let mut parameters = UnorderedPaging::into_params(parameter_in);
        parameters.push(query_parameter(
            "order",
            "Which items come first. Without it, the newest ones are selected and sorted in the \
             order of the list",
            list_order_schema(),
        ));
        parameters
    }
}

/// The parameters `limit` and `cursor` of a list that has no parameter `order`.
#[derive(Debug)]
pub struct UnorderedPaging;

impl IntoParams for UnorderedPaging {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![
            query_parameter(
                "limit",
                "Maximum number of items",
                optional_number(1, MAX_LIMIT),
            ),
            query_parameter(
                "cursor",
                "`nextCursor` of a response with the same filters and order: the items after it. \
                 Any other text is an error",
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .pattern(Some(CURSOR)),
            ),
        ]
    }
}

/// Returns a number as it was sent, or `None` if it is missing or blank.
pub(in crate::http) fn number_text<'p>(params: &'p QueryParams, name: &str) -> Option<&'p str> {
    // Not trimmed: white space around a number makes it invalid.
    let text = params.get_exact(name)?;
    (!text.trim().is_empty()).then_some(text)
}

/// Returns the schema of a number of a query string, or of a blank text, which counts as missing.
pub(in crate::http) fn optional_number(minimum: u32, maximum: u32) -> RefOr<Schema> {
    let number = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(minimum))
        .maximum(Some(maximum));
    let blank = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(BLANK));
    AnyOfBuilder::new().item(number).item(blank).into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse_query(query: &str) -> Result<CursorPaging, Vec<String>> {
        CursorPaging::from_params(&QueryParams::parse(query)).map_err(|error| {
            let issues = error.issues.into_iter().flatten();
            issues.map(|issue| issue.issue).collect()
        })
    }

    #[test]
    fn query_without_parameters_asks_for_no_part() {
        for query in [
            "status=NEW",
            "limit=&cursor=&order=",
            "limit=+&cursor=+&order=%20",
            // The first of repeated parameters counts.
            "limit=&limit=5",
        ] {
            let all = parse_query(query).unwrap();
            assert_eq!(all, CursorPaging::default(), "{query}");
            assert!(!all.is_requested(), "{query}");
            assert_eq!(all.with_default_limit(100).limit, Some(100), "{query}");
        }
    }

    #[test]
    fn parameters_are_parsed() {
        let paging = parse_query("limit=50&cursor=AQ&order=oldest").unwrap();
        assert_eq!(paging.limit, Some(50));
        assert_eq!(paging.cursor.as_deref(), Some("AQ"));
        assert_eq!(paging.order, Some(RequestedOrder::Oldest));
        assert!(paging.is_requested() && paging.is_partial() && paging.has_cursor());
        assert_eq!(paging.with_default_limit(100).limit, Some(50));
        let newest = parse_query("order=newest").unwrap();
        assert!(newest.is_requested() && !newest.is_partial());
    }

    #[test]
    fn all_invalid_parameters_are_reported() {
        let limit = "limit must be a number from 1 to 1000".to_owned();
        let order = "order must be newest or oldest".to_owned();
        for invalid in [
            "0",
            "1001",
            "-1",
            "1.5",
            "99999999999",
            "all",
            "05",
            "+5",
            "5+",
            "%2B5",
        ] {
            let query = format!("limit={invalid}&order=Newest");
            assert_eq!(
                parse_query(&query),
                Err(vec![limit.clone(), order.clone()]),
                "{invalid}"
            );
        }
        assert!(parse_query("limit=1000").is_ok());
    }

    #[test]
    fn described_limit_is_a_number_or_blank() {
        let parameters = serde_json::to_value(UnorderedPaging::into_params(|| None)).unwrap();
        assert_eq!(parameters[0]["name"], "limit");
        assert_eq!(
            parameters[0]["schema"],
            json!({"anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 1_000},
                {"type": "string", "pattern": "^\\s*$"},
            ]})
        );
    }

    #[test]
    fn described_orders_are_the_accepted_ones() {
        use dm_contracts::api::parameters::LIST_ORDERS;

        assert_eq!(LIST_ORDERS, RequestedOrder::ALL.map(RequestedOrder::as_str));
    }

    #[test]
    fn invalid_cursor_is_an_issue_of_its_parameter() {
        let error = CursorPaging::invalid_cursor();
        assert_eq!(error.message, "Invalid paging");
        let fields = error.issues.into_iter().flatten().map(|issue| issue.field);
        assert_eq!(fields.collect::<Vec<_>>(), ["cursor"]);
    }
}
