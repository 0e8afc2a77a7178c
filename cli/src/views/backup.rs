//! Backups.

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

/// The newest backup of an instance, as its status has it.
#[derive(Debug, Serialize)]
pub(crate) struct LastBackup {
    id: String,
    taken_at: DateTime<Utc>,
    age_seconds: u64,
    proved_at: Option<DateTime<Utc>>,
}

impl LastBackup {
    /// That one.
    #[must_use]
    pub(crate) fn new(set: &Backup) -> Self {
        Self {
            id: set.manifest.id.clone(),
            taken_at: set.manifest.taken_at,
            age_seconds: set.age().as_secs(),
            proved_at: set.verified_at,
        }
    }

    /// In words.
    #[must_use]
    pub(crate) fn sentence(&self) -> String {
        let proved = match self.proved_at {
            Some(_) => "verified by a restore",
            None => "not verified by a restore: dm backup verify --restore",
        };
        let age = text::format_duration(Duration::from_secs(self.age_seconds));
        format!("last backup {}, {age} ago, {proved}", self.id)
    }
}

/// Where the container of a schedule is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SchedulerState {
    /// It runs.
    Running,
    /// It does not run.
    NotRunning,
    /// It can't run where the engine is.
    RemoteEngine,
}

/// When the backups of an instance are made by themselves.
#[derive(Debug, Serialize)]
pub(crate) struct ScheduleStatus {
    /// Seconds between two; none where there is no schedule.
    every_seconds: Option<u64>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    off: Option<&'static str>,
    #[serde(flatten)]
    state: Option<SchedulerReport>,
}

impl ScheduleStatus {
    /// The schedule of a configuration, and how it went when it was last heard of.
    #[must_use]
    pub(crate) fn new(
        every: Option<Duration>,
        place: SchedulerState,
        state: Option<SchedulerReport>,
    ) -> Self {
        let off = match (every, place) {
            (None, _) => Some("backup.every is \"off\""),
            (_, SchedulerState::RemoteEngine) => Some("the engine is not on this machine"),
            (_, SchedulerState::NotRunning) => Some("the container `backup` is not running: dm up"),
            (_, SchedulerState::Running) => None,
        };
        Self {
            every_seconds: every.filter(|_| off.is_none()).map(|every| every.as_secs()),
            off,
            state: state.filter(|_| off.is_none()),
        }
    }

    /// In words.
    #[must_use]
    pub(crate) fn sentence(&self) -> String {
        if let Some(off) = self.off {
            return format!("no scheduled backups: {off}");
        }
        let every = Duration::from_secs(self.every_seconds.unwrap_or_default());
        let every = values::format_interval(every);
        let Some(state) = &self.state else {
            return format!("a backup is scheduled {every}");
        };
        let due = match (state.next_due - Utc::now()).to_std() {
            Ok(left) => {
                let left = text::format_duration(Duration::from_secs(left.as_secs()));
                format!("the next one is due in {left}")
            }
            Err(_) => "the next one is due".to_owned(),
        };
        let failed = state.last_attempt.as_ref();
        let failed = failed.and_then(|it| Some((it.at, it.error.as_ref()?)));
        match failed {
            Some((at, error)) => format!(
                "the scheduled backup of {} ago failed: {error}; {due}",
                format_age(at)
            ),
            None => format!("a backup is scheduled {every}; {due}"),
        }
    }
}

/// The backups of an instance.
#[derive(Debug, Serialize)]
pub(crate) struct BackupListDocument {
    folder: String,
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
    proved_at: Option<DateTime<Utc>>,
    /// What is wrong with it.
    broken: Option<String>,
}

impl BackupListDocument {
    /// The list of some.
    #[must_use]
    pub(crate) fn new(folder: &Path, sets: &[BackupEntry]) -> Self {
        let row = |listed: &BackupEntry| match listed {
            BackupEntry::Complete(set) => BackupRow {
                id: set.manifest.id.clone(),
                taken_at: Some(set.manifest.taken_at),
                purpose: Some(set.manifest.purpose),
                bytes: set.manifest.total_bytes(),
                rows: set.manifest.total_rows(),
                dead_letters: set.manifest.dead_letters.values().sum(),
                proved_at: set.verified_at,
                broken: None,
            },
            BackupEntry::Unreadable(name, error) => BackupRow {
                id: name.clone(),
                taken_at: None,
                purpose: None,
                bytes: 0,
                rows: 0,
                dead_letters: 0,
                proved_at: None,
                broken: Some(error.to_string()),
            },
        };
        Self {
            folder: folder.display().to_string(),
            backups: sets.iter().map(row).collect(),
        }
    }
}

/// The list for a person.
#[must_use]
pub(crate) fn render_list(list: &BackupListDocument, canvas: &Canvas) -> String {
    if list.backups.is_empty() {
        return format!(
            "no backups in {}; create one: dm backup create",
            list.folder
        );
    }
    let mut table = Table::new(vec![
        Column::new("backup").min_width(20),
        Column::new("age").right_aligned(),
        Column::new("size").right_aligned(),
        Column::new("rows").right_aligned(),
        Column::new("dead letters").right_aligned(),
        Column::new("made").min_width(6),
        Column::new("proved").min_width(8),
    ]);
    for row in &list.backups {
        if let Some(broken) = &row.broken {
            table.add_row(vec![
                Cell::new(&row.id).with_role(StyleRole::Error),
                Cell::default(),
                Cell::default(),
                Cell::default(),
                Cell::default(),
                Cell::default(),
                Cell::new(broken).with_role(StyleRole::Error),
            ]);
            continue;
        }
        let made = match row.purpose {
            Some(purpose @ Purpose::Safety) => {
                Cell::new(purpose.as_str()).with_role(StyleRole::Muted)
            }
            purpose => Cell::from_option(purpose.map(Purpose::as_str)),
        };
        let proved = match row.proved_at {
            Some(at) => Cell::new(format!("{} ago", format_age(at))).with_role(StyleRole::Success),
            None => Cell::new("not yet").with_role(StyleRole::Muted),
        };
        table.add_row(vec![
            Cell::new(&row.id),
            Cell::new(row.taken_at.map(format_age).unwrap_or_default()),
            Cell::new(format_size(row.bytes)),
            Cell::new(row.rows.to_string()),
            Cell::new(row.dead_letters.to_string()),
            made,
            proved,
        ]);
    }
    table.render(canvas)
}

/// How long ago that was.
pub(crate) fn format_age(at: DateTime<Utc>) -> String {
    let age = Utc::now() - at;
    match age.to_std() {
        Ok(age) => text::format_duration(Duration::from_secs(age.as_secs())),
        Err(_) => "in the future".to_owned(),
    }
}

/// Bytes as people read them.
pub(crate) fn format_size(bytes: u64) -> String {
    bytesize::ByteSize::b(bytes).display().si().to_string()
}

/// One for a person.
#[must_use]
pub(crate) fn render_backup(set: &Backup, canvas: &Canvas) -> String {
    let manifest = &set.manifest;
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
    let dead: u64 = manifest.dead_letters.values().sum();
    // Parts are saved side by side.
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
            "{} in {} files; {dead} dead letters, {} events to be published; made in {}",
            format_size(manifest.total_bytes()),
            manifest.files.len(),
            manifest.pending,
            text::format_duration(Duration::from_secs_f64(took))
        ),
        match manifest.recipients.len() {
            0 => "not encrypted".to_owned(),
            count => format!("encrypted for {}", text::pluralize(count, "recipient")),
        },
        match set.verified_at {
            Some(at) => format!("verified by a restore {} ago", format_age(at)),
            None => "not verified by a restore yet: dm backup verify --restore".to_owned(),
        },
        canvas.paint(StyleRole::Muted, &set.path.display().to_string()),
    ];
    format!("{}\n\n{}", lines.join("\n"), table.render(canvas))
}
