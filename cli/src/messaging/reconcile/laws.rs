//! What must hold of the business tables. Each law is about one state of the database, so
//! that an event that is under way breaks none: where a fact follows from an event, the
//! law asks for it once the event was handled.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, PgConnection};

use super::report::{Finding, Kind, Law};
use crate::messaging::MessagingError;
use crate::messaging::stores::Store;

/// How many cases of a law are listed.
const LISTED: i64 = 100;

/// A law as SQL: `{order}` is the schema of that service, `{young}` a condition on
/// instants. The first query has a row for each case with its name, whether it is kept
/// and what is known of it.
struct Statement {
    name: &'static str,
    says: &'static str,
    cases: &'static str,
}

const LAWS: [Statement; 9] = [
    Statement {
        name: "stock-received",
        says: "what is on hand and what was shipped is what came in",
        cases: "SELECT sku AS name, on_hand + shipped = received AS kept,
                       format('%s on hand and %s shipped of %s', on_hand, shipped, received)
                           AS detail
                  FROM {inventory}.stock",
    },
    Statement {
        name: "stock-reserved",
        says: "what is reserved is what the open reservations hold",
        cases: "SELECT sku AS name, reserved = coalesce(held.quantity, 0) AS kept,
                       format('%s reserved, and reservations of %s', reserved,
                              coalesce(held.quantity, 0)) AS detail
                  FROM {inventory}.stock LEFT JOIN (
                       SELECT item->>'sku' AS sku, sum((item->>'quantity')::bigint) AS quantity
                         FROM {inventory}.reservations, jsonb_array_elements(items) AS item
                        WHERE status = 'RESERVED' GROUP BY 1) AS held USING (sku)",
    },
    Statement {
        name: "stock-shipped",
        says: "what was shipped is what the dispatched reservations held",
        cases: "SELECT sku AS name, shipped = coalesce(gone.quantity, 0) AS kept,
                       format('%s shipped, and dispatches of %s', shipped,
                              coalesce(gone.quantity, 0)) AS detail
                  FROM {inventory}.stock LEFT JOIN (
                       SELECT item->>'sku' AS sku, sum((item->>'quantity')::bigint) AS quantity
                         FROM {inventory}.reservations, jsonb_array_elements(items) AS item
                        WHERE status = 'DISPATCHED' GROUP BY 1) AS gone USING (sku)",
    },
    Statement {
        name: "order-told",
        says: "every order has told of itself, once",
        cases: "SELECT orders.order_id AS name, coalesce(told.count, 0) = 1 AS kept,
                       format('told %s times', coalesce(told.count, 0)) AS detail
                  FROM {order}.orders LEFT JOIN (
                       SELECT subject, count(*) FROM {order}.outbox_events
                        WHERE routing_key = 'order.created.v1' GROUP BY 1) AS told
                       ON told.subject = 'order/' || orders.order_id
                 WHERE orders.created_at > {young}",
    },
    Statement {
        name: "order-taken",
        says: "every order that inventory heard of has a shipment and a reservation",
        cases: "SELECT event.subject AS name,
                       shipment.order_id IS NOT NULL AND reservation.order_id IS NOT NULL AS kept,
                       'one of them is not there' AS detail
                  FROM {order}.outbox_events AS event
                  JOIN {inventory}.inbox_events AS seen USING (event_id)
                  LEFT JOIN {inventory}.shipments AS shipment
                       ON 'order/' || shipment.order_id = event.subject
                  LEFT JOIN {inventory}.reservations AS reservation
                       ON 'order/' || reservation.order_id = event.subject
                 WHERE event.routing_key = 'order.created.v1'",
    },
    Statement {
        name: "order-shipped",
        says: "every shipped order has one dispatched shipment, and it is the one it names",
        cases: "SELECT orders.order_id AS name,
                       shipment.shipment_id IS NOT NULL
                           AND shipment.shipment_id = orders.shipment_id AS kept,
                       format('it names %s', orders.shipment_id) AS detail
                  FROM {order}.orders LEFT JOIN {inventory}.shipments AS shipment
                       ON shipment.order_id = orders.order_id AND shipment.status = 'DISPATCHED'
                 WHERE orders.status = 'SHIPPED'",
    },
    Statement {
        name: "dispatch-told",
        says: "every dispatch has told of itself, once, and its order knows once it has heard",
        cases: "SELECT shipment.shipment_id AS name,
                       coalesce(told.count, 0) = 1
                           AND (told.heard = 0 OR orders.status = 'SHIPPED') AS kept,
                       format('told %s times; its order is %s', coalesce(told.count, 0),
                              orders.status) AS detail
                  FROM {inventory}.shipments AS shipment
                  LEFT JOIN {order}.orders USING (order_id)
                  LEFT JOIN (
                       SELECT event.subject, count(*), count(seen.event_id) AS heard
                         FROM {inventory}.outbox_events AS event
                         LEFT JOIN {order}.inbox_events AS seen USING (event_id)
                        WHERE event.routing_key = 'shipment.dispatched.v1' GROUP BY 1) AS told
                       ON told.subject = 'shipment/' || shipment.shipment_id
                 WHERE shipment.status = 'DISPATCHED' AND shipment.dispatched_at > {young}",
    },
    Statement {
        name: "cause-notified",
        says: "every cause that wuphf heard of has one notification",
        // A notification has its cause's time, and goes when that is old enough: a dispatch
        // may tell of a day long ago.
        cases: "SELECT seen.event_id AS name,
                       CASE count(notification.notification_id)
                           WHEN 1 THEN true
                           WHEN 0 THEN EXISTS (
                               SELECT FROM (
                                   SELECT event_id, payload FROM {order}.outbox_events
                                   UNION ALL
                                   SELECT event_id, payload FROM {inventory}.outbox_events
                                   UNION ALL
                                   SELECT event_id, payload FROM {finance}.outbox_events) AS cause
                                WHERE cause.event_id = seen.event_id
                                  AND cause.payload->>'time' <
                                      to_char({young} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"'))
                           ELSE false
                       END AS kept,
                       format('%s has %s notifications', seen.event_type,
                              count(notification.notification_id)) AS detail
                  FROM {wuphf}.inbox_events AS seen
                  LEFT JOIN {wuphf}.notifications AS notification
                       ON notification.source_event_id = seen.event_id
                 WHERE seen.event_type = ANY(ARRAY['com.dundermifflin.order.created.v1',
                           'com.dundermifflin.shipment.dispatched.v1',
                           'com.dundermifflin.expense.decided.v1'])
                   AND seen.processed_at > {young}
                 GROUP BY seen.event_id, seen.event_type",
    },
    Statement {
        name: "notification-told",
        says: "every notification has told of itself, once",
        cases: "SELECT notification.notification_id AS name,
                       coalesce(told.count, 0) = 1 AS kept,
                       format('told %s times', coalesce(told.count, 0)) AS detail
                  FROM {wuphf}.notifications AS notification LEFT JOIN (
                       SELECT subject, count(*) FROM {wuphf}.outbox_events
                        WHERE routing_key = 'notification.created.v1' GROUP BY 1) AS told
                       ON told.subject = 'notification/' || notification.notification_id
                 WHERE notification.created_at > {young}",
    },
];

impl Statement {
    /// The query of all cases; nothing where one of the services has no schema.
    fn query(&self, schemas: &BTreeMap<&str, &str>, oldest: f64) -> Option<String> {
        let mut text = self
            .cases
            .replace("{young}", &format!("(now() - interval '{oldest} seconds')"));
        for (service, schema) in schemas {
            text = text.replace(&format!("{{{service}}}"), &format!("\"{schema}\""));
        }
        (!text.contains('{')).then_some(text)
    }
}

/// Checks every law. Answers how often each was kept, and where it was not.
pub(super) async fn check(
    snapshot: &mut PgConnection,
    stores: &[Store],
    oldest: f64,
) -> Result<(Vec<Law>, Vec<Finding>), MessagingError> {
    let schemas: BTreeMap<&str, &str> = stores
        .iter()
        .map(|store| (store.service.as_str(), store.schema.as_str()))
        .collect();
    let (mut laws, mut findings) = (Vec::new(), Vec::new());
    for law in &LAWS {
        let Some(cases) = law.query(&schemas, oldest) else {
            continue;
        };
        let statement = format!(
            "WITH cases AS MATERIALIZED ({cases}),
                  broken AS (SELECT name, detail FROM cases WHERE kept IS NOT TRUE
                              ORDER BY name LIMIT {LISTED})
             SELECT (SELECT count(*) FROM cases),
                    (SELECT count(*) FROM cases WHERE kept IS NOT TRUE),
                    ARRAY(SELECT name FROM broken), ARRAY(SELECT detail FROM broken)"
        );
        let (checked, broken, names, details): (i64, i64, Vec<String>, Vec<String>) =
            sqlx::query_as(AssertSqlSafe(statement))
                .fetch_one(&mut *snapshot)
                .await?;
        laws.push(Law {
            name: law.name,
            says: law.says,
            checked,
            broken,
        });
        findings.extend(
            names
                .into_iter()
                .zip(details)
                .map(|(what, detail)| Finding {
                    kind: Kind::Broken,
                    of: law.name.to_owned(),
                    what,
                    detail,
                }),
        );
    }
    Ok((laws, findings))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_law_is_about_the_schemas_that_there_are() {
        let schemas = [
            ("order", "orders"),
            ("inventory", "inventory"),
            ("finance", "finance"),
            ("wuphf", "n"),
        ];
        let schemas: BTreeMap<&str, &str> = schemas.into();
        for law in &LAWS {
            let text = law.query(&schemas, 10.0).unwrap();
            assert!(!text.contains("young"), "{text}");
        }
        let none = BTreeMap::new();
        assert!(LAWS.iter().all(|law| law.query(&none, 10.0).is_none()));
    }
}
