//! A list of numbers, for tests.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use sqlx::postgres::PgRow;
use sqlx::{Postgres, QueryBuilder, Row as _};

use super::chunk::ListChunk;
use super::filter::{ListDigest, ListFilter};
use super::key::ListKey;
use super::order::{Direction, ListOrder};
use super::source::{KeyRange, ListSource};

/// The position of a number is the number itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NumberKey(i64);

impl ListKey for NumberKey {
    fn columns(id: &str) -> Vec<String> {
        vec![id.to_owned()]
    }

    fn from_row_values(row: &PgRow) -> Result<Self, sqlx::Error> {
        row.try_get(0).map(Self)
    }

    fn push_values(&self, query: &mut QueryBuilder<Postgres>) {
        query.push_bind(self.0);
    }

    fn to_bytes(&self) -> Vec<u8> {
        self.0.to_be_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(i64::from_be_bytes(bytes.try_into().ok()?)))
    }
}

/// A list of numbers, the newest of which is the largest. Clones are the same list.
#[derive(Debug, Clone)]
pub(super) struct NumberSource {
    pub(super) numbers: Arc<Mutex<BTreeSet<i64>>>,
    pub(super) order: ListOrder,
    /// Number of items that reach the size limit of a chunk.
    pub(super) chunk: i64,
    /// Positions after this number cannot be read.
    pub(super) fails_after: i64,
    /// The number of times that the list was counted.
    pub(super) counts: Arc<AtomicU64>,
    /// The number of numbered pages that were read.
    pub(super) pages: Arc<AtomicU64>,
}

impl NumberSource {
    pub(super) fn new(order: ListOrder, total: i64) -> Self {
        Self {
            numbers: Arc::new(Mutex::new((0..total).collect())),
            order,
            chunk: i64::MAX,
            fails_after: i64::MAX,
            counts: Arc::default(),
            pages: Arc::default(),
        }
    }

    /// Returns the numbers of a range.
    fn select(&self, range: &KeyRange<NumberKey>) -> Result<Vec<i64>, sqlx::Error> {
        let after = range.after.as_ref().map(|key| key.0);
        if after.is_some_and(|after| after >= self.fails_after) {
            return Err(sqlx::Error::PoolTimedOut);
        }
        let before = range.before.as_ref().map(|key| key.0);
        let numbers = self.numbers.lock().unwrap().clone();
        let (low, high) = match range.direction {
            Direction::Ascending => (after, before),
            Direction::Descending => (before, after),
        };
        let selected = numbers.into_iter().filter(|number| {
            low.is_none_or(|low| *number > low) && high.is_none_or(|high| *number < high)
        });
        let mut selected: Vec<i64> = selected.collect();
        if range.direction == Direction::Descending {
            selected.reverse();
        }
        Ok(selected)
    }
}

impl ListSource for NumberSource {
    type Item = i64;
    type Key = NumberKey;

    fn order(&self) -> ListOrder {
        self.order
    }

    fn digest(&self) -> ListDigest {
        ListFilter::all().digest("numbers")
    }

    fn key(item: &i64) -> NumberKey {
        NumberKey(*item)
    }

    async fn fetch(
        &self,
        range: &KeyRange<NumberKey>,
        limit: i64,
    ) -> Result<ListChunk<i64>, sqlx::Error> {
        let length = limit.min(self.chunk);
        let mut items = self.select(range)?;
        items.truncate(usize::try_from(length).unwrap());
        let is_full = items.len() == usize::try_from(length).unwrap();
        Ok(ListChunk {
            items,
            next_limit: is_full.then_some(limit.max(self.chunk.min(500))),
        })
    }

    async fn fetch_keys(
        &self,
        range: &KeyRange<NumberKey>,
        limit: i64,
    ) -> Result<Vec<NumberKey>, sqlx::Error> {
        let mut numbers = self.select(range)?;
        numbers.truncate(usize::try_from(limit).unwrap());
        Ok(numbers.into_iter().map(NumberKey).collect())
    }

    async fn fetch_page(&self, limit: i64, offset: i64) -> Result<Vec<i64>, sqlx::Error> {
        self.pages.fetch_add(1, Ordering::Relaxed);
        let items = self.select(&KeyRange {
            direction: self.order.direction(),
            after: None,
            before: None,
        })?;
        let items = items.into_iter().skip(usize::try_from(offset).unwrap());
        Ok(items.take(usize::try_from(limit).unwrap()).collect())
    }

    async fn count(&self) -> Result<u64, sqlx::Error> {
        self.counts.fetch_add(1, Ordering::Relaxed);
        Ok(u64::try_from(self.numbers.lock().unwrap().len()).unwrap())
    }
}
