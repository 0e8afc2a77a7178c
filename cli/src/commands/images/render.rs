//! Renders the table of images.

use dm_images::inventory::{ImageInfo, ImageStatus};
use dm_terminal::canvas::{Canvas, StyleRole};
use dm_terminal::table::{Cell, Column, Table};
use dm_terminal::text;
use serde::Serialize;

/// The number of digits that are shown of a digest.
const DIGEST_DIGITS: usize = 12;

/// The document of `dm images ls`.
#[derive(Debug, Serialize)]
pub(crate) struct ImagesDocument<'a> {
    /// The images.
    pub images: &'a [ImageInfo],
}

/// Renders the images as a table.
#[must_use]
pub(crate) fn render(rows: &[ImageInfo], canvas: &Canvas) -> String {
    let mut table = Table::new(vec![
        Column::new("component"),
        Column::new("image").min_width(20),
        Column::new("state"),
        Column::new("size").right_aligned(),
        Column::new("created").drop_priority(2),
        Column::new("digest").drop_priority(4),
        Column::new("origin").drop_priority(3),
        Column::new("in use by").drop_priority(1),
    ]);
    for row in rows {
        let (status, role) = match row.status {
            ImageStatus::Current if row.golden => ("golden", StyleRole::Success),
            ImageStatus::Current => ("current", StyleRole::Success),
            ImageStatus::Stale => ("stale", StyleRole::Warning),
            ImageStatus::Dangling => ("dangling", StyleRole::Warning),
        };
        let digest = row
            .digest
            .as_deref()
            .and_then(|digest| digest.get(..DIGEST_DIGITS));
        table.add_row(vec![
            Cell::new(&row.component),
            Cell::new(row.reference.as_deref().unwrap_or("-")),
            Cell::new(status).with_role(role),
            Cell::new(text::format_bytes(row.size)),
            Cell::new(row.created.format("%Y-%m-%d %H:%M").to_string()),
            Cell::from_option(digest),
            Cell::new(&row.origin),
            Cell::new(format_users(row)),
        ]);
    }
    table.render(canvas)
}

/// Returns the instances whose containers use an image. A foreign container is named itself.
fn format_users(row: &ImageInfo) -> String {
    let mut users: Vec<_> = row
        .in_use
        .iter()
        .map(|user| user.instance.as_deref().unwrap_or(&user.container))
        .collect();
    users.dedup();
    users.join(", ")
}

#[cfg(test)]
mod tests {
    use dm_images::inventory::ContainerUse;
    use dm_terminal::testing::terminal_canvas;

    use super::*;

    fn rows() -> Vec<ImageInfo> {
        let row = |component: &str, reference: Option<&str>, status, golden: bool| ImageInfo {
            component: component.into(),
            reference: reference.map(str::to_owned),
            id: "sha256:1".into(),
            size: 151_600_000,
            created: chrono::DateTime::from_timestamp(1_795_000_000, 0).unwrap(),
            digest: (!golden).then(|| "3a08f05dd385aa21041f".to_owned()),
            origin: "built".into(),
            status,
            golden,
            in_use: Vec::new(),
        };
        let mut rows = vec![
            row(
                "postgres",
                Some("dm/postgres:3a08f05dd385"),
                ImageStatus::Current,
                false,
            ),
            row(
                "postgres",
                Some("dm/postgres:golden-cd1fe802b1db"),
                ImageStatus::Current,
                true,
            ),
            row("postgres", None, ImageStatus::Dangling, false),
        ];
        rows[0].in_use = ["default", "default", "demo"]
            .map(|instance| ContainerUse {
                instance: Some(instance.into()),
                container: format!("dm-{instance}-postgres"),
            })
            .into();
        rows
    }

    #[test]
    fn wide_table_shows_all_columns() {
        insta::assert_snapshot!(render(&rows(), &terminal_canvas(130)));
    }

    #[test]
    fn narrow_table_drops_secondary_columns() {
        insta::assert_snapshot!(render(&rows(), &terminal_canvas(60)));
    }
}
