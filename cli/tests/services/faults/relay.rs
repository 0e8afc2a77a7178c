//! A relay whose events are refused or not confirmed, a relay that becomes unreachable, and a relay
//! with large events.

use std::time::{Duration, Instant};

use dm_contracts::DomainEvent as _;
use dm_contracts::events::{PickingStarted, StockReserved};
use lapin::options::{QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use libtest_mimic::Failed;
use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::super::flow::{place_order, place_reserved_orders, shipment_of};
use super::super::stack::{
    block_on, channel, client, dm_ok, eventually, request, resume_queue, spawn, sql, suspend_queue,
};
use super::{Fault, TIMEOUT, container, docker, memory, rabbitmqctl};

pub(super) const FAULTS: &[Fault] = fault_list![
    refused_channel_delays_only_its_aggregate:
        "the broker closes the channel on messages without permission, for 5 s",
    events_confirmed_before_a_failure_are_marked:
        "connections are closed while the broker confirms all events but one",
    unreachable_relay_releases_its_lock: "a relay vanishes while data to it is unacknowledged",
];

const EXCHANGE: &str = "dm.domain.events";
const PUBLISHER: &str = "order-service";

/// A part of the routing keys that the publisher may use.
const ORDER_KEY: &str = r"^order\.created\.v1$";

/// Returns the pattern of the routing keys that the publisher may use.
fn allowed_keys() -> Result<String, Failed> {
    let arguments = ["-q", "list_user_topic_permissions", PUBLISHER];
    let permissions = rabbitmqctl(&[&arguments[..], &["--formatter", "json"]].concat())?;
    let permissions: Vec<Value> = serde_json::from_str(&permissions)?;
    let of_exchange = permissions
        .iter()
        .find(|permission| permission["exchange"] == EXCHANGE)
        .ok_or("the publisher has no permission")?;
    Ok(of_exchange["write"].as_str().unwrap().to_owned())
}

fn set_allowed_keys(keys: &str) -> Result<(), Failed> {
    let arguments = ["set_topic_permissions", PUBLISHER, EXCHANGE, keys, "^$"];
    rabbitmqctl(&arguments).map(drop)
}

/// Events about a changed status are refused with an error of the channel. New orders are still
/// published.
fn refused_channel_delays_only_its_aggregate() -> Result<usize, Failed> {
    let allowed = allowed_keys()?;
    set_allowed_keys(ORDER_KEY)?;
    // A channel keeps its cached permissions until it is closed.
    dm_ok(&["chaos", "disconnect"])?;
    let outcome = assert_only_status_changes_are_refused();
    set_allowed_keys(&allowed)?;
    outcome?;
    Ok(1)
}

fn assert_only_status_changes_are_refused() -> Result<(), Failed> {
    let refused = "SELECT count(*) > 0 FROM orders.outbox_events
                    WHERE routing_key = 'order.status.changed.v1' AND published_at IS NULL
                      AND last_error LIKE '%ACCESS%REFUSED%'";
    eventually(refused, "t")?;
    for _ in 0..5 {
        let order = block_on(async { place_order(&client(), "PPR-A4-WHT-500", 1).await });
        eventually(
            &format!("SELECT count(*) FROM inventory.shipments WHERE order_id = '{order}'"),
            "1",
        )?;
        std::thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}

/// A queue of the test, in addition to those of the stack.
const SUSPENDED_QUEUE: &str = "test.suspended.q";

/// Two events are sent together, and one of them is not confirmed. The other one is marked when the
/// connection fails.
fn events_confirmed_before_a_failure_are_marked() -> Result<usize, Failed> {
    let (reserved, picking) = (StockReserved::ROUTING_KEY, PickingStarted::ROUTING_KEY);
    let mut orders = block_on(place_reserved_orders("PPR-A4-WHT-500", 1, 2))?;
    let (first, second) = (orders.remove(0), orders.remove(0));
    let scanned = block_on(async {
        let path = format!("/internal/shipments/{}/scan", shipment_of(&second));
        let scan = request(&client(), Method::POST, "inventory", &path)
            .json(&json!({"barcode": "SKU:PPR", "quantity": 1}));
        scan.send().await
    })?;
    assert_eq!(scanned.status(), 200);
    let both = format!(
        "(subject, routing_key) IN (('order/{first}', '{reserved}'),
                                    ('order/{second}', '{picking}'))"
    );
    let published = format!(
        "SELECT string_agg(routing_key, ' ' ORDER BY routing_key) FROM inventory.outbox_events
          WHERE {both} AND published_at IS NOT NULL"
    );
    eventually(&published, &format!("{picking} {reserved}"))?;

    let marked = (|| {
        // The load publishes no event with this routing key.
        bind_suspended_queue(picking)?;
        // The relay reads both events at once. Without earlier attempts, they are sent in one part.
        sql(&format!(
            "UPDATE inventory.outbox_events SET published_at = NULL, attempts = 0 WHERE {both}"
        ))?;
        // If the relay has not sent the events yet, it sends them in its next session, which ends
        // after the confirm timeout.
        dm_ok(&["chaos", "disconnect"])?;
        eventually(&published, reserved)
    })();
    // Deleting a queue waits for its process.
    let removed = resume_queue(SUSPENDED_QUEUE)
        .and_then(|()| rabbitmqctl(&["-q", "delete_queue", SUSPENDED_QUEUE]));
    marked?;
    removed?;
    eventually(&published, &format!("{picking} {reserved}"))?;
    Ok(1)
}

/// Declares a queue that receives the events with this routing key, and confirms none.
fn bind_suspended_queue(key: &str) -> Result<(), Failed> {
    block_on(async {
        let (connection, channel) = channel().await?;
        let mut arguments = FieldTable::default();
        let classic = AMQPValue::LongString("classic".into());
        arguments.insert("x-queue-type".into(), classic);
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        channel
            .queue_declare(SUSPENDED_QUEUE.into(), options, arguments)
            .await?;
        channel
            .queue_bind(
                SUSPENDED_QUEUE.into(),
                EXCHANGE.into(),
                key.into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await?;
        connection.close(200, "done".into()).await
    })?;
    suspend_queue(SUSPENDED_QUEUE)
}

/// While a message to a client is unacknowledged, the kernel sends no keepalives. The server must
/// not wait for the kernel's much longer timeout.
fn unreachable_relay_releases_its_lock() -> Result<usize, Failed> {
    const HOLDER: &str = "SELECT pid FROM pg_locks
         WHERE locktype = 'advisory' AND granted AND objsubid = 2
           AND classid = hashtext('outbox')::oid AND objid = hashtext('profile')::oid";
    // The service has no load, so nothing else wakes its session.
    let holder = sql(HOLDER)?;
    assert!(
        !holder.is_empty(),
        "no session holds the lock of profile's relay"
    );
    let mut cut = spawn(&["chaos", "cut", "profile", "--for", "120s"])?;
    let released = (|| {
        wait_until_disconnected("profile")?;
        sql("SELECT pg_notify('outbox.profile', '')")?;
        eventually(
            &format!(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = {holder}"
            ),
            "0",
        )
    })();
    kill_process(Pid::from_child(&cut), Signal::INT)?;
    cut.wait()?;
    released?;
    // The service relays again.
    eventually(&format!("SELECT count(*) > 0 FROM ({HOLDER}) AS lock"), "t")?;
    Ok(1)
}

/// Waits until a component is disconnected from its network.
fn wait_until_disconnected(component: &str) -> Result<(), Failed> {
    let id = container(component)?;
    let until = Instant::now() + TIMEOUT;
    let networks = "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end}}";
    while !docker(&["inspect", "--format", networks, &id])?
        .trim()
        .is_empty()
    {
        if Instant::now() > until {
            return Err(format!("{component} is still on its network").into());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// A relay publishes a backlog of large events with little memory.
///
/// No queue is bound to their type, so the broker drops them. The test loads the relay, not the
/// disk.
pub(super) fn relay_publishes_large_events_with_little_memory() -> Result<(), Failed> {
    const EVENTS: u32 = 2000;
    const MAX_GROWTH: u64 = 64 * 1024;
    dm_ok(&["up"])?;
    // The events are held back until all of them are written.
    sql(&format!(
        "INSERT INTO sales.outbox_events
             (event_id, event_type, routing_key, subject, payload, not_before)
         SELECT 'evt_large_' || n, 'com.dundermifflin.sales.LeadConverted.v1',
                'sales.lead.converted.v1', 'lead/large_' || n,
                json_build_object('specversion', '1.0', 'id', 'evt_large_' || n,
                                   'data', json_build_object('notes', repeat('x', 1000000))),
                now() + interval '1 day'
           FROM generate_series(1, {EVENTS}) AS n"
    ))?;
    let before = memory("sales", "VmRSS")?;
    let began = Instant::now();
    sql("UPDATE sales.outbox_events SET not_before = NULL WHERE event_id LIKE 'evt_large_%'")?;
    let waiting = "SELECT count(*) FROM sales.outbox_events
                    WHERE event_id LIKE 'evt_large_%' AND published_at IS NULL";
    let until = Instant::now() + 3 * TIMEOUT;
    loop {
        let left = sql(waiting)?;
        if left == "0" {
            break;
        }
        assert!(Instant::now() < until, "{left} events are not published");
        std::thread::sleep(Duration::from_millis(200));
    }
    let seconds = began.elapsed().as_secs_f64();
    let growth = memory("sales", "VmHWM")?.saturating_sub(before);
    eprintln!(
        "{EVENTS} events of 1 MB: {} MB more memory, {seconds:.1} s",
        growth / 1024
    );
    sql("DELETE FROM sales.outbox_events WHERE event_id LIKE 'evt_large_%'")?;
    assert!(
        growth <= MAX_GROWTH,
        "memory grew by {growth} kB from {before} kB"
    );
    Ok(())
}
