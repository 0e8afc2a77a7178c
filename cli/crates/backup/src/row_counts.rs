//! How many rows a database's tables have.
//!
//! Those of a dump are not counted anew, which would be to read everything a second time: the
//! server notes how many rows each statement of the dump's gave (pg_stat_statements).

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};

use super::BackupError;
use super::manifest::RowCounts;

/// The database that each server has, in which its notes are looked at: what is in the
/// stack's own would be in its dumps, too.
const MAINTENANCE_DATABASE: &str = "postgres";

/// The notes that a server takes of a dump.
pub(super) struct CopyStatistics(PgConnection);

impl CopyStatistics {
    /// What has sessions of the dump be noted, as libpq's `PGOPTIONS`.
    pub(super) const PG_OPTIONS: &str = "-c pg_stat_statements.track=top -c compute_query_id=on";

    /// Notes without those of earlier dumps. None where the server takes none, as one whose
    /// settings are somebody's own.
    pub(super) async fn start_recording(options: &PgConnectOptions) -> Option<Self> {
        let mut session = options
            .clone()
            .database(MAINTENANCE_DATABASE)
            .connect()
            .await
            .ok()?;
        let begun = sqlx::raw_sql(
            "SET client_min_messages = warning;
             CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
             SELECT pg_stat_statements_reset(userid, dbid, queryid)
               FROM pg_stat_statements WHERE query LIKE 'COPY %'",
        );
        begun.execute(&mut session).await.ok()?;
        Some(Self(session))
    }

    /// Each copy in this database that was noted since.
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

/// A statement that copied rows, as it was noted.
#[derive(sqlx::FromRow)]
struct CopyStatement {
    query: String,
    calls: i64,
    rows: i64,
}

/// A table that is not the server's own.
#[derive(sqlx::FromRow)]
struct UserTable {
    /// As manifests name it.
    name: String,
    /// As SQL does.
    sql: String,
}

/// How many rows each table of a database has now.
///
/// # Errors
/// The server fails.
pub async fn count_rows(options: &PgConnectOptions) -> Result<RowCounts, BackupError> {
    let mut session = options.connect().await?;
    let counts = count_rows_in_session(&mut session).await?;
    session.close().await?;
    Ok(counts)
}

/// How many rows each table has in a session's state.
pub(super) async fn count_rows_in_session(
    session: &mut PgConnection,
) -> Result<RowCounts, BackupError> {
    let tables = list_tables(session).await?;
    Ok(count_table_rows(session, &tables).await?)
}

/// How many rows each table had in a dump of a session's state, by what was noted of it.
pub(super) async fn count_dumped_rows(
    session: &mut PgConnection,
    database: &str,
    statistics: Option<CopyStatistics>,
) -> Result<RowCounts, BackupError> {
    let copies = match statistics {
        Some(mut notes) => notes.recorded_copies(database).await?,
        None => Vec::new(),
    };
    let (mut counts, mut others) = (RowCounts::new(), Vec::new());
    for table in list_tables(session).await? {
        match recorded_rows(&table.sql, &copies) {
            Some(rows) => _ = counts.insert(table.name, rows),
            None => others.push(table),
        }
    }
    counts.extend(count_table_rows(session, &others).await?);
    Ok(counts)
}

/// How many rows of a table a dump was given. None unless it was copied once, and out: whatever
/// else there is of it was by somebody who is noted, too, and which is whose can't be told.
fn recorded_rows(table: &str, copies: &[CopyStatement]) -> Option<i64> {
    // Of the form `COPY schema.table (column, …) TO stdout`.
    let start = format!("COPY {table} ");
    let mut copies = copies.iter().filter(|it| it.query.starts_with(&start));
    match (copies.next(), copies.next()) {
        (Some(copied), None) if copied.calls == 1 && copied.query.ends_with(" TO stdout") => {
            Some(copied.rows)
        }
        _ => None,
    }
}

async fn list_tables(session: &mut PgConnection) -> Result<Vec<UserTable>, sqlx::Error> {
    sqlx::query_as(
        // Neither those of a session alone, which end with it, nor those of extensions,
        // whose rows come with these.
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

/// Counts these tables' rows, all of them by one question.
async fn count_table_rows(
    session: &mut PgConnection,
    tables: &[UserTable],
) -> Result<RowCounts, sqlx::Error> {
    let one = |(index, table): (usize, &UserTable)| {
        format!("SELECT {index}::bigint, count(*) FROM {}", table.sql)
    };
    let questions: Vec<String> = tables.iter().enumerate().map(one).collect();
    if questions.is_empty() {
        return Ok(RowCounts::new());
    }
    let question = AssertSqlSafe(questions.join(" UNION ALL "));
    let answers: Vec<(i64, i64)> = sqlx::query_as(question).fetch_all(session).await?;
    let named = answers.into_iter().filter_map(|(index, rows)| {
        let table = tables.get(usize::try_from(index).ok()?)?;
        Some((table.name.clone(), rows))
    });
    Ok(named.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copied(query: &str, calls: i64) -> CopyStatement {
        let query = query.to_owned();
        CopyStatement {
            query,
            calls,
            rows: 7,
        }
    }

    #[test]
    fn a_note_is_believed_where_it_can_only_be_of_the_dump() {
        let dumped = "COPY orders.orders (id, status) TO stdout";
        let noted = |copies: &[CopyStatement]| recorded_rows("orders.orders", copies);
        let another = || copied("COPY orders.orders_archive (id) TO stdout", 1);
        assert_eq!(noted(&[another(), copied(dumped, 1)]), Some(7));
        assert_eq!(noted(&[another()]), None);
        assert_eq!(noted(&[copied(dumped, 2)]), None);
        let loaded = || copied("COPY orders.orders (id, status) FROM stdin", 1);
        assert_eq!(noted(&[loaded()]), None);
        assert_eq!(noted(&[copied(dumped, 1), loaded()]), None);
    }
}
