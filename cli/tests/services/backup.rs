//! Backups, made and brought back.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use libtest_mimic::Failed;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::NamedTempFile;

use super::faults::settled;
use super::stack::{INSTANCE, PATIENCE, dm, dm_command, kill_at, ok, signal_at, sql, start};

/// What tells two states of the business apart. Old events and notifications go by
/// themselves, so that of those the newest is looked at.
pub const STATE: &str = "SELECT concat_ws('/', (SELECT count(*) FROM orders.orders),
    (SELECT max(sequence) FROM orders.outbox_events),
    (SELECT max(created_at) FROM notifications.notifications),
    (SELECT sum(shipped) FROM inventory.stock))";

/// A key of nobody but this test, and the recipient that goes with it.
const KEY: &str = "AGE-SECRET-KEY-1UMY34ETUDRUA8JT5DYHUE8L4FYRGWSYPCPCT827YZPGLRAKZ8YUS7Z9NLF";
const RECIPIENT: &str = "age1cf86tudt65u9xnd80q9xsr33f4smafy8rqxn2j4cmaknvhn6s53qrzp7qw";

/// A backup, once nothing is on its way any more: what arrives later would be in no state
/// that can be compared.
pub fn create() -> Result<Value, Failed> {
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

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A container of the stack makes them, for as long as the configuration says so.
pub fn by_themselves() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().to_string_lossy().into_owned();
    let up = |layer: &[(&str, &str)]| -> Result<String, Failed> {
        let mut command = dm_command();
        command.args(["--instance", INSTANCE, "up"]);
        let output = command.envs(layer.iter().copied()).output()?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{told}");
        Ok(told)
    };
    up(&[
        ("DM_BACKUP__EVERY", "1s"),
        ("DM_BACKUP__DIRECTORY", &path),
        ("DM_BACKUP__RECIPIENTS", RECIPIENT),
        // Where that container does not see it, who has the key reads them.
        ("DM_BACKUP__IDENTITY", "/nowhere/backup.key"),
    ])?;
    let until = Instant::now() + PATIENCE;
    loop {
        let list: Value = serde_json::from_str(&ok(&["backup", "--dir", &path, "ls", "--json"])?)?;
        if list["backups"]
            .as_array()
            .is_some_and(|sets| !sets.is_empty())
        {
            break;
        }
        assert!(Instant::now() < until, "{}", ok(&["logs", "backup"])?);
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    ok(&["backup", "--dir", &path, "verify"])?;
    assert!(ok(&["backup", "--dir", &path, "show", "--json"])?.contains(RECIPIENT));
    let told = up(&[])?;
    assert!(told.contains("backup gone"), "{told}");
    Ok(())
}

/// Saved with a dead letter, changed, brought back: the business, the dead letter and the
/// directory are as they were, what was there meanwhile is a backup, too, and orders flow.
pub fn story() -> Result<(), Failed> {
    let dead = || -> Result<i64, Failed> {
        let list: Value = serde_json::from_str(&ok(&["dlq", "ls", "--json"])?)?;
        let groups = list["groups"].as_array().into_iter().flatten();
        Ok(groups.filter_map(|group| group["count"].as_i64()).sum())
    };
    let before = dead()?;
    ok(&["chaos", "poison", "inventory.order-events.q"])?;
    while dead()? == before {
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
         ldapmodify -x -H ldap://localhost -D cn=admin,$B -w admin",
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
        "ldapsearch -x -H ldap://localhost -D cn=admin,$B -w admin -LLL \
             -b uid=jhalpert,ou=people,$B sn",
    )
}

/// The server notes how many rows a dump has. Where it can't, they are counted.
pub fn counted() -> Result<(), Failed> {
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
pub fn one_schema() -> Result<(), Failed> {
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
    ok(&["smoke"])?;
    Ok(())
}

/// One byte is enough; nothing is touched. Without it the backup can be proved.
pub fn damaged() -> Result<(), Failed> {
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
pub fn scheduled() -> Result<(), Failed> {
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
pub fn interrupted() -> Result<(), Failed> {
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
pub fn killed() -> Result<(), Failed> {
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
