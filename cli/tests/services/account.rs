//! The account of all events: red where something is lost, doubled or orphaned, and at no
//! other time.

use dm_contracts::topology::{EVENTS, INVENTORY_QUEUE, READ_MODEL_QUEUE};
use lapin::BasicProperties;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, QueueBindOptions, QueueDeclareOptions,
    QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable;
use libtest_mimic::Failed;
use reqwest::Method;
use serde_json::{Value, json};

use super::faults::settled;
use super::flow::place;
use super::stack::{
    INSTANCE, address, block_on, channel, client, dm, dm_command, eventually, gateway_secret, ok,
    request, sql,
};

const SKU: &str = "PPR-A4-WHT-500";

/// The account as it is now, with what is in flight.
fn account() -> Result<Value, Failed> {
    let output = dm(&["reconcile", "--json", "--grace", "0s"]);
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The findings, as kind and what of each.
fn findings(report: &Value) -> Vec<(String, String)> {
    let found = report["findings"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    found
        .map(|it| (text(&it["kind"]), text(&it["what"])))
        .collect()
}

/// What callers may say, and what services were set up to forget, breaks no law; what is
/// lost does.
pub(crate) fn truth() -> Result<(), Failed> {
    assert_eq!(settled()?["clean"], true);
    for (key, at) in [
        ("future", "9999-12-31T23:59:59Z"),
        ("past", "1970-01-01T00:00:00Z"),
    ] {
        dispatched(key, at)?;
    }
    told_nobody()?;
    assert_eq!(settled()?["clean"], true, "{}", settled()?);

    // What an order told is gone, whichever instant its caller had.
    let order = block_on(async { place(&client(), SKU, 1).await });
    let id = sql(&format!(
        "SELECT event_id FROM orders.outbox_events
          WHERE subject = 'order/{order}' AND routing_key = 'order.created.v1'"
    ))?;
    assert_eq!(settled()?["clean"], true);
    let moved = |from: &str, to: &str| {
        sql(&format!(
            "UPDATE orders.outbox_events SET subject = '{to}/{order}'
              WHERE event_id = '{id}' AND subject = '{from}/{order}'"
        ))
    };
    moved("order", "gone")?;
    let broken = findings(&account()?);
    assert!(
        broken.contains(&("broken".into(), order.clone())),
        "{broken:?}"
    );
    moved("gone", "order")?;
    assert_eq!(settled()?["clean"], true);
    Ok(())
}

/// What sales and profile tell is what their rows say, and who was merely looked at or set to
/// `CONVERTED` has nothing to tell.
pub(crate) fn people() -> Result<(), Failed> {
    ok(&["up"])?;
    let user = format!("account-{:08x}", fastrand::u32(..));
    let ask = |method: Method, service: &str, path: &str, body: Option<Value>| {
        let user = user.clone();
        block_on(async {
            let asked = client()
                .request(method, format!("{}{path}", address(service)))
                .header("x-gateway-secret", gateway_secret())
                .header("x-user-id", user);
            let asked = match body {
                Some(body) => asked.json(&body),
                None => asked,
            };
            let answer = asked.send().await?.error_for_status()?;
            answer.json::<Value>().await
        })
    };
    let lead = || -> Result<String, Failed> {
        let whole = json!({"companyName": "Lackawanna County", "contactName": "Al",
                           "contactEmail": "al@lackawanna.gov", "phone": "570"});
        let lead = ask(Method::POST, "sales", "/internal/sales/leads", Some(whole))?;
        Ok(lead["leadId"].as_str().unwrap_or_default().to_owned())
    };
    let status = |lead: &str, status: &str| {
        let path = format!("/internal/sales/leads/{lead}");
        ask(
            Method::PATCH,
            "sales",
            &path,
            Some(json!({"status": status})),
        )
    };
    let (converted, merely) = (lead()?, lead()?);
    status(&merely, "CONVERTED")?;
    status(&converted, "QUALIFIED")?;
    let path = format!("/internal/sales/leads/{converted}/convert");
    let client = ask(Method::POST, "sales", &path, None)?;
    let client = client["clientId"].as_str().unwrap_or_default().to_owned();
    status(&converted, "NEW")?;
    ask(Method::GET, "profile", "/internal/profile/me", None)?;
    assert_eq!(settled()?["clean"], true, "{}", settled()?);
    let settings = json!({
        "profile": {"fullName": "Al", "email": "al@example.com", "title": "", "phone": ""},
        "preferences": {"defaultApp": "warehouse-mobile", "notificationsEnabled": false},
    });
    ask(
        Method::POST,
        "profile",
        "/internal/profile/me",
        Some(settings),
    )?;
    assert_eq!(settled()?["clean"], true, "{}", settled()?);

    let saved = format!("profile.user_profiles WHERE user_id = '{user}'");
    for (law, what, set, table) in [
        (
            "lead-converted",
            &converted,
            "converted_client_id = 'client_0'",
            format!("sales.leads WHERE lead_id = '{converted}'"),
        ),
        (
            "conversion-told",
            &client,
            "company_name = 'Scranton'",
            format!("sales.clients WHERE client_id = '{client}'"),
        ),
        (
            "conversion-told",
            &client,
            "subject = 'gone'",
            format!("sales.outbox_events WHERE subject = 'lead/{converted}'"),
        ),
        ("profile-told", &user, "full_name = 'Bob'", saved.clone()),
        (
            "profile-told",
            &user,
            "subject = 'gone'",
            format!("profile.outbox_events WHERE subject = 'profile/{user}'"),
        ),
    ] {
        let (name, rows) = table.split_once(" WHERE ").unwrap_or((&table, "true"));
        let kept = format!("account_{:08x}", fastrand::u32(..));
        sql(&format!(
            "CREATE TABLE dm_ops.{kept} AS SELECT ctid AS row, * FROM {table}"
        ))?;
        sql(&format!("UPDATE {name} SET {set} WHERE {rows}"))?;
        let report = account()?;
        let column = set.split(' ').next().unwrap_or_default();
        let key = match name {
            "sales.leads" => "lead_id",
            "sales.clients" => "client_id",
            "profile.user_profiles" => "user_id",
            _ => "event_id",
        };
        sql(&format!(
            "UPDATE {name} AS it SET {column} = kept.{column} FROM dm_ops.{kept} AS kept
              WHERE it.{key} = kept.{key}"
        ))?;
        sql(&format!("DROP TABLE dm_ops.{kept}"))?;
        let broken = report["findings"].as_array().into_iter().flatten();
        let told = broken
            .into_iter()
            .any(|it| it["of"] == law && it["what"] == *what);
        assert!(told, "{law} {set}: {report}");
    }
    assert_eq!(settled()?["clean"], true, "{}", settled()?);
    Ok(())
}

/// Sends an order off at an instant that its caller made up.
fn dispatched(key: &str, at: &str) -> Result<(), Failed> {
    let order = block_on(async { place(&client(), SKU, 1).await });
    let shipment = order.replace("ord_", "ship_");
    eventually(
        &format!("SELECT count(*) FROM inventory.shipments WHERE shipment_id = '{shipment}'"),
        "1",
    )?;
    let path = format!("/internal/shipments/{shipment}/dispatch");
    let status = block_on(async {
        request(&client(), Method::POST, "inventory", &path)
            .header("idempotency-key", format!("account-{key}-{order}"))
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

/// A decision for an id that no user can have, as finance once took them: wuphf handles it
/// and makes no notification.
fn told_nobody() -> Result<(), Failed> {
    let id = format!("evt_{:032x}", fastrand::u128(..));
    let event = json!({
        "specversion": "1.0", "id": id, "source": "/finance-service",
        "type": "com.dundermifflin.expense.decided.v1", "subject": "expense/test",
        "time": "2026-02-03T10:00:00Z", "datacontenttype": "application/json",
        "data": {"expenseId": "exp_0", "submitterUserId": "x".repeat(300),
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
    )
}

/// With the consumer away: what no outbox has written is told, what a lost binding loses
/// comes back in the order in which it was written, and so does what a dead letter was edited
/// into, round after round.
pub(crate) fn repaired() -> Result<(), Failed> {
    let (root, _) = edited_twice()?;
    ok(&["chaos", "kill", "inventory"])?;
    orphan()?;
    let last = sql(&format!(
        "SELECT edited_as FROM dm_ops.replay_messages
          WHERE event_id = (SELECT edited_as FROM dm_ops.replay_messages
                             WHERE event_id = '{root}')"
    ))?;
    // Noted as handled, it was; without the note it is nowhere.
    sql(&format!(
        "DELETE FROM inventory.inbox_events WHERE event_id = '{last}'"
    ))?;
    bind(false)?;
    let mut lost = Vec::new();
    for _ in 0..8 {
        lost.push(block_on(async { place(&client(), SKU, 1).await }));
    }
    eventually(
        "SELECT count(*) FROM orders.outbox_events WHERE published_at IS NULL",
        "0",
    )?;
    bind(true)?;
    let missing = findings(&account()?);
    assert!(
        missing.contains(&("missing".into(), root.clone())),
        "{missing:?}"
    );
    let list = |orders: &[String]| -> Result<Vec<String>, Failed> {
        let subjects: Vec<String> = orders.iter().map(|id| format!("'order/{id}'")).collect();
        let ids = sql(&format!(
            "SELECT event_id FROM orders.outbox_events
              WHERE routing_key = 'order.created.v1' AND subject IN ({})
              ORDER BY sequence",
            subjects.join(",")
        ))?;
        Ok(ids.lines().map(str::to_owned).collect())
    };
    let expected: Vec<String> = [last].into_iter().chain(list(&lost)?).collect();
    assert_eq!(missing.len(), expected.len(), "{missing:?}");
    dm(&["reconcile", "--repair", "--grace", "0s"]);
    let left = findings(&account()?);
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(waiting()?, expected, "in the order of the outbox");
    // A second repair finds nothing to do.
    dm(&["reconcile", "--repair", "--grace", "0s"]);
    assert_eq!(waiting()?.len(), expected.len());
    ok(&["up"])?;
    let report = settled()?;
    assert_eq!(report["clean"], true, "{report}");
    Ok(())
}

/// An event that is handled after its outbox has forgotten it was written; one that says that
/// it is as old, and was never written, is an orphan.
pub(crate) fn forgotten() -> Result<(), Failed> {
    ok(&["up"])?;
    assert_eq!(settled()?["clean"], true, "{}", settled()?);
    ok(&["chaos", "kill", "inventory"])?;
    let order = block_on(async { place(&client(), SKU, 1).await });
    let of_order = format!("subject = 'order/{order}' AND routing_key = 'order.created.v1'");
    let published = format!(
        "SELECT count(*) FROM orders.outbox_events WHERE {of_order} AND published_at IS NOT NULL"
    );
    eventually(&published, "1")?;
    // The order is as old as its event: what young orders told is to be there.
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
    // What is old goes soon after the start.
    ok(&["chaos", "restart", "order"])?;
    eventually(
        &format!("SELECT count(*) FROM orders.forgotten_events WHERE event_id = '{id}'"),
        "1",
    )?;
    let told = findings(&account()?);
    assert!(!told.iter().any(|(_, what)| *what == id), "{told:?}");
    ok(&["up"])?;
    eventually(
        &format!("SELECT count(*) FROM inventory.inbox_events WHERE event_id = '{id}'"),
        "1",
    )?;
    assert_eq!(settled()?["clean"], true, "{}", settled()?);

    let never = format!("evt_{:032x}", fastrand::u128(..));
    let event = json!({
        "specversion": "1.0", "id": never, "source": "/order-service",
        "type": "com.dundermifflin.order.unheard.v1", "subject": "test/never",
        "time": "2020-02-03T10:00:00Z", "datacontenttype": "application/json", "data": {},
    });
    block_on(async {
        let (connection, channel) = channel().await?;
        let properties = BasicProperties::default().with_message_id(never.as_str().into());
        let body = event.to_string().into_bytes();
        let options = BasicPublishOptions::default();
        channel
            .basic_publish(
                "".into(),
                INVENTORY_QUEUE.into(),
                options,
                &body,
                properties,
            )
            .await?;
        connection.close(200, "done".into()).await
    })?;
    let handled = format!("FROM inventory.inbox_events WHERE event_id = '{never}'");
    eventually(&format!("SELECT count(*) {handled}"), "1")?;
    assert_eq!(
        findings(&account()?),
        [("orphaned".to_owned(), never.clone())]
    );
    sql(&format!("DELETE {handled}"))?;
    assert_eq!(settled()?["clean"], true, "{}", settled()?);
    Ok(())
}

/// What gets too old to stay in a queue is seen there until then, and so is what a consumer has
/// at hand of it.
pub(crate) fn aging() -> Result<(), Failed> {
    ok(&["up", "--set", "rabbitmq.policies.work.ttl=1h"])?;
    assert_eq!(settled()?["clean"], true, "{}", settled()?);
    ok(&["chaos", "kill", "inventory"])?;
    for _ in 0..3 {
        block_on(async { place(&client(), SKU, 1).await });
    }
    eventually(
        "SELECT count(*) FROM orders.outbox_events WHERE published_at IS NULL",
        "0",
    )?;
    // With one of them at a consumer.
    let report = block_on(async {
        let (connection, channel) = channel().await?;
        let options = BasicGetOptions { no_ack: false };
        let got = channel.basic_get(INVENTORY_QUEUE.into(), options).await?;
        assert!(got.is_some(), "nothing waits for inventory");
        let report = tokio::task::block_in_place(account);
        connection.close(200, "done".into()).await?;
        report
    })?;
    assert_eq!(report["clean"], true, "{report}");
    let accounts = report["accounts"].as_array().into_iter().flatten();
    let waiting = accounts
        .filter(|it| it["queue"] == INVENTORY_QUEUE)
        .find_map(|it| it["in_flight"].as_i64());
    assert_eq!(waiting, Some(3), "{report}");
    ok(&["up"])?;
    assert_eq!(settled()?["clean"], true, "{}", settled()?);
    Ok(())
}

/// Of the queue that nobody here consumes: what never came behind what waits there is missing,
/// what was taken is not accounted for, and what no outbox has written is an orphan.
pub(crate) fn handed_over() -> Result<(), Failed> {
    ok(&["up"])?;
    let told = |order: &str| -> Result<String, Failed> {
        let of_order = format!(
            "FROM notifications.outbox_events
              WHERE routing_key = 'notification.created.v1' AND published_at IS NOT NULL
                AND payload->'data'->>'title' = 'Order {order} created'"
        );
        eventually(&format!("SELECT count(*) {of_order}"), "1")?;
        sql(&format!("SELECT event_id {of_order}"))
    };
    let order = || block_on(async { place(&client(), SKU, 1).await });
    // It waits, and was never delivered to anybody.
    told(&order())?;
    // Another queue takes it: nothing comes back to the relay.
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
            .queue_bind(other.into(), EVENTS.into(), "#".into(), options, none)
            .await?;
        connection.close(200, "done".into()).await
    })?;
    binding(READ_MODEL_QUEUE, "notification.created.v1", false)?;
    let lost = told(&order());
    binding(READ_MODEL_QUEUE, "notification.created.v1", true)?;
    let lost = lost?;
    block_on(async {
        let (connection, channel) = channel().await?;
        let options = QueueDeleteOptions::default();
        channel.queue_delete(other.into(), options).await?;
        connection.close(200, "done".into()).await
    })?;
    assert_eq!(
        findings(&settled()?),
        [("missing".to_owned(), lost.clone())]
    );
    dm(&["reconcile", "--repair"]);
    assert_eq!(settled()?["clean"], true, "{}", settled()?);

    let never = format!("evt_{:032x}", fastrand::u128(..));
    block_on(async {
        let (connection, channel) = channel().await?;
        let properties = BasicProperties::default().with_message_id(never.as_str().into());
        let (queue, options) = (READ_MODEL_QUEUE.into(), BasicPublishOptions::default());
        channel
            .basic_publish("".into(), queue, options, b"{}", properties)
            .await?;
        connection.close(200, "done".into()).await
    })?;
    assert_eq!(findings(&settled()?), [("orphaned".to_owned(), never)]);

    let ids = ids(READ_MODEL_QUEUE, true)?;
    assert_eq!(ids.iter().filter(|id| **id == lost).count(), 1, "{ids:?}");
    let report = settled()?;
    assert_eq!(report["clean"], true, "{report}");
    let accounts = report["accounts"].as_array().into_iter().flatten();
    let account = accounts
        .into_iter()
        .find(|it| it["queue"] == READ_MODEL_QUEUE);
    let account = account.cloned().unwrap_or_default();
    assert_eq!(account["waiting"], 0, "{account}");
    assert_eq!(account["unaccounted"], account["published"], "{account}");
    assert!(account["why"].is_string(), "{account}");
    Ok(())
}

/// Takes the binding of orders away from inventory's queue, or gives it back.
fn bind(bound: bool) -> Result<(), Failed> {
    binding(INVENTORY_QUEUE, "order.created.v1", bound)
}

/// Takes a binding away from a queue, or gives it back.
fn binding(queue: &str, key: &str, bound: bool) -> Result<(), Failed> {
    let none = FieldTable::default();
    block_on(async {
        let (connection, channel) = channel().await?;
        let (queue, exchange) = (queue.into(), EVENTS.into());
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

/// The ids of what waits for inventory, from the head of its queue on.
fn waiting() -> Result<Vec<String>, Failed> {
    ids(INVENTORY_QUEUE, false)
}

/// The ids of what is in a queue, from its head on, taken out or given back.
fn ids(queue: &str, no_ack: bool) -> Result<Vec<String>, Failed> {
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

/// A message that no outbox has written is told while it waits.
fn orphan() -> Result<(), Failed> {
    let id = format!("evt_{:032x}", fastrand::u128(..));
    block_on(async {
        let (connection, channel) = channel().await?;
        let options = QueuePurgeOptions::default();
        channel.queue_purge(INVENTORY_QUEUE.into(), options).await?;
        let properties = BasicProperties::default().with_message_id(id.as_str().into());
        let options = BasicPublishOptions::default();
        channel
            .basic_publish(
                "".into(),
                INVENTORY_QUEUE.into(),
                options,
                b"{}",
                properties,
            )
            .await?;
        connection.close(200, "done".into()).await
    })?;
    let told = findings(&account()?);
    assert!(told.contains(&("orphaned".into(), id.clone())), "{told:?}");
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

/// An event that inventory can't handle is edited into one that it can't handle either, and
/// that into one that it can. Answers its own id, and the order that it ends up about.
fn edited_twice() -> Result<(String, String), Failed> {
    let order = block_on(async { place(&client(), SKU, 1).await });
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
    let first = edit(&id, &event("  "))?;
    let second = edit(&first, &event(SKU))?;
    eventually(
        &format!("SELECT count(*) FROM inventory.inbox_events WHERE event_id = '{second}'"),
        "1",
    )?;
    assert_eq!(settled()?["clean"], true, "{}", settled()?);
    Ok((id, order))
}

/// Waits until an event is a dead letter, edits and replays it. Answers its new id.
fn edit(id: &str, event: &Value) -> Result<String, Failed> {
    let until = std::time::Instant::now() + super::stack::PATIENCE;
    while !dm(&["dlq", "show", id]).status.success() {
        if std::time::Instant::now() > until {
            return Err(format!("{id} is no dead letter").into());
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), event.to_string())?;
    let output = dm_command()
        .args([
            "--instance",
            INSTANCE,
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
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    sql(&format!(
        "SELECT edited_as FROM dm_ops.replay_messages WHERE event_id = '{id}'"
    ))
}

/// A changed limit is the running broker's at once, is seen by a comparison, and costs no
/// message.
pub(crate) fn limits() -> Result<(), Failed> {
    let policies = || {
        let listed = ok(&[
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
        ok(&["exec", "rabbitmq", "--", "rabbitmqctl", "-q", "eval", boot])
    };
    ok(&["up"])?;
    let before = started()?;
    for limit in ["delivery_limit=7", "ttl=2h"] {
        let set = format!("rabbitmq.policies.work.{limit}");
        ok(&["up", "--set", &set])?;
    }
    assert!(
        policies()?.contains("\"message-ttl\":7200000"),
        "{}",
        policies()?
    );
    let variable = dm_command()
        .args(["--instance", INSTANCE, "up"])
        .env("DM_RABBITMQ__POLICIES__RETRY__MAX_LENGTH", "4321")
        .output()?;
    assert!(variable.status.success());
    assert!(
        policies()?.contains("\"max-length\":4321"),
        "{}",
        policies()?
    );
    let differs = dm(&["schema", "diff"]);
    assert_eq!(differs.status.code(), Some(1));
    let told = String::from_utf8_lossy(&differs.stdout).into_owned();
    assert!(told.contains("dm-retry"), "{told}");

    // There are notifications in the read model's queue, and it drops its head.
    let few = "rabbitmq.policies.read_model.max_length=1";
    let refused = dm(&["up", "--set", few]);
    assert!(!refused.status.success(), "it dropped messages");
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("read_model.max_length"), "{told}");
    assert!(
        policies()?.contains("\"max-length\":10000"),
        "{}",
        policies()?
    );

    ok(&["up"])?;
    assert!(!policies()?.contains("4321"), "{}", policies()?);
    assert_eq!(started()?, before, "the broker was started anew");
    ok(&["schema", "diff"]).map(drop)
}
