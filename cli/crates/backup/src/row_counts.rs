//! The number of rows in the tables of a database.
//!
//! The rows of a dump are not counted again, which would read everything a second time: the server
//! records the number of rows of each statement of the dump (pg_stat_statements).

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};

use super::BackupError;
use super::manifest::RowCounts;

/// The database in which the statistics are read and which every server has. An extension in the
/// database of the stack would be in its dumps.
const MAINTENANCE_DATABASE: &str = "postgres";

/// The statistics that the server records of a dump.
pub(super) struct CopyStatistics(PgConnection);

impl CopyStatistics {
    /// The `PGOPTIONS` of libpq with which the sessions of a dump are recorded.
    pub(super) const PG_OPTIONS: &str = "-c pg_stat_statements.track=top -c compute_query_id=on";

    /// Resets the statistics of earlier dumps. Returns `None` if the server records no statistics,
    /// e.g. because of custom settings.
    pub(super) async fn start_recording(options: &PgConnectOptions) -> Option<Self> {
        let mut session = options
            .clone()
            .database(MAINTENANCE_DATABASE)
            .connect()
            .await
            .ok()?;
        let reset = sqlx::raw_sql(
            "SET client_min_messages = warning;
             CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
             SELECT pg_stat_statements_reset(userid, dbid, queryid)
               FROM pg_stat_statements WHERE query LIKE 'COPY %'",
        );
        reset.execute(&mut session).await.ok()?;
        Some(Self(session))
    }

    /// Returns the `COPY` statements that were recorded in a database since then.
    async fn recorded_copies(&mut self, database: &str) -> Result<Vec<CopyStatement>, sqlx::Error> {
        sqlx::query_as(
            "SELECT query, calls, rows
               FROM pg_stat_statements JOIN pg_database ON pg_database.oid = dbid
              WHERE datname = $1 AND query LIKE 'COPY %'",
        )
        .bind(database)
        .fetch_all(&mut self.0)
        .await
    }
}

/// A recorded `COPY` statement.
#[derive(sqlx::FromRow)]
struct CopyStatement {
    query: String,
    calls: i64,
    rows: i64,
}

/// A table that is not a system table.
#[derive(sqlx::FromRow)]
struct UserTable {
    /// The name in manifests.
    name: String,
    /// The quoted name in SQL.
    sql: String,
}

/// Counts the rows of each table of a database.
///
/// # Errors
/// Returns [`BackupError`] if the database cannot be queried.
pub async fn count_rows(options: &PgConnectOptions) -> Result<RowCounts, BackupError> {
    let mut session = options.connect().await?;
    let counts = count_rows_in_session(&mut session).await?;
    session.close().await?;
    Ok(counts)
}

/// Counts the rows of each table in the snapshot of a session.
pub(super) async fn count_rows_in_session(
    session: &mut PgConnection,
) -> Result<RowCounts, BackupError> {
    let tables = list_tables(session).await?;
    Ok(count_table_rows(session, &tables).await?)
}

/// Returns the number of rows of each table in a dump of the snapshot of a session, from the
/// recorded statistics.
pub(super) async fn count_dumped_rows(
    session: &mut PgConnection,
    database: &str,
    statistics: Option<CopyStatistics>,
) -> Result<RowCounts, BackupError> {
    let copies = match statistics {
        Some(mut statistics) => statistics.recorded_copies(database).await?,
        None => Vec::new(),
    };
    let (mut counts, mut unrecorded) = (RowCounts::new(), Vec::new());
    for table in list_tables(session).await? {
        match recorded_rows(&table.sql, &copies) {
            Some(rows) => _ = counts.insert(table.name, rows),
            None => unrecorded.push(table),
        }
    }
    counts.extend(count_table_rows(session, &unrecorded).await?);
    Ok(counts)
}

/// Returns the number of rows of a table in a dump. Returns `None` unless the table was copied
/// exactly once, to stdout: other statements come from other sessions with statistics and cannot
/// be distinguished from those of the dump.
fn recorded_rows(table: &str, copies: &[CopyStatement]) -> Option<i64> {
    // In the form `COPY schema.table (column, …) TO stdout`.
    let start = format!("COPY {table} ");
    let mut copies = copies.iter().filter(|copy| copy.query.starts_with(&start));
    match (copies.next(), copies.next()) {
        (Some(copy), None) if copy.calls == 1 && copy.query.ends_with(" TO stdout") => {
            Some(copy.rows)
        }
        _ => None,
    }
}

async fn list_tables(session: &mut PgConnection) -> Result<Vec<UserTable>, sqlx::Error> {
    sqlx::query_as(
        // Without temporary tables, which end with their session, and without tables of
        // extensions, whose rows are restored with the extension.
        "SELECT nspname || '.' || relname AS name, format('%I.%I', nspname, relname) AS sql
           FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
          WHERE relkind IN ('r', 'p') AND relpersistence <> 't'
            AND nspname NOT IN ('pg_catalog', 'information_schema')
            AND nspname NOT LIKE 'pg\\_toast%'
            AND NOT EXISTS (SELECT FROM pg_depend
                             WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid
                               AND deptype = 'e')",
    )
    .fetch_all(session)
    .await
}

/// Counts the rows of tables with one query.
async fn count_table_rows(
    session: &mut PgConnection,
    tables: &[UserTable],
) -> Result<RowCounts, sqlx::Error> {
    let count_query = |(index, table): (usize, &UserTable)| {
        format!("SELECT {index}::bigint, count(*) FROM {}", table.sql)
    };
    let queries: Vec<String> = tables.iter().enumerate().map(count_query).collect();
    if queries.is_empty() {
        return Ok(RowCounts::new());
    }
    let query = AssertSqlSafe(queries.join(" UNION ALL "));
    let counts: Vec<(i64, i64)> = sqlx::query_as(query).fetch_all(session).await?;
    let named = counts.into_iter().filter_map(|(index, rows)| {
        let table = tables.get(usize::try_from(index).ok()?)?;
        Some((table.name.clone(), rows))
    });
    Ok(named.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy_statement(query: &str, calls: i64) -> CopyStatement {
        let query = query.to_owned();
        CopyStatement {
            query,
            calls,
            rows: 7,
        }
    }

    #[test]
    fn recorded_rows_requires_exactly_one_copy_to_stdout() {
        let dumped = "COPY orders.orders (id, status) TO stdout";
        let rows = |copies: &[CopyStatement]| recorded_rows("orders.orders", copies);
        let another = || copy_statement("COPY orders.orders_archive (id) TO stdout", 1);
        assert_eq!(rows(&[another(), copy_statement(dumped, 1)]), Some(7));
        assert_eq!(rows(&[another()]), None);
        assert_eq!(rows(&[copy_statement(dumped, 2)]), None);
        let loaded = || copy_statement("COPY orders.orders (id, status) FROM stdin", 1);
        assert_eq!(rows(&[loaded()]), None);
        assert_eq!(rows(&[copy_statement(dumped, 1), loaded()]), None);
    }
}
