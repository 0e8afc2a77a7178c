//! Paging of lists, if a request asks for it.

use axum::extract::FromRequestParts;
use dm_contracts::api::list::List;
use http::request::Parts;

use super::error::ApiError;
use super::field_issues::FieldIssues;
use super::params::QueryParams;

/// Default of the parameter `size`.
const DEFAULT_PAGE_SIZE: u32 = 50;

/// Maximum of the parameter `size`.
const MAX_PAGE_SIZE: u32 = 500;

/// The page that a request asks for with `page` (from 0) and `size`; all items if the query has
/// neither.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Paging(Option<PageParams>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PageParams {
    number: u32,
    size: u32,
}

impl Paging {
    /// Parses the parameters.
    ///
    /// # Errors
    /// Returns [`ApiError`] if a parameter is not valid.
    pub(crate) fn from_params(params: &QueryParams) -> Result<Self, ApiError> {
        let (page, size) = (params.get("page"), params.get("size"));
        if page.is_none() && size.is_none() {
            return Ok(Self(None));
        }
        let mut issues = FieldIssues::default();
        let number = page.map_or(Some(0), |text| text.parse().ok());
        if number.is_none() {
            issues.add("page", "page must be a number of at least 0");
        }
        let size = size.map_or(Some(DEFAULT_PAGE_SIZE), |text| {
            text.parse()
                .ok()
                .filter(|size| (1..=MAX_PAGE_SIZE).contains(size))
        });
        if size.is_none() {
            issues.add(
                "size",
                format!("size must be a number from 1 to {MAX_PAGE_SIZE}"),
            );
        }
        let page = number
            .zip(size)
            .map(|(number, size)| PageParams { number, size });
        issues
            .into_result(Self(page))
            .map_err(|issues| ApiError::validation("Invalid paging", issues))
    }

    /// Returns whether a page is requested, so that all items have to be counted.
    #[must_use]
    pub const fn is_requested(self) -> bool {
        self.0.is_some()
    }

    /// Returns the value of `LIMIT`, which is `NULL` without paging.
    #[must_use]
    pub fn limit(self) -> Option<i64> {
        self.0.map(|page| i64::from(page.size))
    }

    /// Returns the value of `OFFSET`.
    #[must_use]
    pub fn offset(self) -> i64 {
        self.0.map_or(0, |page| {
            i64::from(page.number).saturating_mul(i64::from(page.size))
        })
    }

    /// Returns the list. `matching` is the number of items on all pages, which is ignored without
    /// paging.
    #[must_use]
    pub fn into_list<T>(self, items: Vec<T>, matching: i64) -> List<T> {
        match self.0 {
            None => List::unpaged(items),
            Some(page) => List {
                items,
                total: u64::try_from(matching).unwrap_or_default(),
                page: Some(page.number),
                size: Some(page.size),
            },
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Paging {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Self::from_params(&QueryParams::parse(parts.uri.query().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse_query(query: &str) -> Result<Paging, Vec<String>> {
        Paging::from_params(&QueryParams::parse(query)).map_err(|error| {
            error
                .issues
                .into_iter()
                .flatten()
                .map(|issue| issue.issue)
                .collect()
        })
    }

    #[test]
    fn query_without_parameters_is_not_paged() {
        let all = parse_query("status=NEW&page=&size=+").unwrap();
        assert_eq!(
            (all.is_requested(), all.limit(), all.offset()),
            (false, None, 0)
        );
        assert_eq!(all.into_list(vec![1], 9), List::unpaged(vec![1]));
    }

    #[test]
    fn missing_parameter_has_its_default() {
        let second = parse_query("page=1").unwrap();
        assert_eq!((second.limit(), second.offset()), (Some(50), 50));
        let first = parse_query("size=3").unwrap();
        assert_eq!((first.limit(), first.offset()), (Some(3), 0));
        let text = serde_json::to_string(&first.into_list(vec![1], 9)).unwrap();
        assert_eq!(text, r#"{"items":[1],"total":9,"page":0,"size":3}"#);
    }

    #[test]
    fn all_invalid_parameters_are_reported() {
        let page = "page must be a number of at least 0".to_owned();
        let size = "size must be a number from 1 to 500".to_owned();
        assert_eq!(
            parse_query("page=-1&size=0"),
            Err(vec![page.clone(), size.clone()])
        );
        assert_eq!(parse_query("page=99999999999"), Err(vec![page]));
        assert_eq!(parse_query("page=0&size=501"), Err(vec![size]));
    }

    proptest! {
        /// Consecutive pages are consecutive ranges of the list.
        #[test]
        fn pages_neither_overlap_nor_leave_gaps(page: u32, size in 1..=MAX_PAGE_SIZE) {
            let parse = |page: u32| parse_query(&format!("page={page}&size={size}")).unwrap();
            let (current, next) = (parse(page), parse(page.saturating_add(1)));
            let gap = if page == u32::MAX { 0 } else { i64::from(size) };
            prop_assert_eq!(current.offset() + gap, next.offset());
        }
    }
}
