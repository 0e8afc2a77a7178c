//! Paging of the lists that also have numbered pages.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse as _, Response};
use dm_contracts::api::parameters::query_parameter;
use http::request::Parts;
use utoipa::IntoParams;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::{Parameter, ParameterIn};

use super::error::ApiError;
use super::field_issues::FieldIssues;
use super::list::{
    CursorPaging, INVALID_PAGING, TableList, list_response, number_text, numbered_page,
    optional_number,
};
use super::params::{QueryParams, parse_number};
use crate::database::Database;

/// Default of the parameter `size`.
const DEFAULT_PAGE_SIZE: u32 = 50;

/// Maximum of the parameter `size`.
const MAX_PAGE_SIZE: u32 = 500;

/// The extension of a parameter with the names of the parameters that it cannot be combined with.
/// OpenAPI has no keyword for that.
const NOT_WITH: &str = "x-not-with";

/// The part of a list that a request asks for: a page with `page` (from 0) and `size`, or a part
/// with the parameters of [`CursorPaging`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paging(RequestedPart);

#[derive(Debug, Clone, PartialEq, Eq)]
enum RequestedPart {
    Page { number: u32, size: u32 },
    Cursor(CursorPaging),
}

impl Paging {
    /// Parses the parameters.
    ///
    /// # Errors
    /// Returns [`ApiError`] if a parameter is not valid, or if the parameters of a page are
    /// combined with those of [`CursorPaging`].
    pub(crate) fn from_params(params: &QueryParams) -> Result<Self, ApiError> {
        let cursor = CursorPaging::from_params(params)?;
        let (page, size) = (number_text(params, "page"), number_text(params, "size"));
        if page.is_none() && size.is_none() {
            return Ok(Self(RequestedPart::Cursor(cursor)));
        }
        let mut issues = FieldIssues::default();
        if cursor.is_requested() {
            issues.add(
                "page",
                "page and size cannot be combined with limit, cursor and order",
            );
        }
        let number = page.map_or(Some(0), parse_number);
        if number.is_none() {
            issues.add("page", "page must be a number of at least 0");
        }
        let size = size.map_or(Some(DEFAULT_PAGE_SIZE), |text| {
            parse_number(text).filter(|size| (1..=MAX_PAGE_SIZE).contains(size))
        });
        if size.is_none() {
            issues.add(
                "size",
                format!("size must be a number from 1 to {MAX_PAGE_SIZE}"),
            );
        }
        // Both are there if there are no issues.
        let part = RequestedPart::Page {
            number: number.unwrap_or_default(),
            size: size.unwrap_or(DEFAULT_PAGE_SIZE),
        };
        issues
            .into_result(Self(part))
            .map_err(|issues| ApiError::validation(INVALID_PAGING, issues))
    }
}

/// Returns a response with the requested part of a list.
///
/// # Errors
/// Returns [`ApiError`] if the cursor is not one of the list, or if the first rows cannot be read.
pub async fn paged_list_response<L: TableList>(
    database: &Database,
    list: L,
    paging: &Paging,
) -> Result<Response, ApiError> {
    match &paging.0 {
        RequestedPart::Page { number, size } => {
            let page = numbered_page(database, list, *number, *size).await?;
            Ok(Json(page).into_response())
        }
        RequestedPart::Cursor(paging) => list_response(database, list, paging).await,
    }
}

impl<S: Sync> FromRequestParts<S> for Paging {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Self::from_params(&QueryParams::parse(parts.uri.query().unwrap_or_default()))
    }
}

impl IntoParams for Paging {
    fn into_params(parameter_in: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let by_cursor = CursorPaging::into_params(parameter_in);
        let by_page = vec![
            query_parameter(
                "page",
                "Number of a page, from 0. Not with `limit`, `cursor` or `order`",
                optional_number(0, u32::MAX),
            ),
            query_parameter(
                "size",
                &format!(
                    "Items per page, {DEFAULT_PAGE_SIZE} without it. Not with `limit`, `cursor` or \
                     `order`"
                ),
                optional_number(1, MAX_PAGE_SIZE),
            ),
        ];
        let names = |parameters: &[Parameter]| -> Vec<String> {
            let names = parameters.iter().map(|parameter| parameter.name.clone());
            names.collect()
        };
        let (cursor_names, page_names) = (names(&by_cursor), names(&by_page));
        let exclude = |parameters: Vec<Parameter>, others: Vec<String>| {
            parameters.into_iter().map(move |mut parameter| {
                let extensions = ExtensionsBuilder::new().add(NOT_WITH, others.clone());
                parameter.extensions = Some(extensions.build());
                parameter
            })
        };
        exclude(by_cursor, page_names)
            .chain(exclude(by_page, cursor_names))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn parse_query(query: &str) -> Result<RequestedPart, Vec<String>> {
        let parsed = Paging::from_params(&QueryParams::parse(query));
        parsed.map(|paging| paging.0).map_err(|error| {
            let issues = error.issues.into_iter().flatten();
            issues.map(|issue| issue.issue).collect()
        })
    }

    const fn page(number: u32, size: u32) -> RequestedPart {
        RequestedPart::Page { number, size }
    }

    #[test]
    fn query_without_page_and_size_is_read_by_cursor() {
        for query in ["status=NEW", "page=&size=", "page=+&size=%20&limit="] {
            let part = RequestedPart::Cursor(CursorPaging::default());
            assert_eq!(parse_query(query), Ok(part), "{query}");
        }
        // A blank parameter is not combined with another one.
        assert!(parse_query("page=&size=&limit=3").is_ok());
        let limited = parse_query("limit=3").unwrap();
        assert!(matches!(limited, RequestedPart::Cursor(paging) if paging.is_partial()));
    }

    #[test]
    fn missing_parameter_has_its_default() {
        assert_eq!(parse_query("page=1"), Ok(page(1, 50)));
        assert_eq!(parse_query("size=3"), Ok(page(0, 3)));
        assert_eq!(parse_query("page=&size=3&cursor="), Ok(page(0, 3)));
    }

    #[test]
    fn all_invalid_parameters_are_reported() {
        let page = "page must be a number of at least 0".to_owned();
        let size = "size must be a number from 1 to 500".to_owned();
        assert_eq!(
            parse_query("page=-1&size=0"),
            Err(vec![page.clone(), size.clone()])
        );
        for invalid in ["page=99999999999", "page=+1", "page=01"] {
            assert_eq!(parse_query(invalid), Err(vec![page.clone()]), "{invalid}");
        }
        for invalid in ["page=0&size=501", "size=5.0"] {
            assert_eq!(parse_query(invalid), Err(vec![size.clone()]), "{invalid}");
        }
    }

    #[test]
    fn page_is_not_combined_with_a_cursor() {
        let issue = "page and size cannot be combined with limit, cursor and order".to_owned();
        for query in ["page=0&limit=5", "size=5&order=newest", "page=0&cursor=AQ"] {
            assert_eq!(parse_query(query), Err(vec![issue.clone()]), "{query}");
        }
    }

    #[test]
    fn each_parameter_is_described() {
        let parameters = serde_json::to_value(Paging::into_params(|| None)).unwrap();
        let described: Vec<_> = parameters
            .as_array()
            .unwrap()
            .iter()
            .map(|parameter| {
                assert_eq!(parameter["in"], "query");
                assert_eq!(parameter["required"], false);
                // The first alternative is the plain one.
                let schema = match &parameter["schema"]["anyOf"][0] {
                    Value::Null => &parameter["schema"],
                    plain => plain,
                };
                let name = parameter["name"].as_str().unwrap();
                let kind = schema["type"].as_str().unwrap();
                let others = parameter["x-not-with"].as_array().unwrap().len();
                let range = format!("{} {}", schema["minimum"], schema["maximum"]);
                format!("{name} {kind} {range}, not with {others}")
            })
            .collect();
        assert_eq!(
            described,
            [
                "limit integer 1 1000, not with 2",
                "cursor string null null, not with 2",
                "order string null null, not with 2",
                "page integer 0 4294967295, not with 3",
                "size integer 1 500, not with 3",
            ]
        );
    }
}
