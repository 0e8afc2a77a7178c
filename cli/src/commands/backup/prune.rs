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

/// Renders the backups with the decision for each as a table. `complete_hint` completes a suggested
/// command.
#[must_use]
pub(crate) fn render(
    verdicts: &[RetentionVerdict],
    unreadable: &[String],
    complete_hint: impl Fn(&str) -> String,
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
        Column::new("reason").min_width(20).wrapped(),
    ]);
    for verdict in verdicts {
        let manifest = &verdict.backup.manifest;
        let (decision, role, reason) = match &verdict.decision {
            RetentionDecision::Keep(reason) => {
                let reason = explain_kept(reason, &complete_hint);
                ("keep", StyleRole::Success, reason)
            }
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
    let list = complete_hint("dm backup ls");
    for name in unreadable {
        table.add_row(vec![
            Cell::new(name).with_role(StyleRole::Error),
            Cell::default(),
            Cell::default(),
            Cell::default(),
            Cell::new("keep").with_role(StyleRole::Success),
            Cell::new(format!("could not read its manifest: {list}")),
        ]);
    }
    table.render(canvas)
}

fn explain_kept(reason: &KeepReason, complete_hint: impl Fn(&str) -> String) -> String {
    match reason {
        KeepReason::RestoredFrom => "the data was last restored from it".into(),
        KeepReason::Restoring => "a restore of it is unfinished or running".into(),
        KeepReason::Verified => "the newest backup that was verified by a restore".into(),
        KeepReason::Latest => "the latest intact manual or scheduled backup".into(),
        KeepReason::Manual => "manual backups are kept without --keep-manual".into(),
        KeepReason::NewestOfDay { day } => format!("the newest intact backup of {day}"),
        KeepReason::Safety => "one of the newest safety backups".into(),
        KeepReason::Damaged => {
            let verify = complete_hint("dm backup verify");
            format!("damaged, and therefore not counted: {verify}")
        }
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

#[cfg(test)]
mod tests {
    use dm_backup::Backup;
    use dm_backup::examples::manifest;
    use dm_terminal::testing::pipe_canvas;

    use super::*;

    #[test]
    fn reasons_suggest_completed_commands() {
        let damaged = RetentionVerdict {
            backup: Backup {
                path: "/mnt/b/p/review/20261126T100000000Z".into(),
                manifest: manifest("20261126T100000000Z", "2026-11-26T10:00:00Z"),
                verified_at: None,
                restore_started_at: None,
                restored_at: None,
            },
            decision: RetentionDecision::Keep(KeepReason::Damaged),
        };
        let complete_hint = |command: &str| command.replace("dm ", "dm --instance review ");
        let unreadable = ["notes".to_owned()];
        let table = render(&[damaged], &unreadable, complete_hint, &pipe_canvas());
        for reason in [
            "damaged, and therefore not counted: dm --instance review backup verify",
            "could not read its manifest: dm --instance review backup ls",
        ] {
            assert!(table.contains(reason), "{table}");
        }
    }
}
