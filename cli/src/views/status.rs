//! Renders the status table of `dm up` and `dm status`.

use dm_core::error::Result;
use dm_stack::status::{ComponentState, StatusRow};
use dm_terminal::Printer;
use dm_terminal::canvas::{Canvas, Glyph, StyleRole};
use dm_terminal::table::{Cell, Column, Table};
use dm_terminal::text;
use serde::Serialize;

use super::backup::{LastBackup, ScheduleStatus};

/// The index of the address column.
const ADDRESS_COLUMN: usize = 2;

/// The document [`dm_core::document::STATUS`].
#[derive(Debug, Serialize)]
pub(crate) struct StatusDocument<'a> {
    /// The name of the instance.
    pub instance: &'a str,
    /// True if every component is ready or done.
    pub ok: bool,
    /// The components.
    pub components: &'a [StatusRow],
    /// The newest complete backup, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_backup: Option<LastBackup>,
    /// The schedule of backups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleStatus>,
}

impl<'a> StatusDocument<'a> {
    /// The document for an instance.
    #[must_use]
    pub(crate) fn new(instance: &'a str, components: &'a [StatusRow]) -> Self {
        Self {
            instance,
            ok: components
                .iter()
                .all(|row| state_style(&row.state).0 == StyleRole::Success),
            components,
            last_backup: None,
            schedule: None,
        }
    }
}

/// Prints the status of an instance.
///
/// # Errors
/// If the output is closed.
pub(crate) fn print(printer: &Printer, instance: &str, rows: &[StatusRow]) -> Result<()> {
    let document = StatusDocument::new(instance, rows);
    Ok(
        printer.print_result(&dm_core::document::STATUS, &document, |canvas| {
            render(rows, canvas)
        })?,
    )
}

/// Renders the components as a table, followed by their details.
#[must_use]
pub(crate) fn render(rows: &[StatusRow], canvas: &Canvas) -> String {
    let mut columns = vec![
        Column::new("component").min_width(14),
        Column::new("state").min_width(14),
        // Complete or not at all: a truncated address is useless.
        Column::new("address")
            .min_width(usize::MAX)
            .drop_priority(1),
        Column::new("image").min_width(16).drop_priority(3),
        Column::new("uptime").right_aligned().drop_priority(2),
    ];
    // The memory usage is known only on request.
    let has_memory = rows.iter().any(|row| row.memory.is_some());
    if has_memory {
        columns.push(Column::new("memory").right_aligned().drop_priority(4));
    }
    let mut table = Table::new(columns);
    // In a pipe, each component is on one line, for grep.
    let separator = if canvas.is_bounded { "\n" } else { ", " };
    for row in rows {
        let (role, glyph) = state_style(&row.state);
        let mut cells = vec![
            Cell::new(&row.component),
            Cell::new(format!(
                "{} {}",
                canvas.style.glyph(glyph),
                state_name(&row.state)
            ))
            .with_role(role),
            Cell::new(row.addresses.join(separator)),
            Cell::from_option(row.image.as_deref()).with_role(StyleRole::Muted),
            Cell::from_option(row.since.map(text::format_duration)),
        ];
        if has_memory {
            cells.push(Cell::from_option(row.memory.map(text::format_bytes)));
        }
        table.add_row(cells);
    }
    let mut lines = vec![table.render(canvas)];
    if !table.is_column_shown(ADDRESS_COLUMN, canvas) {
        lines.extend(render_addresses(rows, canvas));
    }
    let details: Vec<_> = rows
        .iter()
        .filter_map(|row| Some((row, row.detail.as_deref()?)))
        .collect();
    if !details.is_empty() {
        lines.push(String::new());
    }
    for (row, detail) in details {
        let name = canvas.paint(state_style(&row.state).0, &row.component);
        let detail = text::sanitize(detail, false);
        lines.push(canvas.wrap(&format!("{name}: {detail}"), "", "  "));
    }
    lines.join("\n")
}

/// Renders the addresses as a list, if the table has no room for them.
fn render_addresses(rows: &[StatusRow], canvas: &Canvas) -> Vec<String> {
    let mut lines = Vec::new();
    for row in rows.iter().filter(|row| !row.addresses.is_empty()) {
        lines.push(String::new());
        lines.push(canvas.paint(
            StyleRole::Muted,
            &text::truncate(&row.component, canvas.width, canvas.style),
        ));
        lines.extend(
            row.addresses
                .iter()
                .map(|address| canvas.wrap(&text::sanitize(address, false), "  ", "  ")),
        );
    }
    lines
}

fn state_style(state: &ComponentState) -> (StyleRole, Glyph) {
    match state {
        ComponentState::Ready | ComponentState::Done => (StyleRole::Success, Glyph::Check),
        ComponentState::Starting => (StyleRole::Active, Glyph::Waiting),
        ComponentState::Unhealthy | ComponentState::Paused => (StyleRole::Warning, Glyph::Warning),
        ComponentState::Exited { .. } => (StyleRole::Error, Glyph::Failed),
        ComponentState::Missing => (StyleRole::Muted, Glyph::Skipped),
    }
}

fn state_name(state: &ComponentState) -> String {
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
    use dm_terminal::testing::{
        assert_fits, coloured_canvas, escape_sgr, pipe_canvas, terminal_canvas,
    };

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
    fn render_fits_each_width() {
        insta::assert_snapshot!("status_40", render(&rows(), &terminal_canvas(40)));
        insta::assert_snapshot!("status_80", render(&rows(), &terminal_canvas(80)));
        insta::assert_snapshot!("status_200", render(&rows(), &terminal_canvas(200)));
        insta::assert_snapshot!("status_pipe", render(&rows(), &pipe_canvas()));
        insta::assert_snapshot!(
            "status_colour",
            escape_sgr(&render(&rows(), &coloured_canvas(80)))
        );
        for width in [40, 80, 200] {
            assert_fits(&render(&rows(), &coloured_canvas(width)), width);
        }
    }

    #[test]
    fn memory_column_is_left_out_if_unknown() {
        let mut rows = rows();
        for row in &mut rows {
            row.memory = None;
        }
        let table = render(&rows, &terminal_canvas(200));
        insta::assert_snapshot!("status_without_memory", table);
    }

    #[test]
    fn document_lists_components_and_is_ok_if_all_are_ready() {
        let rows = rows();
        let document = StatusDocument::new("default", &rows[2..4]);
        insta::assert_snapshot!(
            "status_json",
            dm_terminal::json::format_document(&dm_core::document::STATUS, &document).unwrap()
        );
        assert!(StatusDocument::new("default", &rows[..1]).ok);
    }
}
