//! What outboxes know of an id.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, QueryBuilder};

use super::{Site, Step};
use crate::MessagingError;
use crate::outbox::{Row, row};

/// The aggregates that subjects name.
const AGGREGATES: [&str; 6] = [
    "order",
    "shipment",
    "lead",
    "expense",
    "profile",
    "notification",
];

/// The subjects that an id may stand for. A shipment has its order's number.
pub(super) fn subjects(id: &str) -> Vec<String> {
    if id.contains('/') {
        return vec![id.to_owned()];
    }
    let mut ids = vec![id.to_owned()];
    if let Some(number) = id.strip_prefix("ord_") {
        ids.push(format!("ship_{number}"));
    } else if let Some(number) = id.strip_prefix("ship_") {
        ids.push(format!("ord_{number}"));
    }
    ids.iter()
        .flat_map(|id| AGGREGATES.map(|aggregate| format!("{aggregate}/{id}")))
        .collect()
}

/// By what rows are looked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Column {
    EventId,
    Subject,
    /// By patterns.
    Traceparent,
}

pub(super) async fn rows(
    site: Site<'_>,
    column: Column,
    values: &[String],
) -> Result<Vec<Row>, MessagingError> {
    let condition = match column {
        Column::EventId => "event_id = ANY(",
        Column::Subject => "subject = ANY(",
        Column::Traceparent => "traceparent LIKE ANY(",
    };
    let mut query = QueryBuilder::new("");
    for (at, store) in site.stores.iter().enumerate() {
        if at > 0 {
            query.push(" UNION ALL ");
        }
        query
            .push(format!(
                "SELECT {} FROM {} WHERE {condition}",
                row::columns(store),
                store.table("outbox_events")
            ))
            .push_bind(values)
            .push(")");
    }
    Ok(query.build_query_as().fetch_all(site.database).await?)
}

pub(super) async fn timeline(
    site: Site<'_>,
    rows: impl Iterator<Item = &Row>,
) -> Result<Vec<Step>, MessagingError> {
    let orders: BTreeSet<String> = rows
        .filter_map(|row| row.subject.strip_prefix("order/"))
        .map(str::to_owned)
        .collect();
    let store = site.stores.iter().find(|store| store.service == "order");
    let Some(store) = store.filter(|_| !orders.is_empty()) else {
        return Ok(Vec::new());
    };
    let statement = format!(
        "SELECT order_id, status, at, source FROM {} WHERE order_id = ANY($1) ORDER BY at, id",
        store.table("order_timeline")
    );
    let orders: Vec<String> = orders.into_iter().collect();
    Ok(sqlx::query_as(AssertSqlSafe(statement))
        .bind(orders)
        .fetch_all(site.database)
        .await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_stands_for_its_aggregate() {
        assert_eq!(subjects("order/ord_1"), ["order/ord_1"]);
        let subjects = subjects("ord_9001");
        for subject in ["order/ord_9001", "shipment/ship_9001"] {
            assert!(subjects.iter().any(|it| it == subject), "{subject}");
        }
    }
}
