//! A list that can be read in chunks.

use std::future::Future;

use serde::Serialize;

use super::chunk::ListChunk;
use super::filter::ListDigest;
use super::key::ListKey;
use super::order::{Direction, ListOrder};

/// The items of a list between two positions, and the direction in which they are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyRange<K> {
    pub(super) direction: Direction,
    /// The items after this position, or from the beginning.
    pub(super) after: Option<K>,
    /// The items before this position, or to the end.
    pub(super) before: Option<K>,
}

/// A list that can be read in chunks. No database connection is held between two chunks, so that
/// slow clients do not block others.
pub(super) trait ListSource: Send + Sync + 'static {
    /// An item of the list.
    type Item: Serialize + Send + Sync;
    /// The position of an item.
    type Key: ListKey;

    /// Returns the order of the list.
    fn order(&self) -> ListOrder;

    /// Returns the digest of the list and its conditions.
    fn digest(&self) -> ListDigest;

    /// Returns the position of an item.
    fn key(item: &Self::Item) -> Self::Key;

    /// Returns the first items of a range, at most `limit`.
    fn fetch(
        &self,
        range: &KeyRange<Self::Key>,
        limit: i64,
    ) -> impl Future<Output = Result<ListChunk<Self::Item>, sqlx::Error>> + Send;

    /// Returns the positions of the first items of a range, at most `limit`, as they are at one
    /// instant.
    fn fetch_keys(
        &self,
        range: &KeyRange<Self::Key>,
        limit: i64,
    ) -> impl Future<Output = Result<Vec<Self::Key>, sqlx::Error>> + Send;

    /// Returns the items of the complete list after the first `offset` ones, at most `limit`.
    fn fetch_page(
        &self,
        limit: i64,
        offset: i64,
    ) -> impl Future<Output = Result<Vec<Self::Item>, sqlx::Error>> + Send;

    /// Counts the items of the list.
    fn count(&self) -> impl Future<Output = Result<u64, sqlx::Error>> + Send;
}
