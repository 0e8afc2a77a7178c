//! Tests of backups and restores.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder};
use dm_contracts::topology::{INVENTORY_QUEUE, dead_letter_queue};
use lapin::BasicProperties;
use libtest_mimic::Failed;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::NamedTempFile;

use super::faults::reconcile_when_idle;
use super::stack::{
    TIMEOUT, block_on, container_labels, dm, dm_command, dm_ok, instance, kill_at,
    publish_to_queue, server_sql, signal_at, spawn, sql, text,
};

/// A summary of the business data, by which two states are compared. Old events and notifications
/// are deleted in the background, so only the newest ones count.
pub(crate) const BUSINESS_STATE: &str =
    "SELECT concat_ws('/', (SELECT count(*) FROM orders.orders),
    (SELECT max(sequence) FROM orders.outbox_events),
    (SELECT max(created_at) FROM notifications.notifications),
    (SELECT sum(shipped) FROM inventory.stock))";

/// A key that only these tests use, and its recipient.
const KEY: &str = "AGE-SECRET-KEY-1UMY34ETUDRUA8JT5DYHUE8L4FYRGWSYPCPCT827YZPGLRAKZ8YUS7Z9NLF";
const RECIPIENT: &str = "age1cf86tudt65u9xnd80q9xsr33f4smafy8rqxn2j4cmaknvhn6s53qrzp7qw";

/// Creates a backup when no event is in flight. Events that arrive later would make the states
/// incomparable.
pub(crate) fn create_backup() -> Result<Value, Failed> {
    reconcile_when_idle()?;
    Ok(serde_json::from_str(&dm_ok(&[
        "backup", "create", "--json",
    ])?)?)
}

/// Creates an encrypted backup when no event is in flight.
fn create_encrypted() -> Result<Value, Failed> {
    reconcile_when_idle()?;
    let created = dm_ok(&["backup", "create", "--json", "--recipient", RECIPIENT])?;
    let created: Value = serde_json::from_str(&created)?;
    assert_eq!(created["recipients"][0], RECIPIENT);
    Ok(created)
}

/// Writes the key to a file.
fn write_key() -> Result<NamedTempFile, Failed> {
    let key = NamedTempFile::new()?;
    fs::write(key.path(), KEY)?;
    Ok(key)
}

/// Returns the directory of a backup.
pub(crate) fn backup_directory(id: &str) -> Result<PathBuf, Failed> {
    let shown = dm_ok(&["backup", "show", id])?;
    let mut lines = shown.lines();
    let directory = lines.find(|line| line.ends_with(id) && line.starts_with('/'));
    Ok(directory
        .ok_or("`dm backup show` prints no directory")?
        .into())
}

/// The scheduler container creates backups over the stack's network, even if the path contains
/// special characters. It has no access to the engine, and inspecting it shows no secret. `dm
/// status` reports failures.
pub(crate) fn scheduler_container_creates_encrypted_backups() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let backups = directory.path().join("with: colon, comma");
    let path = backups.to_string_lossy().into_owned();
    // A link to the project directory refers to the same project.
    let project = directory.path().join("link");
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::os::unix::fs::symlink(repository, &project)?;
    let settings = [
        ("DM_BACKUP__EVERY", "1s"),
        ("DM_BACKUP__DIRECTORY", path.as_str()),
        ("DM_BACKUP__RECIPIENTS", RECIPIENT),
        // The identity file is outside the container, which needs it only for reading backups.
        ("DM_BACKUP__IDENTITY", "/nowhere/backup.key"),
        ("DM_IMAGES__CREDENTIALS__REGISTRY", "registry.example"),
        ("DM_IMAGES__CREDENTIALS__USERNAME", "dwight"),
        ("DM_IMAGES__CREDENTIALS__PASSWORD", "bears-beets"),
    ];
    let call = |arguments: &[&str], settings: &[(&str, &str)]| -> Result<Output, Failed> {
        let mut command = dm_command();
        command.arg("--project-directory").arg(&project);
        command.args(["--instance", instance()]).args(arguments);
        Ok(command.envs(settings.iter().copied()).output()?)
    };
    let up = |settings: &[(&str, &str)]| -> Result<String, Failed> {
        let output = call(&["up"], settings)?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{stderr}");
        Ok(stderr)
    };
    let status = || -> Result<Value, Failed> {
        Ok(serde_json::from_slice(
            &call(&["status", "--json"], &settings)?.stdout,
        )?)
    };
    let state = |status: &Value| {
        let rows = status["components"].as_array().into_iter().flatten();
        let mut rows = rows.filter(|row| row["component"] == "backup");
        rows.next().map(|row| row["state"].clone())
    };
    up(&settings)?;
    let until = Instant::now() + TIMEOUT;
    let listed = || -> Result<Value, Failed> {
        Ok(serde_json::from_str(&dm_ok(&[
            "backup", "--dir", &path, "ls", "--json",
        ])?)?)
    };
    while listed()?["backups"].as_array().is_none_or(Vec::is_empty) {
        assert!(Instant::now() < until, "{}", dm_ok(&["logs", "backup"])?);
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(listed()?["backups"][0]["purpose"], "scheduled");
    dm_ok(&["backup", "--dir", &path, "verify"])?;
    assert!(dm_ok(&["backup", "--dir", &path, "show", "--json"])?.contains(RECIPIENT));
    let found = status()?;
    assert_eq!(state(&found).unwrap(), "ready", "{found}");
    assert_eq!(found["schedule"]["every_seconds"], 1, "{found}");
    assert!(found["schedule"]["next_due"].is_string(), "{found}");

    let inspected = inspect_container("backup")?;
    let text = serde_json::to_string(&inspected)?;
    for secret in ["bears-beets", "docker.sock", "DM_"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    let host = inspected.host_config.unwrap_or_default();
    assert_eq!(host.readonly_rootfs, Some(true));
    assert_eq!(host.cap_drop.unwrap_or_default(), ["ALL"]);
    assert_ne!(host.network_mode.as_deref(), Some("host"));

    // The scheduler keeps running if a server is down, and a failed backup is not reported as
    // healthy.
    dm(&["exec", "openldap", "--", "sh", "-c", "kill -TERM 1"]);
    let until = Instant::now() + TIMEOUT;
    loop {
        let found = status()?;
        if state(&found).unwrap() == "unhealthy" {
            assert_eq!(found["ok"], false);
            assert!(
                found["schedule"]["last_attempt"]["error"].is_string(),
                "{found}"
            );
            break;
        }
        assert!(Instant::now() < until, "{found}");
        std::thread::sleep(Duration::from_millis(200));
    }
    let stderr = up(&[])?;
    assert!(stderr.contains("backup removed"), "{stderr}");
    Ok(())
}

/// Returns what the engine reports about a container of the instance.
fn inspect_container(component: &str) -> Result<ContainerInspectResponse, Failed> {
    let list: Value = serde_json::from_str(&dm_ok(&["status", "--json"])?)?;
    let rows = list["components"].as_array().into_iter().flatten();
    assert!(
        rows.into_iter().any(|row| row["component"] == component),
        "{list}"
    );
    block_on(async {
        let docker = bollard::Docker::connect_with_local_defaults()?;
        let filters = HashMap::from([("label".to_owned(), container_labels(component)?)]);
        let options = ListContainersOptionsBuilder::new()
            .filters(&filters)
            .build();
        let found = docker.list_containers(Some(options)).await?;
        let id = found.first().and_then(|container| container.id.clone());
        let id = id.ok_or("the component has no container")?;
        Ok(docker
            .inspect_container(&id, None::<InspectContainerOptions>)
            .await?)
    })
}

/// The backup that was restored is kept, however many are newer: neither the safety backup of a
/// restore nor a scheduled backup displaces it. A prune that is killed at any of its steps has
/// removed a backup completely or not at all, and the next one removes the rest.
pub(crate) fn backup_prune_keeps_the_restored_and_the_newest_backups() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().to_string_lossy().into_owned();
    let backup = |arguments: &[&str]| dm_ok(&[&["backup", "--dir", &path], arguments].concat());
    let create = || -> Result<String, Failed> {
        reconcile_when_idle()?;
        let created: Value = serde_json::from_str(&backup(&["create", "--json"])?)?;
        Ok(text(&created["id"]).to_owned())
    };
    let listed = || -> Result<Vec<(String, String)>, Failed> {
        let list: Value = serde_json::from_str(&backup(&["ls", "--json"])?)?;
        let rows = list["backups"].as_array().into_iter().flatten();
        Ok(rows
            .map(|row| {
                (
                    text(&row["id"]).to_owned(),
                    text(&row["purpose"]).to_owned(),
                )
            })
            .collect())
    };
    let good = create()?;
    backup(&["restore", &good, "--yes"])?;
    for _ in 0..3 {
        create()?;
    }
    let before = listed()?;
    assert_eq!(before.len(), 5, "{before:?}");
    assert_eq!(before[1].1, "safety");
    assert_eq!(
        backup(&["show", "--json"])?,
        backup(&["show", &before[4].0, "--json"])?
    );
    let ambiguous = dm(&["backup", "--dir", &path, "show", &good[..4]]);
    assert_eq!(ambiguous.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&ambiguous.stderr).into_owned();
    assert!(before.iter().all(|(id, _)| stderr.contains(id)), "{stderr}");

    let limits = [
        "prune",
        "--keep",
        "1",
        "--keep-safety",
        "1",
        "--keep-manual",
        "1",
    ];
    let planned: Value =
        serde_json::from_str(&backup(&[&limits[..], &["--dry-run", "--json"]].concat())?)?;
    let removed: Vec<&str> = planned["pruned"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| text(&row["id"]))
        .collect();
    assert_eq!(removed, [before[2].0.as_str(), before[3].0.as_str()]);
    let kept = planned["kept"].as_array().into_iter().flatten();
    let mut kept = kept.filter(|row| row["id"] == good.as_str());
    assert_eq!(kept.next().unwrap()["reason"], "restored-from");
    assert_eq!(listed()?, before);
    let call = [&["backup", "--dir", &path], &limits[..]].concat();
    assert_eq!(
        dm(&call).status.code(),
        Some(2),
        "the prune ran without a confirmation"
    );
    let call = [&call[..], &["--yes"]].concat();
    for id in &removed {
        kill_at(&call, &format!("removing {id}"))?;
        // No backup is incomplete.
        for (id, _) in listed()? {
            backup(&["verify", &id])?;
        }
    }
    backup(&[&limits[..], &["--yes"]].concat())?;
    let left: Vec<String> = listed()?.into_iter().map(|(id, _)| id).collect();
    let expected = [0, 1, 4].map(|at: usize| before[at].0.clone());
    assert_eq!(left, expected);
    let below = directory.path().join(instance_directory(&directory)?);
    assert_eq!(
        fs::read_dir(below)?.count(),
        left.len(),
        "a directory is left"
    );
    Ok(())
}

/// Returns the backup directory of the instance, below the directory of all backups.
fn instance_directory(directory: &tempfile::TempDir) -> Result<PathBuf, Failed> {
    let project = fs::read_dir(directory.path())?
        .next()
        .ok_or("no project")??;
    Ok(project.path().join(instance()))
}

/// After a restore, the business data, the dead letters and the directory are as they were in the
/// backup. Equal dead letters stay separate. The replaced data is saved as a backup, and orders are
/// processed.
pub(crate) fn restore_brings_back_database_broker_and_directory() -> Result<(), Failed> {
    let count_dead_letters = || -> Result<i64, Failed> {
        let list: Value = serde_json::from_str(&dm_ok(&["dlq", "ls", "--json"])?)?;
        let groups = list["groups"].as_array().into_iter().flatten();
        Ok(groups.filter_map(|group| group["count"].as_i64()).sum())
    };
    let dead_letters = count_dead_letters()? + 4;
    for _ in 0..3 {
        let queue = dead_letter_queue(INVENTORY_QUEUE);
        publish_to_queue(&queue, b"{\"type\":\"ping\"}", BasicProperties::default())?;
    }
    dm_ok(&["chaos", "poison", INVENTORY_QUEUE])?;
    let until = Instant::now() + TIMEOUT;
    while count_dead_letters()? < dead_letters {
        assert!(
            Instant::now() < until,
            "the poison message was not dead-lettered"
        );
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    let created = create_encrypted()?;
    let id = text(&created["id"]);
    let state = sql(BUSINESS_STATE)?;
    dm_ok(&["smoke"])?;
    let directory = tempfile::tempdir()?;
    let purge = |name: &str| {
        let copy = directory.path().join(name);
        dm_ok(&["dlq", "purge", "--copy", &copy.to_string_lossy(), "--yes"])
    };
    purge("before.jsonl")?;
    assert_ne!(sql(BUSINESS_STATE)?, state);
    let name = last_name()?;
    run_in_directory(
        "printf 'dn: uid=jhalpert,ou=people,%s\nchangetype: modify\nreplace: sn\nsn: Changed\n' $B |
         ldapmodify -x -H ldap://localhost -D cn=admin,$B -y /etc/dm-secrets/LDAP_ADMIN_PASSWORD",
    )?;
    assert_ne!(last_name()?, name);
    let refused = dm(&["backup", "restore", id]);
    assert_eq!(refused.status.code(), Some(2));
    let key = write_key()?;
    let file = key.path().to_string_lossy().into_owned();
    let restored = dm(&["backup", "restore", id, "--yes", "--identity", &file]);
    let stderr = String::from_utf8_lossy(&restored.stderr).into_owned();
    assert!(restored.status.success(), "{stderr}");
    assert_eq!(sql(BUSINESS_STATE)?, state);
    assert_eq!(count_dead_letters()?, dead_letters);
    assert_eq!(last_name()?, name);
    assert!(
        stderr.contains("the current data was saved as backup "),
        "{stderr}"
    );
    dm_ok(&["smoke"])?;
    purge("after.jsonl")?;
    let status: Value = serde_json::from_str(&dm_ok(&["status", "--json"])?)?;
    assert!(status["last_backup"]["id"].is_string(), "{status}");
    Ok(())
}

/// Runs a script in the directory's container. `$B` is the base of the directory.
fn run_in_directory(script: &str) -> Result<String, Failed> {
    let script = format!(
        "B=$(ldapsearch -x -H ldap://localhost -s base -b '' -LLL namingContexts | sed -n 's/^namingContexts: //p'); {script}"
    );
    dm_ok(&["exec", "openldap", "--", "sh", "-c", &script])
}

/// Returns a user's last name in the running directory.
fn last_name() -> Result<String, Failed> {
    run_in_directory(
        "ldapsearch -x -H ldap://localhost -D cn=admin,$B -y /etc/dm-secrets/LDAP_ADMIN_PASSWORD -LLL \
             -b uid=jhalpert,ou=people,$B sn",
    )
}

/// The row counts of a dump are read from `pg_stat_statements`. Without that extension, the rows
/// are counted.
pub(crate) fn backup_row_counts_do_not_need_pg_stat_statements() -> Result<(), Failed> {
    const TABLE: &str = "orders.orders";
    let rows = || -> Result<Option<i64>, Failed> {
        Ok(create_backup()?["postgres"]["rows"][TABLE].as_i64())
    };
    let all = sql(&format!("SELECT count(*) FROM {TABLE}"))?;
    let all = Some(all.trim().parse()?);
    assert_eq!(rows()?, all);
    let query = format!("SELECT rows FROM pg_stat_statements WHERE query LIKE 'COPY {TABLE} %'");
    assert_eq!(server_sql(&[&query])?.parse().ok(), all);
    // A view of a user has the name of the extension's view.
    server_sql(&[
        "DROP EXTENSION pg_stat_statements",
        "CREATE VIEW pg_stat_statements AS SELECT 'COPY' AS query",
    ])?;
    let counted = rows();
    server_sql(&["DROP VIEW pg_stat_statements"])?;
    assert_eq!(counted?, all);
    Ok(())
}

/// A schema is restored alone, with its tables as they were. The other schemas stay as they are.
/// An encrypted backup can be restored only with the key.
pub(crate) fn restore_of_one_schema_leaves_the_others_unchanged() -> Result<(), Failed> {
    const BOTH: &str = "SELECT (SELECT count(*) FROM finance.expenses) || '/' ||
        (SELECT count(*) FROM orders.orders)";
    dm_ok(&["smoke"])?;
    let created = create_encrypted()?;
    let id = text(&created["id"]);
    let before = sql(BOTH)?;
    sql("ALTER TABLE finance.expenses DROP COLUMN status CASCADE; DELETE FROM finance.expenses")?;
    let key = write_key()?;
    let file = key.path().to_string_lossy().into_owned();
    let restore = |schema: &str, identity: &[&str]| {
        let call = ["backup", "restore", id, "--yes", "--schema", schema];
        dm(&[&call, identity].concat())
    };
    assert_eq!(restore("nope", &[]).status.code(), Some(2));
    let locked = restore("finance", &[]);
    assert_eq!(locked.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&locked.stderr).into_owned();
    assert!(stderr.contains("could not decrypt backup"), "{stderr}");
    let restored = restore("finance", &["--identity", &file]);
    let stderr = String::from_utf8_lossy(&restored.stderr).into_owned();
    assert!(restored.status.success(), "{stderr}");
    assert_eq!(sql(BOTH)?, before);
    dm_ok(&["schema", "check"])?;
    // An orphan that existed before is reported and does not make the restore fail.
    sql(
        "INSERT INTO inventory.inbox_events (queue, event_id, event_type)
         VALUES ('inventory.order-events.q', 'evt_never_written', 'none')",
    )?;
    let again = restore("finance", &["--identity", &file]);
    sql("DELETE FROM inventory.inbox_events WHERE event_id = 'evt_never_written'")?;
    let (shown, stderr) = (
        String::from_utf8_lossy(&again.stdout),
        String::from_utf8_lossy(&again.stderr),
    );
    assert!(again.status.success(), "{shown}{stderr}");
    assert!(shown.contains("evt_never_written"), "{shown}{stderr}");
    dm_ok(&["smoke"])?;
    Ok(())
}

/// One changed byte makes a backup invalid, and a restore changes nothing. An intact backup can
/// be verified.
pub(crate) fn damaged_backup_is_refused_and_intact_one_verified() -> Result<(), Failed> {
    let created = create_backup()?;
    let id = text(&created["id"]);
    let path = backup_directory(id)?.join("postgres/toc.dat");
    let original = fs::read(&path)?;
    let mut bytes = original.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes)?;
    let state = sql(BUSINESS_STATE)?;
    for arguments in [
        vec!["backup", "verify", id],
        vec!["backup", "restore", id, "--yes"],
    ] {
        let refused = dm(&arguments);
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
        let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            stderr.contains("postgres/toc.dat does not match its digest in the manifest"),
            "{stderr}"
        );
    }
    assert_eq!(sql(BUSINESS_STATE)?, state);
    fs::write(&path, original)?;
    dm_ok(&["backup", "verify", id])?;
    // This simulates a downgrade of Keycloak.
    sql("UPDATE keycloak.migration_model SET version = '1.' || version RETURNING version")?;
    let refused = dm(&["backup", "restore", id, "--yes", "--no-safety"]);
    sql("UPDATE keycloak.migration_model SET version = substr(version, 3) RETURNING version")?;
    assert_eq!(refused.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(stderr.contains("was made with Keycloak"), "{stderr}");
    assert_eq!(sql(BUSINESS_STATE)?, state);
    // An intact backup is restored into another server, which changes nothing in this one.
    let shown = dm_ok(&["backup", "verify", id, "--restore"])?;
    assert!(shown.contains("invariant"), "{shown}");
    let list: Value = serde_json::from_str(&dm_ok(&["backup", "ls", "--json"])?)?;
    let mut rows = list["backups"].as_array().into_iter().flatten();
    let own = rows.find(|row| row["id"] == id);
    assert!(
        own.is_some_and(|row| row["verified_at"].is_string()),
        "{list}"
    );
    assert_eq!(sql(BUSINESS_STATE)?, state);
    Ok(())
}

/// A due backup is created at once, and again when it is due. Old backups are removed. Two
/// backups that are requested at the same time are created one after the other.
pub(crate) fn backup_schedule_creates_and_prunes_backups() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().to_string_lossy().into_owned();
    let listed = || -> Result<Vec<String>, Failed> {
        let list: Value =
            serde_json::from_str(&dm_ok(&["backup", "--dir", &path, "ls", "--json"])?)?;
        let ids = list["backups"].as_array().into_iter().flatten();
        Ok(ids.map(|row| text(&row["id"]).to_owned()).collect())
    };
    let mut run = spawn(&[
        "backup", "--dir", &path, "schedule", "--every", "1s", "--keep", "1",
    ])?;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..600 {
        seen.extend(listed()?);
        if seen.len() > 2 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    run.kill()?;
    run.wait()?;
    assert!(seen.len() > 2, "{seen:?}");
    assert!(listed()?.len() <= 2, "old backups were not removed");
    let before = listed()?.len();
    let create = || spawn(&["backup", "--dir", &path, "create"]);
    let (mut one, mut other) = (create()?, create()?);
    assert!(one.wait()?.success() && other.wait()?.success());
    assert_eq!(listed()?.len(), before + 2);
    dm_ok(&["backup", "--dir", &path, "verify"])?;
    Ok(())
}

/// An interrupted backup and an interrupted restore change nothing and leave nothing.
pub(crate) fn interrupted_backup_and_restore_leave_nothing() -> Result<(), Failed> {
    let created = create_backup()?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().to_string_lossy().into_owned();
    let saved = sql(BUSINESS_STATE)?;
    let create = ["backup", "--dir", &path, "create"];
    let ended = signal_at(&create, "saving", Signal::INT)?;
    assert_eq!(ended.code(), Some(130));
    let list: Value = serde_json::from_str(&dm_ok(&["backup", "--dir", &path, "ls", "--json"])?)?;
    assert_eq!(list["backups"], Value::Array(Vec::new()));
    let restore = [
        "backup",
        "restore",
        text(&created["id"]),
        "--yes",
        "--no-safety",
    ];
    let ended = signal_at(&restore, "to a staged database", Signal::INT)?;
    assert_eq!(ended.code(), Some(130));
    assert_eq!(sql(BUSINESS_STATE)?, saved);
    let left = sql("SELECT count(*) FROM pg_database WHERE starts_with(datname, 'dm_re')")?;
    assert_eq!(left, "0");
    let files =
        sql("SELECT count(*) FROM pg_ls_dir('/tmp') AS name WHERE starts_with(name, 'dm-')")?;
    assert_eq!(files, "0");
    dm_ok(&["backup", "verify", text(&created["id"])])?;
    Ok(())
}

/// A restore that is killed before the databases are swapped has changed nothing. After one that
/// is killed later, nothing starts until the restore is completed.
pub(crate) fn killed_restore_is_completed_by_resume() -> Result<(), Failed> {
    let created = create_backup()?;
    let id = text(&created["id"]);
    let saved = sql(BUSINESS_STATE)?;
    dm_ok(&["smoke"])?;
    reconcile_when_idle()?;
    let changed = sql(BUSINESS_STATE)?;
    let restore = ["backup", "restore", id, "--yes", "--no-safety"];
    kill_at(&restore, "to a staged database")?;
    assert_eq!(sql(BUSINESS_STATE)?, changed);
    kill_at(&restore, "restoring RabbitMQ")?;
    assert_eq!(sql(BUSINESS_STATE)?, saved);
    let up = dm(&["up"]);
    assert!(!up.status.success());
    let stderr = String::from_utf8_lossy(&up.stderr).into_owned();
    assert!(stderr.contains("has not been completed"), "{stderr}");
    dm_ok(&["backup", "restore", "--resume"])?;
    assert_eq!(sql(BUSINESS_STATE)?, saved);
    let left = sql("SELECT count(*) FROM pg_database WHERE starts_with(datname, 'dm_re')")?;
    assert_eq!(left, "0");
    dm_ok(&["smoke"])?;
    Ok(())
}
