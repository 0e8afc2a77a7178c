//! Finds the events of an id in the outboxes.

use sqlx::QueryBuilder;

use super::TraceContext;
use crate::MessagingError;
use crate::outbox::{OutboxRow, row};

/// The types of aggregates in subjects.
const AGGREGATE_TYPES: [&str; 6] = [
    "order",
    "shipment",
    "lead",
    "expense",
    "profile",
    "notification",
];

/// Returns the subjects that an id may denote. A shipment has the number of its order.
pub(super) fn candidate_subjects(id: &str) -> Vec<String> {
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
        .flat_map(|id| AGGREGATE_TYPES.map(|aggregate| format!("{aggregate}/{id}")))
        .collect()
}

/// The column by which rows are searched.
#[derive(Debug, Clone, Copy)]
pub(super) enum LookupColumn {
    EventId,
    Subject,
    /// Matched by `LIKE` patterns.
    Traceparent,
}

pub(super) async fn find_rows(
    context: TraceContext<'_>,
    column: LookupColumn,
    values: &[String],
) -> Result<Vec<OutboxRow>, MessagingError> {
    let condition = match column {
        LookupColumn::EventId => "event_id = ANY(",
        LookupColumn::Subject => "subject = ANY(",
        LookupColumn::Traceparent => "traceparent LIKE ANY(",
    };
    let mut query = QueryBuilder::new("");
    for (index, tables) in context.service_tables.iter().enumerate() {
        if index > 0 {
            query.push(" UNION ALL ");
        }
        query
            .push(format!(
                "SELECT {} FROM {} WHERE {condition}",
                row::select_columns(tables),
                tables.qualified_table("outbox_events")
            ))
            .push_bind(values)
            .push(")");
    }
    Ok(query.build_query_as().fetch_all(context.database).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidate_subjects_cover_order_and_shipment() {
        assert_eq!(candidate_subjects("order/ord_1"), ["order/ord_1"]);
        let subjects = candidate_subjects("ord_9001");
        for subject in ["order/ord_9001", "shipment/ship_9001"] {
            assert!(
                subjects.iter().any(|candidate| candidate == subject),
                "{subject}"
            );
        }
    }
}
