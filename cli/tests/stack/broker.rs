//! The broker: its topology, and whose is what in it (event catalogue).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, BasicRejectOptions,
    ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
    QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ExchangeKind,
};
use serde_json::{Value, json};

use crate::harness::project::port;
use crate::harness::{Project, shared, shared::Shared};
use crate::secrets::HARDEST;
use crate::test_list;

test_list![
    the_topology_is_the_fixture,
    work_queues_lose_nothing_and_dead_letter_queues_keep_everything,
    a_service_publishes_its_own_events_and_no_others,
    a_service_reads_its_own_queue_and_no_other,
    no_service_changes_the_topology,
    a_rejected_message_lands_in_its_dead_letter_queue,
    a_connection_that_was_just_made_is_ended_too,
];

const EVENTS: &str = "dm.domain.events";

/// The broker lists a connection only after some seconds: `dm chaos disconnect` does not go by
/// that.
async fn a_connection_that_was_just_made_is_ended_too() {
    let project = Project::new("disconnect");
    project.up(&["--only", "rabbitmq"]).ok();
    let status = project.status();
    let uri = dm_amqp::uri(
        "dunder",
        HARDEST,
        "127.0.0.1",
        port(&status, "rabbitmq", 0),
        "/",
    );
    for _ in 0..3 {
        let connect = Connection::connect_uri(uri.clone(), ConnectionProperties::default());
        let connection = connect.await.unwrap();
        project.dm(&["chaos", "disconnect"]).ok();
        let gone = async {
            while connection.status().connected() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(30), gone).await;
        ended.expect("the connection is still there");
    }
}

/// Who uses the broker: user, routing keys of its events, the queue that it reads.
const SERVICES: [(&str, &[&str], Option<&str>); 6] = [
    ("profile-service", &["profile.updated.v1"], None),
    ("sales-service", &["sales.lead.converted.v1"], None),
    (
        "order-service",
        &["order.created.v1", "order.status.changed.v1"],
        Some("order.inventory-events.q"),
    ),
    (
        "inventory-service",
        &[
            "inventory.stock.reserved.v1",
            "inventory.stock.failed.v1",
            "shipment.dispatched.v1",
        ],
        Some("inventory.order-events.q"),
    ),
    (
        "finance-service",
        &["finance.expense.submitted.v1", "finance.expense.decided.v1"],
        None,
    ),
    (
        "wuphf-service",
        &["notification.created.v1"],
        Some("wuphf.domain-events.q"),
    ),
];

async fn connect(shared: &Shared, user: &str) -> Connection {
    shared
        .servers
        .broker(user, HARDEST)
        .await
        .expect("the service may log in")
}

/// The code with which the broker refused.
fn refusal(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        lapin::ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}

/// Publishes with a confirm. The error is the code of a refusal.
async fn publish(connection: &Connection, exchange: &str, key: &str) -> Result<Confirmation, u16> {
    let channel = connection.create_channel().await.unwrap();
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .unwrap();
    let published = async {
        channel
            .basic_publish(
                exchange.into(),
                key.into(),
                BasicPublishOptions::default(),
                b"{}",
                BasicProperties::default().with_delivery_mode(2),
            )
            .await?
            .await
    };
    published
        .await
        .map_err(|error| refusal(&error).unwrap_or_else(|| panic!("{exchange} {key}: {error}")))
}

/// A value whose objects have their keys in order.
fn ordered(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<&String, Value> = map
                .iter()
                .map(|(key, value)| (key, ordered(value)))
                .collect();
            json!(sorted)
        }
        Value::Array(list) => list.iter().map(ordered).collect(),
        other => other.clone(),
    }
}

/// What these fields of a list's entries say, so that two lists compare whatever
/// else the broker tells.
fn project(list: &Value, fields: &[&str]) -> BTreeSet<String> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            let picked: Vec<Value> = fields.iter().map(|&field| ordered(&entry[field])).collect();
            json!(picked).to_string()
        })
        .collect()
}

async fn the_topology_is_the_fixture() {
    let shared = shared();
    let fixture = shared
        .project
        .root()
        .join("fixtures/rabbitmq/definitions.json");
    let fixture: Value = serde_json::from_slice(&std::fs::read(fixture).unwrap()).unwrap();
    let actual = shared.servers.management("definitions").await;
    for (part, fields) in [
        ("vhosts", &["name"][..]),
        (
            "exchanges",
            &[
                "vhost",
                "name",
                "type",
                "durable",
                "auto_delete",
                "internal",
                "arguments",
            ],
        ),
        (
            "queues",
            &["vhost", "name", "durable", "auto_delete", "arguments"],
        ),
        (
            "bindings",
            &[
                "vhost",
                "source",
                "destination",
                "destination_type",
                "routing_key",
                "arguments",
            ],
        ),
        (
            "permissions",
            &["vhost", "user", "configure", "write", "read"],
        ),
        (
            "topic_permissions",
            &["vhost", "user", "exchange", "write", "read"],
        ),
        ("users", &["name", "tags"]),
    ] {
        assert_eq!(
            project(&actual[part], fields),
            project(&fixture[part], fields),
            "{part}"
        );
    }
    // The policies come from the configuration.
    let policies = project(&actual["policies"], &["name", "definition"]);
    let expected = json!([
        {"name": "dm-work", "definition": {"max-length": 250_000, "delivery-limit": 50}},
        {"name": "dm-retry", "definition": {"max-length": 250_000, "delivery-limit": 50}},
        {"name": "dm-readmodel", "definition": {
            "max-length": 10_000, "message-ttl": 604_800_000, "overflow": "drop-head"}},
    ]);
    assert_eq!(policies, project(&expected, &["name", "definition"]));
}

async fn work_queues_lose_nothing_and_dead_letter_queues_keep_everything() {
    let servers = &shared().servers;
    // A policy is told with the statistics, a type is not.
    let has_policies = |queues: &Value| {
        let queues = queues.as_array().into_iter().flatten();
        queues
            .map(|queue| &queue["effective_policy_definition"])
            .all(Value::is_object)
    };
    let queues = servers.management_once("queues", has_policies).await;
    let queue = |name: &str| {
        queues
            .as_array()
            .and_then(|queues| queues.iter().find(|queue| queue["name"] == name))
            .unwrap_or_else(|| panic!("there is no {name}"))
            .clone()
    };
    for name in SERVICES.iter().filter_map(|(_, _, queue)| *queue) {
        let work = queue(name);
        assert_eq!(work["type"], "quorum", "{name}");
        assert_eq!(
            work["arguments"]["x-dead-letter-strategy"], "at-least-once",
            "{name}"
        );
        // What the strategy needs to be in force.
        assert_eq!(work["arguments"]["x-overflow"], "reject-publish", "{name}");
        assert!(
            work["effective_policy_definition"]["max-length"].is_u64(),
            "{name}: {work:#}"
        );
        let dead = queue(&format!("{name}.dlq"));
        assert_eq!(dead["durable"], true, "{name}");
        // A look at a quorum queue counts as a delivery, and there are only so many.
        assert_eq!(dead["type"], "classic", "{name}");
        assert_eq!(dead["effective_policy_definition"], json!({}), "{name}");
        for (delay, milliseconds) in [("1s", 1_000), ("10s", 10_000), ("60s", 60_000)] {
            let retry = queue(&format!("{name}.retry.{delay}"));
            assert_eq!(retry["arguments"]["x-message-ttl"], milliseconds, "{name}");
            assert_eq!(retry["arguments"]["x-dead-letter-routing-key"], name);
        }
    }
}

async fn a_service_publishes_its_own_events_and_no_others() {
    let shared = shared();
    let all: Vec<&str> = SERVICES
        .iter()
        .flat_map(|(_, keys, _)| *keys)
        .copied()
        .collect();
    for (user, own, _) in SERVICES {
        let connection = connect(shared, user).await;
        for key in &all {
            let did = publish(&connection, EVENTS, key).await;
            if own.contains(key) {
                assert!(
                    did.as_ref().is_ok_and(Confirmation::is_ack),
                    "{user}: {key}: {did:?}"
                );
            } else {
                assert_eq!(did.err(), Some(403), "{user}: {key}");
            }
        }
        // Not past the exchange either: straight into a queue.
        for target in ["inventory.order-events.q", "wuphf.domain-events.q.dlq"] {
            assert_eq!(
                publish(&connection, "", target).await.err(),
                Some(403),
                "{user}: {target}"
            );
        }
        connection.close(200, "done".into()).await.unwrap();
    }
    purge(shared).await;
}

async fn a_service_reads_its_own_queue_and_no_other() {
    let shared = shared();
    let queues = shared.servers.management("queues").await;
    let queues: Vec<&str> = queues
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|queue| queue["name"].as_str())
        .collect();
    for (user, _, own) in SERVICES {
        let connection = connect(shared, user).await;
        for &queue in &queues {
            let channel = connection.create_channel().await.unwrap();
            let consuming = channel
                .basic_consume(
                    queue.into(),
                    "".into(),
                    BasicConsumeOptions::default(),
                    FieldTable::default(),
                )
                .await;
            match consuming {
                Ok(_) => assert_eq!(own, Some(queue), "{user} may read {queue}"),
                Err(error) => {
                    assert_eq!(refusal(&error), Some(403), "{user}: {queue}: {error}");
                    assert_ne!(own, Some(queue), "{user} may not read {queue}");
                }
            }
        }
        connection.close(200, "done".into()).await.unwrap();
    }
    assert!(
        shared
            .servers
            .broker("order-service", "wrong")
            .await
            .is_err()
    );
    // The gateway has no business with the broker.
    assert!(
        shared
            .servers
            .broker("gateway-service", "gateway-service-dev")
            .await
            .is_err()
    );
}

async fn no_service_changes_the_topology() {
    let shared = shared();
    for (user, _, _) in SERVICES {
        let connection = connect(shared, user).await;
        let channel = || async { connection.create_channel().await.unwrap() };
        let durable = QueueDeclareOptions {
            durable: true,
            ..Default::default()
        };
        let table = FieldTable::default;
        let attempts: [(&str, lapin::Result<()>); 5] = [
            (
                "declare a queue",
                channel()
                    .await
                    .queue_declare("mine".into(), durable, table())
                    .await
                    .map(drop),
            ),
            (
                "declare an exchange",
                channel()
                    .await
                    .exchange_declare(
                        "mine".into(),
                        ExchangeKind::Topic,
                        ExchangeDeclareOptions::default(),
                        table(),
                    )
                    .await,
            ),
            (
                "bind",
                channel()
                    .await
                    .queue_bind(
                        "wuphf.domain-events.q".into(),
                        EVENTS.into(),
                        "#".into(),
                        QueueBindOptions::default(),
                        table(),
                    )
                    .await,
            ),
            (
                "delete a queue",
                channel()
                    .await
                    .queue_delete(
                        "wuphf.domain-events.q.dlq".into(),
                        QueueDeleteOptions::default(),
                    )
                    .await
                    .map(drop),
            ),
            (
                "purge a dead-letter queue",
                channel()
                    .await
                    .queue_purge(
                        "wuphf.domain-events.q.dlq".into(),
                        QueuePurgeOptions::default(),
                    )
                    .await
                    .map(drop),
            ),
        ];
        for (what, did) in attempts {
            let refused = did.err().as_ref().and_then(refusal);
            assert_eq!(refused, Some(403), "{user}: {what}");
        }
        connection.close(200, "done".into()).await.unwrap();
    }
}

async fn a_rejected_message_lands_in_its_dead_letter_queue() {
    let shared = shared();
    // Nothing else of the suite may take from these queues meanwhile.
    let _alone = QUEUES.lock().await;
    empty(shared).await;
    let order = connect(shared, "order-service").await;
    assert!(publish(&order, EVENTS, "order.created.v1").await.is_ok());

    let inventory = connect(shared, "inventory-service").await;
    let channel = inventory.create_channel().await.unwrap();
    let message = get(&channel, "inventory.order-events.q").await;
    message
        .acker
        .reject(BasicRejectOptions { requeue: false })
        .await
        .unwrap();

    let admin = shared.servers.broker("dunder", HARDEST).await.unwrap();
    let channel = admin.create_channel().await.unwrap();
    let dead = get(&channel, "inventory.order-events.q.dlq").await;
    assert_eq!(dead.data, b"{}");
    let headers = dead.properties.headers().clone().unwrap_or_default();
    assert!(headers.inner().contains_key("x-death"), "{headers:?}");
    dead.acker.ack(Default::default()).await.unwrap();
    empty(shared).await;
}

/// Held while messages in the queues matter.
static QUEUES: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The next message of a queue, once it is there.
async fn get(channel: &Channel, queue: &str) -> lapin::message::Delivery {
    let until = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let got = channel
            .basic_get(queue.into(), BasicGetOptions::default())
            .await
            .unwrap();
        if let Some(message) = got {
            return message.delivery;
        }
        assert!(
            tokio::time::Instant::now() < until,
            "no message came to {queue}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

async fn purge(shared: &Shared) {
    let _alone = QUEUES.lock().await;
    empty(shared).await;
}

async fn empty(shared: &Shared) {
    let admin = shared.servers.broker("dunder", HARDEST).await.unwrap();
    let channel = admin.create_channel().await.unwrap();
    let queues = shared.servers.management("queues").await;
    for queue in queues
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|queue| queue["name"].as_str())
    {
        channel
            .queue_purge(queue.into(), QueuePurgeOptions::default())
            .await
            .unwrap();
    }
}
