//! Prints a list that is read page by page.

use dm_core::error::{ExitStatus, Result};
use dm_gateway_client::ApiPath;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::error::CallError;
use super::{Call, render};

/// A page of a list. Its items are printed as they are.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    items: Vec<Box<RawValue>>,
    #[serde(default)]
    next_cursor: Option<String>,
}

/// Reads a list to its end and prints all items: as one JSON array, or as the body of one document
/// with --json. An error of the first page is printed like that of any call.
pub(super) async fn print_list(call: &Call<'_>, path: &ApiPath) -> Result<ExitStatus> {
    let printer = &call.context.printer;
    let mut array = JsonArray::default();
    let mut items = Vec::new();
    let mut page_path = path.page(None);
    loop {
        let mut response = call.send(&page_path).await?;
        if !response.is_success() {
            if !array.is_begun() && items.is_empty() {
                return call.print_whole(&page_path, response).await;
            }
            // The body of the error would be part of the array.
            let body = call.read(&page_path, response.read_body().await)?;
            let body = String::from_utf8_lossy(&body);
            let refusal = call.refusal(&page_path, &response, &body);
            return Err(CallError::Refused(Box::new(refusal)).into());
        }
        let body = call.read(&page_path, response.read_body().await)?;
        let page: Page = serde_json::from_slice(&body).map_err(|_| CallError::NoList {
            call: format!("GET {}", path.as_str()),
        })?;
        if printer.is_json() {
            items.extend(page.items.iter().map(|item| parse(item)));
        } else {
            printer.write_stdout_bytes(array.append(&page.items).as_bytes())?;
        }
        if let Some(cursor) = page.next_cursor {
            page_path = path.page(Some(&cursor));
            continue;
        }
        if printer.is_json() {
            let document = render::document(&call.request, path, &response, "");
            let document = document.with_body(Value::from(items));
            printer.print_document(&dm_core::document::CALL, &document)?;
        } else {
            printer.write_stdout_bytes(array.end().as_bytes())?;
        }
        return Ok(ExitStatus::Success);
    }
}

fn parse(item: &RawValue) -> Value {
    // The item was parsed as a part of its page.
    serde_json::from_str(item.get()).unwrap_or_default()
}

/// A JSON array that is written in parts, with one item per line.
#[derive(Debug, Default)]
struct JsonArray {
    has_items: bool,
}

impl JsonArray {
    /// Returns whether a part of the array has been written.
    const fn is_begun(&self) -> bool {
        self.has_items
    }

    /// Returns the text that adds items.
    fn append(&mut self, items: &[Box<RawValue>]) -> String {
        let mut text = String::new();
        for item in items {
            text.push_str(if self.has_items { ",\n" } else { "[\n" });
            text.push_str(item.get());
            self.has_items = true;
        }
        text
    }

    /// Returns the text that ends the array.
    const fn end(&self) -> &'static str {
        if self.has_items { "\n]\n" } else { "[]\n" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> Page {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn pages_are_joined_to_one_array_with_unchanged_items() {
        let mut array = JsonArray::default();
        let pages = [
            page(r#"{"items":[{"a":1.50},{"b":"x"}],"total":3,"nextCursor":"c"}"#),
            page(r#"{"items":[],"total":3,"nextCursor":"d"}"#),
            page(r#"{"items":[7],"total":3,"nextCursor":null}"#),
        ];
        let mut text: String = pages.iter().map(|page| array.append(&page.items)).collect();
        text.push_str(array.end());
        assert_eq!(text, "[\n{\"a\":1.50},\n{\"b\":\"x\"},\n7\n]\n");
        assert_eq!(pages[0].next_cursor.as_deref(), Some("c"));
        assert_eq!(pages[2].next_cursor, None);
    }

    #[test]
    fn empty_list_is_an_empty_array_and_another_response_no_list() {
        let mut array = JsonArray::default();
        assert_eq!(array.append(&page(r#"{"items":[]}"#).items), "");
        assert!(!array.is_begun());
        assert_eq!(array.end(), "[]\n");
        assert!(serde_json::from_str::<Page>(r#"{"orderId":"ord_1"}"#).is_err());
    }
}
