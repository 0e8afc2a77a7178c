//! Conditions of lists.

use sha2::{Digest as _, Sha256};
use sqlx::{Postgres, QueryBuilder};

/// Identifies a list and its conditions: the beginning of a SHA-256 hash.
pub(super) type ListDigest = [u8; 16];

/// The conditions that all items of a list fulfil.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListFilter(Vec<Condition>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    /// A column has this value.
    Equal { column: &'static str, value: String },
    /// A condition without values.
    Fixed(&'static str),
}

impl ListFilter {
    /// Returns a filter without conditions.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Adds the condition that a text column has this value, if there is one.
    #[must_use]
    pub fn equal(mut self, column: &'static str, value: Option<&str>) -> Self {
        self.0.extend(value.map(|value| Condition::Equal {
            column,
            value: value.to_owned(),
        }));
        self
    }

    /// Adds an SQL condition without values, if it applies.
    #[must_use]
    pub fn condition(mut self, sql: &'static str, applies: bool) -> Self {
        self.0.extend(applies.then_some(Condition::Fixed(sql)));
        self
    }

    /// Returns whether there is no condition.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends the conditions, joined by `AND`.
    pub(super) fn push(&self, query: &mut QueryBuilder<Postgres>) {
        for (index, condition) in self.0.iter().enumerate() {
            if index > 0 {
                query.push(" AND ");
            }
            match condition {
                Condition::Equal { column, value } => {
                    query.push(column).push(" = ").push_bind(value.clone());
                }
                Condition::Fixed(sql) => {
                    query.push(sql);
                }
            }
        }
    }

    /// Returns the digest of the list with this name and these conditions.
    pub(super) fn digest(&self, list: &str) -> ListDigest {
        let mut hash = Sha256::new();
        // The lengths keep different sequences of texts different.
        let mut add = |text: &str| {
            hash.update(text.len().to_be_bytes());
            hash.update(text);
        };
        add(list);
        for condition in &self.0 {
            match condition {
                Condition::Equal { column, value } => {
                    add(column);
                    add(value);
                }
                Condition::Fixed(sql) => add(sql),
            }
        }
        truncate(&hash.finalize())
    }
}

/// Returns the beginning of a hash.
pub(super) fn truncate(hash: &[u8]) -> ListDigest {
    let mut digest = ListDigest::default();
    let length = digest.len();
    digest.copy_from_slice(&hash[..length]);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(client: Option<&str>, status: Option<&str>, is_open: bool) -> ListFilter {
        ListFilter::all()
            .equal("client_id", client)
            .equal("status", status)
            .condition("is_open", is_open)
    }

    fn sql(filter: &ListFilter) -> String {
        let mut query = QueryBuilder::new("");
        filter.push(&mut query);
        query.into_string()
    }

    #[test]
    fn only_given_conditions_are_part_of_the_statement() {
        assert_eq!(sql(&filter(None, None, false)), "");
        assert!(filter(None, None, false).is_empty());
        assert_eq!(sql(&filter(Some("a"), None, false)), "client_id = $1");
        assert_eq!(
            sql(&filter(Some("a' OR 1"), Some("NEW"), true)),
            "client_id = $1 AND status = $2 AND is_open"
        );
    }

    #[test]
    fn digest_depends_on_list_columns_and_values() {
        let digests = [
            ListFilter::all().digest("orders"),
            ListFilter::all().digest("shipments"),
            filter(Some("a"), None, false).digest("orders"),
            filter(None, Some("a"), false).digest("orders"),
            filter(Some("a"), Some("b"), false).digest("orders"),
            filter(Some("ab"), None, false).digest("orders"),
            filter(Some("a"), None, true).digest("orders"),
        ];
        for (index, digest) in digests.iter().enumerate() {
            let equal = digests.iter().filter(|other| *other == digest);
            assert_eq!(equal.count(), 1, "{index}");
        }
        let again = filter(Some("a"), Some("b"), false).digest("orders");
        assert_eq!(digests[4], again);
    }
}
