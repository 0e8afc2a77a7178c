//! Lists that are read from a table.

use futures_util::TryStreamExt as _;
use serde::Serialize;
use sqlx::postgres::{PgPool, PgRow};
use sqlx::{FromRow, Postgres, QueryBuilder};

use super::chunk::ListChunk;
use super::filter::{ListDigest, ListFilter};
use super::key::ListKey;
use super::order::{Direction, ListOrder};
use super::source::{KeyRange, ListSource};

/// A list of the rows of one table. An index on the columns of each filter, followed by those of
/// the key, makes reading it independent of its length.
pub trait TableList: Send + Sync + 'static {
    /// A row with the columns of the list.
    type Row: for<'r> FromRow<'r, PgRow> + Send + Unpin;
    /// An item of the list.
    type Item: Serialize + Send + Sync;
    /// The position of an item.
    type Key: ListKey;

    /// Name of the table.
    const TABLE: &'static str;
    /// Columns of a row.
    const COLUMNS: &'static str;
    /// Column that contains the id.
    const ID: &'static str;
    /// Order of the list in the contract.
    const ORDER: ListOrder;

    /// Returns the conditions of the list.
    fn filter(&self) -> ListFilter;

    /// Converts a row to an item.
    ///
    /// # Errors
    /// Returns [`sqlx::Error::Decode`] if a column has an unknown value.
    fn item(row: Self::Row) -> Result<Self::Item, sqlx::Error>;

    /// Returns the position of an item.
    fn key(item: &Self::Item) -> Self::Key;
}

/// Reads the rows of a list.
pub(super) struct TableSource<L: TableList> {
    pool: PgPool,
    filter: ListFilter,
    list: std::marker::PhantomData<L>,
}

impl<L: TableList> TableSource<L> {
    pub(super) fn new(pool: PgPool, list: &L) -> Self {
        Self {
            pool,
            filter: list.filter(),
            list: std::marker::PhantomData,
        }
    }
}

impl<L: TableList> ListSource for TableSource<L> {
    type Item = L::Item;
    type Key = L::Key;

    fn order(&self) -> ListOrder {
        L::ORDER
    }

    fn digest(&self) -> ListDigest {
        self.filter.digest(L::TABLE)
    }

    fn key(item: &L::Item) -> L::Key {
        L::key(item)
    }

    async fn fetch(
        &self,
        range: &KeyRange<L::Key>,
        limit: i64,
    ) -> Result<ListChunk<L::Item>, sqlx::Error> {
        let mut statement = select::<L>(L::COLUMNS, &self.filter, range, limit, 0);
        ListChunk::read(&self.pool, statement.build(), limit, L::item).await
    }

    async fn fetch_keys(
        &self,
        range: &KeyRange<L::Key>,
        limit: i64,
    ) -> Result<Vec<L::Key>, sqlx::Error> {
        let columns = L::Key::columns(L::ID).join(", ");
        let mut statement = select::<L>(&columns, &self.filter, range, limit, 0);
        let mut rows = statement.build().fetch(&self.pool);
        let mut keys = Vec::new();
        while let Some(row) = rows.try_next().await? {
            keys.push(L::Key::from_row_values(&row)?);
        }
        Ok(keys)
    }

    async fn fetch_page(&self, limit: i64, offset: i64) -> Result<Vec<L::Item>, sqlx::Error> {
        let range = KeyRange {
            direction: L::ORDER.direction(),
            after: None,
            before: None,
        };
        let mut statement = select::<L>(L::COLUMNS, &self.filter, &range, limit, offset);
        let rows: Vec<L::Row> = statement.build_query_as().fetch_all(&self.pool).await?;
        rows.into_iter().map(L::item).collect()
    }

    async fn count(&self) -> Result<u64, sqlx::Error> {
        let mut statement = count::<L>(&self.filter);
        let total: i64 = statement.build_query_scalar().fetch_one(&self.pool).await?;
        Ok(u64::try_from(total).unwrap_or_default())
    }
}

/// Returns the statement that selects columns of the rows of a range. Only conditions that apply
/// are part of it, so that each combination has its own plan.
fn select<L: TableList>(
    selected: &str,
    filter: &ListFilter,
    range: &KeyRange<L::Key>,
    limit: i64,
    offset: i64,
) -> QueryBuilder<Postgres> {
    let columns = L::Key::columns(L::ID);
    let mut statement = QueryBuilder::new(format!("SELECT {selected} FROM {}", L::TABLE));
    let mut has_condition = push_filter(&mut statement, filter);
    let bounds = [
        (range.direction, &range.after),
        (range.direction.opposite(), &range.before),
    ];
    for (direction, bound) in bounds {
        let Some(key) = bound else { continue };
        statement.push(if has_condition { " AND " } else { " WHERE " });
        let operator = direction.operator();
        statement.push(format_args!("({}) {operator} (", columns.join(", ")));
        key.push_values(&mut statement);
        statement.push(")");
        has_condition = true;
    }
    let separator = match range.direction {
        Direction::Ascending => ", ",
        Direction::Descending => " DESC, ",
    };
    statement.push(format_args!(
        " ORDER BY {}{} LIMIT ",
        columns.join(separator),
        separator.trim_end_matches(", ")
    ));
    statement.push_bind(limit);
    if offset > 0 {
        statement.push(" OFFSET ").push_bind(offset);
    }
    statement
}

/// Returns the statement that counts the rows of a list.
fn count<L: TableList>(filter: &ListFilter) -> QueryBuilder<Postgres> {
    let mut statement = QueryBuilder::new(format!("SELECT count(*) FROM {}", L::TABLE));
    push_filter(&mut statement, filter);
    statement
}

/// Appends the conditions of a list. Returns whether there are any.
fn push_filter(statement: &mut QueryBuilder<Postgres>, filter: &ListFilter) -> bool {
    if filter.is_empty() {
        return false;
    }
    statement.push(" WHERE ");
    filter.push(statement);
    true
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::super::key::{IdKey, NumberedTimeKey, TimeKey};
    use super::*;

    /// A list of orders, optionally of a client.
    struct Orders(Option<&'static str>);

    impl TableList for Orders {
        type Row = (DateTime<Utc>, String);
        type Item = (DateTime<Utc>, String);
        type Key = NumberedTimeKey;

        const TABLE: &'static str = "orders";
        const COLUMNS: &'static str = "created_at, order_id";
        const ID: &'static str = "order_id";
        const ORDER: ListOrder = ListOrder::OldestFirst;

        fn filter(&self) -> ListFilter {
            ListFilter::all().equal("client_id", self.0)
        }

        fn item(row: Self::Row) -> Result<Self::Item, sqlx::Error> {
            Ok(row)
        }

        fn key(item: &Self::Item) -> NumberedTimeKey {
            let (created_at, id) = item.clone();
            NumberedTimeKey(TimeKey { created_at, id })
        }
    }

    /// A list of products by SKU.
    struct Products;

    impl TableList for Products {
        type Row = (String,);
        type Item = String;
        type Key = IdKey;

        const TABLE: &'static str = "products";
        const COLUMNS: &'static str = "sku";
        const ID: &'static str = "sku";
        const ORDER: ListOrder = ListOrder::ById;

        fn filter(&self) -> ListFilter {
            ListFilter::all()
        }

        fn item(row: Self::Row) -> Result<String, sqlx::Error> {
            Ok(row.0)
        }

        fn key(item: &String) -> IdKey {
            IdKey(item.clone())
        }
    }

    #[test]
    fn statement_has_the_conditions_that_apply() {
        let filter = Orders(None).filter();
        let range = KeyRange {
            direction: Direction::Descending,
            after: None,
            before: None,
        };
        assert_eq!(
            select::<Orders>(Orders::COLUMNS, &filter, &range, 51, 0).into_string(),
            "SELECT created_at, order_id FROM orders \
             ORDER BY created_at DESC, length(order_id) DESC, order_id DESC LIMIT $1"
        );
        let columns = NumberedTimeKey::columns(Orders::ID).join(", ");
        assert_eq!(
            select::<Orders>(&columns, &filter, &range, 51, 0).into_string(),
            "SELECT created_at, length(order_id), order_id FROM orders \
             ORDER BY created_at DESC, length(order_id) DESC, order_id DESC LIMIT $1"
        );
        assert_eq!(
            count::<Orders>(&filter).into_string(),
            "SELECT count(*) FROM orders"
        );
    }

    #[test]
    fn statement_of_a_range_compares_complete_keys() {
        let filter = Orders(Some("client_7001")).filter();
        let key = Orders::key(&(DateTime::UNIX_EPOCH, "ord_9001".to_owned()));
        let range = KeyRange {
            direction: Direction::Ascending,
            after: Some(key.clone()),
            before: Some(key),
        };
        assert_eq!(
            select::<Orders>(Orders::COLUMNS, &filter, &range, 51, 9).into_string(),
            "SELECT created_at, order_id FROM orders WHERE client_id = $1 \
             AND (created_at, length(order_id), order_id) > ($2, length($3), $4) \
             AND (created_at, length(order_id), order_id) < ($5, length($6), $7) \
             ORDER BY created_at, length(order_id), order_id LIMIT $8 OFFSET $9"
        );
        assert_eq!(
            count::<Orders>(&filter).into_string(),
            "SELECT count(*) FROM orders WHERE client_id = $1"
        );
    }

    #[test]
    fn statement_of_a_list_by_id_compares_the_id() {
        let range = KeyRange {
            direction: Direction::Ascending,
            after: Some(IdKey("PPR-A4-WHT-500".into())),
            before: None,
        };
        assert_eq!(
            select::<Products>("sku", &Products.filter(), &range, 1, 0).into_string(),
            "SELECT sku FROM products WHERE (sku) > ($1) ORDER BY sku LIMIT $2"
        );
    }
}
