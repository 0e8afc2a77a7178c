//! Positions in lists: the keys by which rows are sorted.

use chrono::{DateTime, Datelike as _, Utc};
use sqlx::postgres::PgRow;
use sqlx::{Postgres, QueryBuilder, Row as _};

/// The first year in which every timestamp is valid in PostgreSQL.
const FIRST_YEAR: i32 = -4_711;

/// Number of bytes of a timestamp in a cursor.
const TIMESTAMP_BYTES: usize = 8;

/// The position of an item in its list. Positions of different items are different.
pub trait ListKey: Clone + PartialEq + Send + Sync + 'static {
    /// Returns the SQL expressions by which the list is sorted, for the name of the column that
    /// contains the id.
    fn columns(id: &str) -> Vec<String>;

    /// Returns the position from a row of the values of these expressions.
    ///
    /// # Errors
    /// Returns [`sqlx::Error`] if a value has another type.
    fn from_row_values(row: &PgRow) -> Result<Self, sqlx::Error>;

    /// Appends the values of these expressions.
    fn push_values(&self, query: &mut QueryBuilder<Postgres>);

    /// Returns the position as bytes for a cursor.
    fn to_bytes(&self) -> Vec<u8>;

    /// Returns the position from a cursor, or `None` if PostgreSQL would not accept it. A client
    /// can send any bytes.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

/// The position in a list that is sorted by its ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdKey(pub String);

impl ListKey for IdKey {
    fn columns(id: &str) -> Vec<String> {
        vec![id.to_owned()]
    }

    fn from_row_values(row: &PgRow) -> Result<Self, sqlx::Error> {
        row.try_get(0).map(Self)
    }

    fn push_values(&self, query: &mut QueryBuilder<Postgres>) {
        query.push_bind(self.0.clone());
    }

    fn to_bytes(&self) -> Vec<u8> {
        self.0.clone().into_bytes()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        text_from_bytes(bytes).map(Self)
    }
}

/// The position in a list that is sorted by `created_at`, and by the id at equal times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeKey {
    /// The time.
    pub created_at: DateTime<Utc>,
    /// The id.
    pub id: String,
}

impl ListKey for TimeKey {
    fn columns(id: &str) -> Vec<String> {
        vec!["created_at".to_owned(), id.to_owned()]
    }

    fn from_row_values(row: &PgRow) -> Result<Self, sqlx::Error> {
        let (created_at, id) = (row.try_get(0)?, row.try_get(1)?);
        Ok(Self { created_at, id })
    }

    fn push_values(&self, query: &mut QueryBuilder<Postgres>) {
        query.push_bind(self.created_at);
        query.push(", ");
        query.push_bind(self.id.clone());
    }

    fn to_bytes(&self) -> Vec<u8> {
        // Microseconds are the precision of PostgreSQL.
        let mut bytes = self.created_at.timestamp_micros().to_be_bytes().to_vec();
        bytes.extend_from_slice(self.id.as_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (timestamp, id) = bytes.split_first_chunk::<TIMESTAMP_BYTES>()?;
        let created_at = DateTime::from_timestamp_micros(i64::from_be_bytes(*timestamp))?;
        let id = text_from_bytes(id)?;
        (created_at.year() >= FIRST_YEAR).then_some(Self { created_at, id })
    }
}

/// The position in a list that is sorted by `created_at`, and at equal times by the number in the
/// id: ids are compared by their length and then by their text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberedTimeKey(pub TimeKey);

impl ListKey for NumberedTimeKey {
    fn columns(id: &str) -> Vec<String> {
        vec![
            "created_at".to_owned(),
            format!("length({id})"),
            id.to_owned(),
        ]
    }

    fn from_row_values(row: &PgRow) -> Result<Self, sqlx::Error> {
        let (created_at, id) = (row.try_get(0)?, row.try_get(2)?);
        Ok(Self(TimeKey { created_at, id }))
    }

    fn push_values(&self, query: &mut QueryBuilder<Postgres>) {
        let TimeKey { created_at, id } = &self.0;
        query.push_bind(*created_at);
        query.push(", length(");
        query.push_bind(id.clone());
        query.push("), ");
        query.push_bind(id.clone());
    }

    fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        TimeKey::from_bytes(bytes).map(Self)
    }
}

/// Returns the text, or `None` if a text in PostgreSQL cannot be equal to it.
fn text_from_bytes(bytes: &[u8]) -> Option<String> {
    let text = str::from_utf8(bytes).ok()?;
    (!text.contains('\0')).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn position_that_postgresql_does_not_accept_is_rejected() {
        let from = |micros: i64, id: &[u8]| {
            TimeKey::from_bytes(&[&micros.to_be_bytes(), id].concat()).map(|key| key.id)
        };
        assert_eq!(from(0, b"ord_9001"), Some("ord_9001".to_owned()));
        assert_eq!(from(0, b""), Some(String::new()));
        assert_eq!(from(0, b"ord_\0"), None);
        assert_eq!(from(0, b"ord_\xff"), None);
        assert_eq!(from(i64::MIN, b"ord_9001"), None);
        assert_eq!(from(-215_000_000_000_000_000, b"ord_9001"), None);
        assert_eq!(TimeKey::from_bytes(&[0; 7]), None);
        assert_eq!(IdKey::from_bytes(b"A\0"), None);
    }

    proptest! {
        #[test]
        fn position_round_trips_through_its_bytes(
            micros in 0..253_402_300_799_999_999_i64,
            id in "[^\0]{0,20}",
        ) {
            let created_at = DateTime::from_timestamp_micros(micros).unwrap();
            let key = TimeKey { created_at, id: id.clone() };
            prop_assert_eq!(TimeKey::from_bytes(&key.to_bytes()), Some(key.clone()));
            let key = NumberedTimeKey(key);
            prop_assert_eq!(NumberedTimeKey::from_bytes(&key.to_bytes()), Some(key));
            let key = IdKey(id);
            prop_assert_eq!(IdKey::from_bytes(&key.to_bytes()), Some(key));
        }
    }
}
