//! Responses with lists. A long list is streamed in chunks.

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse as _, Response};
use dm_contracts::api::list::List;
use futures_util::stream;
use http::{HeaderValue, header};

use super::super::error::ApiError;
use super::paging::CursorPaging;
use super::reader::{ListEnd, ListReader, PartialItems};
use super::source::ListSource;
use super::table::{TableList, TableSource};
use crate::database::Database;

/// Returns a response with the requested part of a list. If the database fails halfway, the
/// connection is closed before the end of the body.
///
/// # Errors
/// Returns [`ApiError`] if the cursor is not one of the list, or if the first rows cannot be read.
pub async fn list_response<L: TableList>(
    database: &Database,
    list: L,
    paging: &CursorPaging,
) -> Result<Response, ApiError> {
    write_list(open(database, &list, paging).await?).await
}

/// Returns the requested part of a list. The part must be short: all of it is in memory.
///
/// # Errors
/// Returns [`ApiError`] if the cursor is not one of the list, or if a query fails.
pub async fn fetch_list<L: TableList>(
    database: &Database,
    list: L,
    paging: &CursorPaging,
) -> Result<List<L::Item>, ApiError> {
    let mut reader = open(database, &list, paging).await?;
    let mut items = Vec::new();
    loop {
        let part = reader.read().await?;
        items.extend(part.items);
        if part.is_last {
            let end = reader.finish().await?;
            return Ok(complete(items, end));
        }
    }
}

/// Returns the number of items of a list. It may be up to two seconds old.
///
/// # Errors
/// Returns [`ApiError`] if the query fails.
pub async fn list_total<L: TableList>(database: &Database, list: L) -> Result<u64, ApiError> {
    let lists = database.lists();
    let source = TableSource::new(lists.pool.clone(), &list);
    let total = lists.totals.get_or_count(source.digest(), source.count());
    Ok(total.await?)
}

/// Returns a page of a list by its number, and the exact number of items on all pages.
///
/// # Errors
/// Returns [`ApiError`] if a query fails.
pub(in crate::http) async fn numbered_page<L: TableList>(
    database: &Database,
    list: L,
    number: u32,
    size: u32,
) -> Result<List<L::Item>, ApiError> {
    let source = TableSource::new(database.lists().pool.clone(), &list);
    Ok(read_page(&source, number, size).await?)
}

async fn read_page<S: ListSource>(
    source: &S,
    number: u32,
    size: u32,
) -> Result<List<S::Item>, sqlx::Error> {
    let total = source.count().await?;
    let limit = i64::from(size);
    let offset = i64::from(number).saturating_mul(limit);
    // To find no item after the end, the database would read the whole list.
    let items = if offset.unsigned_abs() < total {
        source.fetch_page(limit, offset).await?
    } else {
        Vec::new()
    };
    Ok(List {
        items,
        total,
        page: Some(number),
        size: Some(size),
        next_cursor: None,
    })
}

async fn open<L: TableList>(
    database: &Database,
    list: &L,
    paging: &CursorPaging,
) -> Result<ListReader<TableSource<L>>, ApiError> {
    let lists = database.lists();
    let source = TableSource::new(lists.pool.clone(), list);
    ListReader::open(source, lists.totals.clone(), lists.max_rows, paging).await
}

fn complete<T>(items: Vec<T>, end: ListEnd) -> List<T> {
    List {
        items,
        total: end.total,
        page: None,
        size: None,
        next_cursor: end.next_cursor,
    }
}

/// The state of a streamed list.
struct ListStream<S: ListSource> {
    reader: ListReader<S>,
    next: NextItems<S::Item>,
    /// Whether the body has begun.
    has_begun: bool,
}

/// The next items to send.
enum NextItems<T> {
    /// The first items, which were read before the response was begun.
    Buffered(PartialItems<T>),
    /// Items that are still to be read.
    Unread,
    /// No further items.
    End,
}

/// Returns a response with all items of a reader.
async fn write_list<S: ListSource>(mut reader: ListReader<S>) -> Result<Response, ApiError> {
    let first = reader.read().await?;
    if first.is_last {
        let end = reader.finish().await?;
        return Ok(axum::Json(complete(first.items, end)).into_response());
    }
    let state = ListStream {
        reader,
        next: NextItems::Buffered(first),
        has_begun: false,
    };
    let mut response = Response::new(Body::from_stream(stream::try_unfold(state, next_bytes)));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    Ok(response)
}

/// Returns the next bytes of the body and the new state. They are only read when the body is
/// polled, so that at most the current chunk is held in memory for a slow client.
async fn next_bytes<S: ListSource>(
    mut state: ListStream<S>,
) -> Result<Option<(Bytes, ListStream<S>)>, std::io::Error> {
    let part = match std::mem::replace(&mut state.next, NextItems::End) {
        NextItems::Buffered(part) => part,
        NextItems::Unread => state.reader.read().await.map_err(std::io::Error::other)?,
        NextItems::End => return Ok(None),
    };
    let mut text = Vec::new();
    for item in &part.items {
        let separator: &[u8] = if state.has_begun {
            b","
        } else {
            b"{\"items\":["
        };
        text.extend_from_slice(separator);
        serde_json::to_writer(&mut text, item)?;
        state.has_begun = true;
    }
    if part.is_last {
        let end = state.reader.finish().await.map_err(std::io::Error::other)?;
        let cursor = serde_json::to_string(&end.next_cursor)?;
        let tail = format!("],\"total\":{},\"nextCursor\":{cursor}}}", end.total);
        text.extend_from_slice(tail.as_bytes());
    } else {
        state.next = NextItems::Unread;
    }
    Ok(Some((text.into(), state)))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::sync::atomic::Ordering;

    use serde_json::{Value, json};

    use super::super::chunk::MAX_CHUNK_ROWS;
    use super::super::order::ListOrder;
    use super::super::testing::NumberSource;
    use super::*;
    use crate::database::TotalCache;

    async fn response(source: NumberSource) -> Result<Response, ApiError> {
        let max_rows = NonZeroU32::new(2_000).unwrap();
        let paging = CursorPaging::default();
        let reader = ListReader::open(source, TotalCache::default(), max_rows, &paging).await?;
        write_list(reader).await
    }

    async fn body(source: NumberSource) -> Result<Vec<u8>, axum::Error> {
        let response = response(source).await.unwrap();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
        body.map(Into::into)
    }

    #[tokio::test]
    async fn list_is_equal_in_one_chunk_and_in_many() {
        for order in [ListOrder::OldestFirst, ListOrder::ById] {
            for total in [
                0,
                1,
                MAX_CHUNK_ROWS - 1,
                MAX_CHUNK_ROWS,
                MAX_CHUNK_ROWS + 1,
                3 * MAX_CHUNK_ROWS,
                3 * MAX_CHUNK_ROWS + 7,
            ] {
                let items: Vec<i64> = (0..total).collect();
                let list = json!({"items": items, "total": total, "nextCursor": null});
                for chunk in [1, 7, MAX_CHUNK_ROWS - 1, MAX_CHUNK_ROWS] {
                    let mut source = NumberSource::new(order, total);
                    source.chunk = chunk;
                    let parsed: Value =
                        serde_json::from_slice(&body(source).await.unwrap()).unwrap();
                    assert_eq!(parsed, list, "{total} in chunks of {chunk}");
                }
            }
        }
    }

    #[tokio::test]
    async fn streamed_part_of_a_list_has_the_total_and_a_cursor() {
        for (order, first) in [(ListOrder::OldestFirst, 500), (ListOrder::ById, 0)] {
            let text = body(NumberSource::new(order, 2_500)).await.unwrap();
            let parsed: Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(parsed["items"].as_array().unwrap().len(), 2_000);
            assert_eq!(parsed["items"][0], first);
            assert_eq!(parsed["total"], 2_500);
            assert!(parsed["nextCursor"].is_string(), "{order:?}");
        }
    }

    #[tokio::test]
    async fn numbered_page_has_its_items_and_the_exact_total() {
        for (order, first, last) in [
            (ListOrder::NewestFirst, [6, 5, 4], vec![0]),
            (ListOrder::ById, [0, 1, 2], vec![6]),
        ] {
            let source = NumberSource::new(order, 7);
            let page = read_page(&source, 0, 3).await.unwrap();
            assert_eq!(page.items, first, "{order:?}");
            assert_eq!((page.page, page.size), (Some(0), Some(3)));
            assert_eq!((page.total, page.next_cursor), (7, None));
            let page = read_page(&source, 2, 3).await.unwrap();
            assert_eq!((page.items, page.total), (last, 7), "{order:?}");
        }
    }

    #[tokio::test]
    async fn numbered_page_after_the_end_is_empty_and_not_read() {
        for (total, number) in [(0, 0), (6, 2), (7, 3), (7, u32::MAX)] {
            let source = NumberSource::new(ListOrder::NewestFirst, total);
            let page = read_page(&source, number, 3).await.unwrap();
            assert!(page.items.is_empty(), "page {number} of {total} items");
            assert_eq!(page.page, Some(number));
            assert_eq!(page.total, total.unsigned_abs());
            assert_eq!(source.pages.load(Ordering::Relaxed), 0, "it was read");
        }
    }

    #[tokio::test]
    async fn database_error_ends_the_body_early() {
        let mut source = NumberSource::new(ListOrder::ById, 3 * MAX_CHUNK_ROWS);
        source.fails_after = MAX_CHUNK_ROWS + 1;
        assert!(body(source).await.is_err());
        let mut source = NumberSource::new(ListOrder::OldestFirst, 2_500);
        source.fails_after = 0;
        assert!(response(source).await.is_err());
    }
}
