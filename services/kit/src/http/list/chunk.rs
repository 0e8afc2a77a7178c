//! Reads rows in chunks of limited memory.

use futures_util::TryStreamExt as _;
use sqlx::postgres::{PgArguments, PgPool, PgRow};
use sqlx::query::Query;
use sqlx::{FromRow, Postgres, Row as _};

/// Maximum number of rows of a chunk. A list that fits into one chunk is not streamed.
pub(super) const MAX_CHUNK_ROWS: i64 = 500;

/// The size of a chunk in bytes, as the database sends them: it ends with the row that reaches
/// this size. A client that asks for a list and does not read it costs a few chunks of memory.
const MAX_CHUNK_BYTES: usize = 256 * 1024;

/// A chunk of a list.
#[derive(Debug)]
pub(super) struct ListChunk<T> {
    pub(super) items: Vec<T>,
    /// Number of rows to ask for next; none after the last chunk.
    pub(super) next_limit: Option<i64>,
}

impl<T> ListChunk<T> {
    /// Reads rows until the chunk has `limit` rows or `MAX_CHUNK_BYTES`, and converts them to
    /// items. The query asks for at most `limit` rows; the rows after the size limit are left to
    /// the next chunk.
    ///
    /// # Errors
    /// Returns [`sqlx::Error`] if the query fails or a row cannot be decoded.
    pub(super) async fn read<R>(
        pool: &PgPool,
        query: Query<'_, Postgres, PgArguments>,
        limit: i64,
        convert: impl Fn(R) -> Result<T, sqlx::Error>,
    ) -> Result<Self, sqlx::Error>
    where
        R: for<'r> FromRow<'r, PgRow>,
    {
        let mut connection = pool.acquire().await?;
        let (mut items, mut bytes) = (Vec::new(), 0);
        let mut rows = query.fetch(&mut *connection);
        while let Some(row) = rows.try_next().await? {
            bytes += row_bytes(&row)?;
            items.push(convert(R::from_row(&row)?)?);
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
