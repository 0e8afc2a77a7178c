//! Tests of schema snapshots: they are compared with the migrations and with the running stack.

use libtest_mimic::Failed;
use rustix::process::Signal;
use serde_json::Value;

use super::stack::{FollowedCall, SleepingSession, dm, dm_ok, eventually, sql};

/// The snapshots in the repository match the migrations and the running stack.
pub(crate) fn schema_check_passes_on_the_running_stack() -> Result<(), Failed> {
    let report: Value = serde_json::from_str(&dm_ok(&["schema", "check", "--json"])?)?;
    assert_eq!(
        report["checks"].as_array().map(Vec::len),
        Some(2),
        "{report}"
    );
    Ok(())
}

/// A new column is additive. A column that is removed is a breaking change.
pub(crate) fn schema_diff_classifies_additive_and_breaking_changes() -> Result<(), Failed> {
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
    dm_ok(&["schema", "diff"])?;
    Ok(())
}

fn differences() -> Result<Value, Failed> {
    let found = dm(&["schema", "diff", "--json"]);
    assert_eq!(found.status.code(), Some(1));
    Ok(serde_json::from_slice(&found.stdout)?)
}

/// The event tables as the migrations of one service created them before there was one migration
/// for all services.
const OLD_TABLES: [&str; 3] = [
    include_str!("schema/old_tables/1_events.sql"),
    include_str!("schema/old_tables/3_failed_events.sql"),
    include_str!("schema/old_tables/4_forgotten_events.sql"),
];
/// The table in which migrations are recorded, and a row of each table.
const OLD_ROWS: &str = "
    CREATE TABLE schema_migrations (version bigint PRIMARY KEY, description text NOT NULL);
    INSERT INTO schema_migrations VALUES (1, 'events'), (2, 'orders'), (3, 'failed events'),
        (4, 'forgotten events');
    INSERT INTO outbox_events (event_id, event_type, routing_key, subject, payload)
        VALUES ('evt_1', 'order.created', 'order.created.v1', 'order/ord_1', '{\"data\": [1, 2.50]}');
    INSERT INTO inbox_events (queue, event_id, event_type) VALUES ('q', 'evt_2', 't');
    INSERT INTO forgotten_events VALUES ('evt_3');
    INSERT INTO failed_events (letter_id, queue, round, attempts, dead, reason, error, trace_id,
        failed_at) VALUES ('l', 'q', 0, 1, true, 'r', 'e', 't', now());";
/// The migration that replaces them.
const EVENTS: &str = include_str!("../../../migrations/events/0001_events.sql");
/// Selects the columns, indexes and constraints of a schema, without its name.
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
    ) AS lines";

/// A schema with the old event tables gets the same tables as a new one, and keeps its rows.
pub(crate) fn events_migration_upgrades_old_event_tables_and_keeps_rows() -> Result<(), Failed> {
    let within = |schema: &str, text: &str| {
        sql(&format!(
            "BEGIN; SET LOCAL search_path = {schema}; {text} ; COMMIT"
        ))
    };
    let shape = |schema: &str| within(schema, &SHAPE.replace("SCHEMA", schema));
    let result = (|| {
        sql("CREATE SCHEMA test_upgraded; CREATE SCHEMA test_fresh")?;
        within("test_upgraded", &OLD_TABLES.concat())?;
        within("test_upgraded", OLD_ROWS)?;
        let before = shape("test_upgraded")?;
        within("test_upgraded", EVENTS)?;
        within("test_fresh", EVENTS)?;
        let (upgraded, fresh) = (shape("test_upgraded")?, shape("test_fresh")?);
        assert!(before.contains("payload jsonb"), "{before}");
        assert_eq!(upgraded, fresh);
        let rows = within(
            "test_upgraded",
            "SELECT (SELECT payload::text FROM outbox_events WHERE sequence = 1),
                    (SELECT event_id FROM inbox_events), (SELECT event_id FROM forgotten_events),
                    (SELECT letter_id FROM failed_events),
                    (SELECT string_agg(description, ',') FROM schema_migrations)",
        )?;
        assert_eq!(rows, "{\"data\": [1, 2.50]}|evt_2|evt_3|l|orders");
        Ok(())
    })();
    sql("DROP SCHEMA IF EXISTS test_upgraded, test_fresh CASCADE")?;
    result
}

/// The migrations of a schema from before orders could be cancelled, rows of them, and the migration
/// that adds cancellation.
const CANCELLATION_UPGRADES: [(&[&str], &str, &str); 2] = [
    (
        &[include_str!("../../../migrations/orders/0002_orders.sql")],
        "INSERT INTO orders (order_id, client_id, status, requested_ship_date, items, created_by,
             created_at)
         SELECT 'ord_' || number, 'client_1', status, '2026-01-31', '[]', 'jhalpert', now()
           FROM unnest(ARRAY['CREATED', 'RESERVED', 'FAILED_INSUFFICIENT_STOCK', 'SHIPPED'])
                WITH ORDINALITY AS old (status, number)",
        include_str!("../../../migrations/orders/0005_cancellation_and_lists.sql"),
    ),
    (
        &[
            include_str!("../../../migrations/inventory/0002_warehouse.sql"),
            include_str!("../../../migrations/inventory/0003_stock.sql"),
        ],
        "INSERT INTO shipments (shipment_id, order_id, client_id, requested_ship_date, items,
             status, created_at, created_by, updated_at)
         SELECT 'ship_' || number, 'ord_' || number, 'client_1', '2026-01-31', '[]', status, now(),
                'jhalpert', now()
           FROM unnest(ARRAY['PENDING', 'LOADING', 'FAILED'])
                WITH ORDINALITY AS old (status, number)",
        include_str!("../../../migrations/inventory/0006_cancellation_and_lists.sql"),
    ),
];

/// Orders and shipments from before cancellation are kept. A shipment in loading waits for another
/// scan, because its first one was not published.
pub(crate) fn cancellation_migrations_keep_old_orders_and_shipments() -> Result<(), Failed> {
    let within = |text: &str| {
        sql(&format!(
            "BEGIN; SET LOCAL search_path = test_old; {text} ; COMMIT"
        ))
    };
    let result = (|| {
        sql("CREATE SCHEMA test_old")?;
        for (old, rows, upgrade) in CANCELLATION_UPGRADES {
            within(&old.concat())?;
            within(rows)?;
            within(upgrade)?;
        }
        let statuses = |table: &str| {
            within(&format!(
                "SELECT string_agg(status, ',' ORDER BY order_id) FROM {table}"
            ))
        };
        assert_eq!(
            statuses("orders")?,
            "CREATED,RESERVED,FAILED_INSUFFICIENT_STOCK,SHIPPED"
        );
        assert_eq!(statuses("shipments")?, "PENDING,PENDING,FAILED");
        Ok(())
    })();
    sql("DROP SCHEMA IF EXISTS test_old CASCADE")?;
    result
}

/// An object of every kind that pg_dump writes, and a change of each.
const OBJECTS: &str = include_str!("schema/objects.sql");
const CHANGES: &str = include_str!("schema/changes.sql");
/// psql must not take a text that begins with `-` for an option.
const QUIET: &str = "SET client_min_messages = error;\n";
/// Removes all these objects.
const CLEANUP: &str = "
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

/// A snapshot of objects of every kind matches the running stack, and a change of each object is
/// reported as one difference.
pub(crate) fn schema_diff_reports_each_changed_object_once() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let directory = directory.path().to_string_lossy().into_owned();
    let result = reported_changes(&directory);
    sql(CLEANUP)?;
    let mut reported = result?;
    let mut expected: Vec<String> = CHANGES
        .lines()
        .filter_map(|line| line.strip_prefix("--> "))
        .map(|line| line.replace("\\n", "\n"))
        .collect();
    reported.sort();
    expected.sort();
    assert_eq!(reported, expected);
    // Nothing is left for the following tests.
    dm_ok(&["schema", "diff"])?;
    Ok(())
}

fn reported_changes(directory: &str) -> Result<Vec<String>, Failed> {
    sql(&format!("{QUIET}{OBJECTS}"))?;
    dm_ok(&["schema", "snapshot", "--dir", directory])?;
    dm_ok(&["schema", "diff", "--dir", directory])?;
    let checked = dm(&["schema", "check", "--dir", directory, "--json"]);
    let checked: Value = serde_json::from_slice(&checked.stdout)?;
    assert_eq!(
        checked["stale_diagrams"],
        serde_json::json!([]),
        "{checked}"
    );
    for file in std::fs::read_dir(directory)? {
        let text = std::fs::read_to_string(file?.path())?;
        assert!(
            !text.contains("geheim"),
            "a password is in the snapshot:\n{text}"
        );
    }
    sql(&format!("{QUIET}{CHANGES}"))?;
    let found = dm(&["schema", "diff", "--dir", directory, "--json"]);
    assert_eq!(found.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&found.stdout)?;
    let differences = found["differences"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(differences
        .map(|entry| format!("{}: {}", text(&entry["kind"]), text(&entry["name"])))
        .collect())
}

/// The number of sessions of `dm` in the server.
const SESSIONS: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE application_name LIKE 'dm schema %' OR application_name LIKE 'dm command %'
       OR application_name LIKE 'dm database %' OR application_name = 'dm-backup'";

/// A command that waits for a lock names the session that holds it, ends with the exit code of an
/// exceeded time limit, and leaves no session of its own when it ends.
pub(crate) fn commands_waiting_for_a_database_lock_name_its_holder() -> Result<(), Failed> {
    let tables = SleepingSession::start("LOCK TABLE orders.orders, dm_ops.database_setup")?;
    assert_holder_of_tables_is_named(&tables.pid()?)?;
    drop(tables);
    // The job has something to do if another digest is recorded.
    sql("UPDATE dm_ops.database_setup SET digest = 'outdated'")?;
    // Another `dm up` would hold this lock while it sets up the database.
    let setup = SleepingSession::start("SELECT pg_advisory_lock(hashtext('dm database'))")?;
    assert_names_holder(&["up", "--only", "postgres"], "1s", &setup.pid()?)?;
    drop(setup);
    dm_ok(&["up", "--only", "postgres"])?;
    assert_ne!(sql("SELECT digest FROM dm_ops.database_setup")?, "outdated");
    Ok(())
}

/// Asserts that a command that waits this long for a lock names its holder, and leaves no session.
fn assert_names_holder(command: &[&str], lock_timeout: &str, holder: &str) -> Result<(), Failed> {
    let setting = format!("timeouts.lock={lock_timeout}");
    let output = dm(&[command, &["--set", &setting]].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    let what = command.join(" ");
    assert_eq!(output.status.code(), Some(5), "{what}: {stderr}");
    for part in [
        format!("session {holder} "),
        format!("pg_terminate_backend({holder})"),
    ] {
        assert!(stderr.contains(&part), "{what}: {stderr}");
    }
    eventually(SESSIONS, "0")
}

fn assert_holder_of_tables_is_named(holder: &str) -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let directory = directory.path().to_string_lossy().into_owned();
    let snapshot = ["schema", "snapshot", "--dir", &directory];
    for command in [
        &["schema", "diff"][..],
        &["schema", "check"],
        &snapshot,
        &["seed", "--scale", "100", "--append"],
        &["up", "--only", "postgres"],
    ] {
        assert_names_holder(command, "1s", holder)?;
    }
    // The timeout of the whole run expires first.
    let short_wait = ["up", "--only", "postgres", "--wait-timeout", "2s"];
    assert_names_holder(&short_wait, "1h", holder)?;
    // An interrupt ends the waiting command and its session.
    for command in [&["schema", "diff"][..], &snapshot] {
        let waiting = FollowedCall::start(&[command, &["--set", "timeouts.lock=1h"]].concat())?;
        eventually(
            "SELECT count(*) FROM pg_stat_activity
              WHERE application_name LIKE 'dm schema %' AND wait_event_type = 'Lock'",
            "1",
        )?;
        waiting.signal(Signal::TERM)?;
        assert_eq!(waiting.finish()?.status.code(), Some(130), "{command:?}");
        eventually(SESSIONS, "0")?;
    }
    Ok(())
}
