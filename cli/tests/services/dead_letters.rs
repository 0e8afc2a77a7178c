//! Tests of dead letters: commands that inspect them remove none, and replayed ones return to their
//! queues.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use dm_contracts::headers;
use dm_contracts::topology::{READ_MODEL_QUEUE, dead_letter_queue};
use lapin::BasicProperties;
use lapin::options::BasicGetOptions;
use lapin::types::{AMQPValue, DecimalValue, FieldTable};
use libtest_mimic::Failed;
use serde_json::{Value, json};

use super::flow::place_order;
use super::stack::{
    ADMINISTRATOR, TIMEOUT, block_on, broker, client, dm, dm_command, dm_ok, eventually, instance,
    publish_to_queue, spawn, sql,
};

const QUEUE: &str = "inventory.order-events.q";

fn dm_json(arguments: &[&str]) -> Result<Value, Failed> {
    Ok(serde_json::from_str(&dm_ok(arguments)?)?)
}

/// Returns the last line of `dm dlq replay --json`, which follows a line for each message.
fn replay(arguments: &[&str]) -> Result<Value, Failed> {
    let text = dm_ok(&[&["dlq", "replay", "--json"], arguments].concat())?;
    Ok(serde_json::from_str(
        text.lines().last().unwrap_or_default(),
    )?)
}

fn dead_letters() -> Result<Vec<Value>, Failed> {
    let found = dm_json(&["dlq", "ls", "--each", "--json", "--queue", QUEUE])?;
    Ok(found["letters"].as_array().cloned().unwrap_or_default())
}

/// Waits until this number of dead letters has been replayed this many times and is dead-lettered
/// again.
fn wait_for_dead_letters(rounds: u64, count: usize) -> Result<Vec<Value>, Failed> {
    let until = std::time::Instant::now() + TIMEOUT;
    loop {
        let found = dead_letters()?;
        let is_complete =
            found.len() == count && found.iter().all(|letter| letter["replays"] == rounds);
        if is_complete {
            return Ok(found);
        }
        if std::time::Instant::now() > until {
            return Err(
                format!("expected {count} dead letters after {rounds} rounds: {found:?}").into(),
            );
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

fn fields<'l>(dead_letters: &'l [Value], field: &str) -> Vec<&'l str> {
    let texts = dead_letters
        .iter()
        .filter_map(|letter| letter[field].as_str());
    texts.collect()
}

/// Inspects, replays, purges, imports, parks and edits poison messages, until the dead-letter
/// queue is empty.
pub(crate) fn dlq_commands_lose_no_dead_letter() -> Result<(), Failed> {
    for _ in 0..3 {
        dm_ok(&["chaos", "poison", QUEUE])?;
    }
    let first = wait_for_dead_letters(0, 3)?;
    assert_eq!(fields(&first, "reason"), ["invalid-data"; 3]);

    // Commands that only inspect remove no dead letter and change none.
    for _ in 0..20 {
        assert_eq!(dead_letters()?, first, "inspecting changed something");
    }
    let groups = dm_json(&["dlq", "ls", "--json", "--queue", QUEUE])?;
    assert_eq!(groups["groups"][0]["count"], 3);
    let id = first[1]["id"].as_str().unwrap();
    let shown = dm_ok(&["dlq", "show", id])?;
    assert!(shown.contains("missing field `orderId`"), "{shown}");
    assert_eq!(dm(&["dlq", "ls", "--fail-if-any"]).status.code(), Some(1));
    assert_eq!(dm(&["dlq", "show", "evt_0"]).status.code(), Some(1));

    // One dead letter is replayed and fails again. The others keep their order.
    let one = replay(&["--id", id])?;
    assert_eq!((&one["messages"], &one["replayed"]), (&1.into(), &1.into()));
    let until = std::time::Instant::now() + TIMEOUT;
    while dead_letters()?.len() != 3 && std::time::Instant::now() < until {
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    let after = dead_letters()?;
    let order = [&first[0]["id"], &first[2]["id"], &first[1]["id"]];
    assert_eq!(
        after.iter().map(|letter| &letter["id"]).collect::<Vec<_>>(),
        order
    );
    assert_eq!(after[2]["replays"], 1);

    // A replay with `--expect` runs only if the set of dead letters has this digest.
    let plan = dm_json(&["dlq", "replay", "--dry-run", "--json", "--max-rounds", "1"])?;
    assert_eq!(plan["letters"].as_array().map(Vec::len), Some(2));
    assert_eq!(plan["refused"].as_array().map(Vec::len), Some(1));
    let refused = dm(&["dlq", "replay", "--max-rounds", "1", "--expect", "0"]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(dead_letters()?, after);
    let digest = plan["digest"].as_str().unwrap();
    dm_ok(&["dlq", "replay", "--max-rounds", "1", "--expect", digest])?;
    wait_for_dead_letters(1, 3)?;

    // The history contains both runs, and resuming an ended run replays nothing.
    let history = dm_json(&["dlq", "history", "--json"])?;
    assert_eq!(history["runs"][0]["replayed"], 2);
    assert_eq!(history["runs"][1]["replayed"], 1);
    let run = history["runs"][0]["run_id"].as_str().unwrap();
    let again = replay(&["--resume", run])?;
    assert_eq!(again["replayed"], 2);
    wait_for_dead_letters(1, 3)?;

    // Purging needs a confirmation and a copy. Importing the copy restores the dead letters.
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("letters.jsonl");
    let file = path.to_str().unwrap();
    assert_eq!(dm(&["dlq", "purge", "--copy", file]).status.code(), Some(2));
    let before = wait_for_dead_letters(1, 3)?;
    dm_ok(&["dlq", "purge", "--copy", file, "--yes"])?;
    assert!(dead_letters()?.is_empty());
    dm_ok(&["dlq", "import", file])?;
    assert_eq!(dead_letters()?, before);
    dm_ok(&["dlq", "import", file])?;
    assert_eq!(dead_letters()?, before, "a dead letter was imported twice");

    // Parked messages are not in the queue, and are unchanged after unparking.
    assert_eq!(dm(&["dlq", "park"]).status.code(), Some(2));
    dm_ok(&["dlq", "park", "--note", "later", "--yes"])?;
    assert!(dead_letters()?.is_empty());
    let parked = dm_json(&["dlq", "parked", "--json"])?;
    assert_eq!(parked["letters"].as_array().map(Vec::len), Some(3));
    dm_ok(&["dlq", "unpark"])?;
    assert_eq!(dm_json(&["dlq", "parked", "--json"])?["letters"], json!([]));
    assert_eq!(dead_letters()?, before);

    let refused = dm(&["dlq", "purge", "--copy", file, "--yes"]);
    assert!(
        !refused.status.success(),
        "an existing copy was overwritten"
    );
    assert_eq!(dead_letters()?, before);

    edit_and_replay(&before)?;
    let other = directory.path().join("again.jsonl");
    dm_ok(&["dlq", "purge", "--copy", other.to_str().unwrap(), "--yes"])?;
    assert!(dead_letters()?.is_empty());
    Ok(())
}

/// A dead letter is edited until the event catalog accepts it, and is replayed as another event.
fn edit_and_replay(before: &[Value]) -> Result<(), Failed> {
    let id = before[0]["id"].as_str().unwrap_or_default();
    let drafts = tempfile::tempdir()?;
    let replay_with = |editor: &str| {
        dm_command()
            .args([
                "--instance",
                instance(),
                "dlq",
                "replay",
                "--edit",
                "--id",
                id,
            ])
            .args(["--max-rounds", "9"])
            .env_remove("VISUAL")
            .env("EDITOR", editor)
            .env("TMPDIR", drafts.path())
            .output()
    };
    let refused = replay_with("true")?;
    assert_eq!(
        refused.status.code(),
        Some(2),
        "an unchanged message was replayed"
    );
    let unchanged = take_draft(drafts.path())?;
    let refused = replay_with(r#"sed -i s/note/orderId/"#)?;
    let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(stderr.contains("missing field"), "{stderr}");
    let draft = take_draft(drafts.path())?;
    assert_eq!(draft, unchanged.replacen("note", "orderId", 1));
    assert_ne!(draft, unchanged);
    assert_eq!(dead_letters()?.len(), before.len());
    let order = block_on(async { place_order(&client(), "PPR-A4-WHT-500", 1).await });
    let shown = dm_json(&["dlq", "show", id, "--json"])?;
    let mut event = shown["letters"][0]["body"].clone();
    event["data"] = json!({
        "orderId": order, "clientId": "client_5012", "requestedShipDate": "2030-01-01",
        "items": [{"sku": "PPR-A4-WHT-500", "quantity": 1}], "createdBy": "jhalpert",
        "createdAt": "2026-01-01T00:00:00Z",
    });
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), event.to_string())?;
    let output = replay_with(&format!("cp {}", file.path().display()))?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{stderr}");
    let left = std::fs::read_dir(drafts.path())?;
    assert_eq!(left.count(), 0, "the draft of a replayed event was kept");
    // The event is about an order that inventory knows, so it is processed without an effect.
    eventually(
        &format!(
            "SELECT count(*) FROM inventory.inbox_events
               JOIN dm_ops.replay_messages ON edited_as = inbox_events.event_id
              WHERE replay_messages.event_id = '{id}'"
        ),
        "1",
    )?;
    assert_eq!(dead_letters()?.len(), before.len() - 1);
    Ok(())
}

/// Returns the text of the only draft in a directory, and removes it. A draft may contain personal
/// data, so that only its owner may read it.
fn take_draft(directory: &Path) -> Result<String, Failed> {
    let entries = std::fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
    let [draft] = entries.as_slice() else {
        return Err(format!("expected one draft: {entries:?}").into());
    };
    assert_eq!(draft.metadata()?.permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(draft.path())?;
    std::fs::remove_file(draft.path())?;
    Ok(text)
}

/// The number of dead letters that are replayed while `dm` is killed: more than one channel
/// holds.
const REPLAYED: usize = 5_000;

/// A replay that is killed and resumed several times loses no message. The read model's queue has
/// no consumer, so all messages that arrive can be counted.
pub(crate) fn killed_replay_is_resumed_without_losing_messages() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("letters.jsonl");
    let mut random = fastrand::Rng::with_seed(501);
    let ids: BTreeSet<String> = (0..REPLAYED)
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
    dm_ok(&["dlq", "import", path.to_str().unwrap()])?;

    let limits = ["--rate", "3000", "--max-in-flight", "50"];
    let (mut kills, mut is_named) = (0, false);
    loop {
        let run = latest_run(&before)?;
        let mut arguments = vec!["dlq", "replay"];
        match &run {
            Some((_, true)) => break,
            Some((run, false)) => arguments.extend(["--resume", run.as_str()]),
            None => arguments.extend(["--queue", READ_MODEL_QUEUE]),
        }
        arguments.extend(limits);
        let mut child = spawn(&arguments)?;
        // Later attempts are not killed, so that the replay ends.
        if kills < 8 {
            std::thread::sleep(Duration::from_millis(random.u64(100..700)));
            child.kill()?;
            kills += 1;
        }
        child.wait()?;
        if let (false, Some((run, false))) = (is_named, latest_run(&before)?) {
            let report = dm(&["reconcile", "--grace", "0s"]);
            let stderr = String::from_utf8_lossy(&report.stderr);
            assert!(
                stderr.contains(&format!("dlq replay --resume {run}")),
                "{stderr}"
            );
            is_named = true;
        }
    }
    let left = dm_json(&["dlq", "ls", "--each", "--json", "--queue", READ_MODEL_QUEUE])?;
    assert_eq!(left["letters"].as_array().map(Vec::len), Some(0));
    let arrived = block_on(drain_read_model_ids())?;
    let missing: Vec<_> = ids.difference(&arrived).collect();
    assert!(missing.is_empty(), "lost: {missing:?}");
    Ok(())
}

/// A replay whose connections the broker closes fails, and its error names the run to resume. With
/// `--json`, the error is the last line.
pub(crate) fn failed_replay_names_the_run_to_resume() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("letters.jsonl");
    let ids: BTreeSet<String> = (0..200)
        .map(|number| format!("evt_failed_replay_{number}"))
        .collect();
    let lines = ids.iter().map(|id| {
        let properties = json!({"message_id": id});
        json!({"queue": READ_MODEL_QUEUE, "properties": properties, "body": "e30="}).to_string()
    });
    std::fs::write(&path, lines.collect::<Vec<_>>().join("\n"))?;
    dm_ok(&["dlq", "import", path.to_str().unwrap()])?;

    let mut replay = dm_command()
        .args(["--instance", instance(), "dlq", "replay", "--json"])
        .args(["--queue", READ_MODEL_QUEUE, "--rate", "5"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut lines = BufReader::new(replay.stdout.take().unwrap()).lines();
    let first: Value = serde_json::from_str(&lines.next().unwrap()?)?;
    let run = first["run_id"].as_str().unwrap().to_owned();
    let close = ["rabbitmqctl", "close_all_connections", "closed by a test"];
    dm_ok(&[&["exec", "rabbitmq", "--"], &close[..]].concat())?;
    let last: Value = serde_json::from_str(&lines.last().unwrap()?)?;
    assert_eq!(replay.wait()?.code(), Some(4), "{last}");
    assert_eq!(last["schema"], "dm.error/1");
    let error = &last["error"];
    assert_eq!(error["code"], "broker-call", "{error}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(&run), "{message}");
    let resume = format!("dm --instance {} dlq replay --resume {run}", instance());
    assert!(
        error["next"].as_array().unwrap().contains(&json!(resume)),
        "{error}"
    );

    dm_ok(&["dlq", "replay", "--resume", &run])?;
    let arrived = block_on(drain_read_model_ids())?;
    assert!(arrived.is_superset(&ids));
    Ok(())
}

/// Returns the latest replay run of the read model's dead letters after a time, and whether it
/// has ended.
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

/// Returns the ids of all messages in the read model's queue.
async fn drain_read_model_ids() -> Result<BTreeSet<String>, Failed> {
    let messages = drain_read_model().await?;
    let ids = messages.iter().filter_map(|message| {
        let id = message.properties.message_id().as_ref();
        id.map(ToString::to_string)
    });
    Ok(ids.collect())
}

/// Removes all messages from the read model's queue and returns them.
async fn drain_read_model() -> Result<Vec<lapin::message::Delivery>, Failed> {
    let connection = broker(ADMINISTRATOR).await?;
    let channel = connection.create_channel().await?;
    let mut messages = Vec::new();
    let options = BasicGetOptions { no_ack: true };
    while let Some(message) = channel.basic_get(READ_MODEL_QUEUE.into(), options).await? {
        messages.push(message.delivery);
    }
    Ok(messages)
}

/// Returns headers of every type.
fn headers_of_every_type() -> FieldTable {
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
        (headers::REASON, text("nul\0")),
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

/// Returns unusual dead letters in the order in which they are published: one with every property
/// and header type, three equal ones without an id, and one that contains U+0000.
fn unusual_dead_letters() -> Vec<(BasicProperties, &'static [u8])> {
    let full = BasicProperties::default()
        .with_content_type("text/plain".into())
        .with_content_encoding("gzip".into())
        .with_headers(headers_of_every_type())
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

/// Every copy contains all properties, headers and bytes. Equal dead letters stay separate, and
/// none of them blocks another one.
pub(crate) fn dlq_export_and_import_preserve_every_property_and_header() -> Result<(), Failed> {
    // Removes notifications of earlier tests.
    block_on(drain_read_model())?;
    let queue = dead_letter_queue(READ_MODEL_QUEUE);
    for (properties, body) in unusual_dead_letters() {
        publish_to_queue(&queue, body, properties)?;
    }
    let on_read_model =
        |command: &[&str]| dm_ok(&[command, &["--queue", READ_MODEL_QUEUE]].concat());
    let until = std::time::Instant::now() + TIMEOUT;
    let first = loop {
        let written = on_read_model(&["dlq", "export", "-"])?;
        if written.lines().count() == 5 || std::time::Instant::now() > until {
            break written;
        }
    };
    assert_eq!(first.lines().count(), 5, "{first}");
    let assert_unchanged = |action: &str| -> Result<(), Failed> {
        assert_eq!(
            on_read_model(&["dlq", "export", "-"])?,
            first,
            "after {action}"
        );
        Ok(())
    };
    assert_unchanged("inspecting")?;
    on_read_model(&["dlq", "park", "--yes"])?;
    let parked = dm_json(&["dlq", "parked", "--json"])?;
    assert_eq!(parked["letters"].as_array().map(Vec::len), Some(5));
    assert_eq!(dm(&["dlq", "unpark", "nosuch"]).status.code(), Some(1));
    dm_ok(&["dlq", "unpark"])?;
    assert_unchanged("parking")?;

    let directory = tempfile::tempdir()?;
    let path = directory.path().join("odd.jsonl");
    let file = path.to_str().unwrap();
    on_read_model(&["dlq", "purge", "--yes", "--copy", file])?;
    assert_eq!(on_read_model(&["dlq", "export", "-"])?, "");
    dm_ok(&["dlq", "import", file])?;
    assert_unchanged("importing a copy")?;
    dm_ok(&["dlq", "import", file])?;
    assert_unchanged("importing it again")?;

    let second = directory.path().join("second.jsonl");
    let copy = second.to_str().unwrap();
    on_read_model(&["dlq", "purge", "--yes", "--copy", copy])?;
    let imported = dm_command()
        .args(["--instance", instance(), "dlq", "import", "-"])
        .stdin(std::fs::File::open(&second)?)
        .output()?;
    let stderr = String::from_utf8_lossy(&imported.stderr).into_owned();
    assert!(imported.status.success(), "{stderr}");
    assert_unchanged("importing a copy from stdin")?;

    // A malformed line is named, and the other lines are imported.
    let damaged = directory.path().join("damaged.jsonl");
    std::fs::write(&damaged, format!("{first}no letter\n"))?;
    let refused = dm(&["dlq", "import", damaged.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(stderr.contains("damaged.jsonl: line 6"), "{stderr}");
    assert_unchanged("importing a damaged file")?;
    let unused = directory.path().join("unused.jsonl");
    let copy = unused.to_str().unwrap();
    let purge_nosuch = ["dlq", "purge", "--yes", "--copy", copy, "--id", "nosuch"];
    for (arguments, code, named) in [
        (&["dlq", "import", "/nofile"][..], 2, "/nofile"),
        (&["dlq", "export", file], 2, "odd.jsonl"),
        (
            &["dlq", "purge", "--yes", "--copy", "-"],
            2,
            "[copy-not-regular-file]",
        ),
        (&purge_nosuch, 1, "`nosuch`"),
        (&["dlq", "park", "--yes", "--id", "nosuch"], 1, "`nosuch`"),
        (&["dlq", "replay", "--id", "nosuch"], 1, "`nosuch`"),
    ] {
        let refused = dm(arguments);
        let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(named), "{arguments:?}: {stderr}");
    }
    assert_unchanged("refused commands")?;

    on_read_model(&["dlq", "replay"])?;
    let arrived = block_on(drain_read_model())?;
    let bodies: Vec<&[u8]> = arrived
        .iter()
        .map(|message| message.data.as_slice())
        .collect();
    let published = unusual_dead_letters();
    assert_eq!(
        bodies,
        published.iter().map(|(_, body)| *body).collect::<Vec<_>>()
    );
    let headers = arrived[0].properties.headers().clone().unwrap();
    for (name, value) in headers_of_every_type().inner() {
        // This header would also have routed the event to another queue.
        if name.as_str() != "CC" {
            assert_eq!(headers.inner().get(name), Some(value), "{name}");
        }
    }
    assert_eq!(arrived[0].properties.expiration(), &None);
    assert_eq!(arrived[0].properties.priority(), &Some(3));
    Ok(())
}
