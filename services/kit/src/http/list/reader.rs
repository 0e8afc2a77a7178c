//! Reads the part of a list that a request asks for.

use std::num::NonZeroU32;

use super::super::error::ApiError;
use super::chunk::{ListChunk, MAX_CHUNK_ROWS};
use super::cursor;
use super::order::Selection;
use super::paging::CursorPaging;
use super::selected::SelectedKeys;
use super::source::{KeyRange, ListSource};
use crate::database::TotalCache;

/// The part of a list that a request asks for. It is read in chunks, of which only one is in
/// memory, beside the positions of the items if they are sorted against the direction in which
/// they are selected.
pub(super) struct ListReader<S: ListSource> {
    source: S,
    totals: TotalCache,
    selection: Selection,
    /// The items that are still to be read.
    range: KeyRange<S::Key>,
    /// The positions of those items of the range that are part of the response, if they are sorted
    /// against the direction in which they are selected. Otherwise all items of the range are.
    selected: Option<SelectedKeys<S::Key>>,
    /// Number of items that may still follow.
    remaining: i64,
    /// Maximum number of rows of the next chunk.
    chunk_rows: i64,
    /// Number of items that were read.
    length: u64,
    has_cursor: bool,
    /// Whether the list continues after the selected items.
    continues: bool,
    /// The position at which it continues.
    next: Option<S::Key>,
}

/// Items of the requested part.
pub(super) struct PartialItems<T> {
    pub(super) items: Vec<T>,
    pub(super) is_last: bool,
}

/// What follows the items of a response.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ListEnd {
    /// Number of items of the whole list.
    pub(super) total: u64,
    /// The cursor for the items that follow, if there are any.
    pub(super) next_cursor: Option<String>,
}

impl<S: ListSource> ListReader<S> {
    /// Finds the requested part of a list.
    ///
    /// # Errors
    /// Returns a validation error if the cursor is not one of the list, and an internal error if
    /// the query fails.
    pub(super) async fn open(
        source: S,
        totals: TotalCache,
        max_rows: NonZeroU32,
        paging: &CursorPaging,
    ) -> Result<Self, ApiError> {
        let selection = source.order().select(paging.order);
        let position = match &paging.cursor {
            None => None,
            Some(cursor) => {
                let key = cursor::decode(&source.digest(), selection.direction, cursor);
                Some(key.ok_or_else(CursorPaging::invalid_cursor)?)
            }
        };
        let mut reader = Self {
            source,
            totals,
            selection,
            range: KeyRange {
                direction: selection.direction,
                after: position,
                before: None,
            },
            selected: None,
            remaining: i64::from(paging.limit.unwrap_or(max_rows.get())),
            chunk_rows: MAX_CHUNK_ROWS,
            length: 0,
            has_cursor: paging.has_cursor(),
            continues: false,
            next: None,
        };
        if selection.is_reversed {
            reader.reverse().await?;
        }
        Ok(reader)
    }

    /// Selects the items, and turns the range round: it begins after the first item that is not
    /// selected, and ends at the cursor.
    async fn reverse(&mut self) -> Result<(), sqlx::Error> {
        // One more position than selected items shows whether the list continues.
        let limit = self.remaining.saturating_add(1);
        let mut keys = self.source.fetch_keys(&self.range, limit).await?;
        self.continues = keys.len() > self.capacity();
        let bound = if self.continues { keys.pop() } else { None };
        keys.reverse();
        // Not from the items: they can be removed before they are read.
        self.next = keys.first().cloned();
        self.selected = Some(SelectedKeys::new(keys));
        self.range = KeyRange {
            direction: self.range.direction.opposite(),
            after: bound,
            before: self.range.after.take(),
        };
        Ok(())
    }

    /// Returns the number of items that may still follow.
    fn capacity(&self) -> usize {
        usize::try_from(self.remaining).unwrap_or(usize::MAX)
    }

    /// Reads the next items.
    ///
    /// # Errors
    /// Returns [`sqlx::Error`] if the query fails or a row cannot be decoded.
    pub(super) async fn read(&mut self) -> Result<PartialItems<S::Item>, sqlx::Error> {
        let limit = match &self.selected {
            // The range has a few items at most that are not selected.
            Some(_) => self.chunk_rows,
            // One more row than may follow shows whether the list continues.
            None => self.chunk_rows.min(self.remaining.saturating_add(1)),
        };
        let ListChunk {
            mut items,
            next_limit,
        } = self.source.fetch(&self.range, limit).await?;
        let capacity = self.capacity();
        let is_complete = if let Some(selected) = &mut self.selected {
            if let Some(last) = items.last() {
                self.range.after = Some(S::key(last));
            }
            items.retain(|item| selected.take(&S::key(item)));
            selected.is_empty()
        } else {
            self.continues = items.len() > capacity;
            items.truncate(capacity);
            if let Some(last) = items.last() {
                self.range.after = Some(S::key(last));
            }
            self.next.clone_from(&self.range.after);
            self.continues
        };
        let count = u32::try_from(items.len()).unwrap_or(u32::MAX);
        self.remaining = self.remaining.saturating_sub(count.into());
        self.length += u64::from(count);
        self.chunk_rows = next_limit.unwrap_or(self.chunk_rows);
        Ok(PartialItems {
            items,
            is_last: is_complete || next_limit.is_none(),
        })
    }

    /// Returns what follows the last item.
    ///
    /// # Errors
    /// Returns [`sqlx::Error`] if the items of the list cannot be counted.
    pub(super) async fn finish(&self) -> Result<ListEnd, sqlx::Error> {
        let digest = self.source.digest();
        let next = self.next.as_ref().filter(|_| self.continues);
        let next_cursor = next.map(|key| cursor::encode(&digest, self.selection.direction, key));
        let known = self.length + u64::from(self.continues);
        let total = if self.has_cursor || self.continues {
            let count = self.source.count();
            // Items of this response may have been written after the list was counted.
            self.totals.get_or_count(digest, count).await?.max(known)
        } else {
            known
        };
        Ok(ListEnd { total, next_cursor })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use proptest::prelude::*;

    use super::super::super::params::QueryParams;
    use super::super::order::ListOrder;
    use super::super::testing::NumberSource;
    use super::*;

    const MAX_ROWS: NonZeroU32 = NonZeroU32::new(10).unwrap();

    /// A list and the totals of its service.
    struct Numbers {
        source: NumberSource,
        totals: TotalCache,
    }

    impl Numbers {
        fn new(order: ListOrder, total: i64) -> Self {
            Self {
                source: NumberSource::new(order, total),
                totals: TotalCache::default(),
            }
        }

        fn add(&self, numbers: impl IntoIterator<Item = i64>) {
            self.source.numbers.lock().unwrap().extend(numbers);
        }

        async fn open(&self, query: &str) -> Result<ListReader<NumberSource>, ApiError> {
            let paging = CursorPaging::from_params(&QueryParams::parse(query))?;
            let (source, totals) = (self.source.clone(), self.totals.clone());
            ListReader::open(source, totals, MAX_ROWS, &paging).await
        }

        /// Returns the items of a response, and what follows them.
        async fn read(&self, query: &str) -> Result<(Vec<i64>, ListEnd), ApiError> {
            let reader = self.open(query).await?;
            Ok(read_to_end(reader).await?)
        }

        /// Returns the items of all responses to a query, and calls `between` after each one.
        async fn read_pages(&self, query: &str, mut between: impl FnMut()) -> Vec<Vec<i64>> {
            let mut pages = Vec::new();
            let mut cursor = String::new();
            loop {
                let query = format!("{query}&cursor={cursor}");
                let (items, end) = self.read(&query).await.unwrap();
                pages.push(items);
                between();
                match end.next_cursor {
                    Some(next) => cursor = next,
                    None => return pages,
                }
            }
        }
    }

    async fn read_to_end(
        mut reader: ListReader<NumberSource>,
    ) -> Result<(Vec<i64>, ListEnd), sqlx::Error> {
        let mut items = Vec::new();
        loop {
            let part = reader.read().await?;
            items.extend(part.items);
            if part.is_last {
                return Ok((items, reader.finish().await?));
            }
        }
    }

    fn descending(numbers: std::ops::Range<i64>) -> Vec<i64> {
        numbers.rev().collect()
    }

    fn ascending(numbers: std::ops::Range<i64>) -> Vec<i64> {
        numbers.collect()
    }

    #[tokio::test]
    async fn responses_without_limit_are_the_newest_items_in_the_order_of_the_list() {
        let list = Numbers::new(ListOrder::OldestFirst, 25);
        assert_eq!(
            list.read_pages("", || {}).await,
            [ascending(15..25), ascending(5..15), ascending(0..5)]
        );
        let list = Numbers::new(ListOrder::NewestFirst, 25);
        assert_eq!(
            list.read_pages("", || {}).await,
            [descending(15..25), descending(5..15), descending(0..5)]
        );
        let list = Numbers::new(ListOrder::ById, 25);
        assert_eq!(
            list.read_pages("", || {}).await,
            [ascending(0..10), ascending(10..20), ascending(20..25)]
        );
    }

    #[tokio::test]
    async fn requested_order_selects_and_sorts_the_items() {
        for order in [ListOrder::OldestFirst, ListOrder::NewestFirst] {
            let list = Numbers::new(order, 8);
            assert_eq!(
                list.read_pages("limit=5&order=newest", || {}).await,
                [descending(3..8), descending(0..3)],
                "{order:?}"
            );
            assert_eq!(
                list.read_pages("limit=5&order=oldest", || {}).await,
                [ascending(0..5), ascending(5..8)],
                "{order:?}"
            );
        }
    }

    #[tokio::test]
    async fn last_page_that_is_full_has_no_cursor() {
        for query in ["limit=5", "limit=5&order=newest", "limit=5&order=oldest"] {
            let list = Numbers::new(ListOrder::OldestFirst, 10);
            assert_eq!(list.read_pages(query, || {}).await.len(), 2, "{query}");
        }
        let empty = Numbers::new(ListOrder::OldestFirst, 0);
        assert_eq!(empty.read_pages("", || {}).await, [ascending(0..0)]);
    }

    #[tokio::test]
    async fn item_written_after_the_selection_displaces_no_selected_item() {
        for chunk in [1, 2, i64::MAX] {
            let mut list = Numbers::new(ListOrder::OldestFirst, 0);
            list.source.chunk = chunk;
            list.add([10, 20, 30, 40, 50]);
            let newest = list.open("limit=3").await.unwrap();
            list.add([25, 35, 45, 60]);
            let (items, end) = read_to_end(newest).await.unwrap();
            assert_eq!(items, [30, 40, 50], "in chunks of {chunk}");
            let older = format!("limit=2&cursor={}", end.next_cursor.unwrap());
            let older = list.open(&older).await.unwrap();
            list.add([21, 26]);
            let (items, end) = read_to_end(older).await.unwrap();
            assert_eq!(items, [20, 25], "in chunks of {chunk}");
            assert!(end.next_cursor.is_some());
        }
    }

    #[tokio::test]
    async fn response_whose_items_were_removed_continues_with_older_items() {
        let list = Numbers::new(ListOrder::OldestFirst, 5);
        let newest = list.open("limit=2").await.unwrap();
        let numbers = &list.source.numbers;
        numbers.lock().unwrap().retain(|number| *number < 3);
        let (items, end) = read_to_end(newest).await.unwrap();
        assert!(items.is_empty());
        let older = format!("limit=2&cursor={}", end.next_cursor.unwrap());
        assert_eq!(list.read(&older).await.unwrap().0, [1, 2]);
    }

    #[tokio::test]
    async fn cursor_is_only_valid_in_its_direction() {
        let list = Numbers::new(ListOrder::OldestFirst, 25);
        let cursor = |end: ListEnd| end.next_cursor.unwrap();
        let newest = cursor(list.read("limit=5").await.unwrap().1);
        let oldest = cursor(list.read("limit=5&order=oldest").await.unwrap().1);
        for (order, valid, invalid) in [
            ("", &newest, &oldest),
            ("&order=newest", &newest, &oldest),
            ("&order=oldest", &oldest, &newest),
        ] {
            let (items, _) = list.read(&format!("cursor={valid}{order}")).await.unwrap();
            assert_eq!(items.len(), 10, "{order}");
            let error = list.read(&format!("cursor={invalid}{order}")).await;
            assert_eq!(error.unwrap_err().code, "VALIDATION_ERROR", "{order}");
        }
        let error = list.read("cursor=ord_9001").await.unwrap_err();
        assert_eq!(error.message, "Invalid paging");
    }

    #[tokio::test]
    async fn total_of_a_complete_list_is_exact_and_not_counted() {
        let list = Numbers::new(ListOrder::OldestFirst, 9);
        for total in [9, 10] {
            assert_eq!(list.read("").await.unwrap().1.total, total);
            assert_eq!(list.read("order=newest").await.unwrap().1.total, total);
            list.add(9..10);
        }
        assert_eq!(list.source.counts.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn total_of_a_part_is_counted_at_most_every_two_seconds() {
        let list = Numbers::new(ListOrder::OldestFirst, 25);
        let total = async |query: &str| list.read(query).await.unwrap().1.total;
        assert_eq!(total("limit=5").await, 25);
        list.add(25..27);
        assert_eq!(total("limit=6&order=oldest").await, 25);
        assert_eq!(list.source.counts.load(Ordering::Relaxed), 1);
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        assert_eq!(total("limit=5").await, 27);
        assert_eq!(list.source.counts.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn total_is_not_less_than_the_items_of_the_response() {
        let list = Numbers::new(ListOrder::OldestFirst, 2);
        assert_eq!(list.read("limit=1").await.unwrap().1.total, 2);
        list.add(2..9);
        assert_eq!(list.read("limit=7").await.unwrap().1.total, 8);
    }

    proptest! {
        #[test]
        fn each_older_item_is_read_once_while_items_are_added(
            total in 0..60_i64,
            limit in 1..20,
            chunk in 1..12_i64,
            added in 0..4_i64,
            order in prop::sample::select(vec!["", "&order=newest", "&order=oldest"]),
        ) {
            let mut list = Numbers::new(ListOrder::OldestFirst, total);
            list.source.chunk = chunk;
            let mut next = total;
            let add = || {
                // A list that grows for ever would never be read to its end.
                if next < total + 40 {
                    list.add(next..next + added);
                    next += added;
                }
            };
            let query = format!("limit={limit}{order}");
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap();
            let pages = runtime.block_on(list.read_pages(&query, add));
            let mut items = pages.concat();
            items.sort_unstable();
            let older: Vec<i64> = items.iter().copied().filter(|item| *item < total).collect();
            prop_assert_eq!(older, ascending(0..total));
            items.dedup();
            prop_assert_eq!(items.len(), pages.concat().len());
            let is_sorted = pages.iter().all(|page| match order {
                "&order=newest" => page.is_sorted_by(|first, second| first > second),
                _ => page.is_sorted(),
            });
            prop_assert!(is_sorted, "{:?}", pages);
        }
    }
}
