//! What the stack is like, beside what the files say.

use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::stack::{INSTANCE, PATIENCE, dm, dm_command, eventually, ok, sql, start};

/// The snapshots in the repository are what migrations make and what runs.
pub(crate) fn agree() -> Result<(), Failed> {
    let report: Value = serde_json::from_str(&ok(&["schema", "check", "--json"])?)?;
    assert_eq!(
        report["checks"].as_array().map(Vec::len),
        Some(2),
        "{report}"
    );
    Ok(())
}

/// A column and an index more are additive; a column less breaks somebody.
pub(crate) fn differ() -> Result<(), Failed> {
    sql("ALTER TABLE finance.expenses ADD COLUMN note text")?;
    let additive = differences();
    sql("ALTER TABLE finance.expenses ALTER COLUMN note SET NOT NULL, ADD CHECK (note <> '')").ok();
    sql("ALTER TABLE finance.expenses DROP COLUMN note")?;
    sql("ALTER TABLE finance.expenses RENAME COLUMN receipt_url TO receipt")?;
    let breaking = differences();
    sql("ALTER TABLE finance.expenses RENAME COLUMN receipt TO receipt_url")?;
    let (additive, breaking) = (additive?, breaking?);
    assert_eq!(
        additive["differences"].as_array().map(Vec::len),
        Some(1),
        "{additive}"
    );
    assert_eq!(additive["breaking"], false, "{additive}");
    assert_eq!(breaking["breaking"], true, "{breaking}");
    ok(&["schema", "diff"])?;
    Ok(())
}

fn differences() -> Result<Value, Failed> {
    let found = dm(&["schema", "diff", "--json"]);
    assert_eq!(found.status.code(), Some(1));
    Ok(serde_json::from_slice(&found.stdout)?)
}

/// The tables of events as the migrations of one service made them before there was one
/// migration for all services.
const OLDER: [&str; 3] = [
    include_str!("schema/older/1_events.sql"),
    include_str!("schema/older/3_failed_events.sql"),
    include_str!("schema/older/4_forgotten_events.sql"),
];
/// What they were recorded in, and a row of each table.
const OLDER_ROWS: &str = "
    CREATE TABLE schema_migrations (version bigint PRIMARY KEY, description text NOT NULL);
    INSERT INTO schema_migrations VALUES (1, 'events'), (2, 'orders'), (3, 'failed events'),
        (4, 'forgotten events');
    INSERT INTO outbox_events (event_id, event_type, routing_key, subject, payload)
        VALUES ('evt_1', 'order.created', 'order.created.v1', 'order/ord_1', '{\"data\": [1, 2.50]}');
    INSERT INTO inbox_events (queue, event_id, event_type) VALUES ('q', 'evt_2', 't');
    INSERT INTO forgotten_events VALUES ('evt_3');
    INSERT INTO failed_events (letter_id, queue, round, attempts, dead, reason, error, trace_id,
        failed_at) VALUES ('l', 'q', 0, 1, true, 'r', 'e', 't', now());";
/// The migration that takes their place.
const EVENTS: &str = include_str!("../../../migrations/events/0001_events.sql");
/// Columns, indexes and constraints of a schema, as they are without its name.
const SHAPE: &str = "
    SELECT string_agg(line, E'\\n' ORDER BY line) FROM (
        SELECT concat_ws(' ', table_name, column_name, data_type, is_nullable, column_default,
                         identity_generation) AS line
          FROM information_schema.columns
         WHERE table_schema = 'SCHEMA' AND table_name <> 'schema_migrations'
        UNION ALL
        SELECT replace(indexdef, 'SCHEMA.', '') FROM pg_indexes
         WHERE schemaname = 'SCHEMA' AND tablename <> 'schema_migrations'
        UNION ALL
        SELECT concat_ws(' ', conrelid::regclass::text, conname, pg_get_constraintdef(oid))
          FROM pg_constraint
         WHERE connamespace = 'SCHEMA'::regnamespace
           AND conrelid::regclass::text NOT LIKE '%schema_migrations'
    ) AS all_of_it";

/// A schema from before the one migration of events becomes what a new one is, and keeps
/// its rows.
pub(crate) fn older() -> Result<(), Failed> {
    let within = |schema: &str, text: &str| {
        sql(&format!(
            "BEGIN; SET LOCAL search_path = {schema}; {text} ; COMMIT"
        ))
    };
    let shape = |schema: &str| within(schema, &SHAPE.replace("SCHEMA", schema));
    let tried = (|| {
        sql("CREATE SCHEMA test_older; CREATE SCHEMA test_fresh")?;
        within("test_older", &OLDER.concat())?;
        within("test_older", OLDER_ROWS)?;
        let before = shape("test_older")?;
        within("test_older", EVENTS)?;
        within("test_fresh", EVENTS)?;
        let (older, fresh) = (shape("test_older")?, shape("test_fresh")?);
        assert!(before.contains("payload jsonb"), "{before}");
        assert_eq!(older, fresh);
        let rows = within(
            "test_older",
            "SELECT (SELECT payload::text FROM outbox_events WHERE sequence = 1),
                    (SELECT event_id FROM inbox_events), (SELECT event_id FROM forgotten_events),
                    (SELECT letter_id FROM failed_events),
                    (SELECT string_agg(description, ',') FROM schema_migrations)",
        )?;
        assert_eq!(rows, "{\"data\": [1, 2.50]}|evt_2|evt_3|l|orders");
        Ok(())
    })();
    sql("DROP SCHEMA IF EXISTS test_older, test_fresh CASCADE")?;
    tried
}

/// Every kind of object that pg_dump tells of, and a change of each.
const OBJECTS: &str = include_str!("schema/objects.sql");
const CHANGES: &str = include_str!("schema/changes.sql");
/// What begins with `-` would be taken for a flag.
const QUIET: &str = "SET client_min_messages = error;\n";
/// Takes all of it away again.
const REMOVED: &str = "
    DROP EVENT TRIGGER IF EXISTS watching;
    DROP SUBSCRIPTION IF EXISTS followed;
    DROP PUBLICATION IF EXISTS \"all of it\", some_of_it;
    DROP EXTENSION IF EXISTS pg_stat_statements CASCADE;
    DROP SCHEMA IF EXISTS \"Odd; --x\" CASCADE;
    DROP TRANSFORM IF EXISTS FOR money LANGUAGE sql;
    DROP ACCESS METHOD IF EXISTS other;
    DROP LANGUAGE IF EXISTS tongue;
    DROP FOREIGN DATA WRAPPER IF EXISTS \"wrap per\" CASCADE;
    ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO PUBLIC;
    DO $$ DECLARE own text := current_database(); BEGIN
        EXECUTE format('ALTER DATABASE %I RESET work_mem', own);
        EXECUTE format('ALTER ROLE %I IN DATABASE %I RESET \"app.token\"', CURRENT_USER, own);
        EXECUTE format('COMMENT ON DATABASE %I IS NULL', own);
        EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM pg_monitor', own);
    END $$";

/// A snapshot of objects of every kind is what runs, and a change of each of them is one
/// difference.
pub(crate) fn every_kind() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path().to_string_lossy().into_owned();
    let told = told_of_each(&folder);
    sql(REMOVED)?;
    let mut told = told?;
    let mut expected: Vec<String> = CHANGES
        .lines()
        .filter_map(|line| line.strip_prefix("--> "))
        .map(|line| line.replace("\\n", "\n"))
        .collect();
    told.sort();
    expected.sort();
    assert_eq!(told, expected);
    // Nothing of it is left for the tests after this one.
    ok(&["schema", "diff"])?;
    Ok(())
}

fn told_of_each(folder: &str) -> Result<Vec<String>, Failed> {
    sql(&format!("{QUIET}{OBJECTS}"))?;
    ok(&["schema", "snapshot", "--dir", folder])?;
    ok(&["schema", "diff", "--dir", folder])?;
    let checked = dm(&["schema", "check", "--dir", folder, "--json"]);
    let checked: Value = serde_json::from_slice(&checked.stdout)?;
    assert_eq!(
        checked["stale_pictures"],
        serde_json::json!([]),
        "{checked}"
    );
    for file in std::fs::read_dir(folder)? {
        let text = std::fs::read_to_string(file?.path())?;
        assert!(
            !text.contains("geheim"),
            "a password is in the snapshot:\n{text}"
        );
    }
    sql(&format!("{QUIET}{CHANGES}"))?;
    let found = dm(&["schema", "diff", "--dir", folder, "--json"]);
    assert_eq!(found.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&found.stdout)?;
    let told = found["differences"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(told
        .map(|it| format!("{}: {}", text(&it["kind"]), text(&it["name"])))
        .collect())
}

/// Sessions of `dm` that are still at work in the server.
const AT_WORK: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE application_name LIKE 'dm schema %' OR application_name LIKE 'dm command %'
       OR application_name LIKE 'dm database %' OR application_name = 'dm-backup'";
/// The session that holds the lock.
const HOLDER: &str = "SELECT coalesce(max(pid), 0) FROM pg_locks
    WHERE relation = 'orders.orders'::regclass AND mode = 'AccessExclusiveLock' AND granted";

/// Whatever waits for a lock of another session names that session, and ends with nothing of
/// it left in the server.
pub(crate) fn locked() -> Result<(), Failed> {
    let mut holding = start(&[
        "psql",
        "-c",
        "LOCK TABLE orders.orders, dm_ops.database_setup; SELECT pg_sleep(600)",
    ])?;
    let told = all_named();
    sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LOCK TABLE orders.orders%'",
    )?;
    holding.wait()?;
    told
}

fn all_named() -> Result<(), Failed> {
    let until = Instant::now() + PATIENCE;
    let mut holder = sql(HOLDER)?;
    while holder == "0" && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(100));
        holder = sql(HOLDER)?;
    }
    let folder = tempfile::tempdir()?;
    let folder = folder.path().to_string_lossy().into_owned();
    let named = |output: &Output, code: i32, what: &str| {
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{what}: {told}");
        assert!(
            told.contains(&format!("session {holder} ")),
            "{what}: {told}"
        );
        assert!(
            told.contains(&format!("pg_terminate_backend({holder})")),
            "{what}: {told}"
        );
    };
    let brief = ["--set", "timeouts.lock=1s"];
    for (command, code) in [
        (&["schema", "diff"][..], 2),
        (&["schema", "check"], 2),
        (&["schema", "snapshot", "--dir", &folder], 2),
        (&["seed", "--scale", "100", "--append"], 4),
        (&["up", "--only", "postgres"], 4),
    ] {
        named(&dm(&[command, &brief].concat()), code, &command.join(" "));
        eventually(AT_WORK, "0")?;
    }
    // The time of the whole run is over first.
    let short = ["up", "--only", "postgres", "--wait-timeout", "2s"];
    let patient = ["--set", "timeouts.lock=1h"];
    named(
        &dm(&[&short[..], &patient].concat()),
        5,
        "up --wait-timeout",
    );
    eventually(AT_WORK, "0")?;
    // An interrupt ends what waits, here and in the server.
    let mut waiting = dm_command()
        .args(["--instance", INSTANCE, "schema", "diff"])
        .args(patient)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    eventually(
        "SELECT count(*) FROM pg_stat_activity
          WHERE application_name LIKE 'dm schema %' AND wait_event_type = 'Lock'",
        "1",
    )?;
    kill_process(Pid::from_child(&waiting), Signal::TERM)?;
    assert_eq!(waiting.wait()?.code(), Some(130));
    eventually(AT_WORK, "0")
}
