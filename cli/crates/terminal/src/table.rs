//! Tables without borders that fit the width.

use comfy_table::{Cell as ComfyCell, CellAlignment, ContentArrangement, presets};

use super::canvas::{Canvas, StyleRole};
use super::text;

/// The width of the gap between two columns.
const COLUMN_GAP: usize = 2;

/// A column of a table.
#[derive(Debug, Clone)]
pub struct Column {
    title: &'static str,
    is_right_aligned: bool,
    drop_priority: u8,
    min_width: usize,
    is_wrapped: bool,
}

impl Column {
    /// Creates a column that is always shown.
    #[must_use]
    pub const fn new(title: &'static str) -> Self {
        Self {
            title,
            is_right_aligned: false,
            drop_priority: 0,
            min_width: 8,
            is_wrapped: false,
        }
    }

    /// Aligns the column on the right, for numbers.
    #[must_use]
    pub const fn right_aligned(mut self) -> Self {
        self.is_right_aligned = true;
        self
    }

    /// Allows dropping the column if the width is too small, the highest priority first.
    #[must_use]
    pub const fn drop_priority(mut self, priority: u8) -> Self {
        self.drop_priority = priority;
        self
    }

    /// Wraps the column into several lines instead of truncating it, for sentences.
    #[must_use]
    pub const fn wrapped(mut self) -> Self {
        self.is_wrapped = true;
        self
    }

    /// Sets the width to which the text may be truncated (default: 8). Columns with a
    /// drop priority are dropped first.
    #[must_use]
    pub const fn min_width(mut self, columns: usize) -> Self {
        self.min_width = columns;
        self
    }
}

/// A cell of a table. It may have several lines.
#[derive(Debug, Clone, Default)]
pub struct Cell {
    lines: Vec<String>,
    role: Option<StyleRole>,
}

impl Cell {
    /// Creates a cell from a text, which is sanitized.
    #[must_use]
    pub fn new(text: impl AsRef<str>) -> Self {
        Self {
            lines: text
                .as_ref()
                .lines()
                .map(|line| text::sanitize(line, false))
                .collect(),
            role: None,
        }
    }

    /// Creates a cell from an optional text; without one it is empty.
    #[must_use]
    pub fn from_option(text: Option<impl AsRef<str>>) -> Self {
        text.map(Self::new).unwrap_or_default()
    }

    /// Sets the style of the cell.
    #[must_use]
    pub const fn with_role(mut self, role: StyleRole) -> Self {
        self.role = Some(role);
        self
    }

    fn width(&self) -> usize {
        self.lines
            .iter()
            .map(|line| text::display_width(line))
            .max()
            .unwrap_or(0)
    }
}

/// A table with a header.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// Creates an empty table with these columns.
    #[must_use]
    pub const fn new(columns: Vec<Column>) -> Self {
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    /// Adds a row. Missing cells are empty, surplus ones are ignored.
    pub fn add_row(&mut self, cells: Vec<Cell>) -> &mut Self {
        self.rows.push(cells);
        self
    }

    /// Renders the table as text, without a line feed at the end. Columns that are
    /// empty in every row are omitted.
    #[must_use]
    pub fn render(&self, canvas: &Canvas) -> String {
        let widths = self.column_widths(canvas);
        let shown: Vec<(usize, usize)> = widths
            .iter()
            .enumerate()
            .filter_map(|(index, width)| width.map(|width| (index, width)))
            .collect();

        let mut table = comfy_table::Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(shown.iter().map(|(index, width)| {
            let title = text::truncate(self.columns[*index].title, *width, canvas.style);
            ComfyCell::new(canvas.paint(StyleRole::Muted, &title))
        }));
        for row in &self.rows {
            table.add_row(shown.iter().map(|(index, width)| {
                let Some(cell) = row.get(*index) else {
                    return ComfyCell::new("");
                };
                let lines = self.cell_lines(*index, cell, *width, canvas);
                ComfyCell::new(lines.join("\n"))
            }));
        }
        for (column, (index, _)) in table.column_iter_mut().zip(&shown) {
            let gap = u16::try_from(COLUMN_GAP).unwrap_or_default();
            column.set_padding((0, gap));
            if self.columns[*index].is_right_aligned {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.trim_fmt()
    }

    /// Returns whether a column is shown: it is neither empty nor dropped.
    #[must_use]
    pub fn is_column_shown(&self, index: usize, canvas: &Canvas) -> bool {
        self.column_widths(canvas)
            .get(index)
            .is_some_and(Option::is_some)
    }

    /// Returns the width of each column; `None` if it is not shown.
    fn column_widths(&self, canvas: &Canvas) -> Vec<Option<usize>> {
        let mut widths: Vec<Option<usize>> = (0..self.columns.len())
            .map(|index| self.natural_width(index))
            .collect();
        if let Some(limit) = canvas.max_columns() {
            self.shrink_to_fit(&mut widths, limit);
        }
        widths
    }

    /// Returns the lines of a cell, each at most `width` wide.
    fn cell_lines(&self, index: usize, cell: &Cell, width: usize, canvas: &Canvas) -> Vec<String> {
        let is_wrapped = self.columns[index].is_wrapped;
        cell.lines
            .iter()
            .flat_map(|line| {
                if is_wrapped {
                    text::wrap_lines(line, width)
                } else {
                    vec![text::truncate(line, width, canvas.style)]
                }
            })
            .map(|line| match cell.role {
                Some(role) => canvas.paint(role, &line),
                None => line,
            })
            .collect()
    }

    /// Returns the width that a column needs, or `None` if all its cells are empty.
    fn natural_width(&self, index: usize) -> Option<usize> {
        let widest = self
            .rows
            .iter()
            .filter_map(|row| row.get(index))
            .map(Cell::width)
            .max()
            .unwrap_or(0);
        (widest > 0 || self.rows.is_empty())
            .then(|| widest.max(text::display_width(self.columns[index].title)))
    }

    /// Narrows wide columns and drops those with a priority until all fit.
    fn shrink_to_fit(&self, widths: &mut [Option<usize>], limit: usize) {
        loop {
            let shown = widths.iter().flatten().count();
            let total: usize =
                widths.iter().flatten().sum::<usize>() + COLUMN_GAP * shown.saturating_sub(1);
            let Some(excess) = total.checked_sub(limit).filter(|excess| *excess > 0) else {
                return;
            };
            let slack =
                |index: usize, width: usize| width.saturating_sub(self.columns[index].min_width);
            let spare: usize = widths
                .iter()
                .enumerate()
                .filter_map(|(index, width)| width.map(|width| slack(index, width)))
                .sum();
            let dropped = (0..widths.len())
                .filter(|index| widths[*index].is_some() && self.columns[*index].drop_priority > 0)
                .max_by_key(|index| self.columns[*index].drop_priority);
            match dropped {
                // Dropping one column is better than truncating all of them to the minimum.
                Some(index) if spare < excess => widths[index] = None,
                _ => {
                    // The widest column above its minimum shrinks by one.
                    let widest = (0..widths.len())
                        .filter_map(|index| widths[index].map(|width| (index, width)))
                        .filter(|(index, width)| {
                            *width > 1 && (spare == 0 || slack(*index, *width) > 0)
                        })
                        .max_by_key(|(_, width)| *width);
                    let Some((index, width)) = widest else {
                        return;
                    };
                    widths[index] = Some(width - 1);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{assert_fits, coloured_canvas, escape_sgr, pipe_canvas, terminal_canvas};

    fn images() -> Table {
        let mut table = Table::new(vec![
            Column::new("image").min_width(16),
            Column::new("source").drop_priority(2),
            Column::new("size").right_aligned(),
            Column::new("digest").drop_priority(3),
        ]);
        table
            .add_row(vec![
                Cell::new("dm/postgres:17-4f2a91c0"),
                Cell::new("built"),
                Cell::new("403.0 MB"),
                Cell::new("sha256:4f2a91c0d1e2"),
            ])
            .add_row(vec![
                Cell::new("dm/紙の会社:1"),
                Cell::new("pulled").with_role(StyleRole::Success),
                Cell::new("9 B"),
            ]);
        table
    }

    #[test]
    fn table_renders_at_each_width() {
        insta::assert_snapshot!("table_80", images().render(&terminal_canvas(80)));
        insta::assert_snapshot!("table_200", images().render(&terminal_canvas(200)));
        insta::assert_snapshot!("table_40", images().render(&terminal_canvas(40)));
        insta::assert_snapshot!("table_pipe", images().render(&pipe_canvas()));
        insta::assert_snapshot!(
            "table_colour",
            escape_sgr(&images().render(&coloured_canvas(80)))
        );
    }

    #[test]
    fn empty_table_shows_its_titles() {
        let table = Table::new(vec![
            Column::new("queue"),
            Column::new("messages").right_aligned(),
        ]);
        assert_eq!(table.render(&pipe_canvas()), "queue  messages");
    }

    proptest! {
        #[test]
        fn every_table_fits_the_width(
            rows in prop::collection::vec(prop::collection::vec("(\\PC|\u{fe0f}){0,50}", 4), 0..6),
            width in 20_usize..120,
        ) {
            let mut table = Table::new(vec![
                Column::new("one"),
                Column::new("two").drop_priority(1),
                Column::new("three").right_aligned().drop_priority(2),
                Column::new("four").min_width(20),
            ]);
            for row in rows {
                table.add_row(row.into_iter().map(Cell::new).collect());
            }
            assert_fits(&table.render(&coloured_canvas(width)), width);
        }
    }
}
