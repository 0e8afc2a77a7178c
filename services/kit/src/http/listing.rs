//! Lists without a page: all of it, however much that is, in little memory.

use std::future::Future;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse as _, Response};
use dm_contracts::api::list::List;
use futures_util::stream;
use http::{HeaderValue, header};
use serde::Serialize;

use super::error::ApiError;

/// How many rows are read at a time. A list that has fewer is answered at once.
pub const CHUNK: i64 = 500;

/// The rows of a list, in its order.
pub trait Rows: Send + Sync + 'static {
    /// What is in the list.
    type Item: Serialize + Send + Sync;
    /// Where in the list an item stands.
    type Key: Send + Sync;

    /// The first [`CHUNK`] items after one, or of all. Between two chunks no connection is
    /// kept: whoever reads slowly keeps nobody from the database.
    fn after(
        &self,
        key: Option<&Self::Key>,
    ) -> impl Future<Output = Result<Vec<Self::Item>, sqlx::Error>> + Send;

    /// Where an item stands.
    fn key(item: &Self::Item) -> Self::Key;
}

/// Where a streamed list is.
struct Progress<R: Rows> {
    rows: R,
    chunk: Vec<R::Item>,
    told: u64,
    over: bool,
}

/// The answer with all of a list. Where the database fails halfway the connection ends
/// before the body does.
///
/// # Errors
/// The database refuses the first rows.
pub async fn whole<R: Rows>(rows: R) -> Result<Response, ApiError> {
    let chunk = rows.after(None).await?;
    if is_last(&chunk) {
        return Ok(axum::Json(List::whole(chunk)).into_response());
    }
    let progress = Progress {
        rows,
        chunk,
        told: 0,
        over: false,
    };
    let mut response = Response::new(Body::from_stream(stream::try_unfold(progress, next)));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    Ok(response)
}

fn is_last<T>(chunk: &[T]) -> bool {
    i64::try_from(chunk.len()).is_ok_and(|length| length < CHUNK)
}

/// The next bytes of the body, and what follows them.
async fn next<R: Rows>(
    mut progress: Progress<R>,
) -> Result<Option<(Bytes, Progress<R>)>, std::io::Error> {
    if progress.over {
        return Ok(None);
    }
    let chunk = std::mem::take(&mut progress.chunk);
    let mut text = Vec::new();
    for item in &chunk {
        let before: &[u8] = if progress.told == 0 {
            b"{\"items\":["
        } else {
            b","
        };
        text.extend_from_slice(before);
        serde_json::to_writer(&mut text, item)?;
        progress.told += 1;
    }
    match chunk.last().filter(|_| !is_last(&chunk)) {
        Some(last) => {
            let key = R::key(last);
            let rest = progress.rows.after(Some(&key)).await;
            progress.chunk = rest.map_err(std::io::Error::other)?;
        }
        None => progress.over = true,
    }
    if progress.over {
        text.extend_from_slice(format!("],\"total\":{}}}", progress.told).as_bytes());
    }
    Ok(Some((text.into(), progress)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    struct Numbers {
        most: i64,
        fails_after: i64,
    }

    impl Rows for Numbers {
        type Item = i64;
        type Key = i64;

        async fn after(&self, key: Option<&i64>) -> Result<Vec<i64>, sqlx::Error> {
            let first = key.map_or(0, |key| key + 1);
            if first > self.fails_after {
                return Err(sqlx::Error::PoolTimedOut);
            }
            Ok((first..self.most.min(first + CHUNK)).collect())
        }

        fn key(item: &i64) -> i64 {
            *item
        }
    }

    async fn text(most: i64, fails_after: i64) -> Result<Vec<u8>, axum::Error> {
        let answer = whole(Numbers { most, fails_after }).await.unwrap();
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/json");
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await;
        body.map(Into::into)
    }

    #[tokio::test]
    async fn a_list_is_the_same_in_one_chunk_and_in_many() {
        for most in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 7] {
            let items: Vec<i64> = (0..most).collect();
            let list = json!({"items": items, "total": most});
            let read: Value = serde_json::from_slice(&text(most, i64::MAX).await.unwrap()).unwrap();
            assert_eq!(read, list, "{most}");
        }
    }

    #[tokio::test]
    async fn a_list_that_breaks_off_is_no_list() {
        assert!(text(3 * CHUNK, CHUNK + 1).await.is_err());
        let rows = Numbers {
            most: 1,
            fails_after: -1,
        };
        assert!(whole(rows).await.is_err());
    }
}
