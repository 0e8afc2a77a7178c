//! Lists, paged or complete.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A list: one page if the request has paging parameters, otherwise all items.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct List<T> {
    /// The items.
    pub items: Vec<T>,
    /// Number of items; for a page, the number of items on all pages.
    pub total: u64,
    /// Number of the page, from 0. Omitted if the list is not paged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<u32>,
    /// Number of items of a page. Omitted if the list is not paged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u32>,
}

impl<T> List<T> {
    /// Returns a list of all items, without paging.
    #[must_use]
    pub fn unpaged(items: Vec<T>) -> Self {
        Self {
            total: u64::try_from(items.len()).unwrap_or(u64::MAX),
            items,
            page: None,
            size: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpaged_list_omits_page_and_size() {
        let json = serde_json::to_string(&List::unpaged(vec![7, 8])).unwrap();
        assert_eq!(json, r#"{"items":[7,8],"total":2}"#);
        let list: List<i32> = serde_json::from_str(&json).unwrap();
        assert_eq!(list, List::unpaged(vec![7, 8]));
    }
}
