//! Tests against a broker.

use dm_test_servers::VirtualHost;

use super::*;

fn topology(exchanges: &[&str], queues: &[&str]) -> DeclaredTopology {
    let objects = |names: &[&str]| -> Vec<Value> {
        let objects = names.iter().map(|name| json!({"name": name}));
        objects.collect()
    };
    let definitions = json!({"exchanges": objects(exchanges), "queues": objects(queues)});
    DeclaredTopology::from_definitions(&definitions).unwrap()
}

#[tokio::test]
async fn missing_exchange_or_queue_is_named_and_not_created() {
    let VirtualHost { port, name } =
        tokio::task::spawn_blocking(dm_test_servers::create_virtual_host)
            .await
            .unwrap();
    let uri = dm_amqp::build_uri("guest", "guest", "127.0.0.1", port, &name).to_string();
    let connection = dm_amqp::connect(&uri, "test").await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let options = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let (kind, arguments) = (ExchangeKind::Fanout, FieldTable::default());
    channel
        .exchange_declare("letters.x".into(), kind, options, arguments)
        .await
        .unwrap();
    for queue in ["first.q", "second.q"] {
        let (options, arguments) = (QueueDeclareOptions::durable(), FieldTable::default());
        channel
            .queue_declare(queue.into(), options, arguments)
            .await
            .unwrap();
    }

    for (exchanges, queues, missing) in [
        (&["letters.x"][..], &["first.q", "second.q"][..], None),
        (
            &["letters.x"],
            &["first.q", "third.q"],
            Some("no queue 'third.q'"),
        ),
        (
            &["letters.x", "parcels.x"],
            &["first.q"],
            Some("no exchange 'parcels.x'"),
        ),
        // Neither is created by the checks above.
        (&[], &["third.q"], Some("no queue 'third.q'")),
        (&["parcels.x"], &[], Some("no exchange 'parcels.x'")),
    ] {
        let outcome = topology(exchanges, queues).check_exists(&uri).await;
        let outcome = outcome.map_err(|error| error.to_string());
        match missing {
            None => assert_eq!(outcome, Ok(())),
            Some(text) => {
                let error = outcome.unwrap_err();
                assert!(error.contains(text), "{error}");
            }
        }
    }
}
