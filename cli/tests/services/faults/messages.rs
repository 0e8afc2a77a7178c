//! Messages that are repeated, invalid or lost, or wait for a lock.

use std::time::{Duration, Instant};

use dm_contracts::topology::{EVENT_EXCHANGE, INVENTORY_QUEUE, WUPHF_QUEUE};
use lapin::BasicProperties;
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, BasicRejectOptions, QueueBindOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use libtest_mimic::Failed;
use reqwest::Method;
use serde_json::Value;

use super::super::stack::{block_on, channel, client, dm, dm_ok, eventually, request, spawn, sql};
use super::{Fault, kill, wait_for_more_published};

pub(super) const FAULTS: &[Fault] = fault_list![
    redelivered_events_are_processed_once: "every event is delivered a second time",
    poison_messages_do_not_affect_other_events: "poison messages among events",
    reconcile_repairs_events_lost_by_a_deleted_binding:
        "a binding is deleted; found, and repaired by `dm reconcile --repair`",
    reconcile_repairs_events_lost_by_a_deleted_queue:
        "a queue is deleted; found, and repaired by `dm reconcile --repair`",
    reconcile_does_not_count_as_a_delivery:
        "a consumer is not connected while `dm reconcile` reads its queue more often than the \
         delivery limit",
    concurrent_replay_runs_lose_no_message: "two replay runs at once, of messages that fail again",
    replayed_messages_that_fail_again_are_kept: "a replay run of messages that fail again",
    killed_replay_run_of_failing_messages_leaves_one_dead_letter_each:
        "kill -9 of a replay run whose messages were published and failed again; resumed",
    killed_replay_run_of_events_loses_no_event:
        "kill -9 of a replay run of rejected events at random moments; resumed",
    idle_transaction_with_locks_loses_no_event: "a transaction keeps rows locked for 5 s",
];

/// Publishes events that inventory and wuphf have processed once more, to each of their queues.
fn redelivered_events_are_processed_once() -> Result<usize, Failed> {
    wait_for_more_published(20)?;
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

fn poison_messages_do_not_affect_other_events() -> Result<usize, Failed> {
    let count = 10;
    for _ in 0..count {
        dm_ok(&["chaos", "poison", INVENTORY_QUEUE])?;
    }
    purge_dead_letters(count)?;
    Ok(count)
}

/// Waits for this number of dead letters and purges them.
pub(super) fn purge_dead_letters(count: usize) -> Result<(), Failed> {
    let until = Instant::now() + super::TIMEOUT;
    loop {
        let found = count_dead_letters()?;
        if found >= count || Instant::now() > until {
            assert_eq!(found, count);
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("copy.jsonl");
    let path = file.to_str().unwrap();
    dm_ok(&[
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

/// Waits for this number of dead letters that were replayed this many times.
fn wait_for_replayed_dead_letters(count: usize, replays: usize) -> Result<(), Failed> {
    let until = Instant::now() + super::TIMEOUT;
    loop {
        let found = dm_ok(&["dlq", "ls", "--each", "--json", "--queue", INVENTORY_QUEUE])?;
        let found: Value = serde_json::from_str(&found)?;
        let letters = found["letters"].as_array().into_iter().flatten();
        let replayed = letters.filter(|letter| letter["replays"] == replays);
        if replayed.count() == count {
            return Ok(());
        }
        assert!(
            Instant::now() < until,
            "expected {count} dead letters with {replays} replays: {found}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

pub(super) fn count_dead_letters() -> Result<usize, Failed> {
    let found = dm_ok(&["dlq", "ls", "--each", "--json", "--queue", INVENTORY_QUEUE])?;
    let found: Value = serde_json::from_str(&found)?;
    Ok(found["letters"].as_array().map_or(0, Vec::len))
}

/// Without the binding, the broker confirms events and routes them only to other queues. Only
/// reconcile can detect this.
fn reconcile_repairs_events_lost_by_a_deleted_binding() -> Result<usize, Failed> {
    let key = "order.created.v1";
    block_on(async {
        let (connection, channel) = channel().await?;
        let none = FieldTable::default;
        channel
            .queue_unbind(
                INVENTORY_QUEUE.into(),
                EVENT_EXCHANGE.into(),
                key.into(),
                none(),
            )
            .await?;
        tokio::task::block_in_place(|| wait_for_more_published(10))?;
        let options = QueueBindOptions::default();
        channel
            .queue_bind(
                INVENTORY_QUEUE.into(),
                EVENT_EXCHANGE.into(),
                key.into(),
                options,
                none(),
            )
            .await?;
        connection.close(200, "done".into()).await?;
        Ok::<_, Failed>(())
    })?;
    assert_repaired()
}

/// Deleting a queue deletes its messages. The broker creates the queue again from its definitions
/// when it starts.
fn reconcile_repairs_events_lost_by_a_deleted_queue() -> Result<usize, Failed> {
    block_on(async {
        let (connection, channel) = channel().await?;
        let options = QueueDeleteOptions::default();
        channel
            .queue_delete(INVENTORY_QUEUE.into(), options)
            .await?;
        connection.close(200, "done".into()).await
    })?;
    wait_for_more_published(10)?;
    dm_ok(&["restart", "rabbitmq"])?;
    assert_repaired()
}

/// Asserts that reconcile reports missing events, and repairs them.
fn assert_repaired() -> Result<usize, Failed> {
    // A short grace period is enough: missing events never arrive, and under load some event is
    // always in flight.
    let found = dm(&["reconcile", "--json", "--grace", "1s"]);
    let report: Value = serde_json::from_slice(&found.stdout)?;
    let findings = report["findings"].as_array().into_iter().flatten();
    let missing = findings
        .filter(|finding| finding["kind"] == "missing")
        .count();
    assert!(missing > 0, "reconcile reports no missing event: {report}");
    assert_eq!(found.status.code(), Some(1));
    dm_ok(&["reconcile", "--repair", "--grace", "1s"])?;
    // The load goes on, so that some event is always in flight.
    dm_ok(&["reconcile", "--grace", "1s"])?;
    Ok(1)
}

/// Reads a queue more often than a message may be delivered, while its consumer is down. If
/// reading counted as a delivery, the last reads would find dead letters.
fn reconcile_does_not_count_as_a_delivery() -> Result<usize, Failed> {
    // The default limit of 50 would take minutes.
    dm_ok(&["up", "--set", "rabbitmq.policies.work.delivery_limit=6"])?;
    kill("inventory")?;
    std::thread::sleep(Duration::from_secs(1));
    let (threads, each) = (3, 4);
    let reads = threads * each;
    let read_repeatedly = || -> Result<(), String> {
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
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(read_repeatedly)).collect();
        running
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap())
    })?;
    let (count, delivery_counts) = block_on(async {
        let (connection, channel) = channel().await?;
        let (mut count, mut delivery_counts) = (0, Vec::new());
        let options = BasicGetOptions { no_ack: false };
        while let Some(message) = channel.basic_get(INVENTORY_QUEUE.into(), options).await? {
            count += 1;
            let table = message.delivery.properties.headers().clone();
            let table = table.unwrap_or_default();
            delivery_counts.extend(table.inner().get("x-delivery-count").cloned());
        }
        connection.close(200, "done".into()).await?;
        Ok::<_, lapin::Error>((count, delivery_counts))
    })?;
    assert!(count > 0, "the queue is empty");
    // Messages that the consumer held when it was killed have been delivered once.
    let was_redelivered = |count: &AMQPValue| !matches!(count, AMQPValue::LongLongInt(0 | 1));
    assert!(
        !delivery_counts.iter().any(was_redelivered),
        "{delivery_counts:?}"
    );
    assert_eq!(count_dead_letters()?, 0);
    dm_ok(&["up"])?;
    Ok(reads)
}

fn concurrent_replay_runs_lose_no_message() -> Result<usize, Failed> {
    let count = 20;
    for _ in 0..count {
        dm_ok(&["chaos", "poison", INVENTORY_QUEUE])?;
    }
    for _ in 0..2 {
        let replay = || spawn(&["dlq", "replay", "--queue", INVENTORY_QUEUE]);
        let both = [replay()?, replay()?];
        for mut child in both {
            let status = child.wait()?;
            assert!(status.success(), "{status}");
        }
    }
    purge_dead_letters(count)?;
    let without_outcome = "SELECT count(*) FROM dm_ops.replay_messages WHERE outcome IS NULL";
    eventually(without_outcome, "0")?;
    Ok(4)
}

/// The messages fail again in each round, and the rounds are counted.
fn replayed_messages_that_fail_again_are_kept() -> Result<usize, Failed> {
    let (count, rounds) = (10, 3);
    for _ in 0..count {
        dm_ok(&["chaos", "poison", INVENTORY_QUEUE])?;
    }
    for round in 1..=rounds {
        dm_ok(&["dlq", "replay", "--queue", INVENTORY_QUEUE])?;
        wait_for_replayed_dead_letters(count, round)?;
    }
    purge_dead_letters(count)?;
    Ok(count * rounds)
}

/// A replay run is killed after it has published its messages and before it records that. They
/// fail again, and the resumed run publishes them again.
fn killed_replay_run_of_failing_messages_leaves_one_dead_letter_each() -> Result<usize, Failed> {
    let count = 5;
    for _ in 0..count {
        dm_ok(&["chaos", "poison", INVENTORY_QUEUE])?;
    }
    wait_for_replayed_dead_letters(count, 0)?;
    // A run waits when it records an outcome.
    sql(
        "ALTER TABLE dm_ops.replay_messages ADD CONSTRAINT slow_outcome
             CHECK (outcome IS NULL OR pg_sleep(600) IS NULL) NOT VALID",
    )?;
    let killed = kill_replay_run_after_its_messages_failed(count);
    let removed = sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE wait_event = 'PgSleep' AND query LIKE '%replay_messages%';
         ALTER TABLE dm_ops.replay_messages DROP CONSTRAINT slow_outcome");
    killed?;
    removed?;
    let run = sql("SELECT run_id FROM dm_ops.replay_runs WHERE ended_at IS NULL")?;
    let duplicates = count_duplicates()?;
    dm_ok(&["dlq", "replay", "--resume", &run])?;
    let until = Instant::now() + super::TIMEOUT;
    while count_duplicates()? < duplicates + count {
        assert!(
            Instant::now() < until,
            "inventory did not recognise the messages that were published again"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    wait_for_replayed_dead_letters(count, 1)?;
    purge_dead_letters(count)?;
    Ok(1)
}

/// Starts a replay run and kills it when all its messages are dead letters again.
fn kill_replay_run_after_its_messages_failed(count: usize) -> Result<(), Failed> {
    let mut run = spawn(&["dlq", "replay", "--queue", INVENTORY_QUEUE])?;
    let failed = eventually(
        "SELECT count(*) FROM inventory.failed_events
          WHERE dead AND round = 1 AND published_at IS NOT NULL AND resolved_at IS NULL",
        &count.to_string(),
    );
    run.kill()?;
    run.wait()?;
    failed?;
    let recorded = sql("SELECT count(outcome) FROM dm_ops.replay_runs
                          JOIN dm_ops.replay_messages USING (run_id)
                         WHERE ended_at IS NULL")?;
    if recorded != "0" {
        return Err(format!("the run recorded {recorded} outcomes before it was killed").into());
    }
    Ok(())
}

/// Returns the number of deliveries that inventory has recognised as duplicates since its start.
fn count_duplicates() -> Result<usize, Failed> {
    let metrics = block_on(async {
        let metrics = request(&client(), Method::GET, "inventory", "/metrics");
        metrics.send().await?.error_for_status()?.text().await
    })?;
    let line = metrics.lines().find(|line| {
        line.starts_with("inbox_events_total{") && line.contains("outcome=\"duplicate\"")
    });
    // The counter does not exist before its first increment.
    let Some((_, count)) = line.and_then(|line| line.rsplit_once(' ')) else {
        return Ok(0);
    };
    Ok(count.parse()?)
}

/// Events that were rejected while their consumer was down are replayed by a call that is killed
/// several times.
fn killed_replay_run_of_events_loses_no_event() -> Result<usize, Failed> {
    kill("inventory")?;
    let count = 20;
    block_on(async {
        let (connection, channel) = channel().await?;
        let options = BasicGetOptions { no_ack: false };
        let until = Instant::now() + super::TIMEOUT;
        let mut rejected = 0;
        while rejected < count {
            assert!(Instant::now() < until, "only {rejected} events arrived");
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
    dm_ok(&["up"])?;
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
        let mut child = spawn(&arguments)?;
        // Later attempts are not killed, so that the replay ends.
        if kills < 10 {
            std::thread::sleep(Duration::from_millis(random.u64(50..500)));
            child.kill()?;
            kills += 1;
        }
        if child.wait()?.success() && sql(run)?.is_empty() && count_dead_letters()? == 0 {
            return Ok(kills);
        }
    }
}

fn idle_transaction_with_locks_loses_no_event() -> Result<usize, Failed> {
    sql(
        "BEGIN; LOCK TABLE inventory.stock IN SHARE ROW EXCLUSIVE MODE; SELECT pg_sleep(5); COMMIT",
    )?;
    Ok(1)
}
