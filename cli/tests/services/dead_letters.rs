//! What was set aside: looks that change nothing, and the way back.

use std::collections::BTreeSet;
use std::time::Duration;

use dm_contracts::topology::READ_MODEL_QUEUE;
use libtest_mimic::Failed;
use serde_json::{Value, json};

use super::flow::place;
use super::stack::{
    INSTANCE, PATIENCE, address, block_on, client, dm, dm_command, eventually, ok, sql, start,
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
pub fn story() -> Result<(), Failed> {
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
pub fn killed() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("letters.jsonl");
    let mut random = fastrand::Rng::with_seed(501);
    let ids: BTreeSet<String> = (0..LETTERS)
        .map(|number| format!("evt_replay_{number}"))
        .collect();
    let lines: Vec<String> = ids
        .iter()
        .map(|id| {
            json!({"queue": READ_MODEL_QUEUE, "message_id": id, "headers": {}, "body": "e30="})
                .to_string()
        })
        .collect();
    std::fs::write(&path, lines.join("\n"))?;
    ok(&["dlq", "import", path.to_str().unwrap()])?;

    let slowly = ["--rate", "3000", "--max-in-flight", "50"];
    let mut kills = 0;
    loop {
        let run = latest_run()?;
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
    }
    let left = asked(&["dlq", "ls", "--each", "--json", "--queue", READ_MODEL_QUEUE])?;
    assert_eq!(left["letters"].as_array().map(Vec::len), Some(0));
    let arrived = block_on(arrived())?;
    let missing: Vec<_> = ids.difference(&arrived).collect();
    assert!(missing.is_empty(), "lost: {missing:?}");
    Ok(())
}

/// The latest run of the read model's letters, and whether it has ended.
fn latest_run() -> Result<Option<(String, bool)>, Failed> {
    let found = sql(&format!(
        "SELECT run_id || ' ' || (ended_at IS NOT NULL) FROM dm_ops.replay_runs
          WHERE selection->'queues' = '[\"{READ_MODEL_QUEUE}\"]'
          ORDER BY began_at DESC LIMIT 1"
    ))?;
    Ok(found
        .split_once(' ')
        .map(|(run, ended)| (run.to_owned(), ended == "true")))
}

/// The ids of all that is in the read model's queue.
async fn arrived() -> Result<BTreeSet<String>, Failed> {
    let uri = address("rabbitmq").replace("dunder@", "dunder:mifflin@");
    let properties = lapin::ConnectionProperties::default();
    let connection = lapin::Connection::connect(&format!("{uri}/%2f"), properties).await?;
    let channel = connection.create_channel().await?;
    let mut ids = BTreeSet::new();
    let options = lapin::options::BasicGetOptions { no_ack: true };
    while let Some(message) = channel.basic_get(READ_MODEL_QUEUE.into(), options).await? {
        let id = message.delivery.properties.message_id().clone();
        ids.extend(id.map(|id| id.to_string()));
    }
    Ok(ids)
}
