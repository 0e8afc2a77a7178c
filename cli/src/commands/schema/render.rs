//! Schemas, and what is other about them.

use dm_schema::{
    ChangeKind, Compatibility, Difference, SchemaDocument, SchemaSource, WrittenFile, compare,
};
use dm_terminal::canvas::{Canvas, Glyph, StyleRole};
use dm_terminal::table::{Cell, Column, Table};
use serde::Serialize;

/// How many lines of a part are shown.
const MAX_LINES: usize = 12;

/// What a snapshot wrote.
#[derive(Debug, Serialize)]
pub(crate) struct SnapshotDocument {
    /// Its files.
    pub files: Vec<WrittenFile>,
}

/// The files for a person.
#[must_use]
pub(crate) fn render_snapshot(snapshot: &SnapshotDocument, canvas: &Canvas) -> String {
    let changed: Vec<&WrittenFile> = snapshot.files.iter().filter(|it| it.changed).collect();
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
    lines.push(canvas.paint(StyleRole::Muted, &sentence));
    lines.join("\n")
}

/// What is other about two sources.
#[derive(Debug, Serialize)]
pub(crate) struct DiffDocument {
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

impl DiffDocument {
    /// The differences between two sources.
    #[must_use]
    pub(crate) fn new(from: SchemaSource, to: SchemaSource, differences: Vec<Difference>) -> Self {
        Self {
            from: from.as_str(),
            to: to.as_str(),
            same: differences.is_empty(),
            breaking: differences
                .iter()
                .any(|it| it.class == Compatibility::Breaking),
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
    pub(crate) const fn is_breaking(&self) -> bool {
        self.breaking
    }
}

/// The differences for a person.
#[must_use]
pub(crate) fn render_diff(diff: &DiffDocument, canvas: &Canvas) -> String {
    let (from, to) = (diff.from, diff.to);
    if diff.same {
        let sign = canvas.paint_glyph(StyleRole::Success, Glyph::Check);
        return format!("{sign} no differences between {from} and {to}");
    }
    let mut blocks: Vec<String> = diff
        .differences
        .iter()
        .map(|it| render_difference(it, canvas))
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
        count(Compatibility::Additive),
        count(Compatibility::Breaking)
    ));
    blocks.join("\n\n")
}

fn render_difference(difference: &Difference, canvas: &Canvas) -> String {
    let word = match difference.change {
        ChangeKind::Added => "added",
        ChangeKind::Removed => "removed",
        ChangeKind::Changed => "changed",
    };
    let class = match difference.class {
        Compatibility::Additive => canvas.paint(StyleRole::Success, "additive"),
        Compatibility::Breaking => canvas.paint(StyleRole::Error, "breaking"),
    };
    let heading = format!(
        "{}: {} {} {word}",
        escape_control_characters(&difference.document),
        difference.kind.to_lowercase(),
        escape_control_characters(&difference.name)
    );
    let mut lines = vec![format!(
        "{} {class}",
        canvas.paint(StyleRole::Emphasis, &heading)
    )];
    for (sign, role, texts) in [
        ("-", StyleRole::Error, &difference.before),
        ("+", StyleRole::Success, &difference.after),
    ] {
        for text in texts.iter().take(MAX_LINES) {
            lines.push(canvas.paint(role, &format!("{sign} {}", escape_control_characters(text))));
        }
        if let Some(more) = texts.len().checked_sub(MAX_LINES).filter(|more| *more > 0) {
            lines.push(canvas.paint(StyleRole::Muted, &format!("{sign} {more} more lines")));
        }
    }
    lines.join("\n")
}

/// A text on one line, in which what a terminal would obey is written out.
fn escape_control_characters(text: &str) -> String {
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
pub(crate) struct SchemaListDocument {
    schemas: Vec<SchemaListEntry>,
}

#[derive(Debug, Serialize)]
struct SchemaListEntry {
    name: String,
    tables: usize,
    parts: usize,
    differences: usize,
    breaking: usize,
    snapshot: bool,
}

impl SchemaListDocument {
    /// The snapshots and the running stack's schemas, side by side.
    #[must_use]
    pub(crate) fn new(snapshots: &[SchemaDocument], live: &[SchemaDocument]) -> Self {
        let differences = compare(snapshots, live);
        let mut all: Vec<&SchemaDocument> = live.iter().collect();
        all.extend(
            snapshots
                .iter()
                .filter(|it| live.iter().all(|one| !one.is_same_document(it))),
        );
        let schemas = all.into_iter().map(|document| {
            let of_it = || differences.iter().filter(|it| it.document == document.name);
            SchemaListEntry {
                name: document.name.clone(),
                tables: document
                    .objects
                    .iter()
                    .filter(|it| it.kind == "TABLE")
                    .count(),
                parts: document.objects.len(),
                differences: of_it().count(),
                breaking: of_it()
                    .filter(|it| it.class == Compatibility::Breaking)
                    .count(),
                snapshot: snapshots.iter().any(|it| it.is_same_document(document)),
            }
        });
        Self {
            schemas: schemas.collect(),
        }
    }
}

/// The list for a person.
#[must_use]
pub(crate) fn render_list(list: &SchemaListDocument, canvas: &Canvas) -> String {
    let mut table = Table::new(vec![
        Column::new("schema").min_width(10),
        Column::new("tables").right_aligned(),
        Column::new("parts").right_aligned(),
        Column::new("snapshot").min_width(10),
    ]);
    for it in &list.schemas {
        let state = match (it.snapshot, it.differences, it.breaking) {
            (false, ..) => Cell::new("none").with_role(StyleRole::Warning),
            (true, 0, _) => Cell::new("the same").with_role(StyleRole::Success),
            (true, count, 0) => {
                Cell::new(format!("{count} additive")).with_role(StyleRole::Warning)
            }
            (true, count, breaking) => {
                Cell::new(format!("{count} differences, {breaking} breaking"))
                    .with_role(StyleRole::Error)
            }
        };
        let tables = match it.tables {
            0 => Cell::default(),
            tables => Cell::new(tables.to_string()),
        };
        table.add_row(vec![
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
pub(crate) struct SchemaCheckDocument {
    /// The snapshots beside the migrations, and beside the running stack.
    pub checks: Vec<DiffDocument>,
    /// Pictures that don't show what their snapshot says.
    pub stale_pictures: Vec<String>,
}

impl SchemaCheckDocument {
    /// Whether nothing is other.
    #[must_use]
    pub(crate) fn is_clean(&self) -> bool {
        self.stale_pictures.is_empty() && self.checks.iter().all(DiffDocument::is_same)
    }
}

/// The check for a person.
#[must_use]
pub(crate) fn render_check(check: &SchemaCheckDocument, canvas: &Canvas) -> String {
    let mut blocks: Vec<String> = check
        .checks
        .iter()
        .map(|it| render_diff(it, canvas))
        .collect();
    if check.stale_pictures.is_empty() {
        let sign = canvas.paint_glyph(StyleRole::Success, Glyph::Check);
        blocks.push(format!("{sign} every diagram is current"));
    } else {
        let sign = canvas.paint_glyph(StyleRole::Error, Glyph::Failed);
        blocks.push(format!("{sign} stale: {}", check.stale_pictures.join(", ")));
    }
    if !check.is_clean() {
        blocks.push("next: review the differences, then: dm schema snapshot".into());
    }
    let short = check.is_clean();
    blocks.join(if short { "\n" } else { "\n\n" })
}
