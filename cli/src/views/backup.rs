//! Renders backups and their schedule.

use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use dm_backup::schedule::SchedulerReport;
use dm_backup::{Backup, BackupEntry, Purpose};
use dm_config::values;
use dm_terminal::canvas::{Canvas, StyleRole};
use dm_terminal::table::{Cell, Column, Table};
use dm_terminal::text;
use serde::Serialize;

/// The newest backup of an instance in the document of its status.
#[derive(Debug, Serialize)]
pub(crate) struct LastBackup {
    id: String,
    taken_at: DateTime<Utc>,
    age_seconds: u64,
    verified_at: Option<DateTime<Utc>>,
}

impl LastBackup {
    /// The document for a backup.
    #[must_use]
    pub(crate) fn new(backup: &Backup) -> Self {
        Self {
            id: backup.manifest.id.clone(),
            taken_at: backup.manifest.taken_at,
            age_seconds: backup.age().as_secs(),
            verified_at: backup.verified_at,
        }
    }

    /// Returns the sentence about the backup.
    #[must_use]
    pub(crate) fn sentence(&self) -> String {
        let verified = match self.verified_at {
            Some(_) => "verified by a restore",
            None => "not verified by a restore: dm backup verify --restore",
        };
        let age = text::format_duration(Duration::from_secs(self.age_seconds));
        format!("last backup {}, {age} ago, {verified}", self.id)
    }
}

/// The state of the scheduler container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SchedulerState {
    /// The container is running.
    Running,
    /// The container is not running.
    NotRunning,
    /// The engine is remote, where the container cannot run.
    RemoteEngine,
}

/// The schedule of the backups of an instance.
#[derive(Debug, Serialize)]
pub(crate) struct ScheduleStatus {
    /// The interval in seconds. `None` without a schedule.
    every_seconds: Option<u64>,
    /// The reason why there is no schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    off: Option<String>,
    #[serde(flatten)]
    report: Option<SchedulerReport>,
}

impl ScheduleStatus {
    /// The schedule of a configuration, with the last report of the scheduler. `up_command` is the
    /// command that starts the scheduler.
    #[must_use]
    pub(crate) fn new(
        interval: Option<Duration>,
        state: SchedulerState,
        report: Option<SchedulerReport>,
        up_command: &str,
    ) -> Self {
        let off = match (interval, state) {
            (None, _) => Some("backup.every is \"off\"".to_owned()),
            (_, SchedulerState::RemoteEngine) => {
                Some("the engine is not on this machine".to_owned())
            }
            (_, SchedulerState::NotRunning) => Some(format!(
                "the container `backup` is not running: {up_command}"
            )),
            (_, SchedulerState::Running) => None,
        };
        Self {
            every_seconds: interval
                .filter(|_| off.is_none())
                .map(|interval| interval.as_secs()),
            report: report.filter(|_| off.is_none()),
            off,
        }
    }

    /// Returns the sentence about the schedule.
    #[must_use]
    pub(crate) fn sentence(&self) -> String {
        if let Some(off) = &self.off {
            return format!("no scheduled backups: {off}");
        }
        let interval = Duration::from_secs(self.every_seconds.unwrap_or_default());
        let interval = values::format_interval(interval);
        let Some(report) = &self.report else {
            return format!("a backup is scheduled {interval}");
        };
        let due = match (report.next_due - Utc::now()).to_std() {
            Ok(remaining) => {
                let remaining = Duration::from_secs(remaining.as_secs());
                let remaining = text::format_duration(remaining);
                format!("the next one is due in {remaining}")
            }
            Err(_) => "the next one is due".to_owned(),
        };
        let failed = report.last_attempt.as_ref();
        let failed = failed.and_then(|attempt| Some((attempt.at, attempt.error.as_ref()?)));
        match failed {
            Some((at, error)) => format!(
                "the scheduled backup of {} ago failed: {error}; {due}",
                format_age(at)
            ),
            None => format!("a backup is scheduled {interval}; {due}"),
        }
    }
}

/// The document of `dm backup ls`.
#[derive(Debug, Serialize)]
pub(crate) struct BackupListDocument {
    directory: String,
    backups: Vec<BackupRow>,
}

#[derive(Debug, Serialize)]
struct BackupRow {
    id: String,
    taken_at: Option<DateTime<Utc>>,
    purpose: Option<Purpose>,
    bytes: u64,
    rows: i64,
    dead_letters: u64,
    verified_at: Option<DateTime<Utc>>,
    /// The reason why the backup cannot be read.
    error: Option<String>,
}

impl BackupListDocument {
    /// The document for the entries of a store.
    #[must_use]
    pub(crate) fn new(directory: &Path, entries: &[BackupEntry]) -> Self {
        let row = |entry: &BackupEntry| match entry {
            BackupEntry::Complete(backup) => BackupRow {
                id: backup.manifest.id.clone(),
                taken_at: Some(backup.manifest.taken_at),
                purpose: Some(backup.manifest.purpose),
                bytes: backup.manifest.total_bytes(),
                rows: backup.manifest.total_rows(),
                dead_letters: backup.manifest.dead_letters.values().sum(),
                verified_at: backup.verified_at,
                error: None,
            },
            BackupEntry::Unreadable(name, error) => BackupRow {
                id: name.clone(),
                taken_at: None,
                purpose: None,
                bytes: 0,
                rows: 0,
                dead_letters: 0,
                verified_at: None,
                error: Some(error.to_string()),
            },
        };
        Self {
            directory: directory.display().to_string(),
            backups: entries.iter().map(row).collect(),
        }
    }
}

/// Renders the list as a table. `create_command` is the command that creates a backup in the
/// directory.
#[must_use]
pub(crate) fn render_list(
    list: &BackupListDocument,
    create_command: &str,
    canvas: &Canvas,
) -> String {
    if list.backups.is_empty() {
        return format!(
            "no backups in {}; create one: {create_command}",
            list.directory
        );
    }
    let mut table = Table::new(vec![
        Column::new("backup").min_width(20),
        Column::new("age").right_aligned(),
        Column::new("size").right_aligned(),
        Column::new("rows").right_aligned(),
        Column::new("dead letters").right_aligned(),
        Column::new("purpose").min_width(7),
        Column::new("verified").min_width(8),
    ]);
    for row in &list.backups {
        if let Some(error) = &row.error {
            table.add_row(vec![
                Cell::new(&row.id).with_role(StyleRole::Error),
                Cell::default(),
                Cell::default(),
                Cell::default(),
                Cell::default(),
                Cell::default(),
                Cell::new(error).with_role(StyleRole::Error),
            ]);
            continue;
        }
        let purpose = match row.purpose {
            Some(purpose @ Purpose::Safety) => {
                Cell::new(purpose.as_str()).with_role(StyleRole::Muted)
            }
            purpose => Cell::from_option(purpose.map(Purpose::as_str)),
        };
        let verified = match row.verified_at {
            Some(at) => Cell::new(format!("{} ago", format_age(at))).with_role(StyleRole::Success),
            None => Cell::new("not yet").with_role(StyleRole::Muted),
        };
        table.add_row(vec![
            Cell::new(&row.id),
            Cell::new(row.taken_at.map(format_age).unwrap_or_default()),
            Cell::new(format_size(row.bytes)),
            Cell::new(row.rows.to_string()),
            Cell::new(row.dead_letters.to_string()),
            purpose,
            verified,
        ]);
    }
    table.render(canvas)
}

/// Formats the age of a time.
pub(crate) fn format_age(at: DateTime<Utc>) -> String {
    let age = Utc::now() - at;
    match age.to_std() {
        Ok(age) => text::format_duration(Duration::from_secs(age.as_secs())),
        Err(_) => "in the future".to_owned(),
    }
}

/// Formats a number of bytes.
pub(crate) fn format_size(bytes: u64) -> String {
    bytesize::ByteSize::b(bytes).display().si().to_string()
}

/// Renders the contents of a backup. `verify_command` is the command that verifies a backup of the
/// directory by a restore.
#[must_use]
pub(crate) fn render_backup(backup: &Backup, verify_command: &str, canvas: &Canvas) -> String {
    let manifest = &backup.manifest;
    let mut table = Table::new(vec![
        Column::new("schema").min_width(10),
        Column::new("tables").right_aligned(),
        Column::new("rows").right_aligned(),
    ]);
    let mut schemas: Vec<(&str, usize, i64)> = Vec::new();
    for (name, rows) in &manifest.postgres.rows {
        let schema = name.split('.').next().unwrap_or(name);
        match schemas.last_mut().filter(|(last, ..)| *last == schema) {
            Some((_, tables, sum)) => {
                *tables += 1;
                *sum += rows;
            }
            None => schemas.push((schema, 1, *rows)),
        }
    }
    for (schema, tables, rows) in schemas {
        table.add_row(vec![
            Cell::new(schema),
            Cell::new(tables.to_string()),
            Cell::new(rows.to_string()),
        ]);
    }
    let dead_letters: u64 = manifest.dead_letters.values().sum();
    // The parts are saved in parallel.
    let took = manifest.seconds.values().copied().fold(0.0, f64::max);
    let lines = [
        format!(
            "{}: {} backup of instance {}, PostgreSQL {} at {}, RabbitMQ {}, Keycloak {}",
            canvas.paint(StyleRole::Emphasis, &manifest.id),
            manifest.purpose.as_str(),
            manifest.instance,
            manifest.postgres.version,
            manifest.postgres.lsn,
            manifest.rabbitmq,
            manifest.keycloak
        ),
        format!(
            "{} in {} files; {dead_letters} dead letters, {} unpublished events; created in {}",
            format_size(manifest.total_bytes()),
            manifest.files.len(),
            manifest.pending,
            text::format_duration(Duration::from_secs_f64(took))
        ),
        match manifest.recipients.len() {
            0 => "not encrypted".to_owned(),
            count => format!("encrypted for {}", text::pluralize(count, "recipient")),
        },
        match backup.verified_at {
            Some(at) => format!("verified by a restore {} ago", format_age(at)),
            None => format!("not verified by a restore yet: {verify_command}"),
        },
        canvas.paint(StyleRole::Muted, &backup.path.display().to_string()),
    ];
    format!("{}\n\n{}", lines.join("\n"), table.render(canvas))
}

#[cfg(test)]
mod tests {
    use dm_backup::examples::manifest;
    use dm_terminal::testing::pipe_canvas;

    use super::*;

    #[test]
    fn stopped_scheduler_is_reported_with_the_command_that_starts_it() {
        let status = ScheduleStatus::new(
            Some(Duration::from_secs(3600)),
            SchedulerState::NotRunning,
            None,
            "dm --instance review up",
        );
        let reason = "the container `backup` is not running: dm --instance review up";
        assert_eq!(status.sentence(), format!("no scheduled backups: {reason}"));
        let document = serde_json::to_value(&status).unwrap();
        assert_eq!(document["off"], reason);
    }

    #[test]
    fn empty_list_suggests_the_command_that_creates_a_backup() {
        let list = BackupListDocument::new(Path::new("/mnt/b/p/review"), &[]);
        let create = "dm --instance review backup --dir /mnt/b create";
        assert_eq!(
            render_list(&list, create, &pipe_canvas()),
            format!("no backups in /mnt/b/p/review; create one: {create}")
        );
    }

    #[test]
    fn unverified_backup_suggests_the_command_that_verifies_it() {
        let backup = Backup {
            path: "/mnt/b/p/review/20261126T100000000Z".into(),
            manifest: manifest("20261126T100000000Z", "2026-11-26T10:00:00Z"),
            verified_at: None,
            restore_started_at: None,
            restored_at: None,
        };
        let verify = "dm --instance review backup --dir /mnt/b verify --restore";
        let text = render_backup(&backup, verify, &pipe_canvas());
        let hint = format!("not verified by a restore yet: {verify}\n");
        assert!(text.contains(&hint), "{text}");
    }
}
