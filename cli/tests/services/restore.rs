//! Tests of restores under difficult conditions: missing roles and queues, changed broker users,
//! dependent objects, locks, connected clients, lost connections, `kill -9`, and concurrent
//! commands.

use std::fs::File;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use dm_backup::examples::change_manifest;
use dm_contracts::topology::{
    INVENTORY_QUEUE, READ_MODEL_QUEUE, RetryTier, dead_letter_queue, retry_queue,
};
use lapin::BasicProperties;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use libtest_mimic::Failed;
use rustix::process::Signal;
use serde_json::Value;

use super::backup::{BUSINESS_STATE, backup_directory, create_backup};
use super::broker_users::BrokerUsers;
use super::faults::reconcile_when_idle;
use super::flow::place_order;
use super::stack::{
    FollowedCall, SleepingSession, TIMEOUT, block_on, broker, channel, client, delete_queue, dm,
    dm_ok, eventually, kill_at, lock_file, publish_to_queue, resume_queue, server_sql, signal_at,
    spawn, sql, status_row, suspend_queue, text,
};

/// Returns the number of ready messages in a queue.
fn count_ready(queue: &str) -> Result<u32, Failed> {
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

/// Runs several SQL statements.
fn run_statements(texts: &[&str]) -> Result<(), Failed> {
    for text in texts {
        sql(text)?;
    }
    Ok(())
}

fn uptime(component: &str) -> Result<f64, Failed> {
    let since = status_row(component)?["since_seconds"].as_f64();
    Ok(since.unwrap_or_default())
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Waits until a restore has ended, and returns its output. Asserts that the restore holds the lock
/// of the instance until all components are ready.
fn finish_locked(restore: FollowedCall) -> Result<Output, Failed> {
    let unlocked = std::thread::spawn(|| {
        File::options().write(true).open(lock_file()?)?.lock()?;
        dm_ok(&["status", "--check"])
    });
    let restored = restore.finish()?;
    unlocked.join().unwrap()?;
    Ok(restored)
}

/// A restore brings back roles, memberships, permissions, settings and the comment of the
/// database, deleted queues, and the messages that the read model's consumer has not read.
/// Temporary tables of sessions are not saved, and a deleted dead-letter queue does not prevent the
/// backup. Users of the broker and their passwords stay.
pub(crate) fn restore_brings_back_roles_settings_and_queues() -> Result<(), Failed> {
    const SERVER_STATE: &str = "SELECT concat_ws('/',
        (SELECT concat(rolcanlogin, rolcreatedb, rolconnlimit, rolpassword) FROM pg_authid
          WHERE rolname = 'reporting'),
        pg_has_role('reporting', 'analysts', 'USAGE'),
        has_table_privilege('reporting', 'orders.orders', 'SELECT'),
        has_database_privilege('analysts', current_database(), 'CREATE'),
        shobj_description(pg_database.oid, 'pg_database'), datconnlimit,
        (SELECT string_agg(setconfig::text, ',' ORDER BY setrole) FROM pg_db_role_setting
          WHERE setdatabase = pg_database.oid))
        FROM pg_database WHERE datname = current_database()";
    dm_ok(&["smoke"])?;
    reconcile_when_idle()?;
    let database = sql("SELECT current_database()")?;
    run_statements(&[
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
    let (server_state, state, unread) = (
        sql(SERVER_STATE)?,
        sql(BUSINESS_STATE)?,
        count_ready(READ_MODEL_QUEUE)?,
    );
    assert!(unread > 0, "the smoke test left no notification");
    let session =
        SleepingSession::start("BEGIN; CREATE TEMPORARY TABLE held AS SELECT 1 AS one; COMMIT")?;
    let users = BrokerUsers::find()?;
    let dead_letters = dead_letter_queue(INVENTORY_QUEUE);
    delete_queue(&dead_letters)?;
    let created = users.create_outdated_backup();
    if created.is_err() {
        // The broker declares the missing queue when it starts.
        dm_ok(&["restart", "rabbitmq"])?;
    }
    let created = created?;
    let id = text(&created["id"]);
    run_statements(&[
        "DROP OWNED BY reporting, analysts",
        "DROP ROLE reporting, analysts",
        &format!("ALTER DATABASE {database} RESET ALL"),
        &format!("ALTER ROLE order_service IN DATABASE {database} RESET ALL"),
        &format!("COMMENT ON DATABASE {database} IS NULL"),
    ])?;
    let retry = retry_queue(INVENTORY_QUEUE, RetryTier::Second);
    delete_queue(&retry)?;
    let restored = dm(&["backup", "restore", id, "--yes"]);
    assert!(restored.status.success(), "{}", stderr(&restored));
    drop(session);
    users.assert_current()?;
    for queue in [&dead_letters, &retry] {
        assert_eq!(count_ready(queue)?, 0, "{queue}");
    }
    assert_eq!(sql(SERVER_STATE)?, server_state);
    assert_eq!(sql(BUSINESS_STATE)?, state);
    assert_eq!(count_ready(READ_MODEL_QUEUE)?, unread);
    dm_ok(&["smoke"])?;
    dm_ok(&["reconcile"])?;
    // Verifying restores into another server, which has neither of the roles.
    dm_ok(&["backup", "verify", id, "--restore"])?;
    run_statements(&[
        &format!("ALTER DATABASE {database} RESET ALL"),
        &format!("ALTER ROLE order_service IN DATABASE {database} RESET ALL"),
        &format!("COMMENT ON DATABASE {database} IS NULL"),
        "DROP OWNED BY reporting, analysts",
        "DROP ROLE reporting, analysts",
    ])
}

/// A backup that cannot replace the current data changes nothing and stops nothing: of a newer
/// Keycloak, of a newer PostgreSQL, or with other rows than its manifest. `dm reset --to` holds the
/// lock of the instance until its end.
pub(crate) fn restore_of_an_incompatible_backup_changes_nothing() -> Result<(), Failed> {
    let created = create_backup()?;
    let id = text(&created["id"]);
    dm_ok(&["smoke"])?;
    reconcile_when_idle()?;
    let state = sql(BUSINESS_STATE)?;
    let age = uptime("order")?;
    let calls = [
        vec!["reset", "--to", id, "--yes"],
        vec!["backup", "restore", id, "--yes", "--no-safety"],
    ];
    let attempt = || -> Vec<Output> { calls.iter().map(|call| dm(call)).collect() };
    // This simulates a downgrade of Keycloak.
    sql("UPDATE keycloak.migration_model SET version = '1.' || version RETURNING version")?;
    let of_keycloak = attempt();
    sql("UPDATE keycloak.migration_model SET version = substr(version, 3) RETURNING version")?;
    let directory = backup_directory(id)?;
    change_manifest(&directory, |manifest| {
        manifest.postgres.version = "99.1".to_owned();
    });
    let of_postgres = attempt();
    change_manifest(&directory, |manifest| {
        manifest.postgres.version = text(&created["postgres"]["version"]).to_owned();
        *manifest.postgres.rows.get_mut("orders.orders").unwrap() += 1;
    });
    let of_rows = attempt();
    change_manifest(&directory, |manifest| {
        *manifest.postgres.rows.get_mut("orders.orders").unwrap() -= 1;
    });
    for (refused, code, reason) in [
        (of_keycloak, 2, "was made with Keycloak"),
        (of_postgres, 2, "was made with PostgreSQL 99.1"),
        (of_rows, 1, "other row counts than the backup"),
    ] {
        for (call, output) in calls.iter().zip(&refused) {
            let stderr = stderr(output);
            assert_eq!(output.status.code(), Some(code), "{call:?}: {stderr}");
            assert!(stderr.contains(reason), "{call:?}: {stderr}");
        }
    }
    assert_eq!(sql(BUSINESS_STATE)?, state);
    assert!(uptime("order")? >= age, "order was stopped");
    let left = sql("SELECT count(*) FROM pg_database WHERE starts_with(datname, 'dm_re')")?;
    assert_eq!(left, "0");
    // Without the obstacles, the same backup can be restored.
    let mut reset = FollowedCall::start(&["reset", "--to", id, "--yes"])?;
    reset.wait_for("allowing connections")?;
    let restored = finish_locked(reset)?;
    assert!(restored.status.success(), "{}", stderr(&restored));
    assert_ne!(sql(BUSINESS_STATE)?, state);
    dm_ok(&["smoke"])?;
    dm_ok(&["reconcile"]).map(drop)
}

/// A schema with dependent objects elsewhere is refused with their names, and so is the schema of
/// `dm`. A restore of a locked schema is aborted, and the stopped services run again.
pub(crate) fn restore_of_a_schema_with_dependents_or_locks_is_refused() -> Result<(), Failed> {
    run_statements(&[
        "CREATE VIEW public.v AS SELECT order_id FROM orders.orders",
        "CREATE TABLE public.fk (o text REFERENCES orders.orders)",
        "CREATE EXTENSION pg_trgm SCHEMA orders",
    ])?;
    let created = create_backup()?;
    let id = text(&created["id"]);
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
        assert!(stderr(&refused).contains(name), "{}", stderr(&refused));
    }
    let of_dm = restore("dm_ops");
    assert_eq!(of_dm.status.code(), Some(2));
    assert!(
        stderr(&of_dm).contains("belongs to dm"),
        "{}",
        stderr(&of_dm)
    );
    let count = "SELECT count(*) FROM pg_class WHERE relname IN ('v', 'fk')";
    assert_eq!(sql(count)?, "2");
    run_statements(&[
        "DROP VIEW public.v",
        "DROP TABLE public.fk",
        "DROP EXTENSION pg_trgm",
    ])?;
    let session = SleepingSession::start("LOCK TABLE orders.orders IN ACCESS SHARE MODE")?;
    let aborted = restore("orders");
    drop(session);
    assert_eq!(aborted.status.code(), Some(5), "{}", stderr(&aborted));
    assert!(
        stderr(&aborted).contains("test-lock-holder"),
        "{}",
        stderr(&aborted)
    );
    assert!(
        stderr(&aborted).contains("pg_terminate_backend"),
        "{}",
        stderr(&aborted)
    );
    // The failed restore starts the containers again.
    assert!(
        stderr(&aborted).contains("the stopped containers run again"),
        "{}",
        stderr(&aborted)
    );
    for component in ["order", "keycloak"] {
        let row = status_row(component)?;
        assert!(
            ["starting", "ready"].contains(&text(&row["state"])),
            "{row}"
        );
    }
    dm_ok(&["up"])?;
    dm_ok(&["smoke"])?;
    // A backup names the lock holder, too.
    let session = SleepingSession::start("LOCK TABLE orders.orders IN ACCESS EXCLUSIVE MODE")?;
    let aborted = dm(&["backup", "create"]);
    drop(session);
    assert_eq!(aborted.status.code(), Some(5), "{}", stderr(&aborted));
    assert!(
        stderr(&aborted).contains("test-lock-holder"),
        "{}",
        stderr(&aborted)
    );
    Ok(())
}

/// Events that wait for a retry have a record in the backup. After a restore, their consumer
/// processes them as new events, so reconcile finds none missing.
pub(crate) fn restored_events_waiting_for_a_retry_are_processed() -> Result<(), Failed> {
    reconcile_when_idle()?;
    run_statements(&["ALTER TABLE inventory.stock RENAME TO stock_renamed"])?;
    let orders: Vec<String> = (0..3)
        .map(|_| block_on(async { place_order(&client(), "PPR-A4-WHT-500", 1).await }))
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
    run_statements(&["ALTER TABLE inventory.stock_renamed RENAME TO stock"])?;
    wait?;
    let created: Value = serde_json::from_str(&dm_ok(&["backup", "create", "--json"])?)?;
    reconcile_when_idle()?;
    let id = text(&created["id"]);
    let restored = dm(&["backup", "restore", id, "--yes", "--no-safety"]);
    assert!(restored.status.success(), "{}", stderr(&restored));
    assert!(
        !stderr(&restored).contains("were published again"),
        "{}",
        stderr(&restored)
    );
    assert_eq!(reconcile_when_idle()?["clean"], true);
    Ok(())
}

/// Restores a backup. Meanwhile, a service tries to log in to the restored database, and a client
/// publishes a dead letter. Asserts that the service is refused until the restore has ended, and
/// that the restore holds the lock of the instance.
fn restore_with_active_clients(id: &str) -> Result<Output, Failed> {
    let database = sql("SELECT current_database()")?;
    let log_in = || {
        let service = ["exec", "postgres", "--", "psql", "-U", "order_service"];
        dm(&[&service[..], &["-d", &database, "-c", "SELECT 1"]].concat())
    };
    // After the swap of the databases, the restore waits until this queue is deleted.
    let queue = dead_letter_queue(READ_MODEL_QUEUE);
    suspend_queue(&queue)?;
    let started = FollowedCall::start(&["backup", "restore", id, "--yes", "--no-safety"]).and_then(
        |mut restore| {
            restore.wait_for("removing the messages of the replaced")?;
            Ok((restore, log_in()))
        },
    );
    resume_queue(&queue)?;
    let (mut restore, refused) = started?;
    assert!(!refused.status.success(), "the service could log in");
    assert!(
        stderr(&refused).contains("too many connections for database"),
        "{}",
        stderr(&refused)
    );
    restore.wait_for("allowing connections")?;
    let properties = BasicProperties::default().with_message_id("evt_after_restore".into());
    publish_to_queue(&dead_letter_queue(INVENTORY_QUEUE), b"{}", properties)?;
    let restored = finish_locked(restore)?;
    let logged_in = log_in();
    assert!(logged_in.status.success(), "{}", stderr(&logged_in));
    Ok(restored)
}

/// Neither unacknowledged messages of a client nor messages in a retry queue reach the restored
/// database. No service can log in to it before the restore has ended. A dead letter that a client
/// publishes meanwhile is a new orphan, so the exit code is 1.
pub(crate) fn restore_discards_messages_of_the_replaced_state() -> Result<(), Failed> {
    let created = create_backup()?;
    let id = text(&created["id"]);
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
        let (administrator, publishing) = channel().await?;
        for queue in [
            retry_queue(INVENTORY_QUEUE, RetryTier::TenSeconds),
            INVENTORY_QUEUE.to_owned(),
            INVENTORY_QUEUE.to_owned(),
        ] {
            let properties =
                BasicProperties::default().with_message_id("evt_before_restore".into());
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
            move || restore_with_active_clients(&id)
        });
        let restored = restored.await.unwrap()?;
        let shown = String::from_utf8_lossy(&restored.stdout);
        let all = format!("{shown}{}", stderr(&restored));
        assert_eq!(restored.status.code(), Some(1), "{all}");
        for text in [
            "evt_after_restore",
            "0 missing, 0 doubled, 1 orphaned, 0 broken",
        ] {
            assert!(shown.contains(text), "{all}");
        }
        assert!(
            !connection.status().connected(),
            "the client is still connected"
        );
        assert!(
            !administrator.status().connected(),
            "the administrator's client is still connected"
        );
        Ok::<_, Failed>(())
    })?;
    reconcile_when_idle()?;
    let list = dm_ok(&["dlq", "ls", "--each", "--json"])?;
    assert!(!list.contains("evt_before_restore"), "{list}");
    let directory = tempfile::tempdir()?;
    let copy = directory.path().join("letters.jsonl");
    dm_ok(&["dlq", "purge", "--copy", &copy.to_string_lossy(), "--yes"])?;
    dm_ok(&["smoke"])?;
    dm_ok(&["reconcile"]).map(drop)
}

/// Restores a backup. The server commits the swap of the databases, and the connection is lost
/// before it responds.
fn restore_with_lost_response(restore: &[&str]) -> Result<Output, Failed> {
    // With these settings, the server responds to a commit after the standby `nobody` has received
    // it. There is no such standby, so the commit waits. Other sessions have the setting `local`
    // and do not wait.
    server_sql(&[
        "ALTER SYSTEM SET synchronous_commit = 'local'",
        "ALTER SYSTEM SET synchronous_standby_names = 'nobody'",
        "SELECT pg_reload_conf()",
    ])?;
    let restored = lose_response_of_swap(restore);
    server_sql(&[
        "SET synchronous_commit = 'local'",
        "ALTER DATABASE postgres RESET synchronous_commit",
        "ALTER SYSTEM RESET synchronous_standby_names",
        "ALTER SYSTEM RESET synchronous_commit",
        "SELECT pg_reload_conf()",
    ])?;
    restored
}

/// Terminates the session that swaps the databases when it has committed.
fn lose_response_of_swap(restore: &[&str]) -> Result<Output, Failed> {
    let mut restore = FollowedCall::start(restore)?;
    restore.wait_for("stopping the containers")?;
    // `dm` swaps the databases in a session of the database `postgres`.
    let wait_for_standby = "ALTER DATABASE postgres SET synchronous_commit = 'on'";
    restore.while_stopped(|| server_sql(&[wait_for_standby]))?;
    let waiting = "SELECT pid FROM pg_stat_activity
                    WHERE wait_event = 'SyncRep' AND query LIKE '%RENAME TO%'";
    let until = Instant::now() + TIMEOUT;
    let pid = loop {
        let found = server_sql(&[waiting])?;
        if !found.is_empty() {
            break found;
        }
        if Instant::now() > until {
            return Err("the databases were not swapped".into());
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    server_sql(&[
        "SET synchronous_commit = 'local'",
        "ALTER DATABASE postgres RESET synchronous_commit",
        &format!("SELECT pg_terminate_backend({pid})"),
    ])?;
    restore.finish()
}

/// A restore or a reset to a backup that is killed at any step leaves the state before or after
/// it, and the next call completes it. A restore that loses the response to the swap goes on.
pub(crate) fn restore_killed_at_any_step_can_be_completed() -> Result<(), Failed> {
    const STEPS: [&str; 6] = [
        "to a staged database",
        "stopping the containers",
        "swapping the databases",
        "removing the messages of the replaced",
        "publishing the undelivered events",
        "allowing connections",
    ];
    let created = create_backup()?;
    let id = text(&created["id"]);
    let after = sql(BUSINESS_STATE)?;
    let restore = ["backup", "restore", id, "--yes", "--no-safety"];
    let reset = ["reset", "--to", id, "--yes"];
    for (number, step) in STEPS.into_iter().enumerate() {
        dm_ok(&["smoke"])?;
        reconcile_when_idle()?;
        let before = sql(BUSINESS_STATE)?;
        let call: &[&str] = if number % 2 == 0 { &restore } else { &reset };
        kill_at(call, step)?;
        let up = dm(&["up"]);
        if !up.status.success() {
            assert!(
                stderr(&up).contains("has not been completed"),
                "{step}: {}",
                stderr(&up)
            );
            let resumed = dm(&["backup", "restore", "--resume"]);
            assert!(resumed.status.success(), "{step}: {}", stderr(&resumed));
        }
        let found = sql(BUSINESS_STATE)?;
        assert!(found == before || found == after, "{step}: {found}");
        let staged = sql("SELECT count(*) FROM pg_database
                           WHERE starts_with(datname, 'dm_restoring_')")?;
        assert_eq!(staged, "0", "{step}");
        dm_ok(&["reconcile"])?;
    }
    let restored = restore_with_lost_response(&restore)?;
    assert!(restored.status.success(), "{}", stderr(&restored));
    assert_eq!(sql(BUSINESS_STATE)?, after);
    let left = sql("SELECT count(*) FROM pg_database WHERE starts_with(datname, 'dm_re')")?;
    assert_eq!(left, "0");
    dm_ok(&["smoke"]).map(drop)
}

/// Commands that change the instance and start at the same time run one after the other, and all
/// of them succeed.
pub(crate) fn concurrent_changing_commands_run_one_after_the_other() -> Result<(), Failed> {
    let created = create_backup()?;
    let id = text(&created["id"]);
    let directory = tempfile::tempdir()?;
    let copy = directory.path().join("none.jsonl");
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
        running.push((call, spawn(call)?));
    }
    for (call, mut child) in running {
        let status = child.wait()?;
        assert!(status.success(), "{call:?}: {status}");
    }
    dm_ok(&["smoke"])?;
    dm_ok(&["reconcile"]).map(drop)
}

/// While another command holds the instance lock, every changing command reports that it waits,
/// and has changed nothing when it is interrupted.
pub(crate) fn changing_commands_wait_for_the_instance_lock() -> Result<(), Failed> {
    let created = create_backup()?;
    let id = text(&created["id"]);
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
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
    let before = sql(BUSINESS_STATE)?;
    let held = File::options().write(true).open(lock_file()?)?;
    held.lock()?;
    for call in &calls {
        let status = signal_at(call, "waiting for ", Signal::INT)?;
        assert_eq!(status.code(), Some(130), "{call:?}: {status}");
    }
    drop(held);
    assert!(!Path::new(&copy).exists());
    assert_eq!(sql(BUSINESS_STATE)?, before);
    dm_ok(&["status", "--check"]).map(drop)
}
