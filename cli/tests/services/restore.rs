//! A restore that is hindered: by what the server lacks, by what hangs on a schema, by locks,
//! by clients that nothing stops, by kill -9, and by other commands.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use dm_contracts::topology::{INVENTORY_QUEUE, READ_MODEL_QUEUE, Tier, retry_queue};
use lapin::BasicProperties;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::FieldTable;
use libtest_mimic::Failed;
use rustix::process::Signal;
use serde_json::Value;

use super::backup::{STATE, create, text};
use super::faults::settled;
use super::flow::place;
use super::stack::{
    INSTANCE, PATIENCE, block_on, broker, channel, client, dm, dm_command, eventually, kill_at,
    lock_file, ok, signal_at, sql, start,
};

/// How many messages a queue has ready.
fn ready(queue: &str) -> Result<u32, Failed> {
    Ok(block_on(async {
        let (connection, channel) = channel().await?;
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let found = channel
            .queue_declare(queue.into(), options, FieldTable::default())
            .await?;
        let count = found.message_count();
        connection.close(200, "done".into()).await?;
        Ok::<_, lapin::Error>(count)
    })?)
}

/// Asks psql for several statements; an error ends the test.
fn statements(texts: &[&str]) -> Result<(), Failed> {
    for text in texts {
        sql(text)?;
    }
    Ok(())
}

/// A session of psql that has said something and stays.
struct Session(std::process::Child);

impl Session {
    fn begin(said: &str) -> Result<Self, Failed> {
        let mut command = dm_command();
        command.args(["--instance", INSTANCE, "psql"]);
        let mut psql = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut input = psql.stdin.take().unwrap();
        writeln!(input, "SET application_name = 'hindrance'; {said}")?;
        writeln!(input, "SELECT pg_sleep(600);")?;
        drop(input);
        let until = Instant::now() + PATIENCE;
        let sleeps = "SELECT count(*) FROM pg_stat_activity
                       WHERE application_name = 'hindrance' AND query LIKE '%pg_sleep%'
                         AND pid <> pg_backend_pid()";
        while sql(sleeps)? == "0" {
            assert!(
                Instant::now() < until,
                "the session never came to its sleep"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(Self(psql))
    }

    fn end(mut self) -> Result<(), Failed> {
        sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity
              WHERE application_name = 'hindrance'")?;
        self.0.wait()?;
        Ok(())
    }
}

fn seconds(component: &str) -> Result<f64, Failed> {
    let status: Value = serde_json::from_str(&ok(&["status", "--json"])?)?;
    let mut rows = status["components"].as_array().into_iter().flatten();
    let row = rows.find(|it| it["component"] == component);
    let since = row.and_then(|it| it["since_seconds"].as_f64());
    Ok(since.unwrap_or_default())
}

fn told(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Roles, memberships, rights, settings and comment come back with the database; so does a
/// queue that was deleted, and what the read model's reader has not read. A session's
/// temporary table is nobody's.
pub(crate) fn server_side() -> Result<(), Failed> {
    const SIDE: &str = "SELECT concat_ws('/',
        (SELECT concat(rolcanlogin, rolcreatedb, rolconnlimit, rolpassword) FROM pg_authid
          WHERE rolname = 'reporting'),
        pg_has_role('reporting', 'analysts', 'USAGE'),
        has_table_privilege('reporting', 'orders.orders', 'SELECT'),
        has_database_privilege('analysts', current_database(), 'CREATE'),
        shobj_description(pg_database.oid, 'pg_database'), datconnlimit,
        (SELECT string_agg(setconfig::text, ',' ORDER BY setrole) FROM pg_db_role_setting
          WHERE setdatabase = pg_database.oid))
        FROM pg_database WHERE datname = current_database()";
    ok(&["smoke"])?;
    settled()?;
    let database = sql("SELECT current_database()")?;
    statements(&[
        "CREATE ROLE analysts NOLOGIN",
        "CREATE ROLE reporting LOGIN CREATEDB CONNECTION LIMIT 5 PASSWORD 'scranton'",
        "GRANT analysts TO reporting",
        "GRANT USAGE ON SCHEMA orders TO analysts",
        "GRANT SELECT ON orders.orders TO analysts",
        &format!("GRANT CREATE ON DATABASE {database} TO analysts"),
        &format!("ALTER DATABASE {database} SET timezone TO 'Europe/Berlin'"),
        &format!("ALTER DATABASE {database} SET statement_timeout TO '90s'"),
        &format!("ALTER ROLE order_service IN DATABASE {database} SET work_mem TO '9MB'"),
        &format!("COMMENT ON DATABASE {database} IS 'it is paper'"),
    ])?;
    let (side, state, unread) = (sql(SIDE)?, sql(STATE)?, ready(READ_MODEL_QUEUE)?);
    assert!(unread > 0, "smoke notifies");
    let session = Session::begin("CREATE TEMPORARY TABLE held AS SELECT 1 AS one;")?;
    let set = create()?;
    let id = text(&set["id"]);
    statements(&[
        "DROP OWNED BY reporting, analysts",
        "DROP ROLE reporting, analysts",
        &format!("ALTER DATABASE {database} RESET ALL"),
        &format!("ALTER ROLE order_service IN DATABASE {database} RESET ALL"),
        &format!("COMMENT ON DATABASE {database} IS NULL"),
    ])?;
    block_on(async {
        let (connection, channel) = channel().await?;
        let retry = retry_queue(INVENTORY_QUEUE, Tier::Second);
        channel
            .queue_delete(retry.as_str().into(), QueueDeleteOptions::default())
            .await?;
        connection.close(200, "done".into()).await
    })?;
    let restored = dm(&["backup", "restore", id, "--yes"]);
    assert!(restored.status.success(), "{}", told(&restored));
    session.end()?;
    assert_eq!(sql(SIDE)?, side);
    assert_eq!(sql(STATE)?, state);
    assert_eq!(ready(READ_MODEL_QUEUE)?, unread);
    ok(&["smoke"])?;
    ok(&["reconcile"])?;
    // As on another server, which has neither of the roles.
    ok(&["backup", "verify", id, "--restore"])?;
    statements(&[
        &format!("ALTER DATABASE {database} RESET ALL"),
        &format!("ALTER ROLE order_service IN DATABASE {database} RESET ALL"),
        &format!("COMMENT ON DATABASE {database} IS NULL"),
        "DROP OWNED BY reporting, analysts",
        "DROP ROLE reporting, analysts",
    ])
}

/// A backup that can't take the place of what is served changes nothing, and stops nothing.
pub(crate) fn refused_before_anything_changes() -> Result<(), Failed> {
    let set = create()?;
    let id = text(&set["id"]);
    ok(&["smoke"])?;
    settled()?;
    let state = sql(STATE)?;
    let age = seconds("order")?;
    // As if Keycloak had been taken back to an older one.
    sql("UPDATE keycloak.migration_model SET version = '1.' || version RETURNING version")?;
    let calls = [
        vec!["reset", "--to", id, "--yes"],
        vec!["backup", "restore", id, "--yes", "--no-safety"],
    ];
    let refused: Vec<_> = calls.iter().map(|call| dm(call)).collect();
    sql("UPDATE keycloak.migration_model SET version = substr(version, 3) RETURNING version")?;
    for output in &refused {
        assert_eq!(output.status.code(), Some(2), "{}", told(output));
        assert!(told(output).contains("is of Keycloak"), "{}", told(output));
    }
    assert_eq!(sql(STATE)?, state);
    assert!(seconds("order")? >= age, "order was stopped");
    let left = sql("SELECT count(*) FROM pg_database WHERE starts_with(datname, 'dm_re')")?;
    assert_eq!(left, "0");
    // The same one, with nothing in its way.
    let begun = dm(&["reset", "--to", id, "--yes"]);
    assert!(begun.status.success(), "{}", told(&begun));
    assert_ne!(sql(STATE)?, state);
    ok(&["smoke"])?;
    ok(&["reconcile"]).map(drop)
}

/// A schema on which something elsewhere hangs is refused by name, and so is that of dm. One
/// that a session keeps locked is given up, and what was stopped runs again.
pub(crate) fn schemas_that_stay() -> Result<(), Failed> {
    statements(&[
        "CREATE VIEW public.v AS SELECT order_id FROM orders.orders",
        "CREATE TABLE public.fk (o text REFERENCES orders.orders)",
        "CREATE EXTENSION pg_trgm SCHEMA orders",
    ])?;
    let set = create()?;
    let id = text(&set["id"]);
    let restore = |schema: &str| {
        dm(&[
            "backup",
            "restore",
            id,
            "--yes",
            "--no-safety",
            "--schema",
            schema,
        ])
    };
    let refused = restore("orders");
    assert_eq!(refused.status.code(), Some(2));
    for name in ["view public.v", "fk_o_fkey", "extension pg_trgm"] {
        assert!(told(&refused).contains(name), "{}", told(&refused));
    }
    let own = restore("dm_ops");
    assert_eq!(own.status.code(), Some(2));
    assert!(told(&own).contains("dm itself"), "{}", told(&own));
    let there = "SELECT count(*) FROM pg_class WHERE relname IN ('v', 'fk')";
    assert_eq!(sql(there)?, "2");
    statements(&[
        "DROP VIEW public.v",
        "DROP TABLE public.fk",
        "DROP EXTENSION pg_trgm",
    ])?;
    let session = Session::begin("BEGIN; LOCK TABLE orders.orders IN ACCESS SHARE MODE;")?;
    let kept = restore("orders");
    assert_eq!(kept.status.code(), Some(5), "{}", told(&kept));
    assert!(told(&kept).contains("hindrance"), "{}", told(&kept));
    assert!(
        told(&kept).contains("pg_terminate_backend"),
        "{}",
        told(&kept)
    );
    session.end()?;
    ok(&["up"])?;
    ok(&["smoke"])?;
    // A backup names it, too.
    let session = Session::begin("BEGIN; LOCK TABLE orders.orders IN ACCESS EXCLUSIVE MODE;")?;
    let kept = dm(&["backup", "create"]);
    session.end()?;
    assert_eq!(kept.status.code(), Some(5), "{}", told(&kept));
    assert!(told(&kept).contains("hindrance"), "{}", told(&kept));
    Ok(())
}

/// Events that wait to be tried again when a set is made have a record of that in it. After a
/// restore their consumer takes them as new ones: none is left for the closing account to find.
pub(crate) fn retried() -> Result<(), Failed> {
    settled()?;
    statements(&["ALTER TABLE inventory.stock RENAME TO stock_away"])?;
    let orders: Vec<String> = (0..3)
        .map(|_| block_on(async { place(&client(), "PPR-A4-WHT-500", 1).await }))
        .collect();
    let subjects: Vec<String> = orders.iter().map(|id| format!("'order/{id}'")).collect();
    let waiting = format!(
        "SELECT count(*) FROM inventory.failed_events AS failed
           JOIN orders.outbox_events AS event USING (event_id)
          WHERE event.subject IN ({}) AND failed.attempts = 2
            AND failed.published_at IS NOT NULL",
        subjects.join(",")
    );
    let wait = eventually(&waiting, "3");
    statements(&["ALTER TABLE inventory.stock_away RENAME TO stock"])?;
    wait?;
    let set: Value = serde_json::from_str(&ok(&["backup", "create", "--json"])?)?;
    settled()?;
    let id = text(&set["id"]);
    let restored = dm(&["backup", "restore", id, "--yes", "--no-safety"]);
    assert!(restored.status.success(), "{}", told(&restored));
    assert!(!told(&restored).contains("lacked"), "{}", told(&restored));
    assert_eq!(settled()?["clean"], true);
    Ok(())
}

/// A client that holds messages, and one that waits in a retry queue: neither reaches the
/// restored database.
pub(crate) fn foreign_messages() -> Result<(), Failed> {
    let set = create()?;
    let id = text(&set["id"]);
    block_on(async {
        let connection = broker("inventory-service").await?;
        let consuming = connection.create_channel().await?;
        consuming.basic_qos(10, BasicQosOptions::default()).await?;
        let _consumer = consuming
            .basic_consume(
                INVENTORY_QUEUE.into(),
                "editor".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await?;
        let (own, publishing) = channel().await?;
        for queue in [
            retry_queue(INVENTORY_QUEUE, Tier::TenSeconds),
            INVENTORY_QUEUE.to_owned(),
            INVENTORY_QUEUE.to_owned(),
        ] {
            let properties = BasicProperties::default().with_message_id("evt_of_before".into());
            publishing
                .basic_publish(
                    "".into(),
                    queue.as_str().into(),
                    BasicPublishOptions::default(),
                    b"{}",
                    properties,
                )
                .await?;
        }
        let restored = tokio::task::spawn_blocking({
            let id = id.to_owned();
            move || dm(&["backup", "restore", &id, "--yes", "--no-safety"])
        });
        let restored = restored.await.unwrap();
        assert!(restored.status.success(), "{}", told(&restored));
        assert!(!connection.status().connected(), "the client stayed");
        assert!(
            !own.status().connected(),
            "the administrator's client stayed"
        );
        Ok::<_, lapin::Error>(())
    })?;
    settled()?;
    let list = ok(&["dlq", "ls", "--each", "--json"])?;
    assert!(!list.contains("evt_of_before"), "{list}");
    ok(&["smoke"])?;
    ok(&["reconcile"]).map(drop)
}

/// Killed at any step, a restore and a reset to a backup leave the stack as before or as
/// after, and the next call completes it.
pub(crate) fn killed_anywhere() -> Result<(), Failed> {
    const STEPS: [&str; 6] = [
        "beside the one that is served",
        "stopping what uses",
        "in its place",
        "no message of the replaced",
        "on its way",
        "opening the broker",
    ];
    let set = create()?;
    let id = text(&set["id"]);
    let after = sql(STATE)?;
    let restore = ["backup", "restore", id, "--yes", "--no-safety"];
    let reset = ["reset", "--to", id, "--yes"];
    for (number, step) in STEPS.into_iter().enumerate() {
        ok(&["smoke"])?;
        settled()?;
        let before = sql(STATE)?;
        let call: &[&str] = if number % 2 == 0 { &restore } else { &reset };
        kill_at(call, step)?;
        let up = dm(&["up"]);
        if !up.status.success() {
            assert!(told(&up).contains("was cut short"), "{step}: {}", told(&up));
            let resumed = dm(&["backup", "restore", "--resume"]);
            assert!(resumed.status.success(), "{step}: {}", told(&resumed));
        }
        let found = sql(STATE)?;
        assert!(found == before || found == after, "{step}: {found}");
        let staged = sql("SELECT count(*) FROM pg_database
                           WHERE starts_with(datname, 'dm_restoring_')")?;
        assert_eq!(staged, "0", "{step}");
        ok(&["reconcile"])?;
    }
    let restored = dm(&restore);
    assert!(restored.status.success(), "{}", told(&restored));
    let left = sql("SELECT count(*) FROM pg_database WHERE starts_with(datname, 'dm_re')")?;
    assert_eq!(left, "0");
    ok(&["smoke"]).map(drop)
}

/// Commands that change the instance, begun at once, take turns: each has its way with a
/// whole stack.
pub(crate) fn all_at_once() -> Result<(), Failed> {
    let set = create()?;
    let id = text(&set["id"]);
    let folder = tempfile::tempdir()?;
    let copy = folder.path().join("none.jsonl");
    std::fs::write(&copy, "")?;
    let copy = copy.to_string_lossy().into_owned();
    let calls = [
        vec!["backup", "restore", id, "--yes", "--no-safety"],
        vec!["restart", "order"],
        vec!["reset", "--to", id, "--yes"],
        vec!["backup", "create"],
        vec!["up"],
        vec!["dlq", "import", &copy],
        vec!["reconcile", "--repair"],
        vec!["outbox", "retry"],
    ];
    let mut running = Vec::new();
    for call in &calls {
        running.push((call, start(call)?));
    }
    for (call, mut child) in running {
        let status = child.wait()?;
        assert!(status.success(), "{call:?}: {status}");
    }
    ok(&["smoke"])?;
    ok(&["reconcile"]).map(drop)
}

/// While another command is at work on the instance, each command that would change it says
/// so and waits, and has changed nothing when it is interrupted: so any two take turns.
pub(crate) fn all_wait() -> Result<(), Failed> {
    let set = create()?;
    let id = text(&set["id"]);
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (letters, copy) = (path("none.jsonl"), path("copy.jsonl"));
    std::fs::write(&letters, "")?;
    let calls = [
        vec!["up"],
        vec!["down", "--volumes"],
        vec!["restart", "order"],
        vec!["rebuild", "order"],
        vec!["reset", "--yes"],
        vec!["reset", "--to", id, "--yes"],
        vec!["seed", "--append"],
        vec!["backup", "create"],
        vec!["backup", "restore", id, "--yes"],
        vec!["backup", "restore", id, "--schema", "orders", "--yes"],
        vec!["backup", "prune", "--yes"],
        vec!["dlq", "import", &letters],
        vec!["dlq", "park"],
        vec!["dlq", "unpark"],
        vec!["dlq", "purge", "--copy", &copy, "--yes"],
        vec!["dlq", "replay"],
        vec!["outbox", "retry"],
        vec!["inbox", "retry"],
        vec!["reconcile", "--repair"],
    ];
    let before = sql(STATE)?;
    let held = std::fs::File::options().write(true).open(lock_file()?)?;
    held.lock()?;
    for call in &calls {
        let status = signal_at(call, "waiting for ", Signal::INT)?;
        assert_eq!(status.code(), Some(130), "{call:?}: {status}");
    }
    drop(held);
    assert!(!Path::new(&copy).exists());
    assert_eq!(sql(STATE)?, before);
    ok(&["status", "--check"]).map(drop)
}
