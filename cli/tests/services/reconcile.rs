//! Tests of `dm reconcile`: it reports events that are missing, doubled or orphaned, and nothing
//! else.

use dm_contracts::topology::{EVENT_EXCHANGE, INVENTORY_QUEUE, READ_MODEL_QUEUE};
use lapin::BasicProperties;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, QueueBindOptions, QueueDeclareOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable;
use libtest_mimic::Failed;
use reqwest::Method;
use serde_json::{Value, json};

use super::faults::reconcile_when_idle;
use super::flow::place_order;
use super::stack::{
    address, block_on, channel, client, delete_queue, dm, dm_command, dm_ok, eventually,
    gateway_secret, instance, publish_to_queue, request, sql,
};

const SKU: &str = "PPR-A4-WHT-500";

/// Returns the report of `dm reconcile` now, including what is in flight.
pub(super) fn reconcile_now() -> Result<Value, Failed> {
    let output = dm(&["reconcile", "--json", "--grace", "0s"]);
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Returns the findings, as kind and subject of each.
fn findings(report: &Value) -> Vec<(String, String)> {
    let found = report["findings"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    found
        .map(|finding| (text(&finding["kind"]), text(&finding["id"])))
        .collect()
}

/// Dates that callers choose, and notifications that services do not send, violate no invariant.
/// A lost event of an order does.
pub(crate) fn reconcile_reports_an_invariant_broken_by_a_lost_event() -> Result<(), Failed> {
    assert_eq!(reconcile_when_idle()?["clean"], true);
    for (key, at) in [
        ("future", "9999-12-31T23:59:59Z"),
        ("past", "1970-01-01T00:00:00Z"),
    ] {
        dispatch_order_at(key, at)?;
    }
    // Finance once accepted ids that no user can have. wuphf creates no notification for them.
    write_decision(&"x".repeat(300), "2026-02-03T10:00:00Z")?;
    assert_eq!(
        reconcile_when_idle()?["clean"],
        true,
        "{}",
        reconcile_when_idle()?
    );

    // The event of an order is lost.
    let order = block_on(async { place_order(&client(), SKU, 1).await });
    let id = sql(&format!(
        "SELECT event_id FROM orders.outbox_events
          WHERE subject = 'order/{order}' AND routing_key = 'order.created.v1'"
    ))?;
    assert_eq!(reconcile_when_idle()?["clean"], true);
    let move_subject = |from: &str, to: &str| {
        sql(&format!(
            "UPDATE orders.outbox_events SET subject = '{to}/{order}'
              WHERE event_id = '{id}' AND subject = '{from}/{order}'"
        ))
    };
    move_subject("order", "gone")?;
    let broken = findings(&reconcile_now()?);
    assert!(
        broken.contains(&("broken".into(), order.clone())),
        "{broken:?}"
    );
    move_subject("gone", "order")?;
    assert_eq!(reconcile_when_idle()?["clean"], true);
    Ok(())
}

/// The events of sales and profile must match their rows. A profile that was only read, and a
/// lead that was only set to `CONVERTED`, have no events.
pub(crate) fn reconcile_checks_the_invariants_of_sales_and_profile() -> Result<(), Failed> {
    dm_ok(&["up"])?;
    let user = format!("reconcile-{:08x}", fastrand::u32(..));
    let call = |method: Method, service: &str, path: &str, body: Option<Value>| {
        let user = user.clone();
        block_on(async {
            let request_builder = client()
                .request(method, format!("{}{path}", address(service)))
                .header("x-gateway-secret", gateway_secret())
                .header("x-user-id", user);
            let request_builder = match body {
                Some(body) => request_builder.json(&body),
                None => request_builder,
            };
            let answer = request_builder.send().await?.error_for_status()?;
            answer.json::<Value>().await
        })
    };
    let create_lead = || -> Result<String, Failed> {
        let lead = json!({"companyName": "Lackawanna County", "contactName": "Al",
                           "contactEmail": "al@lackawanna.gov", "phone": "570"});
        let lead = call(Method::POST, "sales", "/internal/sales/leads", Some(lead))?;
        Ok(lead["leadId"].as_str().unwrap_or_default().to_owned())
    };
    let set_status = |lead: &str, status: &str| {
        let path = format!("/internal/sales/leads/{lead}");
        call(
            Method::PATCH,
            "sales",
            &path,
            Some(json!({"status": status})),
        )
    };
    let (converted, only_marked) = (create_lead()?, create_lead()?);
    set_status(&only_marked, "CONVERTED")?;
    set_status(&converted, "QUALIFIED")?;
    let path = format!("/internal/sales/leads/{converted}/convert");
    let client = call(Method::POST, "sales", &path, None)?;
    let client = client["clientId"].as_str().unwrap_or_default().to_owned();
    set_status(&converted, "NEW")?;
    call(Method::GET, "profile", "/internal/profile/me", None)?;
    assert_eq!(
        reconcile_when_idle()?["clean"],
        true,
        "{}",
        reconcile_when_idle()?
    );
    let settings = json!({
        "profile": {"fullName": "Al", "email": "al@example.com", "title": "", "phone": ""},
        "preferences": {"defaultApp": "warehouse-mobile", "notificationsEnabled": false},
    });
    call(
        Method::POST,
        "profile",
        "/internal/profile/me",
        Some(settings),
    )?;
    assert_eq!(
        reconcile_when_idle()?["clean"],
        true,
        "{}",
        reconcile_when_idle()?
    );

    let profile = format!("profile.user_profiles WHERE user_id = '{user}'");
    for (invariant, what, set, table) in [
        (
            "lead-converted",
            &converted,
            "converted_client_id = 'client_0'",
            format!("sales.leads WHERE lead_id = '{converted}'"),
        ),
        (
            "conversion-published",
            &client,
            "company_name = 'Scranton'",
            format!("sales.clients WHERE client_id = '{client}'"),
        ),
        (
            "conversion-published",
            &client,
            "subject = 'gone'",
            format!("sales.outbox_events WHERE subject = 'lead/{converted}'"),
        ),
        (
            "profile-published",
            &user,
            "full_name = 'Bob'",
            profile.clone(),
        ),
        (
            "profile-published",
            &user,
            "subject = 'gone'",
            format!("profile.outbox_events WHERE subject = 'profile/{user}'"),
        ),
    ] {
        let (name, rows) = table.split_once(" WHERE ").unwrap_or((&table, "true"));
        let copy = format!("reconcile_{:08x}", fastrand::u32(..));
        sql(&format!(
            "CREATE TABLE dm_ops.{copy} AS SELECT ctid AS row, * FROM {table}"
        ))?;
        sql(&format!("UPDATE {name} SET {set} WHERE {rows}"))?;
        let report = reconcile_now()?;
        let column = set.split(' ').next().unwrap_or_default();
        let key = match name {
            "sales.leads" => "lead_id",
            "sales.clients" => "client_id",
            "profile.user_profiles" => "user_id",
            _ => "event_id",
        };
        sql(&format!(
            "UPDATE {name} AS current SET {column} = saved.{column} FROM dm_ops.{copy} AS saved
              WHERE current.{key} = saved.{key}"
        ))?;
        sql(&format!("DROP TABLE dm_ops.{copy}"))?;
        let broken = report["findings"].as_array().into_iter().flatten();
        let is_reported = broken
            .into_iter()
            .any(|finding| finding["scope"] == invariant && finding["id"] == *what);
        assert!(is_reported, "{invariant} {set}: {report}");
    }
    assert_eq!(
        reconcile_when_idle()?["clean"],
        true,
        "{}",
        reconcile_when_idle()?
    );
    Ok(())
}

/// Dispatches an order at a time that the caller chooses.
fn dispatch_order_at(key: &str, at: &str) -> Result<(), Failed> {
    let order = block_on(async { place_order(&client(), SKU, 1).await });
    let shipment = order.replace("ord_", "ship_");
    eventually(
        &format!("SELECT count(*) FROM inventory.shipments WHERE shipment_id = '{shipment}'"),
        "1",
    )?;
    let path = format!("/internal/shipments/{shipment}/dispatch");
    let status = block_on(async {
        request(&client(), Method::POST, "inventory", &path)
            .header("idempotency-key", format!("reconcile-{key}-{order}"))
            .json(&json!({"truckId": "truck_scr_03", "dispatchedAt": at}))
            .send()
            .await
            .map(|answer| answer.status())
    })?;
    assert!(status.is_success(), "{status}");
    eventually(
        &format!("SELECT status FROM orders.orders WHERE order_id = '{order}'"),
        "SHIPPED",
    )
}

/// Writes a decision about an expense of a user, with this time, and waits until wuphf has
/// processed it. Returns the id of the event.
fn write_decision(submitter: &str, at: &str) -> Result<String, Failed> {
    let id = format!("evt_{:032x}", fastrand::u128(..));
    let event = json!({
        "specversion": "1.0", "id": id, "source": "/finance-service",
        "type": "com.dundermifflin.expense.decided.v1", "subject": "expense/test",
        "time": at, "datacontenttype": "application/json",
        "data": {"expenseId": "exp_0", "submitterUserId": submitter,
                 "decision": "APPROVED", "decidedBy": "amartin"},
    });
    sql(&format!(
        "INSERT INTO finance.outbox_events (event_id, event_type, routing_key, subject, payload)
         VALUES ('{id}', 'com.dundermifflin.expense.decided.v1', 'finance.expense.decided.v1',
                 'expense/test', '{event}')"
    ))?;
    eventually(
        &format!("SELECT count(*) FROM notifications.inbox_events WHERE event_id = '{id}'"),
        "1",
    )?;
    Ok(id)
}

/// While the consumer is down, reconcile reports an orphaned event. Events that were lost by a
/// deleted binding are republished in the order of their outbox, and so is the event that a dead
/// letter was edited into, over several rounds.
pub(crate) fn reconcile_repair_republishes_missing_events_in_outbox_order() -> Result<(), Failed> {
    let (root, _) = create_event_edited_twice()?;
    dm_ok(&["chaos", "kill", "inventory"])?;
    assert_orphan_is_reported()?;
    let last = sql(&format!(
        "SELECT edited_as FROM dm_ops.replay_messages
          WHERE event_id = (SELECT edited_as FROM dm_ops.replay_messages
                             WHERE event_id = '{root}')"
    ))?;
    // Without its inbox row, the event counts as not processed.
    sql(&format!(
        "DELETE FROM inventory.inbox_events WHERE event_id = '{last}'"
    ))?;
    set_order_binding(false)?;
    let mut lost = Vec::new();
    for _ in 0..8 {
        lost.push(block_on(async { place_order(&client(), SKU, 1).await }));
    }
    eventually(
        "SELECT count(*) FROM orders.outbox_events WHERE published_at IS NULL",
        "0",
    )?;
    set_order_binding(true)?;
    let missing = findings(&reconcile_now()?);
    assert!(
        missing.contains(&("missing".into(), root.clone())),
        "{missing:?}"
    );
    let ids_of = |orders: &[String]| -> Result<Vec<String>, Failed> {
        let subjects: Vec<String> = orders.iter().map(|id| format!("'order/{id}'")).collect();
        let ids = sql(&format!(
            "SELECT event_id FROM orders.outbox_events
              WHERE routing_key = 'order.created.v1' AND subject IN ({})
              ORDER BY sequence",
            subjects.join(",")
        ))?;
        Ok(ids.lines().map(str::to_owned).collect())
    };
    let expected: Vec<String> = [last].into_iter().chain(ids_of(&lost)?).collect();
    assert_eq!(missing.len(), expected.len(), "{missing:?}");
    dm(&["reconcile", "--repair", "--grace", "0s"]);
    let remaining = findings(&reconcile_now()?);
    assert!(remaining.is_empty(), "{remaining:?}");
    assert_eq!(
        ids_for_inventory()?,
        expected,
        "the order differs from the outbox"
    );
    // A second repair finds nothing to do.
    dm(&["reconcile", "--repair", "--grace", "0s"]);
    assert_eq!(ids_for_inventory()?.len(), expected.len());
    dm_ok(&["up"])?;
    let report = reconcile_when_idle()?;
    assert_eq!(report["clean"], true, "{report}");
    Ok(())
}

/// A retention of notifications of 80 days.
const NOTIFICATION_RETENTION: &str =
    "services.wuphf.environment.NOTIFICATION_RETENTION_MS=6912000000";

/// No notification is expected that is older than the configured retention of notifications.
pub(crate) fn reconcile_expects_no_notification_older_than_its_retention() -> Result<(), Failed> {
    let decision = write_decision("jhalpert", &time_before_notification_retention()?)?;
    let reports = reports_without_notification(&decision);
    sql(&format!(
        "DELETE FROM finance.outbox_events WHERE event_id = '{decision}';
         DELETE FROM notifications.inbox_events WHERE event_id = '{decision}'"
    ))?;
    dm_ok(&["up"])?;
    let [by_default, configured] = reports?;
    let missing = ("broken".to_owned(), decision);
    assert!(findings(&by_default).contains(&missing), "{by_default}");
    assert_eq!(configured["clean"], true, "{configured}");
    Ok(())
}

/// Returns a time 80.5 days ago. It is older than [`NOTIFICATION_RETENTION`], and younger than
/// 81 days: up to this age, which is 90 % of 90 days, reconcile expects notifications by default.
fn time_before_notification_retention() -> Result<String, Failed> {
    sql(
        "SELECT to_char((now() - interval '80 days 12 hours') AT TIME ZONE 'UTC',
                        'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')",
    )
}

/// Waits until wuphf has deleted the notification of a decision because of
/// [`NOTIFICATION_RETENTION`]. Returns the reports of reconcile with the default retention and with
/// this one.
fn reports_without_notification(decision: &str) -> Result<[Value; 2], Failed> {
    let notifications = format!(
        "SELECT count(*) FROM notifications.notifications WHERE source_event_id = '{decision}'"
    );
    eventually(&notifications, "1")?;
    // A service deletes old rows soon after its start.
    dm_ok(&["up", "--set", NOTIFICATION_RETENTION])?;
    eventually(&notifications, "0")?;
    let by_default = reconcile_when_idle()?;
    let configured = dm(&["reconcile", "--json", "--set", NOTIFICATION_RETENTION]);
    Ok([by_default, serde_json::from_slice(&configured.stdout)?])
}

/// An event that is processed after its outbox row was deleted is not an orphan. An event that
/// claims to be as old, and was never written, is one.
pub(crate) fn reconcile_accepts_events_processed_after_outbox_cleanup() -> Result<(), Failed> {
    dm_ok(&["up"])?;
    assert_eq!(
        reconcile_when_idle()?["clean"],
        true,
        "{}",
        reconcile_when_idle()?
    );
    dm_ok(&["chaos", "kill", "inventory"])?;
    let order = block_on(async { place_order(&client(), SKU, 1).await });
    let of_order = format!("subject = 'order/{order}' AND routing_key = 'order.created.v1'");
    let published = format!(
        "SELECT count(*) FROM orders.outbox_events WHERE {of_order} AND published_at IS NOT NULL"
    );
    eventually(&published, "1")?;
    // The order must be as old as its event, because reconcile expects the events of recent
    // orders.
    sql(&format!(
        "UPDATE orders.orders SET created_at = now() - interval '31 days'
          WHERE order_id = '{order}'"
    ))?;
    let id = sql(&format!(
        "UPDATE orders.outbox_events
            SET created_at = now() - interval '31 days',
                published_at = now() - interval '31 days'
          WHERE {of_order} RETURNING event_id"
    ))?;
    // The service deletes old rows soon after its start.
    dm_ok(&["chaos", "restart", "order"])?;
    eventually(
        &format!("SELECT count(*) FROM orders.forgotten_events WHERE event_id = '{id}'"),
        "1",
    )?;
    let reported = findings(&reconcile_now()?);
    assert!(
        !reported.iter().any(|(_, what)| *what == id),
        "{reported:?}"
    );
    dm_ok(&["up"])?;
    eventually(
        &format!("SELECT count(*) FROM inventory.inbox_events WHERE event_id = '{id}'"),
        "1",
    )?;
    assert_eq!(
        reconcile_when_idle()?["clean"],
        true,
        "{}",
        reconcile_when_idle()?
    );

    let never = format!("evt_{:032x}", fastrand::u128(..));
    let event = json!({
        "specversion": "1.0", "id": never, "source": "/order-service",
        "type": "com.dundermifflin.order.unheard.v1", "subject": "test/never",
        "time": "2020-02-03T10:00:00Z", "datacontenttype": "application/json", "data": {},
    });
    let properties = BasicProperties::default().with_message_id(never.as_str().into());
    publish_to_queue(INVENTORY_QUEUE, event.to_string().as_bytes(), properties)?;
    let inbox_row = format!("FROM inventory.inbox_events WHERE event_id = '{never}'");
    eventually(&format!("SELECT count(*) {inbox_row}"), "1")?;
    assert_eq!(
        findings(&reconcile_now()?),
        [("orphaned".to_owned(), never.clone())]
    );
    sql(&format!("DELETE {inbox_row}"))?;
    assert_eq!(
        reconcile_when_idle()?["clean"],
        true,
        "{}",
        reconcile_when_idle()?
    );
    Ok(())
}

/// Messages that will expire in a queue count as in flight until then, and so does a message that
/// a consumer has not acknowledged.
pub(crate) fn reconcile_counts_expiring_messages_as_in_flight() -> Result<(), Failed> {
    dm_ok(&["up", "--set", "rabbitmq.policies.work.ttl=1h"])?;
    assert_eq!(
        reconcile_when_idle()?["clean"],
        true,
        "{}",
        reconcile_when_idle()?
    );
    dm_ok(&["chaos", "kill", "inventory"])?;
    for _ in 0..3 {
        block_on(async { place_order(&client(), SKU, 1).await });
    }
    eventually(
        "SELECT count(*) FROM orders.outbox_events WHERE published_at IS NULL",
        "0",
    )?;
    // One of the messages is delivered to a consumer.
    let report = block_on(async {
        let (connection, channel) = channel().await?;
        let options = BasicGetOptions { no_ack: false };
        let got = channel.basic_get(INVENTORY_QUEUE.into(), options).await?;
        assert!(got.is_some(), "inventory's queue is empty");
        let report = tokio::task::block_in_place(reconcile_now);
        connection.close(200, "done".into()).await?;
        report
    })?;
    assert_eq!(report["clean"], true, "{report}");
    let queues = report["queues"].as_array().into_iter().flatten();
    let in_flight = queues
        .filter(|queue| queue["queue"] == INVENTORY_QUEUE)
        .find_map(|queue| queue["in_flight"].as_i64());
    assert_eq!(in_flight, Some(3), "{report}");
    dm_ok(&["up"])?;
    assert_eq!(
        reconcile_when_idle()?["clean"],
        true,
        "{}",
        reconcile_when_idle()?
    );
    Ok(())
}

/// The read model's queue has no consumer in the stack. An event that is missing behind waiting
/// ones is reported, an event that was taken from the queue is counted as undetermined, and an
/// event that no outbox has written is an orphan.
pub(crate) fn reconcile_covers_the_read_model_queue() -> Result<(), Failed> {
    dm_ok(&["up"])?;
    let notification_of = |order: &str| -> Result<String, Failed> {
        let of_order = format!(
            "FROM notifications.outbox_events
              WHERE routing_key = 'notification.created.v1' AND published_at IS NOT NULL
                AND payload->'data'->>'title' = 'Order {order} created'"
        );
        eventually(&format!("SELECT count(*) {of_order}"), "1")?;
        sql(&format!("SELECT event_id {of_order}"))
    };
    let order = || block_on(async { place_order(&client(), SKU, 1).await });
    // This event waits and was never delivered.
    notification_of(&order())?;
    // Another queue receives the event, so the broker does not return it to the relay.
    let (other, none) = ("test.listener", FieldTable::default());
    block_on(async {
        let (connection, channel) = channel().await?;
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        channel
            .queue_declare(other.into(), options, none.clone())
            .await?;
        let options = QueueBindOptions::default();
        channel
            .queue_bind(
                other.into(),
                EVENT_EXCHANGE.into(),
                "#".into(),
                options,
                none,
            )
            .await?;
        connection.close(200, "done".into()).await
    })?;
    set_binding(READ_MODEL_QUEUE, "notification.created.v1", false)?;
    let lost = notification_of(&order());
    set_binding(READ_MODEL_QUEUE, "notification.created.v1", true)?;
    delete_queue(other)?;
    let lost = lost?;
    assert_eq!(
        findings(&reconcile_when_idle()?),
        [("missing".to_owned(), lost.clone())]
    );
    dm(&["reconcile", "--repair"]);
    assert_eq!(
        reconcile_when_idle()?["clean"],
        true,
        "{}",
        reconcile_when_idle()?
    );

    let never = format!("evt_{:032x}", fastrand::u128(..));
    let properties = BasicProperties::default().with_message_id(never.as_str().into());
    publish_to_queue(READ_MODEL_QUEUE, b"{}", properties)?;
    assert_eq!(
        findings(&reconcile_when_idle()?),
        [("orphaned".to_owned(), never)]
    );

    let ids = read_ids(READ_MODEL_QUEUE, true)?;
    assert_eq!(ids.iter().filter(|id| **id == lost).count(), 1, "{ids:?}");
    let report = reconcile_when_idle()?;
    assert_eq!(report["clean"], true, "{report}");
    let queues = report["queues"].as_array().into_iter().flatten();
    let queue = queues
        .into_iter()
        .find(|queue| queue["queue"] == READ_MODEL_QUEUE);
    let queue = queue.cloned().unwrap_or_default();
    assert_eq!(queue["waiting"], 0, "{queue}");
    assert_eq!(queue["undetermined"], queue["published"], "{queue}");
    assert!(queue["reason"].is_string(), "{queue}");
    Ok(())
}

/// Removes or restores the binding of new orders to inventory's queue.
fn set_order_binding(bound: bool) -> Result<(), Failed> {
    set_binding(INVENTORY_QUEUE, "order.created.v1", bound)
}

/// Removes or restores a binding of a queue.
pub(super) fn set_binding(queue: &str, key: &str, bound: bool) -> Result<(), Failed> {
    let none = FieldTable::default();
    block_on(async {
        let (connection, channel) = channel().await?;
        let (queue, exchange) = (queue.into(), EVENT_EXCHANGE.into());
        if bound {
            let options = QueueBindOptions::default();
            channel
                .queue_bind(queue, exchange, key.into(), options, none)
                .await?;
        } else {
            channel
                .queue_unbind(queue, exchange, key.into(), none)
                .await?;
        }
        connection.close(200, "done".into()).await
    })?;
    Ok(())
}

/// Returns the ids in inventory's queue, from its head on.
fn ids_for_inventory() -> Result<Vec<String>, Failed> {
    read_ids(INVENTORY_QUEUE, false)
}

/// Returns the ids in a queue, from its head on. The messages are removed or requeued.
fn read_ids(queue: &str, no_ack: bool) -> Result<Vec<String>, Failed> {
    let ids = block_on(async {
        let (connection, channel) = channel().await?;
        let mut ids = Vec::new();
        let options = BasicGetOptions { no_ack };
        while let Some(got) = channel.basic_get(queue.into(), options).await? {
            let id = got.delivery.properties.message_id().as_ref();
            ids.extend(id.map(ToString::to_string));
        }
        connection.close(200, "done".into()).await?;
        Ok::<_, lapin::Error>(ids)
    })?;
    Ok(ids)
}

/// A message that no outbox has written is reported while it is in the queue.
fn assert_orphan_is_reported() -> Result<(), Failed> {
    let id = format!("evt_{:032x}", fastrand::u128(..));
    block_on(async {
        let (connection, channel) = channel().await?;
        let options = QueuePurgeOptions::default();
        channel.queue_purge(INVENTORY_QUEUE.into(), options).await?;
        connection.close(200, "done".into()).await
    })?;
    let properties = BasicProperties::default().with_message_id(id.as_str().into());
    publish_to_queue(INVENTORY_QUEUE, b"{}", properties)?;
    let reported = findings(&reconcile_now()?);
    assert!(
        reported.contains(&("orphaned".into(), id.clone())),
        "{reported:?}"
    );
    block_on(async {
        let (connection, channel) = channel().await?;
        let options = BasicGetOptions { no_ack: false };
        if let Some(got) = channel.basic_get(INVENTORY_QUEUE.into(), options).await? {
            got.delivery.ack(BasicAckOptions::default()).await?;
        }
        connection.close(200, "done".into()).await
    })?;
    Ok(())
}

/// Edits an event that inventory cannot process into another one that it cannot process, and that
/// one into one that it can. Returns the id of the event, and its order.
fn create_event_edited_twice() -> Result<(String, String), Failed> {
    let order = block_on(async { place_order(&client(), SKU, 1).await });
    eventually(
        &format!("SELECT count(*) FROM inventory.shipments WHERE order_id = '{order}'"),
        "1",
    )?;
    let id = format!("evt_{:032x}", fastrand::u128(..));
    let event = |sku: &str| {
        json!({
            "specversion": "1.0", "id": id, "source": "/order-service",
            "type": "com.dundermifflin.order.created.v1", "subject": format!("test/{id}"),
            "time": "2026-02-03T10:00:00Z", "datacontenttype": "application/json",
            "data": {"orderId": order, "clientId": "client_501", "createdBy": "jhalpert",
                     "requestedShipDate": "2030-01-01", "createdAt": "2026-02-03T10:00:00Z",
                     "items": [{"sku": sku, "quantity": 1}]},
        })
    };
    let bad = event(" ");
    sql(&format!(
        "INSERT INTO orders.outbox_events (event_id, event_type, routing_key, subject, payload)
         VALUES ('{id}', 'com.dundermifflin.order.created.v1', 'order.created.v1', 'test/{id}',
                 '{bad}')"
    ))?;
    let first = edit_dead_letter(&id, &event("  "))?;
    let second = edit_dead_letter(&first, &event(SKU))?;
    eventually(
        &format!("SELECT count(*) FROM inventory.inbox_events WHERE event_id = '{second}'"),
        "1",
    )?;
    assert_eq!(
        reconcile_when_idle()?["clean"],
        true,
        "{}",
        reconcile_when_idle()?
    );
    Ok((id, order))
}

/// Waits until an event is a dead letter, edits and replays it. Returns its new id.
fn edit_dead_letter(id: &str, event: &Value) -> Result<String, Failed> {
    let until = std::time::Instant::now() + super::stack::TIMEOUT;
    while !dm(&["dlq", "show", id]).status.success() {
        if std::time::Instant::now() > until {
            return Err(format!("{id} is not a dead letter").into());
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), event.to_string())?;
    let output = dm_command()
        .args([
            "--instance",
            instance(),
            "dlq",
            "replay",
            "--edit",
            "--id",
            id,
        ])
        .args(["--max-rounds", "9"])
        .env_remove("VISUAL")
        .env("EDITOR", format!("cp {}", file.path().display()))
        .output()?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{stderr}");
    sql(&format!(
        "SELECT edited_as FROM dm_ops.replay_messages WHERE event_id = '{id}'"
    ))
}

/// A changed limit is applied to the running broker, is reported by a comparison, and loses no
/// message.
pub(crate) fn changed_queue_limits_are_applied_to_the_running_broker() -> Result<(), Failed> {
    let policies = || {
        let listed = dm_ok(&[
            "exec",
            "rabbitmq",
            "--",
            "rabbitmqctl",
            "--quiet",
            "list_policies",
        ])?;
        Ok::<_, Failed>(listed)
    };
    let started = || {
        let boot = "erlang:system_info(start_time).";
        dm_ok(&["exec", "rabbitmq", "--", "rabbitmqctl", "-q", "eval", boot])
    };
    dm_ok(&["up"])?;
    let before = started()?;
    for limit in ["delivery_limit=7", "ttl=2h"] {
        let set = format!("rabbitmq.policies.work.{limit}");
        dm_ok(&["up", "--set", &set])?;
    }
    assert!(
        policies()?.contains("\"message-ttl\":7200000"),
        "{}",
        policies()?
    );
    let variable = dm_command()
        .args(["--instance", instance(), "up"])
        .env("DM_RABBITMQ__POLICIES__RETRY__MAX_LENGTH", "4321")
        .output()?;
    assert!(variable.status.success());
    assert!(
        policies()?.contains("\"max-length\":4321"),
        "{}",
        policies()?
    );
    let diff = dm(&["schema", "diff"]);
    assert_eq!(diff.status.code(), Some(1));
    let stdout = String::from_utf8_lossy(&diff.stdout).into_owned();
    assert!(stdout.contains("dm-retry"), "{stdout}");

    // The read model's queue contains notifications, and it drops its oldest messages.
    let limit = "rabbitmq.policies.read_model.max_length=1";
    let refused = dm(&["up", "--set", limit]);
    assert!(
        !refused.status.success(),
        "the limit was applied, which drops messages"
    );
    let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(stderr.contains("read_model.max_length"), "{stderr}");
    assert!(
        policies()?.contains("\"max-length\":10000"),
        "{}",
        policies()?
    );

    dm_ok(&["up"])?;
    assert!(!policies()?.contains("4321"), "{}", policies()?);
    assert_eq!(started()?, before, "the broker was restarted");
    dm_ok(&["schema", "diff"]).map(drop)
}
