//! The table that `dm up` ends with and that `dm status` shows.

use dm_core::error::Result;
use dm_stack::status::{ComponentState, StatusRow};
use dm_terminal::Printer;
use dm_terminal::style::{Canvas, Glyph, Role};
use dm_terminal::table::{Cell, Column, Table};
use dm_terminal::text;
use serde::Serialize;

use super::backup::{Last, Schedule};

/// The column of the addresses.
const ADDRESS: usize = 2;

/// The status as a document, to be written under [`dm_core::document::STATUS`].
#[derive(Debug, Serialize)]
pub(crate) struct Document<'a> {
    /// The instance.
    pub instance: &'a str,
    /// True where every component is as it should be.
    pub ok: bool,
    /// Its components.
    pub components: &'a [StatusRow],
    /// The newest backup that is whole, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_backup: Option<Last>,
    /// When backups are made by themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
}

impl<'a> Document<'a> {
    /// The document of an instance.
    #[must_use]
    pub(crate) fn new(instance: &'a str, components: &'a [StatusRow]) -> Self {
        Self {
            instance,
            ok: components
                .iter()
                .all(|row| look(&row.state).0 == Role::Good),
            components,
            last_backup: None,
            schedule: None,
        }
    }
}

/// Shows these rows of an instance.
///
/// # Errors
/// A closed output.
pub(crate) fn show(printer: &Printer, instance: &str, rows: &[StatusRow]) -> Result<()> {
    let document = Document::new(instance, rows);
    Ok(printer.result(&dm_core::document::STATUS, &document, |canvas| render(rows, canvas))?)
}

/// The components as a table, and below it what needs a sentence.
#[must_use]
pub(crate) fn render(rows: &[StatusRow], canvas: &Canvas) -> String {
    let mut columns = vec![
        Column::new("component").least(14),
        Column::new("state").least(14),
        // Whole or not at all: half an address is of no use.
        Column::new("address").least(usize::MAX).rank(1),
        Column::new("image").least(16).rank(3),
        Column::new("uptime").right().rank(2),
    ];
    // It is known only where it was asked for.
    let memory = rows.iter().any(|row| row.memory.is_some());
    if memory {
        columns.push(Column::new("memory").right().rank(4));
    }
    let mut table = Table::new(columns);
    // In a pipe a component stays on one line, for grep.
    let separator = if canvas.bounded { "\n" } else { ", " };
    for row in rows {
        let (role, glyph) = look(&row.state);
        let mut cells = vec![
            Cell::new(&row.component),
            Cell::new(format!(
                "{} {}",
                canvas.style.glyph(glyph),
                word(&row.state)
            ))
            .role(role),
            Cell::new(row.addresses.join(separator)),
            Cell::optional(row.image.as_deref()).role(Role::Muted),
            Cell::optional(row.since.map(text::duration)),
        ];
        if memory {
            cells.push(Cell::optional(row.memory.map(text::bytes)));
        }
        table.row(cells);
    }
    let mut lines = vec![table.render(canvas)];
    if !table.shows(ADDRESS, canvas) {
        lines.extend(addresses(rows, canvas));
    }
    let details: Vec<_> = rows
        .iter()
        .filter_map(|row| Some((row, row.detail.as_deref()?)))
        .collect();
    if !details.is_empty() {
        lines.push(String::new());
    }
    for (row, detail) in details {
        let name = canvas.paint(look(&row.state).0, &row.component);
        let detail = text::harmless(detail, false);
        lines.push(canvas.wrap(&format!("{name}: {detail}"), "", "  "));
    }
    lines.join("\n")
}

/// The addresses below one another, where the table had no room for them.
fn addresses(rows: &[StatusRow], canvas: &Canvas) -> Vec<String> {
    let mut lines = Vec::new();
    for row in rows.iter().filter(|row| !row.addresses.is_empty()) {
        lines.push(String::new());
        lines.push(canvas.paint(
            Role::Muted,
            &text::truncate(&row.component, canvas.width, canvas.style),
        ));
        lines.extend(
            row.addresses
                .iter()
                .map(|address| canvas.wrap(&text::harmless(address, false), "  ", "  ")),
        );
    }
    lines
}

fn look(state: &ComponentState) -> (Role, Glyph) {
    match state {
        ComponentState::Ready | ComponentState::Done => (Role::Good, Glyph::Ready),
        ComponentState::Starting => (Role::Active, Glyph::Waiting),
        ComponentState::Unhealthy | ComponentState::Paused => (Role::Warn, Glyph::Warning),
        ComponentState::Exited { .. } => (Role::Bad, Glyph::Failed),
        ComponentState::Missing => (Role::Muted, Glyph::Skipped),
    }
}

fn word(state: &ComponentState) -> String {
    match state {
        ComponentState::Ready => "ready".into(),
        ComponentState::Done => "done".into(),
        ComponentState::Starting => "starting".into(),
        ComponentState::Unhealthy => "unhealthy".into(),
        ComponentState::Paused => "paused".into(),
        ComponentState::Exited { exit_code } => format!("exited ({exit_code})"),
        ComponentState::Missing => "missing".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dm_stack::event::NodeKind;
    use dm_terminal::testing::{assert_fits, coloured, pipe, terminal, visible};

    use super::*;

    fn rows() -> Vec<StatusRow> {
        let row =
            |component: &str, state, address: &[&str], since, image: &str, memory| StatusRow {
                component: component.into(),
                kind: NodeKind::Service,
                state,
                addresses: address.iter().map(ToString::to_string).collect(),
                since: Some(Duration::from_secs(since)),
                image: Some(image.into()),
                memory,
                detail: None,
            };
        let mut rows = vec![
            row(
                "postgres",
                ComponentState::Ready,
                &["postgres://127.0.0.1:5432/dunder"],
                4_000,
                "postgres 17.6",
                Some(84_000_000),
            ),
            row(
                "rabbitmq",
                ComponentState::Starting,
                &["amqp://127.0.0.1:5672", "http://127.0.0.1:15672"],
                3,
                "rabbitmq 4.0.5",
                Some(141_300_000),
            ),
            row(
                "keycloak",
                ComponentState::Unhealthy,
                &["http://127.0.0.1:8080"],
                64,
                "keycloak 26.7.3",
                Some(512_000_000),
            ),
            row(
                "openldap",
                ComponentState::Exited { exit_code: 137 },
                &[],
                9,
                "openldap 2.6.10",
                None,
            ),
            row("migrations", ComponentState::Done, &[], 4_000, "", None),
        ];
        rows[2].detail = Some("last probe: GET /realms/dunder-mifflin answered 503".into());
        rows.push(StatusRow {
            component: "gateway".into(),
            kind: NodeKind::Service,
            state: ComponentState::Missing,
            addresses: vec![],
            since: None,
            image: None,
            memory: None,
            detail: None,
        });
        rows
    }

    #[test]
    fn the_status_at_each_width() {
        insta::assert_snapshot!("status_40", render(&rows(), &terminal(40)));
        insta::assert_snapshot!("status_80", render(&rows(), &terminal(80)));
        insta::assert_snapshot!("status_200", render(&rows(), &terminal(200)));
        insta::assert_snapshot!("status_pipe", render(&rows(), &pipe()));
        insta::assert_snapshot!("status_colour", visible(&render(&rows(), &coloured(80))));
        for width in [40, 80, 200] {
            assert_fits(&render(&rows(), &coloured(width)), width);
        }
    }

    #[test]
    fn memory_is_a_column_only_where_it_is_known() {
        let mut rows = rows();
        for row in &mut rows {
            row.memory = None;
        }
        let table = render(&rows, &terminal(200));
        insta::assert_snapshot!("status_without_memory", table);
    }

    #[test]
    fn the_document() {
        let rows = rows();
        let document = Document::new("default", &rows[2..4]);
        insta::assert_snapshot!(
            "status_json",
            dm_terminal::json::document(&dm_core::document::STATUS, &document).unwrap()
        );
        assert!(Document::new("default", &rows[..1]).ok);
    }
}
