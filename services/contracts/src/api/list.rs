//! Lists.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A list: all of it, or one page where the request asked for one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct List<T> {
    /// What is in it.
    pub items: Vec<T>,
    /// How many are in it; of a page: how many there are on all pages.
    pub total: u64,
    /// Which page it is, from 0. Left out where no page was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<u32>,
    /// How many items a page has. Left out where no page was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u32>,
}

impl<T> List<T> {
    /// A list that is all there is.
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
    fn a_whole_list_knows_of_no_pages() {
        let text = serde_json::to_string(&List::unpaged(vec![7, 8])).unwrap();
        assert_eq!(text, r#"{"items":[7,8],"total":2}"#);
        let read: List<i32> = serde_json::from_str(&text).unwrap();
        assert_eq!(read, List::unpaged(vec![7, 8]));
    }
}
