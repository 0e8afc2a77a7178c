//! Which backups stay, which go, and why.

use chrono::{DateTime, Utc};
use dm_backup::{Fate, Goes, Purpose, Stays, Verdict};
use dm_terminal::style::{Canvas, Role};
use dm_terminal::table::{Cell, Column, Table};
use dm_terminal::text;
use serde::Serialize;

use crate::views::backup::age;

/// What becomes of the backups of an instance.
#[derive(Debug, Serialize)]
pub(crate) struct Document<'a> {
    /// Whether nothing is removed.
    dry_run: bool,
    stay: Vec<Row<'a, Stays>>,
    go: Vec<Row<'a, Goes>>,
    /// Those that can't be read: they stay.
    unreadable: &'a [String],
}

#[derive(Debug, Serialize)]
struct Row<'a, T> {
    id: &'a str,
    taken_at: DateTime<Utc>,
    purpose: Purpose,
    bytes: u64,
    #[serde(flatten)]
    why: &'a T,
}

impl<'a> Document<'a> {
    /// The document of a look at them.
    #[must_use]
    pub(crate) fn new(verdicts: &'a [Verdict], unreadable: &'a [String], dry_run: bool) -> Self {
        let mut document = Self {
            dry_run,
            stay: Vec::new(),
            go: Vec::new(),
            unreadable,
        };
        for verdict in verdicts {
            match &verdict.fate {
                Fate::Stays(why) => document.stay.push(row(verdict, why)),
                Fate::Goes(why) => document.go.push(row(verdict, why)),
            }
        }
        document
    }
}

fn row<'a, T>(verdict: &'a Verdict, why: &'a T) -> Row<'a, T> {
    let manifest = &verdict.set.manifest;
    Row {
        id: &manifest.id,
        taken_at: manifest.taken_at,
        purpose: manifest.purpose,
        bytes: manifest.bytes(),
        why,
    }
}

/// The backups with what becomes of each, for a person.
#[must_use]
pub(crate) fn render(verdicts: &[Verdict], unreadable: &[String], canvas: &Canvas) -> String {
    if verdicts.is_empty() && unreadable.is_empty() {
        return "no backups".to_owned();
    }
    let mut table = Table::new(vec![
        Column::new("backup").least(20),
        Column::new("age").right(),
        Column::new("size").right(),
        Column::new("made").least(9),
        Column::new("").least(5),
        Column::new("because").least(20),
    ]);
    for verdict in verdicts {
        let manifest = &verdict.set.manifest;
        let (word, role, why) = match &verdict.fate {
            Fate::Stays(why) => ("stays", Role::Good, stays(why)),
            Fate::Goes(why) => ("goes", Role::Warn, goes(why)),
        };
        table.row(vec![
            Cell::new(&manifest.id),
            Cell::new(age(manifest.taken_at)),
            Cell::new(crate::views::backup::size(manifest.bytes())),
            Cell::new(manifest.purpose.as_str()),
            Cell::new(word).role(role),
            Cell::new(why),
        ]);
    }
    for name in unreadable {
        table.row(vec![
            Cell::new(name).role(Role::Bad),
            Cell::default(),
            Cell::default(),
            Cell::default(),
            Cell::new("stays").role(Role::Good),
            Cell::new("could not read its manifest: dm backup ls"),
        ]);
    }
    table.render(canvas)
}

fn stays(why: &Stays) -> String {
    match why {
        Stays::RestoredFrom => "the data was last restored from it".into(),
        Stays::Restoring => "a restore of it is unfinished or running".into(),
        Stays::Verified => "the newest backup that was verified by a restore".into(),
        Stays::Latest => "the latest intact manual or scheduled backup".into(),
        Stays::Manual => "manual backups are kept without --keep-manual".into(),
        Stays::NewestOfDay { day } => format!("the newest intact backup of {day}"),
        Stays::Safety => "one of the newest safety backups".into(),
        Stays::Damaged => "damaged, and therefore not counted: dm backup verify".into(),
        Stays::Future => "dated in the future, and therefore not counted".into(),
    }
}

fn goes(why: &Goes) -> String {
    match why {
        Goes::SameDay { newer } => format!("{newer} is from the same day"),
        Goes::Old { days } => format!("{} after its day have a backup", text::count(*days, "day")),
        Goes::Surplus { newer } => {
            let backups = if *newer == 1 {
                "backup exists"
            } else {
                "backups exist"
            };
            format!("{newer} newer safety {backups}")
        }
    }
}
