//! Backups, made and brought back.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder};
use libtest_mimic::Failed;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::NamedTempFile;

use super::faults::settled;
use super::stack::{
    INSTANCE, PATIENCE, block_on, dm, dm_command, kill_at, labels, ok, signal_at, sql, start,
};

/// What tells two states of the business apart. Old events and notifications go by
/// themselves, so that of those the newest is looked at.
pub(crate) const STATE: &str = "SELECT concat_ws('/', (SELECT count(*) FROM orders.orders),
    (SELECT max(sequence) FROM orders.outbox_events),
    (SELECT max(created_at) FROM notifications.notifications),
    (SELECT sum(shipped) FROM inventory.stock))";

/// A key of nobody but this test, and the recipient that goes with it.
const KEY: &str = "AGE-SECRET-KEY-1UMY34ETUDRUA8JT5DYHUE8L4FYRGWSYPCPCT827YZPGLRAKZ8YUS7Z9NLF";
const RECIPIENT: &str = "age1cf86tudt65u9xnd80q9xsr33f4smafy8rqxn2j4cmaknvhn6s53qrzp7qw";

/// A backup, once nothing is on its way any more: what arrives later would be in no state
/// that can be compared.
pub(crate) fn create() -> Result<Value, Failed> {
    settled()?;
    Ok(serde_json::from_str(&ok(&["backup", "create", "--json"])?)?)
}

/// The same, encrypted.
fn create_encrypted() -> Result<Value, Failed> {
    settled()?;
    let created = ok(&["backup", "create", "--json", "--recipient", RECIPIENT])?;
    let set: Value = serde_json::from_str(&created)?;
    assert_eq!(set["recipients"][0], RECIPIENT);
    Ok(set)
}

/// A file with the key.
fn key() -> Result<NamedTempFile, Failed> {
    let key = NamedTempFile::new()?;
    fs::write(key.path(), KEY)?;
    Ok(key)
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A container of the stack makes them over the stack's network, for as long as the
/// configuration says so, whatever characters are in a path. It has no way to the engine, and
/// no secret can be seen from outside it. What goes wrong is told by `dm status`.
pub(crate) fn by_themselves() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let backups = folder.path().join("with: colon, comma");
    let path = backups.to_string_lossy().into_owned();
    // The project by another name, which is the same project.
    let project = folder.path().join("link");
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::os::unix::fs::symlink(repository, &project)?;
    let layer = [
        ("DM_BACKUP__EVERY", "1s"),
        ("DM_BACKUP__DIRECTORY", path.as_str()),
        ("DM_BACKUP__RECIPIENTS", RECIPIENT),
        // Where that container does not see it, who has the key reads them.
        ("DM_BACKUP__IDENTITY", "/nowhere/backup.key"),
        ("DM_IMAGES__CREDENTIALS__REGISTRY", "registry.example"),
        ("DM_IMAGES__CREDENTIALS__USERNAME", "dwight"),
        ("DM_IMAGES__CREDENTIALS__PASSWORD", "bears-beets"),
    ];
    let call = |arguments: &[&str], layer: &[(&str, &str)]| -> Result<Output, Failed> {
        let mut command = dm_command();
        command.arg("--project-directory").arg(&project);
        command.args(["--instance", INSTANCE]).args(arguments);
        Ok(command.envs(layer.iter().copied()).output()?)
    };
    let up = |layer: &[(&str, &str)]| -> Result<String, Failed> {
        let output = call(&["up"], layer)?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{told}");
        Ok(told)
    };
    let status = || -> Result<Value, Failed> {
        Ok(serde_json::from_slice(
            &call(&["status", "--json"], &layer)?.stdout,
        )?)
    };
    let state = |status: &Value| {
        let rows = status["components"].as_array().into_iter().flatten();
        let mut rows = rows.filter(|row| row["component"] == "backup");
        rows.next().map(|row| row["state"].clone())
    };
    up(&layer)?;
    let until = Instant::now() + PATIENCE;
    let listed = || -> Result<Value, Failed> {
        Ok(serde_json::from_str(&ok(&[
            "backup", "--dir", &path, "ls", "--json",
        ])?)?)
    };
    while listed()?["backups"].as_array().is_none_or(Vec::is_empty) {
        assert!(Instant::now() < until, "{}", ok(&["logs", "backup"])?);
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(listed()?["backups"][0]["purpose"], "scheduled");
    ok(&["backup", "--dir", &path, "verify"])?;
    assert!(ok(&["backup", "--dir", &path, "show", "--json"])?.contains(RECIPIENT));
    let found = status()?;
    assert_eq!(state(&found).unwrap(), "ready", "{found}");
    assert_eq!(found["schedule"]["every_seconds"], 1, "{found}");
    assert!(found["schedule"]["next_due"].is_string(), "{found}");

    let inspected = container_of("backup")?;
    let text = serde_json::to_string(&inspected)?;
    for secret in ["bears-beets", "docker.sock", "DM_"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    let host = inspected.host_config.unwrap_or_default();
    assert_eq!(host.readonly_rootfs, Some(true));
    assert_eq!(host.cap_drop.unwrap_or_default(), ["ALL"]);
    assert_ne!(host.network_mode.as_deref(), Some("host"));

    // Its process goes on where a server is away, and nothing is green that fails.
    dm(&["exec", "openldap", "--", "sh", "-c", "kill -TERM 1"]);
    let until = Instant::now() + PATIENCE;
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
    let told = up(&[])?;
    assert!(told.contains("backup gone"), "{told}");
    Ok(())
}

/// What the engine says of a container of the instance.
fn container_of(component: &str) -> Result<ContainerInspectResponse, Failed> {
    let list: Value = serde_json::from_str(&ok(&["status", "--json"])?)?;
    let rows = list["components"].as_array().into_iter().flatten();
    assert!(
        rows.into_iter().any(|row| row["component"] == component),
        "{list}"
    );
    block_on(async {
        let docker = bollard::Docker::connect_with_local_defaults()?;
        let filters = HashMap::from([("label".to_owned(), labels(component)?)]);
        let options = ListContainersOptionsBuilder::new()
            .filters(&filters)
            .build();
        let found = docker.list_containers(Some(options)).await?;
        let id = found.first().and_then(|it| it.id.clone());
        let id = id.ok_or("it has no container")?;
        Ok(docker
            .inspect_container(&id, None::<InspectContainerOptions>)
            .await?)
    })
}

/// The good backup stays, whatever is newer: a restore makes a safety copy of what it
/// replaces, and neither that nor a scheduled one lets it go. A prune that is killed at each
/// of its steps has removed a backup or has not, and the next one does the rest.
pub(crate) fn pruned() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().to_string_lossy().into_owned();
    let backup = |arguments: &[&str]| ok(&[&["backup", "--dir", &path], arguments].concat());
    let made = || -> Result<String, Failed> {
        settled()?;
        let set: Value = serde_json::from_str(&backup(&["create", "--json"])?)?;
        Ok(text(&set["id"]).to_owned())
    };
    let listed = || -> Result<Vec<(String, String)>, Failed> {
        let list: Value = serde_json::from_str(&backup(&["ls", "--json"])?)?;
        let rows = list["backups"].as_array().into_iter().flatten();
        Ok(rows
            .map(|it| (text(&it["id"]).to_owned(), text(&it["purpose"]).to_owned()))
            .collect())
    };
    let good = made()?;
    backup(&["restore", &good, "--yes"])?;
    for _ in 0..3 {
        made()?;
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
    let told = String::from_utf8_lossy(&ambiguous.stderr).into_owned();
    assert!(before.iter().all(|(id, _)| told.contains(id)), "{told}");

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
    let goes: Vec<&str> = planned["go"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| text(&row["id"]))
        .collect();
    assert_eq!(goes, [before[2].0.as_str(), before[3].0.as_str()]);
    let stays = planned["stay"].as_array().into_iter().flatten();
    let mut stays = stays.filter(|row| row["id"] == good.as_str());
    assert_eq!(stays.next().unwrap()["because"], "restored-from");
    assert_eq!(listed()?, before);
    let call = [&["backup", "--dir", &path], &limits[..]].concat();
    assert_eq!(dm(&call).status.code(), Some(2), "it was not confirmed");
    let call = [&call[..], &["--yes"]].concat();
    for id in &goes {
        kill_at(&call, &format!("removing {id}"))?;
        // None of them is half there.
        for (id, _) in listed()? {
            backup(&["verify", &id])?;
        }
    }
    backup(&[&limits[..], &["--yes"]].concat())?;
    let left: Vec<String> = listed()?.into_iter().map(|(id, _)| id).collect();
    let expected = [0, 1, 4].map(|at: usize| before[at].0.clone());
    assert_eq!(left, expected);
    let below = folder.path().join(instance_folder(&folder)?);
    assert_eq!(
        fs::read_dir(below)?.count(),
        left.len(),
        "something is left"
    );
    Ok(())
}

/// Where an instance's backups are, below the folder of all of them.
fn instance_folder(folder: &tempfile::TempDir) -> Result<PathBuf, Failed> {
    let project = fs::read_dir(folder.path())?.next().ok_or("no project")??;
    Ok(project.path().join(INSTANCE))
}

/// Saved with a dead letter, changed, brought back: the business, the dead letter and the
/// directory are as they were, what was there meanwhile is a backup, too, and orders flow.
pub(crate) fn story() -> Result<(), Failed> {
    let dead = || -> Result<i64, Failed> {
        let list: Value = serde_json::from_str(&ok(&["dlq", "ls", "--json"])?)?;
        let groups = list["groups"].as_array().into_iter().flatten();
        Ok(groups.filter_map(|group| group["count"].as_i64()).sum())
    };
    let before = dead()?;
    ok(&["chaos", "poison", "inventory.order-events.q"])?;
    let until = Instant::now() + PATIENCE;
    while dead()? == before {
        assert!(Instant::now() < until, "the poison is no dead letter");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    let letters = dead()?;
    let set = create_encrypted()?;
    let id = text(&set["id"]);
    let state = sql(STATE)?;
    ok(&["smoke"])?;
    let folder = tempfile::tempdir()?;
    let purge = |name: &str| {
        let copy = folder.path().join(name);
        ok(&["dlq", "purge", "--copy", &copy.to_string_lossy(), "--yes"])
    };
    purge("before.jsonl")?;
    assert_ne!(sql(STATE)?, state);
    let name = last_name()?;
    directory(
        "printf 'dn: uid=jhalpert,ou=people,%s\nchangetype: modify\nreplace: sn\nsn: Changed\n' $B |
         ldapmodify -x -H ldap://localhost -D cn=admin,$B -y /etc/dm-secrets/LDAP_ADMIN_PASSWORD",
    )?;
    assert_ne!(last_name()?, name);
    let refused = dm(&["backup", "restore", id]);
    assert_eq!(refused.status.code(), Some(2));
    let key = key()?;
    let file = key.path().to_string_lossy().into_owned();
    let restored = dm(&["backup", "restore", id, "--yes", "--identity", &file]);
    let told = String::from_utf8_lossy(&restored.stderr).into_owned();
    assert!(restored.status.success(), "{told}");
    assert_eq!(sql(STATE)?, state);
    assert_eq!(dead()?, letters);
    assert_eq!(last_name()?, name);
    assert!(told.contains("what is there now is backup "), "{told}");
    ok(&["smoke"])?;
    purge("after.jsonl")?;
    let status: Value = serde_json::from_str(&ok(&["status", "--json"])?)?;
    assert!(status["last_backup"]["id"].is_string(), "{status}");
    Ok(())
}

/// Has the directory's container do something; `$B` is the directory's base.
fn directory(script: &str) -> Result<String, Failed> {
    let script = format!(
        "B=$(ldapsearch -x -H ldap://localhost -s base -b '' -LLL namingContexts | sed -n 's/^namingContexts: //p'); {script}"
    );
    ok(&["exec", "openldap", "--", "sh", "-c", &script])
}

/// A person's last name, as the directory that runs has it.
fn last_name() -> Result<String, Failed> {
    directory(
        "ldapsearch -x -H ldap://localhost -D cn=admin,$B -y /etc/dm-secrets/LDAP_ADMIN_PASSWORD -LLL \
             -b uid=jhalpert,ou=people,$B sn",
    )
}

/// The server notes how many rows a dump has. Where it can't, they are counted.
pub(crate) fn counted() -> Result<(), Failed> {
    const TABLE: &str = "orders.orders";
    let notes = |statement: &str| {
        let user = ["exec", "postgres", "--", "psql", "-U", "dundermifflin"];
        ok(&[&user[..], &["-d", "postgres", "-Atc", statement]].concat())
    };
    let rows =
        || -> Result<Option<i64>, Failed> { Ok(create()?["postgres"]["rows"][TABLE].as_i64()) };
    let all = sql(&format!("SELECT count(*) FROM {TABLE}"))?;
    let all = Some(all.trim().parse()?);
    assert_eq!(rows()?, all);
    let noted = format!("SELECT rows FROM pg_stat_statements WHERE query LIKE 'COPY {TABLE} %'");
    assert_eq!(notes(&noted)?.trim().parse().ok(), all);
    // Something else of somebody's has the name of the notes.
    notes("DROP EXTENSION pg_stat_statements")?;
    notes("CREATE VIEW pg_stat_statements AS SELECT 'COPY' AS query")?;
    let counted = rows();
    notes("DROP VIEW pg_stat_statements")?;
    assert_eq!(counted?, all);
    Ok(())
}

/// A schema alone comes back, with its tables as they were; the others stay as they are. Of
/// a backup that is encrypted, only to whoever has the key.
pub(crate) fn one_schema() -> Result<(), Failed> {
    const BOTH: &str = "SELECT (SELECT count(*) FROM finance.expenses) || '/' ||
        (SELECT count(*) FROM orders.orders)";
    ok(&["smoke"])?;
    let set = create_encrypted()?;
    let id = text(&set["id"]);
    let before = sql(BOTH)?;
    sql("ALTER TABLE finance.expenses DROP COLUMN status CASCADE; DELETE FROM finance.expenses")?;
    let key = key()?;
    let file = key.path().to_string_lossy().into_owned();
    let restore = |schema: &str, identity: &[&str]| {
        let call = ["backup", "restore", id, "--yes", "--schema", schema];
        dm(&[&call, identity].concat())
    };
    assert_eq!(restore("nope", &[]).status.code(), Some(2));
    let locked = restore("finance", &[]);
    assert_eq!(locked.status.code(), Some(2));
    let told = String::from_utf8_lossy(&locked.stderr).into_owned();
    assert!(told.contains("is encrypted"), "{told}");
    let restored = restore("finance", &["--identity", &file]);
    let told = String::from_utf8_lossy(&restored.stderr).into_owned();
    assert!(restored.status.success(), "{told}");
    assert_eq!(sql(BOTH)?, before);
    ok(&["schema", "check"])?;
    // What fitted nowhere before is told, and is not of this restore.
    sql(
        "INSERT INTO inventory.inbox_events (queue, event_id, event_type)
         VALUES ('inventory.order-events.q', 'evt_never_written', 'none')",
    )?;
    let again = restore("finance", &["--identity", &file]);
    sql("DELETE FROM inventory.inbox_events WHERE event_id = 'evt_never_written'")?;
    let (shown, told) = (
        String::from_utf8_lossy(&again.stdout),
        String::from_utf8_lossy(&again.stderr),
    );
    assert!(again.status.success(), "{shown}{told}");
    assert!(shown.contains("evt_never_written"), "{shown}{told}");
    ok(&["smoke"])?;
    Ok(())
}

/// One byte is enough; nothing is touched. Without it the backup can be proved.
pub(crate) fn damaged() -> Result<(), Failed> {
    let set = create()?;
    let id = text(&set["id"]);
    let folder = ok(&["backup", "show", id])?;
    let folder = folder
        .lines()
        .find(|line| line.ends_with(id) && line.starts_with('/'));
    let path = PathBuf::from(folder.unwrap()).join("postgres/toc.dat");
    let whole = fs::read(&path)?;
    let mut bytes = whole.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes)?;
    let state = sql(STATE)?;
    for arguments in [
        vec!["backup", "verify", id],
        vec!["backup", "restore", id, "--yes"],
    ] {
        let refused = dm(&arguments);
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            told.contains("postgres/toc.dat is other than it was"),
            "{told}"
        );
    }
    assert_eq!(sql(STATE)?, state);
    fs::write(&path, whole)?;
    ok(&["backup", "verify", id])?;
    // As if Keycloak had been taken back to an older one.
    sql("UPDATE keycloak.migration_model SET version = '1.' || version RETURNING version")?;
    let refused = dm(&["backup", "restore", id, "--yes", "--no-safety"]);
    sql("UPDATE keycloak.migration_model SET version = substr(version, 3) RETURNING version")?;
    assert_eq!(refused.status.code(), Some(2));
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("is of Keycloak"), "{told}");
    assert_eq!(sql(STATE)?, state);
    // What is whole proves itself elsewhere, and touches nothing here.
    let shown = ok(&["backup", "verify", id, "--restore"])?;
    assert!(shown.contains("law"), "{shown}");
    let list: Value = serde_json::from_str(&ok(&["backup", "ls", "--json"])?)?;
    let mut rows = list["backups"].as_array().into_iter().flatten();
    let ours = rows.find(|it| it["id"] == id);
    assert!(ours.is_some_and(|it| it["proved_at"].is_string()), "{list}");
    assert_eq!(sql(STATE)?, state);
    Ok(())
}

/// A backup that is due is made at once, and again when it is due; old ones go. Two that
/// are asked for at a time are made one after the other.
pub(crate) fn scheduled() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().to_string_lossy().into_owned();
    let listed = || -> Result<Vec<String>, Failed> {
        let list: Value = serde_json::from_str(&ok(&["backup", "--dir", &path, "ls", "--json"])?)?;
        let ids = list["backups"].as_array().into_iter().flatten();
        Ok(ids.map(|it| text(&it["id"]).to_owned()).collect())
    };
    let mut run = start(&[
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
    assert!(listed()?.len() <= 2, "old ones stay");
    let before = listed()?.len();
    let create = || start(&["backup", "--dir", &path, "create"]);
    let (mut one, mut other) = (create()?, create()?);
    assert!(one.wait()?.success() && other.wait()?.success());
    assert_eq!(listed()?.len(), before + 2);
    ok(&["backup", "--dir", &path, "verify"])?;
    Ok(())
}

/// Interrupted, neither a backup nor a restore changes or leaves anything.
pub(crate) fn interrupted() -> Result<(), Failed> {
    let set = create()?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().to_string_lossy().into_owned();
    let saved = sql(STATE)?;
    let create = ["backup", "--dir", &path, "create"];
    let ended = signal_at(&create, "saving", Signal::INT)?;
    assert_eq!(ended.code(), Some(130));
    let list: Value = serde_json::from_str(&ok(&["backup", "--dir", &path, "ls", "--json"])?)?;
    assert_eq!(list["backups"], Value::Array(Vec::new()));
    let restore = [
        "backup",
        "restore",
        text(&set["id"]),
        "--yes",
        "--no-safety",
    ];
    let ended = signal_at(&restore, "restoring the database", Signal::INT)?;
    assert_eq!(ended.code(), Some(130));
    assert_eq!(sql(STATE)?, saved);
    let left = sql("SELECT count(*) FROM pg_database WHERE starts_with(datname, 'dm_re')")?;
    assert_eq!(left, "0");
    let files =
        sql("SELECT count(*) FROM pg_ls_dir('/tmp') AS name WHERE starts_with(name, 'dm-')")?;
    assert_eq!(files, "0");
    ok(&["backup", "verify", text(&set["id"])])?;
    Ok(())
}

/// Killed before the databases change places, nothing has changed; killed after it, nothing
/// starts until the restore is carried on with.
pub(crate) fn killed() -> Result<(), Failed> {
    let set = create()?;
    let id = text(&set["id"]);
    let saved = sql(STATE)?;
    ok(&["smoke"])?;
    settled()?;
    let changed = sql(STATE)?;
    let restore = ["backup", "restore", id, "--yes", "--no-safety"];
    kill_at(&restore, "restoring the database")?;
    assert_eq!(sql(STATE)?, changed);
    kill_at(&restore, "restoring the broker")?;
    assert_eq!(sql(STATE)?, saved);
    let up = dm(&["up"]);
    assert!(!up.status.success());
    let told = String::from_utf8_lossy(&up.stderr).into_owned();
    assert!(told.contains("was cut short"), "{told}");
    ok(&["backup", "restore", "--resume"])?;
    assert_eq!(sql(STATE)?, saved);
    let left = sql("SELECT count(*) FROM pg_database WHERE starts_with(datname, 'dm_re')")?;
    assert_eq!(left, "0");
    ok(&["smoke"])?;
    Ok(())
}
