//! Renders schemas and their differences.

use dm_schema::{
    ChangeKind, Compatibility, Difference, SchemaDocument, SchemaSource, WrittenFile, compare,
};
use dm_terminal::canvas::{Canvas, Glyph, StyleRole};
use dm_terminal::table::{Cell, Column, Table};
use dm_terminal::text;
use serde::Serialize;

/// The maximum number of lines that are shown of an object.
const MAX_LINES: usize = 12;

/// The files that a snapshot wrote.
#[derive(Debug, Serialize)]
pub(crate) struct SnapshotDocument {
    /// The files.
    pub files: Vec<WrittenFile>,
}

/// Renders the files as text.
#[must_use]
pub(crate) fn render_snapshot(snapshot: &SnapshotDocument, canvas: &Canvas) -> String {
    let changed: Vec<&WrittenFile> = snapshot.files.iter().filter(|file| file.changed).collect();
    let mut lines: Vec<String> = changed
        .iter()
        .map(|file| format!("wrote {}", file.file))
        .collect();
    let unchanged = snapshot.files.len() - changed.len();
    let sentence = match (changed.len(), unchanged) {
        (0, unchanged) => format!("{unchanged} files unchanged"),
        (_, 0) => format!("{} files", changed.len()),
        (changed, unchanged) => format!("{changed} files changed, {unchanged} unchanged"),
    };
    lines.push(canvas.paint(StyleRole::Muted, &sentence));
    lines.join("\n")
}

/// The differences between two sources.
#[derive(Debug, Serialize)]
pub(crate) struct DiffDocument {
    /// The source to compare from.
    from: &'static str,
    /// The source to compare to.
    to: &'static str,
    /// Whether there are no differences.
    equal: bool,
    /// Whether a difference is breaking.
    breaking: bool,
    /// The differences.
    differences: Vec<Difference>,
}

impl DiffDocument {
    /// The differences between two sources.
    #[must_use]
    pub(crate) fn new(from: SchemaSource, to: SchemaSource, differences: Vec<Difference>) -> Self {
        Self {
            from: from.as_str(),
            to: to.as_str(),
            equal: differences.is_empty(),
            breaking: differences
                .iter()
                .any(|difference| difference.compatibility == Compatibility::Breaking),
            differences,
        }
    }

    /// Returns whether there are no differences.
    #[must_use]
    pub(crate) const fn is_equal(&self) -> bool {
        self.equal
    }

    /// Returns whether a difference is breaking.
    #[must_use]
    pub(crate) const fn is_breaking(&self) -> bool {
        self.breaking
    }
}

/// Renders the differences as text.
#[must_use]
pub(crate) fn render_diff(diff: &DiffDocument, canvas: &Canvas) -> String {
    let (from, to) = (diff.from, diff.to);
    if diff.equal {
        let sign = canvas.paint_glyph(StyleRole::Success, Glyph::Check);
        return format!("{sign} no differences between {from} and {to}");
    }
    let mut blocks: Vec<String> = diff
        .differences
        .iter()
        .map(|difference| render_difference(difference, canvas))
        .collect();
    let count = |compatibility| {
        diff.differences
            .iter()
            .filter(|difference| difference.compatibility == compatibility)
            .count()
    };
    blocks.push(format!(
        "{} from {from} to {to}: {} additive, {} breaking",
        text::pluralize(diff.differences.len(), "difference"),
        count(Compatibility::Additive),
        count(Compatibility::Breaking)
    ));
    blocks.join("\n\n")
}

fn render_difference(difference: &Difference, canvas: &Canvas) -> String {
    let change = match difference.change {
        ChangeKind::Added => "added",
        ChangeKind::Removed => "removed",
        ChangeKind::Changed => "changed",
    };
    let compatibility = match difference.compatibility {
        Compatibility::Additive => canvas.paint(StyleRole::Success, "additive"),
        Compatibility::Breaking => canvas.paint(StyleRole::Error, "breaking"),
    };
    let heading = format!(
        "{}: {} {} {change}",
        escape_control_characters(&difference.document),
        difference.kind.to_lowercase(),
        escape_control_characters(&difference.name)
    );
    let mut lines = vec![format!(
        "{} {compatibility}",
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

/// Returns the text on one line, with control characters escaped.
fn escape_control_characters(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() && character != '\t' {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// The schemas with the state of their snapshots.
#[derive(Debug, Serialize)]
pub(crate) struct SchemaListDocument {
    schemas: Vec<SchemaListEntry>,
}

#[derive(Debug, Serialize)]
struct SchemaListEntry {
    name: String,
    tables: usize,
    objects: usize,
    differences: usize,
    breaking: usize,
    snapshot: bool,
}

impl SchemaListDocument {
    /// Compares the snapshots with the running stack.
    #[must_use]
    pub(crate) fn new(snapshots: &[SchemaDocument], live: &[SchemaDocument]) -> Self {
        let differences = compare(snapshots, live);
        let mut all: Vec<&SchemaDocument> = live.iter().collect();
        all.extend(
            snapshots
                .iter()
                .filter(|snapshot| live.iter().all(|other| !other.is_same_document(snapshot))),
        );
        let schemas = all.into_iter().map(|document| {
            let own_differences = || {
                differences
                    .iter()
                    .filter(|difference| difference.document == document.name)
            };
            SchemaListEntry {
                name: document.name.clone(),
                tables: document
                    .objects
                    .iter()
                    .filter(|object| object.kind == "TABLE")
                    .count(),
                objects: document.objects.len(),
                differences: own_differences().count(),
                breaking: own_differences()
                    .filter(|difference| difference.compatibility == Compatibility::Breaking)
                    .count(),
                snapshot: snapshots
                    .iter()
                    .any(|snapshot| snapshot.is_same_document(document)),
            }
        });
        Self {
            schemas: schemas.collect(),
        }
    }
}

/// Renders the list as a table.
#[must_use]
pub(crate) fn render_list(list: &SchemaListDocument, canvas: &Canvas) -> String {
    let mut table = Table::new(vec![
        Column::new("schema").min_width(10),
        Column::new("tables").right_aligned(),
        Column::new("objects").right_aligned(),
        Column::new("snapshot").min_width(10),
    ]);
    for entry in &list.schemas {
        let state = match (entry.snapshot, entry.differences, entry.breaking) {
            (false, ..) => Cell::new("none").with_role(StyleRole::Warning),
            (true, 0, _) => Cell::new("equal").with_role(StyleRole::Success),
            (true, count, 0) => {
                Cell::new(format!("{count} additive")).with_role(StyleRole::Warning)
            }
            (true, count, breaking) => {
                Cell::new(format!("{count} differences, {breaking} breaking"))
                    .with_role(StyleRole::Error)
            }
        };
        let tables = match entry.tables {
            0 => Cell::default(),
            tables => Cell::new(tables.to_string()),
        };
        table.add_row(vec![
            Cell::new(&entry.name),
            tables,
            Cell::new(entry.objects.to_string()),
            state,
        ]);
    }
    table.render(canvas)
}

/// The result of a check.
#[derive(Debug, Serialize)]
pub(crate) struct SchemaCheckDocument {
    /// The snapshots compared with the migrations and with the running stack.
    pub checks: Vec<DiffDocument>,
    /// Diagrams that do not match their snapshot.
    pub stale_diagrams: Vec<String>,
}

impl SchemaCheckDocument {
    /// Returns whether there are no differences and no stale diagrams.
    #[must_use]
    pub(crate) fn is_clean(&self) -> bool {
        self.stale_diagrams.is_empty() && self.checks.iter().all(DiffDocument::is_equal)
    }
}

/// Renders the check as text. `snapshot_command` is the command that writes the snapshots.
#[must_use]
pub(crate) fn render_check(
    check: &SchemaCheckDocument,
    snapshot_command: &str,
    canvas: &Canvas,
) -> String {
    let mut blocks: Vec<String> = check
        .checks
        .iter()
        .map(|diff| render_diff(diff, canvas))
        .collect();
    if check.stale_diagrams.is_empty() {
        let sign = canvas.paint_glyph(StyleRole::Success, Glyph::Check);
        blocks.push(format!("{sign} every diagram is current"));
    } else {
        let sign = canvas.paint_glyph(StyleRole::Error, Glyph::Failed);
        blocks.push(format!("{sign} stale: {}", check.stale_diagrams.join(", ")));
    }
    if !check.is_clean() {
        blocks.push(format!(
            "next: review the differences, then: {snapshot_command}"
        ));
    }
    blocks.join(if check.is_clean() { "\n" } else { "\n\n" })
}

#[cfg(test)]
mod tests {
    use dm_terminal::testing::pipe_canvas;

    use super::*;

    #[test]
    fn check_with_findings_ends_with_the_command_that_writes_snapshots() {
        let check = |stale: &[&str]| {
            let check = SchemaCheckDocument {
                checks: Vec::new(),
                stale_diagrams: stale.iter().map(|&name| name.to_owned()).collect(),
            };
            let command = "dm --instance review schema snapshot --dir /tmp/s";
            render_check(&check, command, &pipe_canvas())
        };
        let found = check(&["orders.md"]);
        assert!(
            found.ends_with("then: dm --instance review schema snapshot --dir /tmp/s"),
            "{found}"
        );
        assert!(!check(&[]).contains("next:"));
    }
}
