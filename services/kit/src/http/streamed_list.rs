//! Lists without a page: all of it, however much that is, in little memory.

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

/// The most rows of a chunk. A list that has fewer is answered at once.
const MAX_CHUNK_ROWS: i64 = 500;

/// The size of a chunk in bytes, as the database sends them: it ends with the row that reaches
/// this size. A client that asks for a list and does not read it costs a few chunks of memory.
const MAX_CHUNK_BYTES: usize = 256 * 1024;

/// The rows of a list, in its order.
pub trait ListSource: Send + Sync + 'static {
    /// What is in the list.
    type Item: Serialize + Send + Sync;
    /// Where in the list an item stands.
    type Key: Send + Sync;

    /// At most the first `limit` items after one, or of all. No connection is kept
    /// between two chunks: a slow client keeps no other one from the database.
    fn fetch_after(
        &self,
        key: Option<&Self::Key>,
        limit: i64,
    ) -> impl Future<Output = Result<ListChunk<Self::Item>, sqlx::Error>> + Send;

    /// Where an item stands.
    fn key(item: &Self::Item) -> Self::Key;
}

/// A part of a list.
#[derive(Debug)]
pub struct ListChunk<T> {
    items: Vec<T>,
    /// Number of rows to ask for next; none after the last chunk.
    next_limit: Option<i64>,
}

impl<T> ListChunk<T> {
    /// Reads rows until they are enough. The query asks for `limit` rows at most; where these
    /// are too large together, the rest is left to the next chunk.
    ///
    /// # Errors
    /// The database fails, or a row can't be decoded.
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
            // The server is about to send what is left, which may be a hundred megabytes. With
            // the connection that ends, and the next user of it does not have to read it.
            connection.close_on_drop();
        }
        let next = next_limit(length, bytes, limit);
        Ok(Self {
            items,
            next_limit: next,
        })
    }

    /// The same of other items.
    ///
    /// # Errors
    /// An item can't be made.
    pub fn try_map<U>(
        self,
        make: impl FnMut(T) -> Result<U, sqlx::Error>,
    ) -> Result<ListChunk<U>, sqlx::Error> {
        let items = self.items.into_iter().map(make).collect::<Result<_, _>>()?;
        let next = self.next_limit;
        Ok(ListChunk {
            items,
            next_limit: next,
        })
    }

    /// The same of other items.
    pub fn map<U>(self, make: impl FnMut(T) -> U) -> ListChunk<U> {
        let items = self.items.into_iter().map(make).collect();
        let next = self.next_limit;
        ListChunk {
            items,
            next_limit: next,
        }
    }
}

/// How many bytes the values of a row have.
fn row_bytes(row: &PgRow) -> Result<usize, sqlx::Error> {
    (0..row.len()).try_fold(0, |sum, column| {
        let value = row.try_get_raw(column)?;
        // That of NULL has none.
        Ok(sum + value.as_bytes().map_or(0, <[u8]>::len))
    })
}

/// Number of rows to ask for after a chunk of `length` rows and `bytes` bytes: the same number,
/// or twice as many after at most half of a full chunk. None after the last chunk.
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

/// Where a streamed list is.
struct ListStream<R: ListSource> {
    rows: R,
    next_chunk: NextChunk<R>,
    items_sent: u64,
}

/// What is to be sent next.
enum NextChunk<R: ListSource> {
    /// What was read to see whether the database answers.
    Buffered(ListChunk<R::Item>),
    /// What comes after an item.
    FetchAfter { key: R::Key, limit: i64 },
    /// Nothing.
    End,
}

/// The answer with all of a list. Where the database fails halfway the connection ends
/// before the body does.
///
/// # Errors
/// The database refuses the first rows.
pub async fn list_response<R: ListSource>(rows: R) -> Result<Response, ApiError> {
    let chunk = rows.fetch_after(None, MAX_CHUNK_ROWS).await?;
    if chunk.next_limit.is_none() {
        return Ok(axum::Json(List::unpaged(chunk.items)).into_response());
    }
    let progress = ListStream {
        rows,
        next_chunk: NextChunk::Buffered(chunk),
        items_sent: 0,
    };
    let mut response = Response::new(Body::from_stream(stream::try_unfold(progress, next_bytes)));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    Ok(response)
}

/// The next bytes of the body, and what follows them. They are read when the body is asked for
/// them, so that no chunk waits in memory for a reader.
async fn next_bytes<R: ListSource>(
    mut progress: ListStream<R>,
) -> Result<Option<(Bytes, ListStream<R>)>, std::io::Error> {
    let chunk = match std::mem::replace(&mut progress.next_chunk, NextChunk::End) {
        NextChunk::Buffered(chunk) => chunk,
        NextChunk::FetchAfter { key, limit } => {
            let read = progress.rows.fetch_after(Some(&key), limit).await;
            read.map_err(std::io::Error::other)?
        }
        NextChunk::End => return Ok(None),
    };
    let mut text = Vec::new();
    for item in &chunk.items {
        let before: &[u8] = if progress.items_sent == 0 {
            b"{\"items\":["
        } else {
            b","
        };
        text.extend_from_slice(before);
        serde_json::to_writer(&mut text, item)?;
        progress.items_sent += 1;
    }
    match (chunk.items.last(), chunk.next_limit) {
        (Some(item), Some(limit)) => {
            let key = R::key(item);
            progress.next_chunk = NextChunk::FetchAfter { key, limit };
        }
        _ => text.extend_from_slice(format!("],\"total\":{}}}", progress.items_sent).as_bytes()),
    }
    Ok(Some((text.into(), progress)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    struct NumberSource {
        most: i64,
        fails_after: i64,
        /// How many of them are as large as a chunk may be.
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
            let items: Vec<i64> = (first..self.most.min(first + length)).collect();
            let is_full = items.len() == usize::try_from(length).unwrap();
            let next = is_full.then_some(limit);
            Ok(ListChunk {
                items,
                next_limit: next,
            })
        }

        fn key(item: &i64) -> i64 {
            *item
        }
    }

    async fn text(most: i64, fails_after: i64, chunk: i64) -> Result<Vec<u8>, axum::Error> {
        let rows = NumberSource {
            most,
            fails_after,
            chunk,
        };
        let answer = list_response(rows).await.unwrap();
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/json");
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await;
        body.map(Into::into)
    }

    #[tokio::test]
    async fn a_list_is_the_same_in_one_chunk_and_in_many() {
        for most in [
            0,
            1,
            MAX_CHUNK_ROWS - 1,
            MAX_CHUNK_ROWS,
            MAX_CHUNK_ROWS + 1,
            3 * MAX_CHUNK_ROWS,
            3 * MAX_CHUNK_ROWS + 7,
        ] {
            let items: Vec<i64> = (0..most).collect();
            let list = json!({"items": items, "total": most});
            for chunk in [1, 7, MAX_CHUNK_ROWS - 1, MAX_CHUNK_ROWS] {
                let body = text(most, i64::MAX, chunk).await.unwrap();
                let read: Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(read, list, "{most} in chunks of {chunk}");
            }
        }
    }

    #[test]
    fn as_many_rows_are_asked_for_as_were_enough() {
        assert_eq!(
            next_limit(2, MAX_CHUNK_BYTES, MAX_CHUNK_ROWS),
            Some(2),
            "cut short"
        );
        assert_eq!(next_limit(2, MAX_CHUNK_BYTES, 2), Some(2), "just enough");
        assert_eq!(next_limit(2, MAX_CHUNK_BYTES / 3, 2), Some(4), "little");
        assert_eq!(
            next_limit(2, MAX_CHUNK_BYTES - 1, 2),
            Some(2),
            "nearly enough"
        );
        assert_eq!(
            next_limit(MAX_CHUNK_ROWS, 1, MAX_CHUNK_ROWS),
            Some(MAX_CHUNK_ROWS)
        );
        assert_eq!(
            next_limit(MAX_CHUNK_ROWS - 1, 1, MAX_CHUNK_ROWS),
            None,
            "the last ones"
        );
        assert_eq!(next_limit(0, 0, MAX_CHUNK_ROWS), None);
    }

    #[tokio::test]
    async fn a_list_that_breaks_off_is_no_list() {
        assert!(
            text(3 * MAX_CHUNK_ROWS, MAX_CHUNK_ROWS + 1, MAX_CHUNK_ROWS)
                .await
                .is_err()
        );
        let rows = NumberSource {
            most: 1,
            fails_after: -1,
            chunk: MAX_CHUNK_ROWS,
        };
        assert!(list_response(rows).await.is_err());
    }
}
