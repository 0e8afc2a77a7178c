//! What must hold of the business tables. Each law is about one state of the database, so
//! that an event that is under way breaks none: where a fact follows from an event, the
//! law asks for it once the event was handled.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, PgConnection};

use super::report::{FindingKind, Invariant, ReconcileFinding};
use crate::MessagingError;
use crate::service_tables::ServiceTables;

/// How many cases of a law are listed.
const MAX_LISTED_VIOLATIONS: i64 = 100;

/// How long ago something may have been and still be checked, in seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct AgeLimits {
    /// For what outboxes and inboxes know.
    pub(super) events: f64,
    /// For notifications, which go by the time of their cause.
    pub(super) notifications: f64,
}

/// A law as SQL: `{order}` is the schema of that service, `{young}` the instant since which
/// outboxes and inboxes know everything, `{kept}` the one since which notifications are
/// there. The query has a row for each case with its name, whether it is kept and what is
/// known of it. Whether a case is young goes by the database's clock.
struct InvariantQuery {
    name: &'static str,
    description: &'static str,
    cases_sql: &'static str,
}

/// What wuphf makes notifications of: the events of three outboxes, and what dead letters of
/// its queue were edited into.
const CAUSES_CTE: &str = "
    cause AS (
        SELECT event_id, event_type FROM {order}.outbox_events
         WHERE routing_key = 'order.created.v1' AND created_at > {young}
        UNION ALL
        SELECT event_id, event_type FROM {inventory}.outbox_events
         WHERE routing_key = 'shipment.dispatched.v1' AND created_at > {young}
        UNION ALL
        SELECT event_id, event_type FROM {finance}.outbox_events
         WHERE routing_key = 'finance.expense.decided.v1' AND created_at > {young}
        UNION ALL
        SELECT edited_as, edited_body::jsonb->>'type'
          FROM dm_ops.replay_messages JOIN dm_ops.replay_runs USING (run_id)
         WHERE queue = 'wuphf.domain-events.q' AND edited_as IS NOT NULL AND began_at > {young}
           AND edited_body::jsonb->>'type' = ANY(ARRAY[
                   'com.dundermifflin.order.created.v1',
                   'com.dundermifflin.shipment.dispatched.v1',
                   'com.dundermifflin.expense.decided.v1']))";

const INVARIANTS: [InvariantQuery; 14] = [
    InvariantQuery {
        name: "stock-received",
        description: "on-hand and shipped quantities add up to the received quantity",
        cases_sql: "SELECT sku AS name, on_hand + shipped = received AS kept,
                       format('%s on hand and %s shipped of %s', on_hand, shipped, received)
                           AS detail
                  FROM {inventory}.stock",
    },
    InvariantQuery {
        name: "stock-reserved",
        description: "the reserved quantity equals the sum of the open reservations",
        cases_sql: "SELECT sku AS name, coalesce(reserved, 0) = coalesce(held.quantity, 0) AS kept,
                       format('%s reserved, and reservations of %s', coalesce(reserved, 0),
                              coalesce(held.quantity, 0)) AS detail
                  FROM {inventory}.stock FULL JOIN (
                       SELECT item->>'sku' AS sku, sum((item->>'quantity')::numeric) AS quantity
                         FROM {inventory}.reservations, jsonb_array_elements(items) AS item
                        WHERE status = 'RESERVED' GROUP BY 1) AS held USING (sku)",
    },
    InvariantQuery {
        name: "stock-shipped",
        description: "the shipped quantity equals the sum of the dispatched reservations",
        cases_sql: "SELECT sku AS name, coalesce(shipped, 0) = coalesce(gone.quantity, 0) AS kept,
                       format('%s shipped, and dispatches of %s', coalesce(shipped, 0),
                              coalesce(gone.quantity, 0)) AS detail
                  FROM {inventory}.stock FULL JOIN (
                       SELECT item->>'sku' AS sku, sum((item->>'quantity')::numeric) AS quantity
                         FROM {inventory}.reservations, jsonb_array_elements(items) AS item
                        WHERE status = 'DISPATCHED' GROUP BY 1) AS gone USING (sku)",
    },
    InvariantQuery {
        name: "order-told",
        description: "every order has exactly one event order.created",
        cases_sql: "SELECT coalesce(placed.order_id, told.subject) AS name,
                       placed.order_id IS NOT NULL AND coalesce(told.count, 0) = 1 AS kept,
                       CASE WHEN placed.order_id IS NULL THEN 'there is no such order'
                            ELSE format('%s events', coalesce(told.count, 0)) END AS detail
                  FROM (SELECT order_id, 'order/' || order_id AS subject, created_at
                          FROM {order}.orders) AS placed
                  FULL JOIN (
                       SELECT subject, count(*), max(created_at) AS at FROM {order}.outbox_events
                        WHERE routing_key = 'order.created.v1' AND subject LIKE 'order/%'
                        GROUP BY 1) AS told USING (subject)
                 WHERE placed.created_at > {young} OR told.at > {young}",
    },
    InvariantQuery {
        name: "order-taken",
        description: "every order that inventory processed has a shipment and a reservation",
        cases_sql: "SELECT event.subject AS name,
                       shipment.order_id IS NOT NULL AND reservation.order_id IS NOT NULL AS kept,
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
        name: "stock-told",
        description: "no order that processed its stock result has status CREATED",
        cases_sql: "SELECT event.subject AS name, orders.status <> 'CREATED' AS kept,
                       format('its status is %s', coalesce(orders.status, 'missing')) AS detail
                  FROM {inventory}.outbox_events AS event
                  JOIN {order}.inbox_events AS seen USING (event_id)
                  LEFT JOIN {order}.orders ON 'order/' || orders.order_id = event.subject
                 WHERE event.routing_key = ANY(ARRAY[
                           'inventory.stock.reserved.v1', 'inventory.stock.failed.v1'])",
    },
    InvariantQuery {
        name: "order-shipped",
        description: "every shipped order names its one dispatched shipment",
        cases_sql: "SELECT orders.order_id AS name,
                       shipment.shipment_id IS NOT NULL
                           AND shipment.shipment_id = orders.shipment_id AS kept,
                       format('it names %s', orders.shipment_id) AS detail
                  FROM {order}.orders LEFT JOIN {inventory}.shipments AS shipment
                       ON shipment.order_id = orders.order_id AND shipment.status = 'DISPATCHED'
                 WHERE orders.status = 'SHIPPED'",
    },
    InvariantQuery {
        name: "dispatch-told",
        description: "every dispatch has exactly one event, and its order is SHIPPED once order processed it",
        // When it was dispatched is what the caller says; when it was written is not.
        cases_sql: "SELECT shipment.shipment_id AS name,
                       coalesce(told.count, 0) = 1
                           AND (told.heard = 0 OR orders.status = 'SHIPPED') AS kept,
                       format('%s events; its order is %s', coalesce(told.count, 0),
                              orders.status) AS detail
                  FROM {inventory}.shipments AS shipment
                  LEFT JOIN {order}.orders USING (order_id)
                  LEFT JOIN (
                       SELECT event.subject, count(*), count(seen.event_id) AS heard
                         FROM {inventory}.outbox_events AS event
                         LEFT JOIN {order}.inbox_events AS seen USING (event_id)
                        WHERE event.routing_key = 'shipment.dispatched.v1' GROUP BY 1) AS told
                       ON told.subject = 'shipment/' || shipment.shipment_id
                 WHERE shipment.status = 'DISPATCHED' AND shipment.updated_at > {young}",
    },
    InvariantQuery {
        name: "expense-told",
        description: "every expense has exactly one event, and one for its decision",
        cases_sql: "SELECT expense.expense_id AS name,
                       (expense.created_at <= {young} OR coalesce(told.submitted, 0) = 1)
                           AND (expense.decided_at IS NULL OR expense.decided_at <= {young}
                                OR coalesce(told.decided, 0) = 1)
                           AND (expense.decided_at IS NOT NULL OR coalesce(told.decided, 0) = 0)
                           AS kept,
                       format('it is %s, with %s events, and %s of its decision', expense.status,
                              coalesce(told.submitted, 0), coalesce(told.decided, 0)) AS detail
                  FROM {finance}.expenses AS expense
                  LEFT JOIN (
                       SELECT subject,
                              count(*) FILTER (WHERE routing_key = 'finance.expense.submitted.v1')
                                  AS submitted,
                              count(*) FILTER (WHERE routing_key = 'finance.expense.decided.v1')
                                  AS decided
                         FROM {finance}.outbox_events GROUP BY 1) AS told
                       ON told.subject = 'expense/' || expense.expense_id
                 WHERE expense.created_at > {young} OR expense.decided_at > {young}",
    },
    InvariantQuery {
        name: "cause-notified",
        description: "every event that wuphf processed has one notification",
        // Not so where no user can have the id, and where the notification has the time of a
        // fact that is old enough for it to go: a dispatch may tell of a day long ago.
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
                                     FROM dm_ops.replay_messages) AS told
                                WHERE told.event_id = cause.event_id
                                  AND (length(coalesce(
                                           told.payload#>>'{data,orderCreatedBy}',
                                           told.payload#>>'{data,createdBy}',
                                           told.payload#>>'{data,submitterUserId}')) > 255
                                       OR CASE WHEN pg_input_is_valid(
                                                        told.payload->>'time', 'timestamptz')
                                               THEN (told.payload->>'time')::timestamptz < {kept}
                                          END))
                           ELSE false
                       END AS kept,
                       format('%s has %s notifications', cause.event_type,
                              count(notification.notification_id)) AS detail
                  FROM cause
                  JOIN {wuphf}.inbox_events AS seen ON seen.event_id = cause.event_id
                  LEFT JOIN {wuphf}.notifications AS notification
                       ON notification.source_event_id = cause.event_id
                 GROUP BY cause.event_id, cause.event_type",
    },
    InvariantQuery {
        name: "notification-told",
        description: "every notification has exactly one event",
        cases_sql: "WITH {causes}
                SELECT notification.notification_id AS name,
                       coalesce(told.count, 0) = 1 AS kept,
                       format('%s events', coalesce(told.count, 0)) AS detail
                  FROM cause
                  JOIN {wuphf}.notifications AS notification
                       ON notification.source_event_id = cause.event_id
                  LEFT JOIN (
                       SELECT subject, count(*) FROM {wuphf}.outbox_events
                        WHERE routing_key = 'notification.created.v1' GROUP BY 1) AS told
                       ON told.subject = 'notification/' || notification.notification_id",
    },
    InvariantQuery {
        name: "lead-converted",
        description: "every converted lead names its one client",
        // Its status says nothing: anybody may set it to anything, before and after.
        cases_sql: "SELECT coalesce(lead.lead_id, client.source_lead_id) AS name,
                       client.client_id = lead.converted_client_id AS kept,
                       format('it names %s, and its client is %s',
                              coalesce(lead.converted_client_id, 'none'),
                              coalesce(client.client_id, 'none')) AS detail
                  FROM {sales}.leads AS lead
                  FULL JOIN {sales}.clients AS client ON client.source_lead_id = lead.lead_id
                 WHERE lead.converted_client_id IS NOT NULL OR client.client_id IS NOT NULL",
    },
    InvariantQuery {
        name: "conversion-told",
        description: "every conversion has exactly one event, with the data of its client",
        cases_sql: "SELECT coalesce(client.client_id, told.subject) AS name,
                       client.client_id IS NOT NULL AND coalesce(told.count, 0) = 1
                           AND told.data->>'leadId' = client.source_lead_id
                           AND told.data->>'clientId' = client.client_id
                           AND told.data->>'companyName' = client.company_name
                           AND told.data->>'contactName' = client.contact_name
                           AND told.data->>'contactEmail' = client.contact_email
                           AND told.data->>'convertedBy' = client.created_by
                           AND {same:told.data->>'convertedAt':client.created_at} AS kept,
                       CASE WHEN client.client_id IS NULL THEN 'there is no such client'
                            WHEN coalesce(told.count, 0) <> 1
                                 THEN format('%s events', coalesce(told.count, 0))
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
                        GROUP BY 1) AS told USING (subject)
                 WHERE client.created_at > {young} OR told.at > {young}",
    },
    InvariantQuery {
        name: "profile-told",
        description: "the last event of every saved profile has the data of the profile",
        // A profile that nobody saved so far has told nothing, and has one instant.
        cases_sql: "SELECT coalesce(profile.user_id, told.subject) AS name,
                       CASE WHEN profile.user_id IS NULL THEN false
                            WHEN told.subject IS NULL
                                 THEN profile.updated_at = profile.created_at
                            ELSE told.data->>'userId' = profile.user_id
                                 AND told.data->>'fullName' = profile.full_name
                                 AND told.data->>'email' = profile.email
                                 AND replace(upper(told.data->>'defaultApp'), '-', '_')
                                     = profile.default_app
                                 AND told.data->>'notificationsEnabled'
                                     = profile.notifications_enabled::text
                                 AND {same:told.data->>'updatedAt':profile.updated_at}
                       END AS kept,
                       CASE WHEN profile.user_id IS NULL THEN 'there is no such profile'
                            WHEN told.subject IS NULL THEN 'it was saved, and has no event'
                            ELSE 'the event differs from the profile' END AS detail
                  FROM (SELECT user_id, full_name, email, default_app, notifications_enabled,
                               created_at, updated_at, 'profile/' || user_id AS subject
                          FROM {profile}.user_profiles) AS profile
                  FULL JOIN (
                       SELECT DISTINCT ON (subject) subject, created_at AS at,
                              payload->'data' AS data
                         FROM {profile}.outbox_events
                        WHERE routing_key = 'profile.updated.v1' AND subject LIKE 'profile/%'
                        ORDER BY subject, sequence DESC) AS told USING (subject)
                 WHERE profile.updated_at > {young} OR told.at > {young}",
    },
];

/// Whether the text of an event is the instant of a row: `{same:TEXT:INSTANT}` in a law. A
/// text may have more digits than PostgreSQL keeps.
fn same_instant_sql(text: &str, instant: &str) -> String {
    format!(
        "CASE WHEN pg_input_is_valid({text}, 'timestamptz')
              THEN abs(extract(epoch FROM ({text})::timestamptz - {instant})) < 0.001
              ELSE false END"
    )
}

impl InvariantQuery {
    /// The query of all cases; nothing where one of the services has no schema.
    fn to_sql(&self, schemas: &BTreeMap<&str, &str>, age_limits: AgeLimits) -> Option<String> {
        let before = |seconds: f64| format!("(now() - interval '{seconds} seconds')");
        let mut text = self
            .cases_sql
            .replace("{causes}", CAUSES_CTE)
            .replace("{young}", &before(age_limits.events))
            .replace("{kept}", &before(age_limits.notifications));
        while let Some((before, rest)) = text.split_once("{same:") {
            let (places, after) = rest.split_once('}')?;
            let (said, instant) = places.split_once(':')?;
            text = format!("{before}{}{after}", same_instant_sql(said, instant));
        }
        for service in ["order", "inventory", "finance", "wuphf", "sales", "profile"] {
            let place = format!("{{{service}}}");
            if text.contains(&place) {
                text = text.replace(&place, &format!("\"{}\"", schemas.get(service)?));
            }
        }
        Some(text)
    }
}

/// Checks every law. Answers how often each was kept, and where it was not.
pub(super) async fn check_invariants(
    snapshot: &mut PgConnection,
    service_tables: &[ServiceTables],
    age_limits: AgeLimits,
) -> Result<(Vec<Invariant>, Vec<ReconcileFinding>), MessagingError> {
    let schemas: BTreeMap<&str, &str> = service_tables
        .iter()
        .map(|store| (store.service.as_str(), store.schema.as_str()))
        .collect();
    let (mut laws, mut findings) = (Vec::new(), Vec::new());
    for law in &INVARIANTS {
        let Some(cases) = law.to_sql(&schemas, age_limits) else {
            continue;
        };
        let statement = format!(
            "WITH cases AS MATERIALIZED ({cases}),
                  broken AS (SELECT name, detail FROM cases WHERE kept IS NOT TRUE
                              ORDER BY name LIMIT {MAX_LISTED_VIOLATIONS})
             SELECT (SELECT count(*) FROM cases),
                    (SELECT count(*) FROM cases WHERE kept IS NOT TRUE),
                    ARRAY(SELECT name FROM broken), ARRAY(SELECT detail FROM broken)"
        );
        let (checked, broken, names, details): (i64, i64, Vec<String>, Vec<String>) =
            sqlx::query_as(AssertSqlSafe(statement))
                .fetch_one(&mut *snapshot)
                .await?;
        laws.push(Invariant {
            name: law.name,
            says: law.description,
            checked,
            broken,
        });
        findings.extend(
            names
                .into_iter()
                .zip(details)
                .map(|(what, detail)| ReconcileFinding {
                    kind: FindingKind::Broken,
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

    const BOUNDS: AgeLimits = AgeLimits {
        events: 10.0,
        notifications: 20.0,
    };

    /// As `profile-told` takes the one for the other.
    #[test]
    fn an_app_is_stored_by_its_name() {
        for app in dm_contracts::App::ALL {
            assert_eq!(
                app.name().to_uppercase().replace('-', "_"),
                app.stored_name()
            );
        }
    }

    #[test]
    fn a_law_is_about_the_schemas_that_there_are() {
        let schemas = [
            ("order", "orders"),
            ("inventory", "inventory"),
            ("finance", "finance"),
            ("wuphf", "n"),
            ("sales", "sales"),
            ("profile", "profile"),
        ];
        let schemas: BTreeMap<&str, &str> = schemas.into();
        for law in &INVARIANTS {
            let text = law.to_sql(&schemas, BOUNDS).unwrap();
            assert!(!text.contains('{') || text.contains("'{data,"), "{text}");
            for left in [
                "{young}", "{kept}", "{causes}", "{same:", "{order}", "{sales}",
            ] {
                assert!(!text.contains(left), "{text}");
            }
        }
        let none = BTreeMap::new();
        assert!(
            INVARIANTS
                .iter()
                .all(|law| law.to_sql(&none, BOUNDS).is_none())
        );
    }
}
