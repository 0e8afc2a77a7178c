//! Which backups stay, which go, and why.

use chrono::{DateTime, Utc};
use dm_backup::{KeepReason, PruneReason, Purpose, RetentionDecision, RetentionVerdict};
use dm_terminal::canvas::{Canvas, StyleRole};
use dm_terminal::table::{Cell, Column, Table};
use dm_terminal::text;
use serde::Serialize;

use crate::views::backup::format_age;

/// What becomes of the backups of an instance.
#[derive(Debug, Serialize)]
pub(crate) struct PruneDocument<'a> {
    /// Whether nothing is removed.
    dry_run: bool,
    stay: Vec<PruneRow<'a, KeepReason>>,
    go: Vec<PruneRow<'a, PruneReason>>,
    /// Those that can't be read: they stay.
    unreadable: &'a [String],
}

#[derive(Debug, Serialize)]
struct PruneRow<'a, T> {
    id: &'a str,
    taken_at: DateTime<Utc>,
    purpose: Purpose,
    bytes: u64,
    #[serde(flatten)]
    why: &'a T,
}

impl<'a> PruneDocument<'a> {
    /// The document of a look at them.
    #[must_use]
    pub(crate) fn new(
        verdicts: &'a [RetentionVerdict],
        unreadable: &'a [String],
        dry_run: bool,
    ) -> Self {
        let mut document = Self {
            dry_run,
            stay: Vec::new(),
            go: Vec::new(),
            unreadable,
        };
        for verdict in verdicts {
            match &verdict.decision {
                RetentionDecision::Keep(why) => document.stay.push(prune_row(verdict, why)),
                RetentionDecision::Prune(why) => document.go.push(prune_row(verdict, why)),
            }
        }
        document
    }
}

fn prune_row<'a, T>(verdict: &'a RetentionVerdict, why: &'a T) -> PruneRow<'a, T> {
    let manifest = &verdict.backup.manifest;
    PruneRow {
        id: &manifest.id,
        taken_at: manifest.taken_at,
        purpose: manifest.purpose,
        bytes: manifest.total_bytes(),
        why,
    }
}

/// The backups with what becomes of each, for a person.
#[must_use]
pub(crate) fn render(
    verdicts: &[RetentionVerdict],
    unreadable: &[String],
    canvas: &Canvas,
) -> String {
    if verdicts.is_empty() && unreadable.is_empty() {
        return "no backups".to_owned();
    }
    let mut table = Table::new(vec![
        Column::new("backup").min_width(20),
        Column::new("age").right_aligned(),
        Column::new("size").right_aligned(),
        Column::new("made").min_width(9),
        Column::new("").min_width(5),
        Column::new("because").min_width(20),
    ]);
    for verdict in verdicts {
        let manifest = &verdict.backup.manifest;
        let (word, role, why) = match &verdict.decision {
            RetentionDecision::Keep(why) => ("stays", StyleRole::Success, explain_kept(why)),
            RetentionDecision::Prune(why) => ("goes", StyleRole::Warning, explain_removed(why)),
        };
        table.add_row(vec![
            Cell::new(&manifest.id),
            Cell::new(format_age(manifest.taken_at)),
            Cell::new(crate::views::backup::format_size(manifest.total_bytes())),
            Cell::new(manifest.purpose.as_str()),
            Cell::new(word).with_role(role),
            Cell::new(why),
        ]);
    }
    for name in unreadable {
        table.add_row(vec![
            Cell::new(name).with_role(StyleRole::Error),
            Cell::default(),
            Cell::default(),
            Cell::default(),
            Cell::new("stays").with_role(StyleRole::Success),
            Cell::new("could not read its manifest: dm backup ls"),
        ]);
    }
    table.render(canvas)
}

fn explain_kept(why: &KeepReason) -> String {
    match why {
        KeepReason::RestoredFrom => "the data was last restored from it".into(),
        KeepReason::Restoring => "a restore of it is unfinished or running".into(),
        KeepReason::Verified => "the newest backup that was verified by a restore".into(),
        KeepReason::Latest => "the latest intact manual or scheduled backup".into(),
        KeepReason::Manual => "manual backups are kept without --keep-manual".into(),
        KeepReason::NewestOfDay { day } => format!("the newest intact backup of {day}"),
        KeepReason::Safety => "one of the newest safety backups".into(),
        KeepReason::Damaged => "damaged, and therefore not counted: dm backup verify".into(),
        KeepReason::Future => "dated in the future, and therefore not counted".into(),
    }
}

fn explain_removed(why: &PruneReason) -> String {
    match why {
        PruneReason::SameDay { newer } => format!("{newer} is from the same day"),
        PruneReason::Old { days } => format!(
            "{} after its day have a backup",
            text::pluralize(*days, "day")
        ),
        PruneReason::Surplus { newer } => {
            let backups = if *newer == 1 {
                "backup exists"
            } else {
                "backups exist"
            };
            format!("{newer} newer safety {backups}")
        }
    }
}
