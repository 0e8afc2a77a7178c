//! How many rows a database's tables have.
//!
//! Those of a dump are not counted anew, which would be to read everything a second time: the
//! server notes how many rows each statement of the dump's gave (pg_stat_statements).

use std::collections::HashMap;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection};

use super::BackupError;
use super::manifest::Counts;

/// The database that each server has, in which its notes are looked at: what is in the
/// stack's own would be in its dumps, too.
const NOTES: &str = "postgres";

/// The notes that a server takes of a dump.
pub(super) struct Notes(PgConnection);

impl Notes {
    /// What has sessions of the dump be noted, as libpq's `PGOPTIONS`.
    pub(super) const OPTIONS: &str = "-c pg_stat_statements.track=top -c compute_query_id=on";

    /// Notes without those of earlier dumps. None where the server takes none, as one whose
    /// settings are somebody's own.
    pub(super) async fn begin(options: &PgConnectOptions) -> Option<Self> {
        let mut session = options.clone().database(NOTES).connect().await.ok()?;
        let begun = sqlx::raw_sql(
            "SET client_min_messages = warning;
             CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
             SELECT pg_stat_statements_reset(userid, dbid, queryid)
               FROM pg_stat_statements WHERE query LIKE 'COPY %'",
        );
        begun.execute(&mut session).await.ok()?;
        Some(Self(session))
    }

    /// Each statement of the dump of this database that gave a table's rows, with how many.
    async fn given(&mut self, database: &str) -> Result<HashMap<String, i64>, sqlx::Error> {
        // What was carried out twice was not by the dump alone.
        let given: Vec<(String, i64)> = sqlx::query_as(
            "SELECT query, sum(rows)::bigint
               FROM pg_stat_statements JOIN pg_database ON pg_database.oid = dbid
              WHERE datname = $1 AND query LIKE 'COPY %'
              GROUP BY query HAVING sum(calls) = 1",
        )
        .bind(database)
        .fetch_all(&mut self.0)
        .await?;
        Ok(given.into_iter().collect())
    }
}

/// A table that is not the server's own.
#[derive(sqlx::FromRow)]
struct Table {
    /// As manifests name it.
    name: String,
    /// As SQL does.
    sql: String,
}

/// How many rows each table has in a session's state.
pub(super) async fn all(session: &mut PgConnection) -> Result<Counts, BackupError> {
    let tables = tables(session).await?;
    Ok(counted(session, &tables).await?)
}

/// How many rows each table had in a dump of a session's state, by what was noted of it.
pub(super) async fn dumped(
    session: &mut PgConnection,
    database: &str,
    notes: Option<Notes>,
) -> Result<Counts, BackupError> {
    let given = match notes {
        Some(mut notes) => notes.given(database).await?,
        None => HashMap::new(),
    };
    let (mut counts, mut others) = (Counts::new(), Vec::new());
    for table in tables(session).await? {
        // Of the form `COPY schema.table (column, …) TO stdout`.
        let start = format!("COPY {} ", table.sql);
        match given.iter().find(|(query, _)| query.starts_with(&start)) {
            Some((_, rows)) => _ = counts.insert(table.name, *rows),
            None => others.push(table),
        }
    }
    counts.extend(counted(session, &others).await?);
    Ok(counts)
}

async fn tables(session: &mut PgConnection) -> Result<Vec<Table>, sqlx::Error> {
    sqlx::query_as(
        "SELECT schemaname || '.' || tablename AS name,
                format('%I.%I', schemaname, tablename) AS sql
           FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')",
    )
    .fetch_all(session)
    .await
}

/// Counts these tables' rows, all of them by one question.
async fn counted(session: &mut PgConnection, tables: &[Table]) -> Result<Counts, sqlx::Error> {
    let one = |(index, table): (usize, &Table)| {
        format!("SELECT {index}::bigint, count(*) FROM {}", table.sql)
    };
    let questions: Vec<String> = tables.iter().enumerate().map(one).collect();
    if questions.is_empty() {
        return Ok(Counts::new());
    }
    let question = AssertSqlSafe(questions.join(" UNION ALL "));
    let answers: Vec<(i64, i64)> = sqlx::query_as(question).fetch_all(session).await?;
    let named = answers.into_iter().filter_map(|(index, rows)| {
        let table = tables.get(usize::try_from(index).ok()?)?;
        Some((table.name.clone(), rows))
    });
    Ok(named.collect())
}
