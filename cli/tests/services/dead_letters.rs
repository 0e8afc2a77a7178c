//! What was set aside: looks that change nothing, and the way back.

use std::collections::BTreeSet;
use std::time::Duration;

use dm_contracts::topology::{READ_MODEL_QUEUE, dead_letter_queue};
use lapin::BasicProperties;
use lapin::options::{BasicGetOptions, BasicPublishOptions};
use lapin::types::{AMQPValue, DecimalValue, FieldTable};
use libtest_mimic::Failed;
use serde_json::{Value, json};

use super::flow::place;
use super::stack::{
    ADMINISTRATOR, INSTANCE, PATIENCE, block_on, broker, client, dm, dm_command, eventually, ok,
    sql, start,
};

const QUEUE: &str = "inventory.order-events.q";

fn asked(arguments: &[&str]) -> Result<Value, Failed> {
    Ok(serde_json::from_str(&ok(arguments)?)?)
}

/// What `dm dlq replay --json` says in the end, after a line for each message.
fn replayed(arguments: &[&str]) -> Result<Value, Failed> {
    let text = ok(&[&["dlq", "replay", "--json"], arguments].concat())?;
    Ok(serde_json::from_str(
        text.lines().last().unwrap_or_default(),
    )?)
}

fn letters() -> Result<Vec<Value>, Failed> {
    let found = asked(&["dlq", "ls", "--each", "--json", "--queue", QUEUE])?;
    Ok(found["letters"].as_array().cloned().unwrap_or_default())
}

/// Waits until each of them was replayed so often and is dead again.
fn dead_after(rounds: u64, count: usize) -> Result<Vec<Value>, Failed> {
    let until = std::time::Instant::now() + PATIENCE;
    loop {
        let found = letters()?;
        let there = found.len() == count && found.iter().all(|letter| letter["replays"] == rounds);
        if there {
            return Ok(found);
        }
        if std::time::Instant::now() > until {
            return Err(format!("not {count} after {rounds} rounds: {found:?}").into());
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

fn texts<'l>(letters: &'l [Value], field: &str) -> Vec<&'l str> {
    let texts = letters.iter().filter_map(|letter| letter[field].as_str());
    texts.collect()
}

/// From poison to an empty queue, as a person would go about it.
pub(crate) fn story() -> Result<(), Failed> {
    for _ in 0..3 {
        ok(&["chaos", "poison", QUEUE])?;
    }
    let first = dead_after(0, 3)?;
    assert_eq!(texts(&first, "reason"), ["invalid-data"; 3]);

    // Looks.
    for _ in 0..20 {
        assert_eq!(letters()?, first, "a look changed something");
    }
    let groups = asked(&["dlq", "ls", "--json", "--queue", QUEUE])?;
    assert_eq!(groups["groups"][0]["count"], 3);
    let id = first[1]["id"].as_str().unwrap();
    let shown = ok(&["dlq", "show", id])?;
    assert!(shown.contains("missing field `orderId`"), "{shown}");
    assert_eq!(dm(&["dlq", "ls", "--fail-if-any"]).status.code(), Some(1));
    assert_eq!(dm(&["dlq", "show", "evt_0"]).status.code(), Some(1));

    // One goes back and fails again; the others stay in their places.
    let one = replayed(&["--id", id])?;
    assert_eq!((&one["messages"], &one["replayed"]), (&1.into(), &1.into()));
    let until = std::time::Instant::now() + PATIENCE;
    while letters()?.len() != 3 && std::time::Instant::now() < until {
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    let after = letters()?;
    let order = [&first[0]["id"], &first[2]["id"], &first[1]["id"]];
    assert_eq!(
        after.iter().map(|letter| &letter["id"]).collect::<Vec<_>>(),
        order
    );
    assert_eq!(after[2]["replays"], 1);

    // The set is the one that was looked at, or nothing happens.
    let plan = asked(&["dlq", "replay", "--dry-run", "--json", "--max-rounds", "1"])?;
    assert_eq!(plan["letters"].as_array().map(Vec::len), Some(2));
    assert_eq!(plan["refused"].as_array().map(Vec::len), Some(1));
    let refused = dm(&["dlq", "replay", "--max-rounds", "1", "--expect", "0"]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(letters()?, after);
    let digest = plan["digest"].as_str().unwrap();
    ok(&["dlq", "replay", "--max-rounds", "1", "--expect", digest])?;
    dead_after(1, 3)?;

    // The audit tells of both, and an ended run has nothing left to do.
    let history = asked(&["dlq", "history", "--json"])?;
    assert_eq!(history["runs"][0]["replayed"], 2);
    assert_eq!(history["runs"][1]["replayed"], 1);
    let run = history["runs"][0]["run_id"].as_str().unwrap();
    let again = replayed(&["--resume", run])?;
    assert_eq!(again["replayed"], 2);
    dead_after(1, 3)?;

    // Nothing is removed without a yes and a copy; the copy is as good as the letters.
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("letters.jsonl");
    let file = path.to_str().unwrap();
    assert_eq!(dm(&["dlq", "purge", "--copy", file]).status.code(), Some(2));
    let before = dead_after(1, 3)?;
    ok(&["dlq", "purge", "--copy", file, "--yes"])?;
    assert!(letters()?.is_empty());
    ok(&["dlq", "import", file])?;
    assert_eq!(letters()?, before);
    ok(&["dlq", "import", file])?;
    assert_eq!(letters()?, before, "a letter came twice");

    // Parked they are out of the way, and come back as they were.
    assert_eq!(dm(&["dlq", "park"]).status.code(), Some(2));
    ok(&["dlq", "park", "--note", "later", "--yes"])?;
    assert!(letters()?.is_empty());
    let parked = asked(&["dlq", "parked", "--json"])?;
    assert_eq!(parked["letters"].as_array().map(Vec::len), Some(3));
    ok(&["dlq", "unpark"])?;
    assert_eq!(asked(&["dlq", "parked", "--json"])?["letters"], json!([]));
    assert_eq!(letters()?, before);

    let taken = dm(&["dlq", "purge", "--copy", file, "--yes"]);
    assert!(!taken.status.success(), "a copy was written over");
    assert_eq!(letters()?, before);

    edited(&before)?;
    let other = folder.path().join("again.jsonl");
    ok(&["dlq", "purge", "--copy", other.to_str().unwrap(), "--yes"])?;
    assert!(letters()?.is_empty());
    Ok(())
}

/// One is changed until the catalogue knows it, and goes back as another event.
fn edited(before: &[Value]) -> Result<(), Failed> {
    let id = before[0]["id"].as_str().unwrap_or_default();
    let with = |editor: &str| {
        dm_command()
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
            .env("EDITOR", editor)
            .output()
    };
    let refused = with("true")?;
    assert_eq!(refused.status.code(), Some(2), "nothing was changed");
    let refused = with(r#"sed -i s/note/orderId/"#)?;
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("missing field"), "{told}");
    assert_eq!(letters()?.len(), before.len());
    let order = block_on(async { place(&client(), "PPR-A4-WHT-500", 1).await });
    let shown = asked(&["dlq", "show", id, "--json"])?;
    let mut event = shown["letters"][0]["body"].clone();
    event["data"] = json!({
        "orderId": order, "clientId": "client_5012", "requestedShipDate": "2030-01-01",
        "items": [{"sku": "PPR-A4-WHT-500", "quantity": 1}], "createdBy": "jhalpert",
        "createdAt": "2026-01-01T00:00:00Z",
    });
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), event.to_string())?;
    let output = with(&format!("cp {}", file.path().display()))?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    // Of an order that inventory knows it changes nothing, and is handled.
    eventually(
        &format!(
            "SELECT count(*) FROM inventory.inbox_events
               JOIN dm_ops.replay_messages ON edited_as = inbox_events.event_id
              WHERE replay_messages.event_id = '{id}'"
        ),
        "1",
    )?;
    assert_eq!(letters()?.len(), before.len() - 1);
    Ok(())
}

/// How many letters are on their way while `dm` is killed: more than are held on one
/// channel.
const LETTERS: usize = 5_000;

/// A replay that is killed again and again, and resumed, loses nothing. Nobody consumes
/// the read model's queue, so that all that arrives can be counted.
pub(crate) fn killed() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("letters.jsonl");
    let mut random = fastrand::Rng::with_seed(501);
    let ids: BTreeSet<String> = (0..LETTERS)
        .map(|number| format!("evt_replay_{number}"))
        .collect();
    let lines: Vec<String> = ids
        .iter()
        .map(|id| {
            let properties = json!({"message_id": id});
            json!({"queue": READ_MODEL_QUEUE, "properties": properties, "body": "e30="}).to_string()
        })
        .collect();
    std::fs::write(&path, lines.join("\n"))?;
    let before = sql("SELECT coalesce(max(began_at)::text, '-infinity') FROM dm_ops.replay_runs")?;
    ok(&["dlq", "import", path.to_str().unwrap()])?;

    let slowly = ["--rate", "3000", "--max-in-flight", "50"];
    let (mut kills, mut is_named) = (0, false);
    loop {
        let run = latest_run(&before)?;
        let mut arguments = vec!["dlq", "replay"];
        match &run {
            Some((_, true)) => break,
            Some((run, false)) => arguments.extend(["--resume", run.as_str()]),
            None => arguments.extend(["--queue", READ_MODEL_QUEUE]),
        }
        arguments.extend(slowly);
        let mut child = start(&arguments)?;
        // The last attempts are left alone, or it would never end.
        if kills < 8 {
            std::thread::sleep(Duration::from_millis(random.u64(100..700)));
            child.kill()?;
            kills += 1;
        }
        child.wait()?;
        if let (false, Some((run, false))) = (is_named, latest_run(&before)?) {
            let account = dm(&["reconcile", "--grace", "0s"]);
            let told = String::from_utf8_lossy(&account.stderr);
            assert!(
                told.contains(&format!("dlq replay --resume {run}")),
                "{told}"
            );
            is_named = true;
        }
    }
    let left = asked(&["dlq", "ls", "--each", "--json", "--queue", READ_MODEL_QUEUE])?;
    assert_eq!(left["letters"].as_array().map(Vec::len), Some(0));
    let arrived = block_on(arrived())?;
    let missing: Vec<_> = ids.difference(&arrived).collect();
    assert!(missing.is_empty(), "lost: {missing:?}");
    Ok(())
}

/// The latest run of the read model's letters after a time, and whether it has ended.
fn latest_run(after: &str) -> Result<Option<(String, bool)>, Failed> {
    let found = sql(&format!(
        "SELECT run_id || ' ' || (ended_at IS NOT NULL) FROM dm_ops.replay_runs
          WHERE selection->'queues' = '[\"{READ_MODEL_QUEUE}\"]' AND began_at > '{after}'
          ORDER BY began_at DESC LIMIT 1"
    ))?;
    Ok(found
        .split_once(' ')
        .map(|(run, ended)| (run.to_owned(), ended == "true")))
}

/// The ids of all that is in the read model's queue.
async fn arrived() -> Result<BTreeSet<String>, Failed> {
    let messages = taken().await?;
    let ids = messages.iter().filter_map(|message| {
        let id = message.properties.message_id().as_ref();
        id.map(ToString::to_string)
    });
    Ok(ids.collect())
}

/// Takes all that is in the read model's queue.
async fn taken() -> Result<Vec<lapin::message::Delivery>, Failed> {
    let connection = broker(ADMINISTRATOR).await?;
    let channel = connection.create_channel().await?;
    let mut messages = Vec::new();
    let options = BasicGetOptions { no_ack: true };
    while let Some(message) = channel.basic_get(READ_MODEL_QUEUE.into(), options).await? {
        messages.push(message.delivery);
    }
    Ok(messages)
}

/// A table of every type of header.
fn every_type() -> FieldTable {
    let mut table = FieldTable::default();
    let text = |text: &str| AMQPValue::LongString(text.into());
    let mut nested = FieldTable::default();
    nested.insert("void".into(), AMQPValue::Void);
    for (name, value) in [
        ("truth", AMQPValue::Boolean(true)),
        ("i8", AMQPValue::ShortShortInt(-1)),
        ("u8", AMQPValue::ShortShortUInt(255)),
        ("i16", AMQPValue::ShortInt(-2)),
        ("u16", AMQPValue::ShortUInt(65535)),
        ("i32", AMQPValue::LongInt(-3)),
        ("u32", AMQPValue::LongUInt(4_000_000_000)),
        ("i64", AMQPValue::LongLongInt(i64::MIN)),
        ("float", AMQPValue::Float(0.1)),
        ("double", AMQPValue::Double(0.1)),
        (
            "decimal",
            AMQPValue::DecimalValue(DecimalValue {
                scale: 2,
                value: 1050,
            }),
        ),
        ("at", AMQPValue::Timestamp(1_770_000_000)),
        ("bytes", AMQPValue::ByteArray(vec![0, 255].into())),
        ("not-utf-8", AMQPValue::LongString(vec![0xff, 0].into())),
        ("x-dm-reason", text("nul\0")),
        (
            "list",
            AMQPValue::FieldArray(
                vec![AMQPValue::LongInt(1), AMQPValue::FieldTable(nested)].into(),
            ),
        ),
        ("CC", AMQPValue::FieldArray(vec![text("nowhere")].into())),
    ] {
        table.insert(name.into(), value);
    }
    table
}

/// Letters of every kind, in the order in which they are dead: one with every property and
/// type of header, three that are alike and have no id, and one that holds U+0000.
fn odd() -> Vec<(BasicProperties, &'static [u8])> {
    let full = BasicProperties::default()
        .with_content_type("text/plain".into())
        .with_content_encoding("gzip".into())
        .with_headers(every_type())
        .with_delivery_mode(1)
        .with_priority(3)
        .with_correlation_id("c".into())
        .with_reply_to("r".into())
        .with_expiration("86400000".into())
        .with_message_id("odd_1".into())
        .with_timestamp(1_770_000_000)
        .with_type("t".into())
        .with_user_id("dunder".into())
        .with_app_id("a".into())
        .with_cluster_id("k".into());
    let bare = BasicProperties::default();
    vec![
        (full, b"\xff\x00 no text"),
        (bare.clone(), b"{\"type\":\"ping\"}"),
        (bare.clone(), b"{\"type\":\"ping\"}"),
        (bare.clone(), b"{\"type\":\"ping\"}"),
        (
            bare,
            b"{\"id\":\"evt_\\u0000\",\"n\":12345678901234567890.1000}",
        ),
    ]
}

/// Every copy has every property, header and byte, letters that are alike stay apart, and
/// none of them blocks another one.
pub(crate) fn copies() -> Result<(), Failed> {
    // Notifications of earlier tests.
    block_on(taken())?;
    let dead = dead_letter_queue(READ_MODEL_QUEUE);
    block_on(async {
        let connection = broker(ADMINISTRATOR).await?;
        let channel = connection.create_channel().await?;
        for (properties, body) in odd() {
            let options = BasicPublishOptions::default();
            let name = dead.as_str().into();
            channel
                .basic_publish("".into(), name, options, body, properties)
                .await?;
        }
        connection.close(200, "done".into()).await
    })?;
    let ours = |command: &[&str]| ok(&[command, &["--queue", READ_MODEL_QUEUE]].concat());
    let until = std::time::Instant::now() + PATIENCE;
    let first = loop {
        let written = ours(&["dlq", "export", "-"])?;
        if written.lines().count() == 5 || std::time::Instant::now() > until {
            break written;
        }
    };
    assert_eq!(first.lines().count(), 5, "{first}");
    let unchanged = |what: &str| -> Result<(), Failed> {
        assert_eq!(ours(&["dlq", "export", "-"])?, first, "after {what}");
        Ok(())
    };
    unchanged("a look")?;
    ours(&["dlq", "park", "--yes"])?;
    let parked = asked(&["dlq", "parked", "--json"])?;
    assert_eq!(parked["letters"].as_array().map(Vec::len), Some(5));
    assert_eq!(dm(&["dlq", "unpark", "nosuch"]).status.code(), Some(1));
    ok(&["dlq", "unpark"])?;
    unchanged("parking")?;

    let folder = tempfile::tempdir()?;
    let path = folder.path().join("odd.jsonl");
    let file = path.to_str().unwrap();
    ours(&["dlq", "purge", "--yes", "--copy", file])?;
    assert_eq!(ours(&["dlq", "export", "-"])?, "");
    ok(&["dlq", "import", file])?;
    unchanged("importing a copy")?;
    ok(&["dlq", "import", file])?;
    unchanged("importing it again")?;

    // What is malformed is named, and keeps nothing else out.
    let damaged = folder.path().join("damaged.jsonl");
    std::fs::write(&damaged, format!("{first}no letter\n"))?;
    let told = dm(&["dlq", "import", damaged.to_str().unwrap()]);
    assert_eq!(told.status.code(), Some(1));
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(told.contains("damaged.jsonl: line 6"), "{told}");
    unchanged("importing a damaged file")?;
    for (arguments, code) in [
        (&["dlq", "import", "/nofile"][..], 2),
        (&["dlq", "export", file], 2),
        (&["dlq", "purge", "--yes", "--copy", "-"], 2),
        (&["dlq", "park", "--yes", "--id", "nosuch"], 1),
        (&["dlq", "replay", "--id", "nosuch"], 1),
    ] {
        assert_eq!(dm(arguments).status.code(), Some(code), "{arguments:?}");
    }

    ours(&["dlq", "replay"])?;
    let arrived = block_on(taken())?;
    let bodies: Vec<&[u8]> = arrived.iter().map(|it| it.data.as_slice()).collect();
    let odd = odd();
    assert_eq!(bodies, odd.iter().map(|it| it.1).collect::<Vec<_>>());
    let headers = arrived[0].properties.headers().clone().unwrap();
    for (name, value) in every_type().inner() {
        // It would have sent the event to another queue, too.
        if name.as_str() != "CC" {
            assert_eq!(headers.inner().get(name), Some(value), "{name}");
        }
    }
    assert_eq!(arrived[0].properties.expiration(), &None);
    assert_eq!(arrived[0].properties.priority(), &Some(3));
    Ok(())
}
