//! Outboxes, inboxes and stories, as a person looks at them.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use dm_contracts::topology::{EVENTS, INVENTORY_QUEUE, Tier, retry_queue};
use lapin::BasicProperties;
use lapin::options::{BasicGetOptions, BasicPublishOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use libtest_mimic::Failed;
use serde_json::Value;

use super::flow::place;
use super::stack::{
    INSTANCE, block_on, channel, client, dm, dm_command, eventually, ok, sql, start,
};

fn asked(arguments: &[&str]) -> Result<Value, Failed> {
    let text = ok(&[arguments, &["--json"]].concat())?;
    Ok(serde_json::from_str(&text)?)
}

fn ids(page: &Value) -> Vec<String> {
    let rows = page["rows"].as_array().into_iter().flatten();
    rows.filter_map(|row| row["event_id"].as_str().map(str::to_owned))
        .collect()
}

/// Places an order and waits until it has gone all the way.
fn through() -> Result<String, Failed> {
    let order = block_on(async { place(&client(), "PPR-A4-WHT-500", 1).await });
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

/// An order's events are found where they are, and tell one story.
pub(crate) fn story() -> Result<(), Failed> {
    let order = through()?;
    let subject = format!("order/{order}");
    let written = asked(&["outbox", "ls", "--aggregate", &subject])?;
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
    let created = asked(&[
        "outbox",
        "ls",
        "--aggregate",
        &subject,
        "--type",
        "order.created.v1",
    ])?;
    let id = ids(&created).remove(0);
    let handled = asked(&[
        "inbox",
        "ls",
        "--aggregate",
        &subject,
        "--service",
        "inventory",
    ])?;
    assert_eq!(ids(&handled), std::slice::from_ref(&id));

    let whole = asked(&["outbox", "show", &id])?;
    assert_eq!(whole["envelope"]["data"]["orderId"], order.as_str());
    let fates: Vec<&Value> = whole["deliveries"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|delivery| &delivery["fate"])
        .collect();
    assert_eq!(fates, ["consumed", "consumed"]);

    // What caused what: from the order to what its notification told.
    let story = asked(&["events", "trace", &order])?;
    let root = &story["events"][0];
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
    assert_eq!(story["timeline"][1]["status"], "RESERVED");
    let logged = asked(&["events", "trace", &order, "--logs"])?;
    let lines = logged["logs"].as_array().map_or(0, Vec::len);
    assert!(lines >= 3, "{lines} lines");
    for unknown in ["ord_0", "evt_0", "0af7651916cd43dd8448eb211c80319c"] {
        assert_eq!(dm(&["events", "trace", unknown]).status.code(), Some(1));
    }

    // Page by page there is every event once.
    let all = ids(&asked(&["outbox", "ls", "--limit", "12"])?);
    let mut pages = Vec::new();
    let mut from: Option<String> = None;
    for _ in 0..3 {
        let mut arguments = vec!["outbox", "ls", "--limit", "4"];
        if let Some(place) = &from {
            arguments.extend(["--cursor", place]);
        }
        let page = asked(&arguments)?;
        pages.extend(ids(&page));
        from = page["next"].as_str().map(str::to_owned);
    }
    assert_eq!(pages, all);
    Ok(())
}

/// Somebody who takes a relay's lock is named.
fn blocked() -> Result<(), Failed> {
    ok(&["outbox", "stats"])?;
    ok(&["chaos", "kill", "sales"])?;
    let lock = "SELECT pg_advisory_lock(hashtext('outbox'), hashtext('sales')), pg_sleep(600)";
    let mut holder = start(&["psql", "-c", lock])?;
    let until = std::time::Instant::now() + super::stack::PATIENCE;
    let named = loop {
        let stats = dm(&["outbox", "stats", "--service", "sales", "--json"]);
        let report: Value = serde_json::from_slice(&stats.stdout)?;
        let by = report["outboxes"][0]["blocked_by"].clone();
        if by.is_object() {
            break Some((by, stats.status.code()));
        }
        if std::time::Instant::now() > until {
            break None;
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    };
    let (by, code) = named.ok_or("nobody is told to hold the lock")?;
    assert_eq!(code, Some(1));
    assert!(by["role"].is_string(), "{by}");
    sql(&format!("SELECT pg_terminate_backend({})", by["pid"]))?;
    holder.wait()?;
    ok(&["up"])?;
    ok(&["outbox", "stats"]).map(drop)
}

/// An event leaves as the text that was written: keys in their order, spaces, doubled keys,
/// numbers with all of their digits, and escapes.
pub(crate) fn as_written() -> Result<(), Failed> {
    let id = format!("evt_{:032x}", fastrand::u128(..));
    let text = format!(
        r#"{{"type": "t.v1",  "specversion":"1.0","id":"{id}", "source":"/test",
           "data": {{"z":1.0,"a":1,"a":2,  "large":123456789012345678901234567890.50,
           "small":1e-7,"text":"\u00fc ü \u2028 \/"}} }}"#
    );
    // What the service may publish, and what no other queue of a service takes.
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
                EVENTS.into(),
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
        let until = std::time::Instant::now() + super::stack::PATIENCE;
        let body = loop {
            let options = BasicGetOptions { no_ack: true };
            if let Some(got) = channel.basic_get(name.clone(), options).await? {
                let of = got.delivery.properties.message_id();
                if of.as_ref().is_some_and(|of| of.as_str() == id) {
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
    let shown = ok(&["outbox", "show", &id, "--json"])?;
    assert!(shown.contains(&text), "{shown}");
    Ok(())
}

/// What rests goes when somebody says so, out of an outbox and out of a retry queue.
pub(crate) fn retries() -> Result<(), Failed> {
    let id = format!("evt_{:032x}", fastrand::u128(..));
    sql(&format!(
        "INSERT INTO notifications.outbox_events
             (event_id, event_type, routing_key, subject, payload, not_before, last_error)
         VALUES ('{id}', 'com.dundermifflin.notification.created.v1',
                 'notification.created.v1', 'test/{id}', '{{}}',
                 now() + interval '1 hour', 'no queue takes it')"
    ))?;
    let refused = asked(&["outbox", "ls", "--state", "refused"])?;
    assert_eq!(ids(&refused), std::slice::from_ref(&id));
    let limited = dm(&["outbox", "stats", "--max-refused", "0"]);
    assert_eq!(limited.status.code(), Some(1));
    ok(&["outbox", "retry", &id])?;
    let published = format!(
        "SELECT published_at IS NOT NULL FROM notifications.outbox_events WHERE event_id = '{id}'"
    );
    eventually(&published, "t")?;
    ok(&["outbox", "stats", "--max-refused", "0"])?;

    blocked()?;

    // One that was handled long ago: it changes nothing, and is off the retry queue.
    let order = through()?;
    let found = sql(&format!(
        "SELECT event_id || ' ' || payload::text FROM orders.outbox_events
          WHERE subject = 'order/{order}' AND routing_key = 'order.created.v1'"
    ))?;
    let (id, body) = found.split_once(' ').ok_or("the order told nothing")?;
    let waiting = retry_queue(INVENTORY_QUEUE, Tier::Minute);
    block_on(async {
        let (connection, channel) = channel().await?;
        let properties = BasicProperties::default()
            .with_message_id(id.into())
            .with_delivery_mode(2);
        let options = BasicPublishOptions::default();
        channel
            .basic_publish(
                "".into(),
                waiting.into(),
                options,
                body.as_bytes(),
                properties,
            )
            .await?;
        connection.close(200, "done".into()).await
    })?;
    let retrying = |expected: u64| {
        let until = std::time::Instant::now() + super::stack::PATIENCE;
        loop {
            let stats = asked(&["inbox", "stats", "--queue", INVENTORY_QUEUE])?;
            if stats["queues"][0]["retrying"] == expected {
                return Ok::<_, Failed>(());
            }
            if std::time::Instant::now() > until {
                return Err(format!("not {expected}: {stats}").into());
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    };
    retrying(1)?;
    ok(&["inbox", "retry"])?;
    retrying(0)
}

/// An event that nobody can handle is dead, then parked, and never missing.
pub(crate) fn parked() -> Result<(), Failed> {
    let id = format!("evt_{:032x}", fastrand::u128(..));
    sql(&format!(
        "INSERT INTO orders.outbox_events (event_id, event_type, routing_key, subject, payload)
         VALUES ('{id}', 'com.dundermifflin.order.created.v1', 'order.created.v1', 'test/{id}',
                 '{{\"specversion\": \"1.0\", \"id\": \"{id}\", \"source\": \"/test\",
                   \"type\": \"com.dundermifflin.order.created.v1\", \"data\": {{}}}}')"
    ))?;
    let until = std::time::Instant::now() + super::stack::PATIENCE;
    let fates = || {
        let shown = asked(&["outbox", "show", &id])?;
        let deliveries = shown["deliveries"].as_array().cloned().unwrap_or_default();
        let fates = deliveries.iter().filter_map(|it| it["fate"].as_str());
        Ok::<_, Failed>(fates.map(str::to_owned).collect::<Vec<_>>())
    };
    while fates()? != ["dead", "dead"] {
        if std::time::Instant::now() > until {
            return Err(format!("{:?}", fates()?).into());
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    let dead = || {
        let report = asked(&["reconcile"])?;
        let accounts = report["accounts"].as_array().into_iter().flatten();
        Ok::<_, Failed>(accounts.filter_map(|it| it["dead"].as_i64()).sum::<i64>())
    };
    assert_eq!(dead()?, 2);
    ok(&["dlq", "park", "--id", &id, "--yes"])?;
    assert_eq!(fates()?, ["parked", "parked"]);
    assert_eq!(dead()?, 2, "what is parked is still accounted for");
    ok(&["dlq", "unpark", &id])?;
    assert_eq!(fates()?, ["dead", "dead"]);
    let folder = tempfile::tempdir()?;
    let copy = folder.path().join("copy.jsonl");
    ok(&[
        "dlq",
        "purge",
        "--id",
        &id,
        "--copy",
        copy.to_str().unwrap(),
        "--yes",
    ])?;
    // Nobody has it any more, and nobody hides that.
    assert_eq!(dm(&["reconcile", "--grace", "0s"]).status.code(), Some(1));
    sql(&format!(
        "DELETE FROM orders.outbox_events WHERE event_id = '{id}'"
    ))?;
    ok(&["reconcile"]).map(drop)
}

/// Events are seen as they pass, and the look leaves nothing behind.
pub(crate) fn tail() -> Result<(), Failed> {
    let mut child = dm_command()
        .args([
            "--instance",
            INSTANCE,
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
    let told = child.stderr.take().ok_or("no stderr")?;
    let listening = BufReader::new(told).lines().next();
    assert!(listening.is_some_and(|line| line.is_ok_and(|line| line.contains("listening"))));
    let order = block_on(async { place(&client(), "PPR-A4-WHT-500", 1).await });
    let output = child.wait_with_output()?;
    assert!(output.status.success());
    let seen: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(seen["data"]["orderId"], order.as_str());
    assert_eq!(
        (&seen["kind"], &seen["source"]),
        (&"published".into(), &"/order-service".into())
    );
    let queues = ok(&[
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
