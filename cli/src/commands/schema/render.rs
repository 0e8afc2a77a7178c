//! Schemas, and what is other about them.

use dm_schema::{Change, Class, Difference, Document, Source, Written, compare};
use dm_terminal::style::{Canvas, Glyph, Role};
use dm_terminal::table::{Cell, Column, Table};
use serde::Serialize;

/// How many lines of a part are shown.
const LINES: usize = 12;

/// What a snapshot wrote.
#[derive(Debug, Serialize)]
pub(crate) struct Snapshot {
    /// Its files.
    pub files: Vec<Written>,
}

/// The files for a person.
#[must_use]
pub(crate) fn snapshot(snapshot: &Snapshot, canvas: &Canvas) -> String {
    let changed: Vec<&Written> = snapshot.files.iter().filter(|it| it.changed).collect();
    let mut lines: Vec<String> = changed
        .iter()
        .map(|it| format!("wrote {}", it.file))
        .collect();
    let same = snapshot.files.len() - changed.len();
    let sentence = match (changed.len(), same) {
        (0, same) => format!("{same} files unchanged"),
        (_, 0) => format!("{} files", changed.len()),
        (changed, same) => format!("{changed} files changed, {same} unchanged"),
    };
    lines.push(canvas.paint(Role::Muted, &sentence));
    lines.join("\n")
}

/// What is other about two sources.
#[derive(Debug, Serialize)]
pub(crate) struct Diff {
    /// From here …
    from: &'static str,
    /// … to here.
    to: &'static str,
    /// Whether nothing is other.
    same: bool,
    /// Whether something may break somebody.
    breaking: bool,
    /// What is other.
    differences: Vec<Difference>,
}

impl Diff {
    /// The differences between two sources.
    #[must_use]
    pub(crate) fn new(from: Source, to: Source, differences: Vec<Difference>) -> Self {
        Self {
            from: from.as_str(),
            to: to.as_str(),
            same: differences.is_empty(),
            breaking: differences.iter().any(|it| it.class == Class::Breaking),
            differences,
        }
    }

    /// Whether nothing is other.
    #[must_use]
    pub(crate) const fn is_same(&self) -> bool {
        self.same
    }

    /// Whether something may break somebody.
    #[must_use]
    pub(crate) const fn breaks(&self) -> bool {
        self.breaking
    }
}

/// The differences for a person.
#[must_use]
pub(crate) fn diff(diff: &Diff, canvas: &Canvas) -> String {
    let (from, to) = (diff.from, diff.to);
    if diff.same {
        let sign = canvas.sign(Role::Good, Glyph::Ready);
        return format!("{sign} no differences between {from} and {to}");
    }
    let mut blocks: Vec<String> = diff
        .differences
        .iter()
        .map(|it| difference(it, canvas))
        .collect();
    let count = |class| {
        diff.differences
            .iter()
            .filter(|it| it.class == class)
            .count()
    };
    blocks.push(format!(
        "{} from {from} to {to}: {} additive, {} breaking",
        match diff.differences.len() {
            1 => "1 difference".to_owned(),
            count => format!("{count} differences"),
        },
        count(Class::Additive),
        count(Class::Breaking)
    ));
    blocks.join("\n\n")
}

fn difference(difference: &Difference, canvas: &Canvas) -> String {
    let word = match difference.change {
        Change::Added => "added",
        Change::Removed => "removed",
        Change::Changed => "changed",
    };
    let class = match difference.class {
        Class::Additive => canvas.paint(Role::Good, "additive"),
        Class::Breaking => canvas.paint(Role::Bad, "breaking"),
    };
    let heading = format!(
        "{}: {} {} {word}",
        visible(&difference.document),
        difference.kind.to_lowercase(),
        visible(&difference.name)
    );
    let mut lines = vec![format!("{} {class}", canvas.paint(Role::Strong, &heading))];
    for (sign, role, texts) in [
        ("-", Role::Bad, &difference.before),
        ("+", Role::Good, &difference.after),
    ] {
        for text in texts.iter().take(LINES) {
            lines.push(canvas.paint(role, &format!("{sign} {}", visible(text))));
        }
        if let Some(more) = texts.len().checked_sub(LINES).filter(|more| *more > 0) {
            lines.push(canvas.paint(Role::Muted, &format!("{sign} {more} more lines")));
        }
    }
    lines.join("\n")
}

/// A text on one line, in which what a terminal would obey is written out.
fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() && letter != '\t' {
            visible.extend(letter.escape_default());
        } else {
            visible.push(letter);
        }
    }
    visible
}

/// What there is a snapshot of.
#[derive(Debug, Serialize)]
pub(crate) struct List {
    schemas: Vec<Listed>,
}

#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    tables: usize,
    parts: usize,
    differences: usize,
    breaking: usize,
    snapshot: bool,
}

impl List {
    /// The snapshots and the running stack's schemas, side by side.
    #[must_use]
    pub(crate) fn new(snapshots: &[Document], live: &[Document]) -> Self {
        let differences = compare(snapshots, live);
        let mut all: Vec<&Document> = live.iter().collect();
        all.extend(
            snapshots
                .iter()
                .filter(|it| live.iter().all(|one| !one.is_of(it))),
        );
        let schemas = all.into_iter().map(|document| {
            let of_it = || differences.iter().filter(|it| it.document == document.name);
            Listed {
                name: document.name.clone(),
                tables: document
                    .objects
                    .iter()
                    .filter(|it| it.kind == "TABLE")
                    .count(),
                parts: document.objects.len(),
                differences: of_it().count(),
                breaking: of_it().filter(|it| it.class == Class::Breaking).count(),
                snapshot: snapshots.iter().any(|it| it.is_of(document)),
            }
        });
        Self {
            schemas: schemas.collect(),
        }
    }
}

/// The list for a person.
#[must_use]
pub(crate) fn list(list: &List, canvas: &Canvas) -> String {
    let mut table = Table::new(vec![
        Column::new("schema").least(10),
        Column::new("tables").right(),
        Column::new("parts").right(),
        Column::new("snapshot").least(10),
    ]);
    for it in &list.schemas {
        let state = match (it.snapshot, it.differences, it.breaking) {
            (false, ..) => Cell::new("none").role(Role::Warn),
            (true, 0, _) => Cell::new("the same").role(Role::Good),
            (true, count, 0) => Cell::new(format!("{count} additive")).role(Role::Warn),
            (true, count, breaking) => {
                Cell::new(format!("{count} differences, {breaking} breaking")).role(Role::Bad)
            }
        };
        let tables = match it.tables {
            0 => Cell::default(),
            tables => Cell::new(tables.to_string()),
        };
        table.row(vec![
            Cell::new(&it.name),
            tables,
            Cell::new(it.parts.to_string()),
            state,
        ]);
    }
    table.render(canvas)
}

/// What a check found.
#[derive(Debug, Serialize)]
pub(crate) struct Check {
    /// The snapshots beside the migrations, and beside the running stack.
    pub checks: Vec<Diff>,
    /// Pictures that don't show what their snapshot says.
    pub stale_pictures: Vec<String>,
}

impl Check {
    /// Whether nothing is other.
    #[must_use]
    pub(crate) fn is_clean(&self) -> bool {
        self.stale_pictures.is_empty() && self.checks.iter().all(Diff::is_same)
    }
}

/// The check for a person.
#[must_use]
pub(crate) fn check(check: &Check, canvas: &Canvas) -> String {
    let mut blocks: Vec<String> = check.checks.iter().map(|it| diff(it, canvas)).collect();
    if check.stale_pictures.is_empty() {
        let sign = canvas.sign(Role::Good, Glyph::Ready);
        blocks.push(format!("{sign} every diagram is current"));
    } else {
        let sign = canvas.sign(Role::Bad, Glyph::Failed);
        blocks.push(format!("{sign} stale: {}", check.stale_pictures.join(", ")));
    }
    if !check.is_clean() {
        blocks.push("next: review the differences, then: dm schema snapshot".into());
    }
    let short = check.is_clean();
    blocks.join(if short { "\n" } else { "\n\n" })
}
