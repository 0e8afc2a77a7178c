//! Renders the backups to keep and to remove, with the reasons.

use chrono::{DateTime, Utc};
use dm_backup::{KeepReason, PruneReason, Purpose, RetentionDecision, RetentionVerdict};
use dm_terminal::canvas::{Canvas, StyleRole};
use dm_terminal::table::{Cell, Column, Table};
use dm_terminal::text;
use serde::Serialize;

use crate::views::backup::format_age;

/// The document of `dm backup prune`.
#[derive(Debug, Serialize)]
pub(crate) struct PruneDocument<'a> {
    /// Whether nothing is removed.
    dry_run: bool,
    kept: Vec<PruneRow<'a, KeepReason>>,
    pruned: Vec<PruneRow<'a, PruneReason>>,
    /// The backups that cannot be read. They are kept.
    unreadable: &'a [String],
}

#[derive(Debug, Serialize)]
struct PruneRow<'a, T> {
    id: &'a str,
    taken_at: DateTime<Utc>,
    purpose: Purpose,
    bytes: u64,
    #[serde(flatten)]
    reason: &'a T,
}

impl<'a> PruneDocument<'a> {
    /// The document for these verdicts.
    #[must_use]
    pub(crate) fn new(
        verdicts: &'a [RetentionVerdict],
        unreadable: &'a [String],
        dry_run: bool,
    ) -> Self {
        let mut document = Self {
            dry_run,
            kept: Vec::new(),
            pruned: Vec::new(),
            unreadable,
        };
        for verdict in verdicts {
            match &verdict.decision {
                RetentionDecision::Keep(reason) => {
                    document.kept.push(prune_row(verdict, reason));
                }
                RetentionDecision::Prune(reason) => {
                    document.pruned.push(prune_row(verdict, reason));
                }
            }
        }
        document
    }
}

fn prune_row<'a, T>(verdict: &'a RetentionVerdict, reason: &'a T) -> PruneRow<'a, T> {
    let manifest = &verdict.backup.manifest;
    PruneRow {
        id: &manifest.id,
        taken_at: manifest.taken_at,
        purpose: manifest.purpose,
        bytes: manifest.total_bytes(),
        reason,
    }
}

/// Renders the backups with the decision for each as a table.
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
        Column::new("purpose").min_width(9),
        Column::new("decision").min_width(8),
        Column::new("reason").min_width(20),
    ]);
    for verdict in verdicts {
        let manifest = &verdict.backup.manifest;
        let (decision, role, reason) = match &verdict.decision {
            RetentionDecision::Keep(reason) => ("keep", StyleRole::Success, explain_kept(reason)),
            RetentionDecision::Prune(reason) => {
                ("remove", StyleRole::Warning, explain_removed(reason))
            }
        };
        table.add_row(vec![
            Cell::new(&manifest.id),
            Cell::new(format_age(manifest.taken_at)),
            Cell::new(crate::views::backup::format_size(manifest.total_bytes())),
            Cell::new(manifest.purpose.as_str()),
            Cell::new(decision).with_role(role),
            Cell::new(reason),
        ]);
    }
    for name in unreadable {
        table.add_row(vec![
            Cell::new(name).with_role(StyleRole::Error),
            Cell::default(),
            Cell::default(),
            Cell::default(),
            Cell::new("keep").with_role(StyleRole::Success),
            Cell::new("could not read its manifest: dm backup ls"),
        ]);
    }
    table.render(canvas)
}

fn explain_kept(reason: &KeepReason) -> String {
    match reason {
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

fn explain_removed(reason: &PruneReason) -> String {
    match reason {
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
