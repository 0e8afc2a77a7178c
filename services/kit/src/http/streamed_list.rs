//! Lists without paging, which are streamed in chunks of limited memory.

use std::future::Future;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse as _, Response};
use dm_contracts::api::list::List;
use futures_util::{TryStreamExt as _, stream};
use http::{HeaderValue, header};
use serde::Serialize;
use sqlx::postgres::{PgArguments, PgPool, PgRow};
use sqlx::query::Query;
use sqlx::{FromRow, Postgres, Row as _};

use super::error::ApiError;

/// Maximum number of rows of a chunk. A list that fits into one chunk is not streamed.
const MAX_CHUNK_ROWS: i64 = 500;

/// The size of a chunk in bytes, as the database sends them: it ends with the row that reaches
/// this size. A client that asks for a list and does not read it costs a few chunks of memory.
const MAX_CHUNK_BYTES: usize = 256 * 1024;

/// Source of the items of a list, in its order.
pub trait ListSource: Send + Sync + 'static {
    /// An item of the list.
    type Item: Serialize + Send + Sync;
    /// The position of an item in the list.
    type Key: Send + Sync;

    /// Returns the first items after the one with this key, or the first ones of the list, at most
    /// `limit`. No database connection is held between two chunks, so that slow clients do not
    /// block others.
    fn fetch_after(
        &self,
        key: Option<&Self::Key>,
        limit: i64,
    ) -> impl Future<Output = Result<ListChunk<Self::Item>, sqlx::Error>> + Send;

    /// Returns the position of an item.
    fn key(item: &Self::Item) -> Self::Key;
}

/// A chunk of a list.
#[derive(Debug)]
pub struct ListChunk<T> {
    items: Vec<T>,
    /// Number of rows to ask for next; none after the last chunk.
    next_limit: Option<i64>,
}

impl<T> ListChunk<T> {
    /// Reads rows until the chunk has `limit` rows or `MAX_CHUNK_BYTES`. The query asks for at
    /// most `limit` rows; the rows after the size limit are left to the next chunk.
    ///
    /// # Errors
    /// Returns [`sqlx::Error`] if the query fails or a row cannot be decoded.
    pub async fn read(
        pool: &PgPool,
        query: Query<'_, Postgres, PgArguments>,
        limit: i64,
    ) -> Result<Self, sqlx::Error>
    where
        T: for<'r> FromRow<'r, PgRow>,
    {
        let mut connection = pool.acquire().await?;
        let (mut items, mut bytes) = (Vec::new(), 0);
        let mut rows = query.fetch(&mut *connection);
        while let Some(row) = rows.try_next().await? {
            bytes += row_bytes(&row)?;
            items.push(T::from_row(&row)?);
            if bytes >= MAX_CHUNK_BYTES {
                break;
            }
        }
        drop(rows);
        let length = i64::try_from(items.len()).unwrap_or(limit);
        if length < limit && bytes >= MAX_CHUNK_BYTES {
            // The server is about to send the remaining rows, which may be a hundred megabytes.
            // Closing the connection ends this, so that its next user need not read them.
            connection.close_on_drop();
        }
        let next_limit = next_limit(length, bytes, limit);
        Ok(Self { items, next_limit })
    }

    /// Converts the items.
    ///
    /// # Errors
    /// Returns the [`sqlx::Error`] of the first conversion that fails.
    pub fn try_map<U>(
        self,
        convert: impl FnMut(T) -> Result<U, sqlx::Error>,
    ) -> Result<ListChunk<U>, sqlx::Error> {
        let items = self
            .items
            .into_iter()
            .map(convert)
            .collect::<Result<_, _>>()?;
        Ok(ListChunk {
            items,
            next_limit: self.next_limit,
        })
    }

    /// Converts the items.
    pub fn map<U>(self, convert: impl FnMut(T) -> U) -> ListChunk<U> {
        ListChunk {
            items: self.items.into_iter().map(convert).collect(),
            next_limit: self.next_limit,
        }
    }
}

/// Returns the size of the values of a row in bytes.
fn row_bytes(row: &PgRow) -> Result<usize, sqlx::Error> {
    (0..row.len()).try_fold(0, |sum, column| {
        let value = row.try_get_raw(column)?;
        // NULL has no bytes.
        Ok(sum + value.as_bytes().map_or(0, <[u8]>::len))
    })
}

/// Returns the number of rows to ask for after a chunk of `length` rows and `bytes` bytes: the
/// same number, or twice as many after at most half of a full chunk. None after the last chunk.
fn next_limit(length: i64, bytes: usize, limit: i64) -> Option<i64> {
    if bytes >= MAX_CHUNK_BYTES {
        return Some(length);
    }
    let next = if bytes <= MAX_CHUNK_BYTES / 2 {
        2 * length
    } else {
        length
    };
    (length >= limit).then_some(next.min(MAX_CHUNK_ROWS))
}

/// The state of a streamed list.
struct ListStream<R: ListSource> {
    source: R,
    next_chunk: NextChunk<R>,
    items_sent: u64,
}

/// The next chunk to send.
enum NextChunk<R: ListSource> {
    /// The first chunk, which was read before the response was begun.
    Buffered(ListChunk<R::Item>),
    /// The chunk after the item with this key.
    FetchAfter { key: R::Key, limit: i64 },
    /// No further chunk.
    End,
}

/// Returns a response with all items of a list. If the database fails halfway, the connection is
/// closed before the end of the body.
///
/// # Errors
/// Returns [`ApiError`] if the first rows cannot be read.
pub async fn list_response<R: ListSource>(source: R) -> Result<Response, ApiError> {
    let chunk = source.fetch_after(None, MAX_CHUNK_ROWS).await?;
    if chunk.next_limit.is_none() {
        return Ok(axum::Json(List::unpaged(chunk.items)).into_response());
    }
    let state = ListStream {
        source,
        next_chunk: NextChunk::Buffered(chunk),
        items_sent: 0,
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
async fn next_bytes<R: ListSource>(
    mut state: ListStream<R>,
) -> Result<Option<(Bytes, ListStream<R>)>, std::io::Error> {
    let chunk = match std::mem::replace(&mut state.next_chunk, NextChunk::End) {
        NextChunk::Buffered(chunk) => chunk,
        NextChunk::FetchAfter { key, limit } => {
            let chunk = state.source.fetch_after(Some(&key), limit).await;
            chunk.map_err(std::io::Error::other)?
        }
        NextChunk::End => return Ok(None),
    };
    let mut text = Vec::new();
    for item in &chunk.items {
        let separator: &[u8] = if state.items_sent == 0 {
            b"{\"items\":["
        } else {
            b","
        };
        text.extend_from_slice(separator);
        serde_json::to_writer(&mut text, item)?;
        state.items_sent += 1;
    }
    match (chunk.items.last(), chunk.next_limit) {
        (Some(item), Some(limit)) => {
            let key = R::key(item);
            state.next_chunk = NextChunk::FetchAfter { key, limit };
        }
        _ => text.extend_from_slice(format!("],\"total\":{}}}", state.items_sent).as_bytes()),
    }
    Ok(Some((text.into(), state)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    struct NumberSource {
        total: i64,
        fails_after: i64,
        /// Number of items that reach the size limit of a chunk.
        chunk: i64,
    }

    impl ListSource for NumberSource {
        type Item = i64;
        type Key = i64;

        async fn fetch_after(
            &self,
            key: Option<&i64>,
            limit: i64,
        ) -> Result<ListChunk<i64>, sqlx::Error> {
            let first = key.map_or(0, |key| key + 1);
            if first > self.fails_after {
                return Err(sqlx::Error::PoolTimedOut);
            }
            let length = limit.min(self.chunk);
            let items: Vec<i64> = (first..self.total.min(first + length)).collect();
            let is_full = items.len() == usize::try_from(length).unwrap();
            Ok(ListChunk {
                items,
                next_limit: is_full.then_some(limit),
            })
        }

        fn key(item: &i64) -> i64 {
            *item
        }
    }

    async fn response_body(
        total: i64,
        fails_after: i64,
        chunk: i64,
    ) -> Result<Vec<u8>, axum::Error> {
        let source = NumberSource {
            total,
            fails_after,
            chunk,
        };
        let response = list_response(source).await.unwrap();
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
        body.map(Into::into)
    }

    #[tokio::test]
    async fn list_is_equal_in_one_chunk_and_in_many() {
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
            let list = json!({"items": items, "total": total});
            for chunk in [1, 7, MAX_CHUNK_ROWS - 1, MAX_CHUNK_ROWS] {
                let body = response_body(total, i64::MAX, chunk).await.unwrap();
                let parsed: Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(parsed, list, "{total} in chunks of {chunk}");
            }
        }
    }

    #[test]
    fn next_limit_adapts_to_the_size_of_the_chunk() {
        assert_eq!(
            next_limit(2, MAX_CHUNK_BYTES, MAX_CHUNK_ROWS),
            Some(2),
            "a chunk that the size limit ended"
        );
        assert_eq!(next_limit(2, MAX_CHUNK_BYTES, 2), Some(2), "a full chunk");
        assert_eq!(
            next_limit(2, MAX_CHUNK_BYTES / 3, 2),
            Some(4),
            "a small chunk"
        );
        assert_eq!(
            next_limit(2, MAX_CHUNK_BYTES - 1, 2),
            Some(2),
            "a nearly full chunk"
        );
        assert_eq!(
            next_limit(MAX_CHUNK_ROWS, 1, MAX_CHUNK_ROWS),
            Some(MAX_CHUNK_ROWS)
        );
        assert_eq!(
            next_limit(MAX_CHUNK_ROWS - 1, 1, MAX_CHUNK_ROWS),
            None,
            "the last chunk"
        );
        assert_eq!(next_limit(0, 0, MAX_CHUNK_ROWS), None);
    }

    #[tokio::test]
    async fn database_error_ends_the_body_early() {
        assert!(
            response_body(3 * MAX_CHUNK_ROWS, MAX_CHUNK_ROWS + 1, MAX_CHUNK_ROWS)
                .await
                .is_err()
        );
        let source = NumberSource {
            total: 1,
            fails_after: -1,
            chunk: MAX_CHUNK_ROWS,
        };
        assert!(list_response(source).await.is_err());
    }
}
