//! Tests of the commands that show and retry events: `outbox`, `inbox`, `events` and parking in
//! `dlq`.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use dm_contracts::topology::{EVENT_EXCHANGE, INVENTORY_QUEUE, RetryTier, retry_queue};
use lapin::BasicProperties;
use lapin::options::{BasicGetOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use libtest_mimic::Failed;
use serde_json::Value;

use super::flow::place_order;
use super::stack::{
    SleepingSession, block_on, channel, client, dm, dm_command, dm_ok, eventually, instance,
    publish_to_queue, sql,
};

fn dm_json(arguments: &[&str]) -> Result<Value, Failed> {
    let text = dm_ok(&[arguments, &["--json"]].concat())?;
    Ok(serde_json::from_str(&text)?)
}

fn event_ids(page: &Value) -> Vec<String> {
    let rows = page["rows"].as_array().into_iter().flatten();
    rows.filter_map(|row| row["event_id"].as_str().map(str::to_owned))
        .collect()
}

/// Places an order and waits until all its events are processed. Returns its id.
fn place_order_and_wait() -> Result<String, Failed> {
    let order = block_on(async { place_order(&client(), "PPR-A4-WHT-500", 1).await });
    eventually(
        &format!(
            "SELECT count(*) FROM orders.orders, notifications.notifications
              WHERE order_id = '{order}' AND status = 'RESERVED'
                AND title = 'Order {order} created'"
        ),
        "1",
    )?;
    Ok(order)
}

/// The events of an order are found in the outboxes and inboxes, and its trace shows which event
/// caused which.
pub(crate) fn events_trace_shows_what_an_order_caused() -> Result<(), Failed> {
    let order = place_order_and_wait()?;
    let subject = format!("order/{order}");
    let written = dm_json(&["outbox", "ls", "--aggregate", &subject])?;
    let types: Vec<&str> = written["rows"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|row| row["routing_key"].as_str())
        .collect();
    for key in [
        "order.created.v1",
        "inventory.stock.reserved.v1",
        "order.status.changed.v1",
    ] {
        assert!(types.contains(&key), "{key} of {types:?}");
    }
    let created = dm_json(&[
        "outbox",
        "ls",
        "--aggregate",
        &subject,
        "--type",
        "order.created.v1",
    ])?;
    let id = event_ids(&created).remove(0);
    let processed = dm_json(&[
        "inbox",
        "ls",
        "--aggregate",
        &subject,
        "--service",
        "inventory",
    ])?;
    assert_eq!(event_ids(&processed), std::slice::from_ref(&id));

    let shown = dm_json(&["outbox", "show", &id])?;
    assert_eq!(shown["envelope"]["data"]["orderId"], order.as_str());
    let statuses: Vec<&Value> = shown["deliveries"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|delivery| &delivery["status"])
        .collect();
    assert_eq!(statuses, ["processed", "processed"]);

    // The trace begins with the order's event and contains the events that it caused.
    let trace = dm_json(&["events", "trace", &order])?;
    let root = &trace["events"][0];
    assert_eq!(root["event_id"], id.as_str());
    let caused = |queue: &str| {
        let deliveries = root["deliveries"].as_array().into_iter().flatten();
        deliveries
            .filter(|delivery| delivery["queue"] == queue)
            .map(|delivery| delivery["caused"][0]["routing_key"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(caused(INVENTORY_QUEUE), ["inventory.stock.reserved.v1"]);
    assert_eq!(caused("wuphf.domain-events.q"), ["notification.created.v1"]);
    assert_eq!(trace["timeline"][1]["status"], "RESERVED");
    let logged = dm_json(&["events", "trace", &order, "--logs"])?;
    let lines = logged["logs"].as_array().map_or(0, Vec::len);
    assert!(lines >= 3, "{lines} lines");
    for unknown in ["ord_0", "evt_0", "0af7651916cd43dd8448eb211c80319c"] {
        assert_eq!(dm(&["events", "trace", unknown]).status.code(), Some(1));
    }

    // The pages contain every event exactly once. Each order causes at least four events.
    for _ in 0..2 {
        place_order_and_wait()?;
    }
    let all = event_ids(&dm_json(&["outbox", "ls", "--limit", "12"])?);
    assert_eq!(all.len(), 12);
    let mut pages = Vec::new();
    let mut cursor: Option<String> = None;
    for _ in 0..3 {
        let mut arguments = vec!["outbox", "ls", "--limit", "4"];
        if let Some(cursor) = &cursor {
            arguments.extend(["--cursor", cursor]);
        }
        let page = dm_json(&arguments)?;
        pages.extend(event_ids(&page));
        cursor = page["next_cursor"].as_str().map(str::to_owned);
    }
    assert_eq!(pages, all);
    Ok(())
}

/// `outbox stats` names a session that holds the lock of a relay.
fn assert_lock_holder_is_named() -> Result<(), Failed> {
    dm_ok(&["outbox", "stats"])?;
    dm_ok(&["chaos", "kill", "sales"])?;
    let lock = "SELECT pg_advisory_lock(hashtext('outbox'), hashtext('sales'))";
    let session = SleepingSession::start(lock)?;
    let stats = dm(&["outbox", "stats", "--service", "sales", "--json"]);
    let report: Value = serde_json::from_slice(&stats.stdout)?;
    let holder = &report["outboxes"][0]["blocked_by"];
    assert_eq!(holder["pid"].to_string(), session.pid()?, "{report}");
    assert!(holder["role"].is_string(), "{holder}");
    assert_eq!(stats.status.code(), Some(1));
    drop(session);
    dm_ok(&["up"])?;
    dm_ok(&["outbox", "stats"]).map(drop)
}

/// The relay publishes the text of an event unchanged: order of keys, spaces, duplicate keys, all
/// digits of numbers, and escapes.
pub(crate) fn relay_publishes_the_payload_text_unchanged() -> Result<(), Failed> {
    let id = format!("evt_{:032x}", fastrand::u128(..));
    let text = format!(
        r#"{{"type": "t.v1",  "specversion":"1.0","id":"{id}", "source":"/test",
           "data": {{"z":1.0,"a":1,"a":2,  "large":123456789012345678901234567890.50,
           "small":1e-7,"text":"\u00fc ü \u2028 \/"}} }}"#
    );
    // The service may publish this key, and no queue of another service is bound to it.
    let key = "notification.created.v1";
    let published = block_on(async {
        let (connection, channel) = channel().await?;
        let options = QueueDeclareOptions {
            exclusive: true,
            ..QueueDeclareOptions::default()
        };
        let queue = channel
            .queue_declare("".into(), options, FieldTable::default())
            .await?;
        let name = queue.name().clone();
        channel
            .queue_bind(
                name.clone(),
                EVENT_EXCHANGE.into(),
                key.into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await?;
        sql(&format!(
            "INSERT INTO notifications.outbox_events
                 (event_id, event_type, routing_key, subject, payload)
             VALUES ('{id}', 't.v1', '{key}', 'test/{id}', '{text}')"
        ))?;
        let until = std::time::Instant::now() + super::stack::TIMEOUT;
        let body = loop {
            let options = BasicGetOptions { no_ack: true };
            if let Some(got) = channel.basic_get(name.clone(), options).await? {
                let message_id = got.delivery.properties.message_id();
                if message_id
                    .as_ref()
                    .is_some_and(|found| found.as_str() == id)
                {
                    break got.delivery.data;
                }
                continue;
            }
            if std::time::Instant::now() > until {
                return Err(Failed::from("the event was not published"));
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        };
        connection.close(200, "done".into()).await?;
        Ok(body)
    })?;
    assert_eq!(String::from_utf8_lossy(&published), text);
    let shown = dm_ok(&["outbox", "show", &id, "--json"])?;
    assert!(shown.contains(&text), "{shown}");
    Ok(())
}

/// `outbox retry` publishes a refused event at once, and `inbox retry` requeues the messages in
/// retry queues. `outbox stats` names who blocks a relay.
pub(crate) fn outbox_retry_publishes_refused_events() -> Result<(), Failed> {
    let id = format!("evt_{:032x}", fastrand::u128(..));
    sql(&format!(
        "INSERT INTO notifications.outbox_events
             (event_id, event_type, routing_key, subject, payload, not_before, last_error)
         VALUES ('{id}', 'com.dundermifflin.notification.created.v1',
                 'notification.created.v1', 'test/{id}', '{{}}',
                 now() + interval '1 hour', 'no queue is bound to its routing key')"
    ))?;
    let refused = dm_json(&["outbox", "ls", "--state", "refused"])?;
    assert_eq!(event_ids(&refused), std::slice::from_ref(&id));
    let limited = dm(&["outbox", "stats", "--max-refused", "0"]);
    assert_eq!(limited.status.code(), Some(1));
    let unknown = dm(&["outbox", "retry", &id, "nosuch"]);
    assert!(!unknown.status.success(), "an unknown event was retried");
    dm_ok(&["outbox", "retry", &id])?;
    let published = format!(
        "SELECT published_at IS NOT NULL FROM notifications.outbox_events WHERE event_id = '{id}'"
    );
    eventually(&published, "t")?;
    dm_ok(&["outbox", "stats", "--max-refused", "0"])?;

    assert_lock_holder_is_named()?;

    // This event has been processed before: it has no effect and leaves the retry queue.
    let order = place_order_and_wait()?;
    let found = sql(&format!(
        "SELECT event_id || ' ' || payload::text FROM orders.outbox_events
          WHERE subject = 'order/{order}' AND routing_key = 'order.created.v1'"
    ))?;
    let (id, body) = found.split_once(' ').ok_or("the order has no event")?;
    let waiting = retry_queue(INVENTORY_QUEUE, RetryTier::Minute);
    let properties = BasicProperties::default()
        .with_message_id(id.into())
        .with_delivery_mode(2);
    publish_to_queue(&waiting, body.as_bytes(), properties)?;
    let wait_for_retrying = |expected: u64| {
        let until = std::time::Instant::now() + super::stack::TIMEOUT;
        loop {
            let stats = dm_json(&["inbox", "stats", "--queue", INVENTORY_QUEUE])?;
            if stats["queues"][0]["retrying"] == expected {
                return Ok::<_, Failed>(());
            }
            if std::time::Instant::now() > until {
                return Err(
                    format!("expected {expected} messages in retry queues: {stats}").into(),
                );
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    };
    wait_for_retrying(1)?;
    dm_ok(&["inbox", "retry"])?;
    wait_for_retrying(0)
}

/// An event that no consumer can process is dead-lettered, then parked, and never reported as
/// missing.
pub(crate) fn reconcile_counts_parked_dead_letters() -> Result<(), Failed> {
    let id = format!("evt_{:032x}", fastrand::u128(..));
    sql(&format!(
        "INSERT INTO orders.outbox_events (event_id, event_type, routing_key, subject, payload)
         VALUES ('{id}', 'com.dundermifflin.order.created.v1', 'order.created.v1', 'test/{id}',
                 '{{\"specversion\": \"1.0\", \"id\": \"{id}\", \"source\": \"/test\",
                   \"type\": \"com.dundermifflin.order.created.v1\", \"data\": {{}}}}')"
    ))?;
    let until = std::time::Instant::now() + super::stack::TIMEOUT;
    let statuses = || {
        let shown = dm_json(&["outbox", "show", &id])?;
        let deliveries = shown["deliveries"].as_array().cloned().unwrap_or_default();
        let statuses = deliveries
            .iter()
            .filter_map(|delivery| delivery["status"].as_str());
        Ok::<_, Failed>(statuses.map(str::to_owned).collect::<Vec<_>>())
    };
    while statuses()? != ["dead-lettered", "dead-lettered"] {
        if std::time::Instant::now() > until {
            return Err(format!("{:?}", statuses()?).into());
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    let count_dead_letters = || {
        let report = dm_json(&["reconcile"])?;
        let queues = report["queues"].as_array().into_iter().flatten();
        Ok::<_, Failed>(
            queues
                .filter_map(|queue| queue["dead_lettered"].as_i64())
                .sum::<i64>(),
        )
    };
    assert_eq!(count_dead_letters()?, 2);
    dm_ok(&["dlq", "park", "--id", &id, "--yes"])?;
    assert_eq!(statuses()?, ["parked", "parked"]);
    assert_eq!(
        count_dead_letters()?,
        2,
        "reconcile does not count the parked messages"
    );
    dm_ok(&["dlq", "unpark", &id])?;
    assert_eq!(statuses()?, ["dead-lettered", "dead-lettered"]);
    let directory = tempfile::tempdir()?;
    let copy = directory.path().join("copy.jsonl");
    dm_ok(&[
        "dlq",
        "purge",
        "--id",
        &id,
        "--copy",
        copy.to_str().unwrap(),
        "--yes",
    ])?;
    // After the purge the event is missing, and reconcile reports it.
    assert_eq!(dm(&["reconcile", "--grace", "0s"]).status.code(), Some(1));
    sql(&format!(
        "DELETE FROM orders.outbox_events WHERE event_id = '{id}'"
    ))?;
    dm_ok(&["reconcile"]).map(drop)
}

/// Published events are shown as they are published, and the queue of the command is removed at
/// its end.
pub(crate) fn events_tail_shows_published_events_and_removes_its_queue() -> Result<(), Failed> {
    let mut child = dm_command()
        .args([
            "--instance",
            instance(),
            "events",
            "tail",
            "--json",
            "--limit",
            "1",
        ])
        .args(["--key", "order.#", "--type", "order.created.v1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let stderr = child.stderr.take().ok_or("no stderr")?;
    let line = BufReader::new(stderr).lines().next().transpose()?;
    let line = line.unwrap_or_default();
    assert!(line.contains("listening"), "{line}");
    let order = block_on(async { place_order(&client(), "PPR-A4-WHT-500", 1).await });
    let output = child.wait_with_output()?;
    assert!(output.status.success());
    let seen: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(seen["data"]["orderId"], order.as_str());
    assert_eq!(
        (&seen["kind"], &seen["source"]),
        (&"published".into(), &"/order-service".into())
    );
    let queues = dm_ok(&[
        "exec",
        "rabbitmq",
        "--",
        "rabbitmqctl",
        "list_queues",
        "--quiet",
        "name",
    ])?;
    assert!(!queues.contains("amq.gen"), "{queues}");
    Ok(())
}
