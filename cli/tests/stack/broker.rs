//! Tests of the broker: its topology and its permissions (event catalog).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, BasicRejectOptions,
    ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
    QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ExchangeKind,
};
use serde_json::{Value, json};

use crate::harness::project::port;
use crate::harness::{Project, shared, shared::Shared};
use crate::secrets::HARDEST;
use crate::test_list;

test_list![
    broker_topology_equals_the_definitions_file,
    work_queues_dead_letter_at_least_once_into_unlimited_queues,
    service_can_publish_only_its_own_events,
    service_can_consume_only_its_own_queue,
    service_cannot_change_the_topology,
    rejected_message_is_routed_to_its_dead_letter_queue,
    chaos_disconnect_closes_a_new_connection,
];

const EXCHANGE: &str = "dm.domain.events";

/// The broker lists a connection only after some seconds, so `dm chaos disconnect` must not
/// depend on that list.
async fn chaos_disconnect_closes_a_new_connection() {
    let project = Project::new("disconnect");
    project.up(&["--only", "rabbitmq"]).ok();
    let status = project.status();
    let uri = dm_amqp::build_uri(
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
        let closed = async {
            while connection.status().connected() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(30), closed).await;
        ended.expect("the connection is still open");
    }
}

/// The broker's users: name, routing keys of the events that it publishes, and the queue that it
/// consumes.
const SERVICES: [(&str, &[&str], Option<&str>); 6] = [
    ("profile-service", &["profile.updated.v1"], None),
    ("sales-service", &["sales.lead.converted.v1"], None),
    (
        "order-service",
        &[
            "order.created.v1",
            "order.status.changed.v1",
            "order.cancelled.v1",
            "order.reinstated.v1",
        ],
        Some("order.inventory-events.q"),
    ),
    (
        "inventory-service",
        &[
            "inventory.stock.reserved.v1",
            "inventory.stock.failed.v1",
            "inventory.picking.started.v1",
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
        .expect("the service could not log in")
}

/// Returns the code with which the broker refused.
fn refusal(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        lapin::ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}

/// Publishes a message and waits for the confirm. The error is the code of a refusal.
async fn publish(connection: &Connection, exchange: &str, key: &str) -> Result<Confirmation, u16> {
    publish_with(connection, exchange, key, BasicProperties::default()).await
}

/// Publishes a message with these properties, as [`publish`] does.
async fn publish_with(
    connection: &Connection,
    exchange: &str,
    key: &str,
    properties: BasicProperties,
) -> Result<Confirmation, u16> {
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
                properties.with_delivery_mode(2),
            )
            .await?
            .await
    };
    published
        .await
        .map_err(|error| refusal(&error).unwrap_or_else(|| panic!("{exchange} {key}: {error}")))
}

/// Returns a value whose objects have sorted keys.
fn with_sorted_keys(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<&String, Value> = map
                .iter()
                .map(|(key, value)| (key, with_sorted_keys(value)))
                .collect();
            json!(sorted)
        }
        Value::Array(list) => list.iter().map(with_sorted_keys).collect(),
        other => other.clone(),
    }
}

/// Returns these fields of each entry of a list, so that lists can be compared regardless of
/// other fields and of their order.
fn pick(list: &Value, fields: &[&str]) -> BTreeSet<String> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            let picked: Vec<Value> = fields
                .iter()
                .map(|&field| with_sorted_keys(&entry[field]))
                .collect();
            json!(picked).to_string()
        })
        .collect()
}

async fn broker_topology_equals_the_definitions_file() {
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
            pick(&actual[part], fields),
            pick(&fixture[part], fields),
            "{part}"
        );
    }
    // The policies come from the configuration.
    let policies = pick(&actual["policies"], &["name", "definition"]);
    let expected = json!([
        {"name": "dm-work", "definition": {"max-length": 250_000, "delivery-limit": 50}},
        {"name": "dm-retry", "definition": {"max-length": 250_000, "delivery-limit": 50}},
        {"name": "dm-readmodel", "definition": {
            "max-length": 10_000, "message-ttl": 604_800_000, "overflow": "drop-head"}},
    ]);
    assert_eq!(policies, pick(&expected, &["name", "definition"]));
}

async fn work_queues_dead_letter_at_least_once_into_unlimited_queues() {
    let servers = &shared().servers;
    // The broker reports policies with the statistics, but queue types at once.
    let has_policies = |queues: &Value| {
        let queues = queues.as_array().into_iter().flatten();
        queues
            .map(|queue| &queue["effective_policy_definition"])
            .all(Value::is_object)
    };
    let queues = servers.management_until("queues", has_policies).await;
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
        // The strategy is effective only with this overflow behaviour.
        assert_eq!(work["arguments"]["x-overflow"], "reject-publish", "{name}");
        assert!(
            work["effective_policy_definition"]["max-length"].is_u64(),
            "{name}: {work:#}"
        );
        let dead_letters = queue(&format!("{name}.dlq"));
        assert_eq!(dead_letters["durable"], true, "{name}");
        // Browsing a quorum queue counts as a delivery, and the number of deliveries is limited.
        assert_eq!(dead_letters["type"], "classic", "{name}");
        assert_eq!(
            dead_letters["effective_policy_definition"],
            json!({}),
            "{name}"
        );
        for (delay, milliseconds) in [("1s", 1_000), ("10s", 10_000), ("60s", 60_000)] {
            let retry = queue(&format!("{name}.retry.{delay}"));
            assert_eq!(retry["arguments"]["x-message-ttl"], milliseconds, "{name}");
            assert_eq!(retry["arguments"]["x-dead-letter-routing-key"], name);
        }
    }
}

async fn service_can_publish_only_its_own_events() {
    let shared = shared();
    let all: Vec<&str> = SERVICES
        .iter()
        .flat_map(|(_, keys, _)| *keys)
        .copied()
        .collect();
    for (user, own, _) in SERVICES {
        let connection = connect(shared, user).await;
        for key in &all {
            let result = publish(&connection, EXCHANGE, key).await;
            if own.contains(key) {
                assert!(
                    result.as_ref().is_ok_and(Confirmation::is_ack),
                    "{user}: {key}: {result:?}"
                );
            } else {
                assert_eq!(result.err(), Some(403), "{user}: {key}");
            }
        }
        // The broker also routes by the keys in these headers, and checks the permission for each
        // of them before it routes: https://github.com/rabbitmq/rabbitmq-server/pull/12553
        for header in ["CC", "BCC"] {
            for key in all.iter().filter(|&key| !own.contains(key)) {
                let keys = FieldArray::from(vec![AMQPValue::LongString((*key).into())]);
                let mut headers = FieldTable::default();
                headers.insert(header.into(), AMQPValue::FieldArray(keys));
                let properties = BasicProperties::default().with_headers(headers);
                let result = publish_with(&connection, EXCHANGE, own[0], properties).await;
                assert_eq!(result.err(), Some(403), "{user}: {header}: {key}");
            }
        }
        // Publishing directly to a queue is refused, too.
        for target in ["inventory.order-events.q", "wuphf.domain-events.q.dlq"] {
            assert_eq!(
                publish(&connection, "", target).await.err(),
                Some(403),
                "{user}: {target}"
            );
        }
        connection.close(200, "done".into()).await.unwrap();
    }
    purge_exclusively(shared).await;
}

async fn service_can_consume_only_its_own_queue() {
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
    // The gateway has no user at the broker.
    assert!(
        shared
            .servers
            .broker("gateway-service", "gateway-service-dev")
            .await
            .is_err()
    );
}

async fn service_cannot_change_the_topology() {
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
                        EXCHANGE.into(),
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
        for (what, result) in attempts {
            let refused = result.err().as_ref().and_then(refusal);
            assert_eq!(refused, Some(403), "{user}: {what}");
        }
        connection.close(200, "done".into()).await.unwrap();
    }
}

async fn rejected_message_is_routed_to_its_dead_letter_queue() {
    let shared = shared();
    // No other test may take messages from these queues meanwhile.
    let _guard = QUEUES_LOCK.lock().await;
    purge_all(shared).await;
    let order = connect(shared, "order-service").await;
    assert!(publish(&order, EXCHANGE, "order.created.v1").await.is_ok());

    let inventory = connect(shared, "inventory-service").await;
    let channel = inventory.create_channel().await.unwrap();
    let message = wait_for_message(&channel, "inventory.order-events.q").await;
    message
        .acker
        .reject(BasicRejectOptions { requeue: false })
        .await
        .unwrap();

    let admin = shared.servers.broker("dunder", HARDEST).await.unwrap();
    let channel = admin.create_channel().await.unwrap();
    let dead_letter = wait_for_message(&channel, "inventory.order-events.q.dlq").await;
    assert_eq!(dead_letter.data, b"{}");
    let headers = dead_letter.properties.headers().clone().unwrap_or_default();
    assert!(headers.inner().contains_key("x-death"), "{headers:?}");
    dead_letter.acker.ack(Default::default()).await.unwrap();
    purge_all(shared).await;
}

/// Held while a test depends on the messages in the queues.
static QUEUES_LOCK: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Waits for the next message of a queue and returns it.
async fn wait_for_message(channel: &Channel, queue: &str) -> lapin::message::Delivery {
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
            "no message arrived in {queue}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

async fn purge_exclusively(shared: &Shared) {
    let _guard = QUEUES_LOCK.lock().await;
    purge_all(shared).await;
}

async fn purge_all(shared: &Shared) {
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
