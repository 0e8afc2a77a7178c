//! Lists, which are read by cursor: a response contains a part of a long list only.

use std::ops::ControlFlow;

use dm_contracts::api::list::List;
use serde::de::DeserializeOwned;

use super::{RequestFailure, TracedRequest, TracedResponse};

/// The number of items of a page: the maximum of the contract.
pub(crate) const PAGE_LIMIT: &str = "1000";

/// Reads a list page by page and calls `visit` with the items of each page, until it breaks or
/// the list ends. `get` creates the request for a path, and `path` may have filters.
///
/// # Errors
/// Returns [`RequestFailure`] if there is no response, it has another status than 200, or it
/// violates the contract.
pub async fn read_list<T: DeserializeOwned>(
    path: &str,
    get: impl Fn(&str) -> TracedRequest,
    mut visit: impl FnMut(Vec<T>) -> ControlFlow<()>,
) -> Result<(), RequestFailure> {
    let mut cursor = None;
    loop {
        let request = get(&page_path(path, cursor.as_deref()));
        let page: List<T> = request.expect_status(200).await?.decode()?;
        cursor = page.next_cursor;
        if visit(page.items).is_break() || cursor.is_none() {
            return Ok(());
        }
    }
}

/// Reads a list page by page until a page has an item in which a field has this value. Returns
/// this page, or the last one.
///
/// # Errors
/// Returns [`RequestFailure`] if there is no response, it has another status than 200, or it has no
/// list `items`.
pub async fn find_page(
    path: &str,
    get: impl Fn(&str) -> TracedRequest,
    field: &str,
    value: &str,
) -> Result<TracedResponse, RequestFailure> {
    let mut cursor = None;
    loop {
        let request = get(&page_path(path, cursor.as_deref()));
        let page = request.expect_status(200).await?;
        cursor = page.json()?["nextCursor"].as_str().map(str::to_owned);
        if page.find_item(field, value)?.is_some() || cursor.is_none() {
            return Ok(page);
        }
    }
}

/// Returns the path of the page after a cursor, which consists of characters that need no
/// encoding.
fn page_path(path: &str, cursor: Option<&str>) -> String {
    let separator = if path.contains('?') { '&' } else { '?' };
    let page = format!("{path}{separator}limit={PAGE_LIMIT}");
    match cursor {
        Some(cursor) => format!("{page}&cursor={cursor}"),
        None => page,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_of_a_page_keeps_the_filters() {
        assert_eq!(page_path("/orders", None), "/orders?limit=1000");
        assert_eq!(
            page_path("/orders?status=CREATED", Some("AQ-_")),
            "/orders?status=CREATED&limit=1000&cursor=AQ-_"
        );
    }
}
