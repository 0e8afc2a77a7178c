//! The invariants of the business tables. Each invariant refers to one state of the database,
//! and events in flight do not violate it: a fact that follows from an event is required only
//! after the event was processed.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, PgConnection};

use super::report::{FindingKind, Invariant, ReconcileFinding};
use crate::MessagingError;
use crate::service_tables::ServiceTables;

/// The maximum number of violations of an invariant that are listed.
const MAX_LISTED_VIOLATIONS: i64 = 100;

/// The maximum ages of the rows that are checked, in seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct AgeLimits {
    /// The maximum age of outbox and inbox rows.
    pub(super) events: f64,
    /// The maximum age of notifications, from the time of their cause.
    pub(super) notifications: f64,
}

/// An invariant in SQL. `{order}` is the schema of that service, `{events_since}` the instant
/// since which outboxes and inboxes are complete, `{notifications_since}` the one since which
/// notifications are complete. The query returns a row for each case: its name, whether the
/// invariant holds, and the details. Ages are measured by the clock of the database.
struct InvariantQuery {
    name: &'static str,
    meaning: &'static str,
    cases_sql: &'static str,
}

/// The events from which wuphf creates notifications: those of three outboxes, and the edits of
/// dead letters of its queue.
const CAUSES_CTE: &str = "
    cause AS (
        SELECT event_id, event_type FROM {order}.outbox_events
         WHERE routing_key = ANY(ARRAY[
                   'order.created.v1', 'order.cancelled.v1', 'order.reinstated.v1'])
           AND created_at > {events_since}
        UNION ALL
        SELECT event_id, event_type FROM {inventory}.outbox_events
         WHERE routing_key = 'shipment.dispatched.v1' AND created_at > {events_since}
        UNION ALL
        SELECT event_id, event_type FROM {finance}.outbox_events
         WHERE routing_key = 'finance.expense.decided.v1' AND created_at > {events_since}
        UNION ALL
        SELECT edited_as, edited_body::jsonb->>'type'
          FROM dm_ops.replay_messages JOIN dm_ops.replay_runs USING (run_id)
         WHERE queue = 'wuphf.domain-events.q' AND edited_as IS NOT NULL AND began_at > {events_since}
           AND edited_body::jsonb->>'type' = ANY(ARRAY[
                   'com.dundermifflin.order.created.v1',
                   'com.dundermifflin.order.cancelled.v1',
                   'com.dundermifflin.order.reinstated.v1',
                   'com.dundermifflin.shipment.dispatched.v1',
                   'com.dundermifflin.expense.decided.v1']))";

const INVARIANTS: [InvariantQuery; 20] = [
    InvariantQuery {
        name: "stock-received",
        meaning: "on-hand and shipped quantities add up to the received quantity",
        cases_sql: "SELECT sku AS name, on_hand + shipped = received AS holds,
                       format('%s on hand and %s shipped of %s', on_hand, shipped, received)
                           AS detail
                  FROM {inventory}.stock",
    },
    InvariantQuery {
        name: "stock-reserved",
        meaning: "the reserved quantity equals the sum of the open reservations",
        cases_sql: "SELECT sku AS name, coalesce(reserved, 0) = coalesce(held.quantity, 0) AS holds,
                       format('%s reserved, and reservations of %s', coalesce(reserved, 0),
                              coalesce(held.quantity, 0)) AS detail
                  FROM {inventory}.stock FULL JOIN (
                       SELECT item->>'sku' AS sku, sum((item->>'quantity')::numeric) AS quantity
                         FROM {inventory}.reservations, jsonb_array_elements(items) AS item
                        WHERE status = 'RESERVED' GROUP BY 1) AS held USING (sku)",
    },
    InvariantQuery {
        name: "stock-shipped",
        meaning: "the shipped quantity equals the sum of the dispatched reservations",
        cases_sql: "SELECT sku AS name, coalesce(shipped, 0) = coalesce(gone.quantity, 0) AS holds,
                       format('%s shipped, and dispatches of %s', coalesce(shipped, 0),
                              coalesce(gone.quantity, 0)) AS detail
                  FROM {inventory}.stock FULL JOIN (
                       SELECT item->>'sku' AS sku, sum((item->>'quantity')::numeric) AS quantity
                         FROM {inventory}.reservations, jsonb_array_elements(items) AS item
                        WHERE status = 'DISPATCHED' GROUP BY 1) AS gone USING (sku)",
    },
    InvariantQuery {
        name: "order-published",
        meaning: "every order has exactly one event order.created",
        cases_sql: "SELECT coalesce(placed.order_id, published.subject) AS name,
                       placed.order_id IS NOT NULL AND coalesce(published.count, 0) = 1 AS holds,
                       CASE WHEN placed.order_id IS NULL THEN 'there is no such order'
                            ELSE format('%s events', coalesce(published.count, 0)) END AS detail
                  FROM (SELECT order_id, 'order/' || order_id AS subject, created_at
                          FROM {order}.orders) AS placed
                  FULL JOIN (
                       SELECT subject, count(*), max(created_at) AS at FROM {order}.outbox_events
                        WHERE routing_key = 'order.created.v1' AND subject LIKE 'order/%'
                        GROUP BY 1) AS published USING (subject)
                 WHERE placed.created_at > {events_since} OR published.at > {events_since}",
    },
    InvariantQuery {
        name: "order-processed",
        meaning: "every order that inventory processed has a shipment and a reservation",
        // An order whose cancellation was processed first is never reserved.
        cases_sql: "SELECT event.subject AS name,
                       shipment.order_id IS NOT NULL
                           AND (reservation.order_id IS NOT NULL
                                OR shipment.status = 'CANCELLED') AS holds,
                       'one of them is missing' AS detail
                  FROM {order}.outbox_events AS event
                  JOIN {inventory}.inbox_events AS seen USING (event_id)
                  LEFT JOIN {inventory}.shipments AS shipment
                       ON 'order/' || shipment.order_id = event.subject
                  LEFT JOIN {inventory}.reservations AS reservation
                       ON 'order/' || reservation.order_id = event.subject
                 WHERE event.routing_key = 'order.created.v1'",
    },
    InvariantQuery {
        name: "stock-result-processed",
        meaning: "no order that processed its stock result has status CREATED",
        cases_sql: "SELECT event.subject AS name, orders.status <> 'CREATED' AS holds,
                       format('its status is %s', coalesce(orders.status, 'missing')) AS detail
                  FROM {inventory}.outbox_events AS event
                  JOIN {order}.inbox_events AS seen USING (event_id)
                  LEFT JOIN {order}.orders ON 'order/' || orders.order_id = event.subject
                 WHERE event.routing_key = ANY(ARRAY[
                           'inventory.stock.reserved.v1', 'inventory.stock.failed.v1'])",
    },
    InvariantQuery {
        name: "picking-published",
        meaning: "every shipment in loading has exactly one event, and its order is PICKING once order processed it",
        // Or the order has a later status.
        cases_sql: "SELECT shipment.shipment_id AS name,
                       coalesce(published.count, 0) = 1
                           AND (published.processed = 0
                                OR orders.status <> ALL(ARRAY['CREATED', 'RESERVED'])) AS holds,
                       format('%s events; its order is %s', coalesce(published.count, 0),
                              orders.status) AS detail
                  FROM {inventory}.shipments AS shipment
                  LEFT JOIN {order}.orders USING (order_id)
                  LEFT JOIN (
                       SELECT event.subject, count(*), count(seen.event_id) AS processed
                         FROM {inventory}.outbox_events AS event
                         LEFT JOIN {order}.inbox_events AS seen USING (event_id)
                        WHERE event.routing_key = 'inventory.picking.started.v1' GROUP BY 1)
                       AS published
                       ON published.subject = 'order/' || shipment.order_id
                 WHERE shipment.status = 'LOADING' AND shipment.updated_at > {events_since}",
    },
    InvariantQuery {
        name: "order-picking",
        meaning: "every order in picking has a scanned shipment",
        // Which may have left: order may not have processed that event.
        cases_sql: "SELECT orders.order_id AS name,
                       shipment.status = ANY(ARRAY['LOADING', 'DISPATCHED']) AS holds,
                       format('its shipment is %s', coalesce(shipment.status, 'missing')) AS detail
                  FROM {order}.orders
                  LEFT JOIN {inventory}.shipments AS shipment USING (order_id)
                 WHERE orders.status = 'PICKING'",
    },
    InvariantQuery {
        name: "cancellation-published",
        meaning: "every cancelled order has exactly one event, and one for its reinstatement",
        cases_sql: "SELECT coalesce(cancelled.order_id, published.subject) AS name,
                       cancelled.order_id IS NOT NULL
                           AND coalesce(published.cancelled, 0) = 1
                           AND coalesce(published.reinstated, 0)
                               = CASE cancelled.status WHEN 'SHIPPED' THEN 1 ELSE 0 END AS holds,
                       CASE WHEN cancelled.order_id IS NULL THEN 'there is no such cancelled order'
                            ELSE format('it is %s, with %s events, and %s of its reinstatement',
                                        cancelled.status, coalesce(published.cancelled, 0),
                                        coalesce(published.reinstated, 0)) END AS detail
                  FROM (SELECT order_id, status, 'order/' || order_id AS subject, cancelled_at
                          FROM {order}.orders WHERE cancelled_at IS NOT NULL) AS cancelled
                  FULL JOIN (
                       SELECT subject, max(created_at) AS at,
                              count(*) FILTER (WHERE routing_key = 'order.cancelled.v1')
                                  AS cancelled,
                              count(*) FILTER (WHERE routing_key = 'order.reinstated.v1')
                                  AS reinstated
                         FROM {order}.outbox_events
                        WHERE routing_key = ANY(ARRAY['order.cancelled.v1', 'order.reinstated.v1'])
                          AND subject LIKE 'order/%'
                        GROUP BY 1) AS published USING (subject)
                 WHERE cancelled.cancelled_at > {events_since}
                    OR cancelled.order_id IS NULL AND published.at > {events_since}",
    },
    InvariantQuery {
        name: "cancellation-processed",
        meaning: "the shipment of every cancellation that inventory processed is withdrawn, or has left",
        cases_sql: "SELECT event.subject AS name,
                       shipment.status = ANY(ARRAY['CANCELLED', 'DISPATCHED']) AS holds,
                       format('it is %s', coalesce(shipment.status, 'missing')) AS detail
                  FROM {order}.outbox_events AS event
                  JOIN {inventory}.inbox_events AS seen USING (event_id)
                  LEFT JOIN {inventory}.shipments AS shipment
                       ON 'order/' || shipment.order_id = event.subject
                 WHERE event.routing_key = 'order.cancelled.v1'",
    },
    InvariantQuery {
        name: "shipment-withdrawn",
        meaning: "every withdrawn shipment has a cancelled order",
        cases_sql: "SELECT shipment.shipment_id AS name,
                       coalesce(orders.status, 'missing') = 'CANCELLED' AS holds,
                       format('its order is %s', coalesce(orders.status, 'missing')) AS detail
                  FROM {inventory}.shipments AS shipment
                  LEFT JOIN {order}.orders USING (order_id)
                 WHERE shipment.status = 'CANCELLED'",
    },
    InvariantQuery {
        name: "shipment-reserved",
        meaning: "stock is reserved for open shipments, shipped for dispatched ones, and released for withdrawn ones",
        // A shipment that is withdrawn before its order arrives has no reservation.
        cases_sql: "SELECT coalesce(shipment.shipment_id, reservation.reservation_id) AS name,
                       CASE shipment.status
                            WHEN 'PENDING' THEN reservation.status = 'RESERVED'
                            WHEN 'LOADING' THEN reservation.status = 'RESERVED'
                            WHEN 'DISPATCHED' THEN reservation.status = 'DISPATCHED'
                            WHEN 'FAILED' THEN reservation.status = 'FAILED_INSUFFICIENT_STOCK'
                            WHEN 'CANCELLED' THEN coalesce(reservation.status, 'RELEASED') = ANY(
                                ARRAY['RELEASED', 'FAILED_INSUFFICIENT_STOCK'])
                       END AS holds,
                       format('the shipment is %s, and its reservation %s',
                              coalesce(shipment.status, 'missing'),
                              coalesce(reservation.status, 'missing')) AS detail
                  FROM {inventory}.shipments AS shipment
                  FULL JOIN {inventory}.reservations AS reservation USING (order_id)",
    },
    InvariantQuery {
        name: "order-shipped",
        meaning: "every shipped order names its one dispatched shipment",
        cases_sql: "SELECT orders.order_id AS name,
                       shipment.shipment_id IS NOT NULL
                           AND shipment.shipment_id = orders.shipment_id AS holds,
                       format('it names %s', orders.shipment_id) AS detail
                  FROM {order}.orders LEFT JOIN {inventory}.shipments AS shipment
                       ON shipment.order_id = orders.order_id AND shipment.status = 'DISPATCHED'
                 WHERE orders.status = 'SHIPPED'",
    },
    InvariantQuery {
        name: "dispatch-published",
        meaning: "every dispatch has exactly one event, and its order is SHIPPED once order processed it",
        // The caller sets the instant of the dispatch, but not `updated_at`.
        cases_sql: "SELECT shipment.shipment_id AS name,
                       coalesce(published.count, 0) = 1
                           AND (published.processed = 0 OR orders.status = 'SHIPPED') AS holds,
                       format('%s events; its order is %s', coalesce(published.count, 0),
                              orders.status) AS detail
                  FROM {inventory}.shipments AS shipment
                  LEFT JOIN {order}.orders USING (order_id)
                  LEFT JOIN (
                       SELECT event.subject, count(*), count(seen.event_id) AS processed
                         FROM {inventory}.outbox_events AS event
                         LEFT JOIN {order}.inbox_events AS seen USING (event_id)
                        WHERE event.routing_key = 'shipment.dispatched.v1' GROUP BY 1) AS published
                       ON published.subject = 'shipment/' || shipment.shipment_id
                 WHERE shipment.status = 'DISPATCHED' AND shipment.updated_at > {events_since}",
    },
    InvariantQuery {
        name: "expense-published",
        meaning: "every expense has exactly one event, and one for its decision",
        cases_sql: "SELECT expense.expense_id AS name,
                       (expense.created_at <= {events_since} OR coalesce(published.submitted, 0) = 1)
                           AND (expense.decided_at IS NULL OR expense.decided_at <= {events_since}
                                OR coalesce(published.decided, 0) = 1)
                           AND (expense.decided_at IS NOT NULL OR coalesce(published.decided, 0) = 0)
                           AS holds,
                       format('it is %s, with %s events, and %s of its decision', expense.status,
                              coalesce(published.submitted, 0), coalesce(published.decided, 0)) AS detail
                  FROM {finance}.expenses AS expense
                  LEFT JOIN (
                       SELECT subject,
                              count(*) FILTER (WHERE routing_key = 'finance.expense.submitted.v1')
                                  AS submitted,
                              count(*) FILTER (WHERE routing_key = 'finance.expense.decided.v1')
                                  AS decided
                         FROM {finance}.outbox_events GROUP BY 1) AS published
                       ON published.subject = 'expense/' || expense.expense_id
                 WHERE expense.created_at > {events_since} OR expense.decided_at > {events_since}",
    },
    InvariantQuery {
        name: "cause-notified",
        meaning: "every event that wuphf processed has one notification",
        // Except if the user id is longer than any user's, or if the time of the event is older
        // than the retention of notifications: the date of a dispatch may be long ago.
        cases_sql: "WITH {causes}
                SELECT cause.event_id AS name,
                       CASE count(notification.notification_id)
                           WHEN 1 THEN true
                           WHEN 0 THEN EXISTS (
                               SELECT FROM (
                                   SELECT event_id, payload FROM {order}.outbox_events
                                   UNION ALL
                                   SELECT event_id, payload FROM {inventory}.outbox_events
                                   UNION ALL
                                   SELECT event_id, payload FROM {finance}.outbox_events
                                   UNION ALL
                                   SELECT edited_as, edited_body::json
                                     FROM dm_ops.replay_messages) AS published
                                WHERE published.event_id = cause.event_id
                                  AND (length(coalesce(
                                           published.payload#>>'{data,orderCreatedBy}',
                                           published.payload#>>'{data,createdBy}',
                                           published.payload#>>'{data,submitterUserId}')) > 255
                                       OR CASE WHEN pg_input_is_valid(
                                                        published.payload->>'time', 'timestamptz')
                                               THEN (published.payload->>'time')::timestamptz < {notifications_since}
                                          END))
                           ELSE false
                       END AS holds,
                       format('%s has %s notifications', cause.event_type,
                              count(notification.notification_id)) AS detail
                  FROM cause
                  JOIN {wuphf}.inbox_events AS seen ON seen.event_id = cause.event_id
                  LEFT JOIN {wuphf}.notifications AS notification
                       ON notification.source_event_id = cause.event_id
                 GROUP BY cause.event_id, cause.event_type",
    },
    InvariantQuery {
        name: "notification-published",
        meaning: "every notification has exactly one event",
        cases_sql: "WITH {causes}
                SELECT notification.notification_id AS name,
                       coalesce(published.count, 0) = 1 AS holds,
                       format('%s events', coalesce(published.count, 0)) AS detail
                  FROM cause
                  JOIN {wuphf}.notifications AS notification
                       ON notification.source_event_id = cause.event_id
                  LEFT JOIN (
                       SELECT subject, count(*) FROM {wuphf}.outbox_events
                        WHERE routing_key = 'notification.created.v1' GROUP BY 1) AS published
                       ON published.subject = 'notification/' || notification.notification_id",
    },
    InvariantQuery {
        name: "lead-converted",
        meaning: "every converted lead names its one client",
        // The status is not checked: users may set it to any value, before and after.
        cases_sql: "SELECT coalesce(lead.lead_id, client.source_lead_id) AS name,
                       client.client_id = lead.converted_client_id AS holds,
                       format('it names %s, and its client is %s',
                              coalesce(lead.converted_client_id, 'none'),
                              coalesce(client.client_id, 'none')) AS detail
                  FROM {sales}.leads AS lead
                  FULL JOIN {sales}.clients AS client ON client.source_lead_id = lead.lead_id
                 WHERE lead.converted_client_id IS NOT NULL OR client.client_id IS NOT NULL",
    },
    InvariantQuery {
        name: "conversion-published",
        meaning: "every conversion has exactly one event, with the data of its client",
        cases_sql: "SELECT coalesce(client.client_id, published.subject) AS name,
                       client.client_id IS NOT NULL AND coalesce(published.count, 0) = 1
                           AND published.data->>'leadId' = client.source_lead_id
                           AND published.data->>'clientId' = client.client_id
                           AND published.data->>'companyName' = client.company_name
                           AND published.data->>'contactName' = client.contact_name
                           AND published.data->>'contactEmail' = client.contact_email
                           AND published.data->>'convertedBy' = client.created_by
                           AND {same:published.data->>'convertedAt':client.created_at} AS holds,
                       CASE WHEN client.client_id IS NULL THEN 'there is no such client'
                            WHEN coalesce(published.count, 0) <> 1
                                 THEN format('%s events', coalesce(published.count, 0))
                            ELSE 'the event differs from the client' END AS detail
                  FROM (SELECT client_id, source_lead_id, company_name, contact_name,
                               contact_email, created_by, created_at,
                               'lead/' || source_lead_id AS subject
                          FROM {sales}.clients) AS client
                  FULL JOIN (
                       SELECT subject, count(*), max(created_at) AS at,
                              (array_agg(payload->'data' ORDER BY sequence))[1] AS data
                         FROM {sales}.outbox_events
                        WHERE routing_key = 'sales.lead.converted.v1' AND subject LIKE 'lead/%'
                        GROUP BY 1) AS published USING (subject)
                 WHERE client.created_at > {events_since} OR published.at > {events_since}",
    },
    InvariantQuery {
        name: "profile-published",
        meaning: "the last event of every saved profile has the data of the profile",
        // A profile that was never saved has no event, and equal instants.
        cases_sql: "SELECT coalesce(profile.user_id, published.subject) AS name,
                       CASE WHEN profile.user_id IS NULL THEN false
                            WHEN published.subject IS NULL
                                 THEN profile.updated_at = profile.created_at
                            ELSE published.data->>'userId' = profile.user_id
                                 AND published.data->>'fullName' = profile.full_name
                                 AND published.data->>'email' = profile.email
                                 AND replace(upper(published.data->>'defaultApp'), '-', '_')
                                     = profile.default_app
                                 AND published.data->>'notificationsEnabled'
                                     = profile.notifications_enabled::text
                                 AND {same:published.data->>'updatedAt':profile.updated_at}
                       END AS holds,
                       CASE WHEN profile.user_id IS NULL THEN 'there is no such profile'
                            WHEN published.subject IS NULL THEN 'it was saved, and has no event'
                            ELSE 'the event differs from the profile' END AS detail
                  FROM (SELECT user_id, full_name, email, default_app, notifications_enabled,
                               created_at, updated_at, 'profile/' || user_id AS subject
                          FROM {profile}.user_profiles) AS profile
                  FULL JOIN (
                       SELECT DISTINCT ON (subject) subject, created_at AS at,
                              payload->'data' AS data
                         FROM {profile}.outbox_events
                        WHERE routing_key = 'profile.updated.v1' AND subject LIKE 'profile/%'
                        ORDER BY subject, sequence DESC) AS published USING (subject)
                 WHERE profile.updated_at > {events_since} OR published.at > {events_since}",
    },
];

/// Returns the condition that the text of an event equals the instant of a row, written as
/// `{same:TEXT:INSTANT}` in a query. A text may have more digits than PostgreSQL stores.
fn same_instant_sql(text: &str, instant: &str) -> String {
    format!(
        "CASE WHEN pg_input_is_valid({text}, 'timestamptz')
              THEN abs(extract(epoch FROM ({text})::timestamptz - {instant})) < 0.001
              ELSE false END"
    )
}

impl InvariantQuery {
    /// Returns the query of all cases. `None` if one of the services has no schema.
    fn to_sql(&self, schemas: &BTreeMap<&str, &str>, age_limits: AgeLimits) -> Option<String> {
        let since = |seconds: f64| format!("(now() - interval '{seconds} seconds')");
        let mut text = self
            .cases_sql
            .replace("{causes}", CAUSES_CTE)
            .replace("{events_since}", &since(age_limits.events))
            .replace("{notifications_since}", &since(age_limits.notifications));
        while let Some((before, rest)) = text.split_once("{same:") {
            let (arguments, after) = rest.split_once('}')?;
            let (value, instant) = arguments.split_once(':')?;
            text = format!("{before}{}{after}", same_instant_sql(value, instant));
        }
        for service in ["order", "inventory", "finance", "wuphf", "sales", "profile"] {
            let placeholder = format!("{{{service}}}");
            if text.contains(&placeholder) {
                text = text.replace(&placeholder, &format!("\"{}\"", schemas.get(service)?));
            }
        }
        Some(text)
    }
}

/// Checks every invariant. Returns the invariants with their counts, and the violations.
pub(super) async fn check_invariants(
    snapshot: &mut PgConnection,
    service_tables: &[ServiceTables],
    age_limits: AgeLimits,
) -> Result<(Vec<Invariant>, Vec<ReconcileFinding>), MessagingError> {
    let schemas: BTreeMap<&str, &str> = service_tables
        .iter()
        .map(|tables| (tables.service.as_str(), tables.schema.as_str()))
        .collect();
    let (mut invariants, mut findings) = (Vec::new(), Vec::new());
    for query in &INVARIANTS {
        let Some(cases) = query.to_sql(&schemas, age_limits) else {
            continue;
        };
        let statement = format!(
            "WITH cases AS MATERIALIZED ({cases}),
                  violations AS (SELECT name, detail FROM cases WHERE holds IS NOT TRUE
                              ORDER BY name LIMIT {MAX_LISTED_VIOLATIONS})
             SELECT (SELECT count(*) FROM cases),
                    (SELECT count(*) FROM cases WHERE holds IS NOT TRUE),
                    ARRAY(SELECT name FROM violations), ARRAY(SELECT detail FROM violations)"
        );
        let (checked, violations, names, details): (i64, i64, Vec<String>, Vec<String>) =
            sqlx::query_as(AssertSqlSafe(statement))
                .fetch_one(&mut *snapshot)
                .await?;
        invariants.push(Invariant {
            name: query.name,
            meaning: query.meaning,
            checked,
            violations,
        });
        findings.extend(
            names
                .into_iter()
                .zip(details)
                .map(|(id, detail)| ReconcileFinding {
                    kind: FindingKind::Broken,
                    scope: query.name.to_owned(),
                    id,
                    detail,
                }),
        );
    }
    Ok((invariants, findings))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE_LIMITS: AgeLimits = AgeLimits {
        events: 10.0,
        notifications: 20.0,
    };

    /// The invariant `profile-published` relies on it.
    #[test]
    fn stored_app_name_follows_from_the_name() {
        for app in dm_contracts::App::ALL {
            assert_eq!(
                app.name().to_uppercase().replace('-', "_"),
                app.stored_name()
            );
        }
    }

    #[test]
    fn to_sql_replaces_placeholders_and_requires_all_schemas() {
        let schemas = [
            ("order", "orders"),
            ("inventory", "inventory"),
            ("finance", "finance"),
            ("wuphf", "n"),
            ("sales", "sales"),
            ("profile", "profile"),
        ];
        let schemas: BTreeMap<&str, &str> = schemas.into();
        for query in &INVARIANTS {
            let text = query.to_sql(&schemas, AGE_LIMITS).unwrap();
            assert!(!text.contains('{') || text.contains("'{data,"), "{text}");
            for placeholder in [
                "{events_since}",
                "{notifications_since}",
                "{causes}",
                "{same:",
                "{order}",
                "{sales}",
            ] {
                assert!(!text.contains(placeholder), "{text}");
            }
        }
        let none = BTreeMap::new();
        assert!(
            INVARIANTS
                .iter()
                .all(|query| query.to_sql(&none, AGE_LIMITS).is_none())
        );
    }
}
