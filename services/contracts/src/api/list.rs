//! Lists, of which a response contains a part.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A list, or the part of it that the request asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct List<T> {
    /// The items.
    pub items: Vec<T>,
    /// Number of items of the whole list. If this is a part of it, the number may be two seconds
    /// old.
    pub total: u64,
    /// Number of the page, from 0. Omitted without `page` and `size`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<u32>,
    /// Number of items of a page. Omitted without `page` and `size`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u32>,
    /// Cursor of the following items; `null` if there are none.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_without_a_page_omits_page_and_size() {
        let list = List {
            items: vec![7, 8],
            total: 2,
            page: None,
            size: None,
            next_cursor: None,
        };
        let json = serde_json::to_string(&list).unwrap();
        assert_eq!(json, r#"{"items":[7,8],"total":2,"nextCursor":null}"#);
        let parsed: List<i32> = serde_json::from_str(&json).unwrap();
        assert_eq!(parsed, list);
    }

    #[test]
    fn page_has_its_number_and_size() {
        let list = List {
            items: vec![7],
            total: 9,
            page: Some(0),
            size: Some(1),
            next_cursor: None,
        };
        assert_eq!(
            serde_json::to_string(&list).unwrap(),
            r#"{"items":[7],"total":9,"page":0,"size":1,"nextCursor":null}"#
        );
    }
}
