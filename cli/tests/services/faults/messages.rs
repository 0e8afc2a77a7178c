//! What comes twice, can't be handled, goes astray, or waits for a lock.

use std::time::{Duration, Instant};

use dm_contracts::topology::{EVENTS, INVENTORY_QUEUE, WUPHF_QUEUE};
use lapin::BasicProperties;
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, BasicRejectOptions, QueueBindOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use libtest_mimic::Failed;
use serde_json::Value;

use super::super::stack::{block_on, channel, dm, eventually, ok, sql, start};
use super::{Fault, kill, more_published, settled};

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        test: "what_is_delivered_twice_is_applied_once",
        name: "every event is delivered a second time",
        inject: again,
    },
    Fault {
        test: "poison_among_innocents_harms_nobody_else",
        name: "poison messages among events",
        inject: poison,
    },
    Fault {
        test: "a_lost_binding_is_found_and_repaired",
        name: "a binding is deleted; found, and repaired by `dm reconcile --repair`",
        inject: binding,
    },
    Fault {
        test: "a_lost_queue_is_found_and_repaired",
        name: "a queue is deleted; found, and repaired by `dm reconcile --repair`",
        inject: queue,
    },
    Fault {
        test: "looking_at_a_queue_spends_no_delivery",
        name: "a consumer is away while `dm reconcile` reads its queue 60 times",
        inject: watched,
    },
    Fault {
        test: "two_replays_at_once_lose_nothing",
        name: "two replay runs at once, of messages that fail again",
        inject: replays,
    },
    Fault {
        test: "a_replay_that_fails_again_loses_nothing",
        name: "a replay run of messages that fail again",
        inject: again_dead,
    },
    Fault {
        test: "a_killed_replay_of_real_events_loses_nothing",
        name: "kill -9 of a replay run of rejected events at random moments; resumed",
        inject: killed_replay,
    },
    Fault {
        test: "a_long_idle_transaction_loses_nothing",
        name: "a transaction keeps rows locked for 5 s",
        inject: idle,
    },
];

/// Publishes what inventory and wuphf have handled once more, to each of their queues.
fn again() -> Result<usize, Failed> {
    more_published(20)?;
    let events = sql(
        "SELECT event_id || ' ' || payload::text FROM orders.outbox_events
                       WHERE routing_key = 'order.created.v1' AND published_at IS NOT NULL
                       ORDER BY sequence DESC LIMIT 300",
    )?;
    block_on(async {
        let (connection, channel) = channel().await?;
        for line in events.lines() {
            let Some((id, body)) = line.split_once(' ') else {
                continue;
            };
            for queue in [INVENTORY_QUEUE, WUPHF_QUEUE] {
                let properties = BasicProperties::default().with_message_id(id.into());
                channel
                    .basic_publish(
                        "".into(),
                        queue.into(),
                        BasicPublishOptions::default(),
                        body.as_bytes(),
                        properties,
                    )
                    .await?;
            }
        }
        connection.close(200, "done".into()).await
    })?;
    Ok(2 * events.lines().count())
}

fn poison() -> Result<usize, Failed> {
    let count = 10;
    for _ in 0..count {
        ok(&["chaos", "poison", INVENTORY_QUEUE])?;
    }
    purge(count)?;
    Ok(count)
}

/// Waits until so many are dead, and removes them.
pub(super) fn purge(count: usize) -> Result<(), Failed> {
    let until = Instant::now() + super::PATIENCE;
    loop {
        let letters = dead()?;
        if letters >= count || Instant::now() > until {
            assert_eq!(letters, count);
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("copy.jsonl");
    let path = file.to_str().unwrap();
    ok(&[
        "dlq",
        "purge",
        "--queue",
        INVENTORY_QUEUE,
        "--copy",
        path,
        "--yes",
    ])
    .map(drop)
}

fn dead() -> Result<usize, Failed> {
    let found = ok(&["dlq", "ls", "--each", "--json", "--queue", INVENTORY_QUEUE])?;
    let found: Value = serde_json::from_str(&found)?;
    Ok(found["letters"].as_array().map_or(0, Vec::len))
}

/// Without the binding the broker confirms and routes to others alone: nobody but the
/// account can tell.
fn binding() -> Result<usize, Failed> {
    let key = "order.created.v1";
    block_on(async {
        let (connection, channel) = channel().await?;
        let none = FieldTable::default;
        channel
            .queue_unbind(INVENTORY_QUEUE.into(), EVENTS.into(), key.into(), none())
            .await?;
        tokio::task::block_in_place(|| more_published(10))?;
        let options = QueueBindOptions::default();
        channel
            .queue_bind(
                INVENTORY_QUEUE.into(),
                EVENTS.into(),
                key.into(),
                options,
                none(),
            )
            .await?;
        connection.close(200, "done".into()).await?;
        Ok::<_, Failed>(())
    })?;
    repaired()
}

/// A queue that is gone takes what is in it along. The broker has its definitions, and
/// makes it again when it starts.
fn queue() -> Result<usize, Failed> {
    block_on(async {
        let (connection, channel) = channel().await?;
        let options = QueueDeleteOptions::default();
        channel
            .queue_delete(INVENTORY_QUEUE.into(), options)
            .await?;
        connection.close(200, "done".into()).await
    })?;
    more_published(10)?;
    ok(&["restart", "rabbitmq"])?;
    repaired()
}

/// The account finds that something is missing, and publishes only that.
fn repaired() -> Result<usize, Failed> {
    // What is missing never arrives, and under load something is always in flight.
    let found = dm(&["reconcile", "--json", "--grace", "1s"]);
    let report: Value = serde_json::from_slice(&found.stdout)?;
    let findings = report["findings"].as_array().into_iter().flatten();
    let missing = findings.filter(|it| it["kind"] == "missing").count();
    assert!(missing > 0, "it was not noticed: {report}");
    assert_eq!(found.status.code(), Some(1));
    ok(&["reconcile", "--repair", "--grace", "1s"])?;
    assert_eq!(settled()?["clean"], true);
    Ok(1)
}

/// More looks than a message has deliveries, while its consumer is away. By AMQP each of them
/// would count, and the last ones would find dead letters.
fn watched() -> Result<usize, Failed> {
    kill("inventory")?;
    std::thread::sleep(Duration::from_secs(1));
    let (threads, each) = (3, 20);
    let looks = threads * each;
    let look = || -> Result<(), String> {
        for _ in 0..each {
            let report = dm(&["reconcile", "--json", "--grace", "0s"]);
            let text = String::from_utf8_lossy(&report.stdout);
            let report: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
            if !report["clean"].is_boolean() {
                return Err(text.into_owned());
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(look)).collect();
        running
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap())
    })?;
    let counted = block_on(async {
        let (connection, channel) = channel().await?;
        let (mut count, mut counted) = (0, Vec::new());
        let options = BasicGetOptions { no_ack: false };
        while let Some(message) = channel.basic_get(INVENTORY_QUEUE.into(), options).await? {
            count += 1;
            let table = message.delivery.properties.headers().clone();
            let table = table.unwrap_or_default();
            counted.extend(table.inner().get("x-delivery-count").cloned());
        }
        connection.close(200, "done".into()).await?;
        Ok::<_, lapin::Error>((count, counted))
    })?;
    assert!(counted.0 > 0, "nothing was in the queue");
    // What the consumer held when it was killed was delivered once, by that.
    let spent = |count: &AMQPValue| !matches!(count, AMQPValue::LongLongInt(0 | 1));
    assert!(!counted.1.iter().any(spent), "{:?}", counted.1);
    assert_eq!(dead()?, 0);
    Ok(looks)
}

fn replays() -> Result<usize, Failed> {
    let count = 20;
    for _ in 0..count {
        ok(&["chaos", "poison", INVENTORY_QUEUE])?;
    }
    for _ in 0..2 {
        let replay = || start(&["dlq", "replay", "--queue", INVENTORY_QUEUE]);
        let both = [replay()?, replay()?];
        for mut child in both {
            let status = child.wait()?;
            assert!(status.success(), "{status}");
        }
    }
    purge(count)?;
    let noted = "SELECT count(*) FROM dm_ops.replay_messages WHERE outcome IS NULL";
    eventually(noted, "0")?;
    Ok(4)
}

/// Round after round they are dead again, and the rounds are counted.
fn again_dead() -> Result<usize, Failed> {
    let (count, rounds) = (10, 3);
    for _ in 0..count {
        ok(&["chaos", "poison", INVENTORY_QUEUE])?;
    }
    for round in 1..=rounds {
        ok(&["dlq", "replay", "--queue", INVENTORY_QUEUE])?;
        let until = Instant::now() + super::PATIENCE;
        loop {
            let found = ok(&["dlq", "ls", "--each", "--json", "--queue", INVENTORY_QUEUE])?;
            let found: Value = serde_json::from_str(&found)?;
            let letters = found["letters"].as_array().into_iter().flatten();
            if letters.filter(|it| it["replays"] == round).count() == count {
                break;
            }
            assert!(Instant::now() < until, "round {round}: {found}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    purge(count)?;
    Ok(count * rounds)
}

/// Real events, rejected while their consumer was away, are replayed to it by a call that is
/// killed again and again.
fn killed_replay() -> Result<usize, Failed> {
    kill("inventory")?;
    let wanted = 20;
    block_on(async {
        let (connection, channel) = channel().await?;
        let options = BasicGetOptions { no_ack: false };
        let until = Instant::now() + super::PATIENCE;
        let mut rejected = 0;
        while rejected < wanted {
            assert!(Instant::now() < until, "only {rejected} events came");
            match channel.basic_get(INVENTORY_QUEUE.into(), options).await? {
                Some(message) => {
                    let options = BasicRejectOptions { requeue: false };
                    message.reject(options).await?;
                    rejected += 1;
                }
                None => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
        connection.close(200, "done".into()).await
    })?;
    ok(&["up"])?;
    let run = "SELECT coalesce((SELECT run_id FROM dm_ops.replay_runs WHERE ended_at IS NULL), '')";
    let mut random = fastrand::Rng::with_seed(22);
    let mut kills = 0;
    loop {
        let unfinished = sql(run)?;
        let mut arguments = vec!["dlq", "replay", "--rate", "10", "--max-in-flight", "4"];
        match unfinished.as_str() {
            "" => arguments.extend(["--queue", INVENTORY_QUEUE]),
            run => arguments.extend(["--resume", run]),
        }
        let mut child = start(&arguments)?;
        // The last attempt is left alone, or it would never end.
        if kills < 10 {
            std::thread::sleep(Duration::from_millis(random.u64(50..500)));
            child.kill()?;
            kills += 1;
        }
        if child.wait()?.success() && sql(run)?.is_empty() && dead()? == 0 {
            return Ok(kills);
        }
    }
}

fn idle() -> Result<usize, Failed> {
    sql(
        "BEGIN; LOCK TABLE inventory.stock IN SHARE ROW EXCLUSIVE MODE; SELECT pg_sleep(5); COMMIT",
    )?;
    Ok(1)
}
