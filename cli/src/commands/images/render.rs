//! The table of images.

use dm_images::inventory::{ImageRow, Standing};
use dm_terminal::style::{Canvas, Role};
use dm_terminal::table::{Cell, Column, Table};
use dm_terminal::text;
use serde::Serialize;

/// How many digits of a digest are shown.
const DIGITS: usize = 12;

/// The list as a document.
#[derive(Debug, Serialize)]
pub(crate) struct Document<'a> {
    /// The images.
    pub images: &'a [ImageRow],
}

/// The images as a table.
#[must_use]
pub(crate) fn render(rows: &[ImageRow], canvas: &Canvas) -> String {
    let mut table = Table::new(vec![
        Column::new("component"),
        Column::new("image").least(20),
        Column::new("state"),
        Column::new("size").right(),
        Column::new("created").rank(2),
        Column::new("digest").rank(4),
        Column::new("origin").rank(3),
        Column::new("in use by").rank(1),
    ]);
    for row in rows {
        let (standing, role) = match row.standing {
            Standing::Current if row.golden => ("golden", Role::Good),
            Standing::Current => ("current", Role::Good),
            Standing::Stale => ("stale", Role::Warn),
            Standing::Dangling => ("dangling", Role::Warn),
        };
        let digest = row
            .digest
            .as_deref()
            .and_then(|digest| digest.get(..DIGITS));
        table.row(vec![
            Cell::new(&row.component),
            Cell::new(row.reference.as_deref().unwrap_or("-")),
            Cell::new(standing).role(role),
            Cell::new(text::bytes(row.size)),
            Cell::new(row.created.format("%Y-%m-%d %H:%M").to_string()),
            Cell::optional(digest),
            Cell::new(&row.origin),
            Cell::new(users(row)),
        ]);
    }
    table.render(canvas)
}

/// The instances whose containers use an image; a foreign container by its name.
fn users(row: &ImageRow) -> String {
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
    use dm_images::inventory::InUse;
    use dm_terminal::testing::terminal;

    use super::*;

    fn rows() -> Vec<ImageRow> {
        let row = |component: &str, reference: Option<&str>, standing, golden: bool| ImageRow {
            component: component.into(),
            reference: reference.map(str::to_owned),
            id: "sha256:1".into(),
            size: 151_600_000,
            created: chrono::DateTime::from_timestamp(1_795_000_000, 0).unwrap(),
            digest: (!golden).then(|| "3a08f05dd385aa21041f".to_owned()),
            origin: "built".into(),
            standing,
            golden,
            in_use: Vec::new(),
        };
        let mut rows = vec![
            row(
                "postgres",
                Some("dm/postgres:3a08f05dd385"),
                Standing::Current,
                false,
            ),
            row(
                "postgres",
                Some("dm/postgres:golden-cd1fe802b1db"),
                Standing::Current,
                true,
            ),
            row("postgres", None, Standing::Dangling, false),
        ];
        rows[0].in_use = ["default", "default", "demo"]
            .map(|instance| InUse {
                instance: Some(instance.into()),
                container: format!("dm-{instance}-postgres"),
            })
            .into();
        rows
    }

    #[test]
    fn a_wide_table_shows_who_uses_what() {
        insta::assert_snapshot!(render(&rows(), &terminal(130)));
    }

    #[test]
    fn a_narrow_table_keeps_what_matters() {
        insta::assert_snapshot!(render(&rows(), &terminal(60)));
    }
}
