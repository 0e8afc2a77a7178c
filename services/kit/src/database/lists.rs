//! Connections of lists, and what else lists share.

use std::num::NonZeroU32;

use sqlx::postgres::PgPool;

use super::totals::TotalCache;

/// What the lists of a service share.
#[derive(Debug, Clone)]
pub(crate) struct Lists {
    /// Connections that only lists use, so that no event, no health check and no other request
    /// waits for lists.
    pub(crate) pool: PgPool,
    /// Maximum number of items in a response to a request without `limit`.
    pub(crate) max_rows: NonZeroU32,
    /// The totals that were counted last.
    pub(crate) totals: TotalCache,
}

impl Lists {
    /// The default of `LIST_MAX_ROWS`.
    pub(crate) const DEFAULT_MAX_ROWS: NonZeroU32 = NonZeroU32::MIN.saturating_add(999);

    pub(crate) fn new(pool: PgPool, max_rows: NonZeroU32) -> Self {
        Self {
            pool,
            max_rows,
            totals: TotalCache::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_maximum_is_1000_rows() {
        assert_eq!(Lists::DEFAULT_MAX_ROWS.get(), 1_000);
    }
}
