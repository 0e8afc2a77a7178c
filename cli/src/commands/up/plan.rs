//! The plan that `dm up --dry-run` prints.

use dm_terminal::canvas::{Canvas, StyleRole};
use dm_terminal::table::{Cell, Column, Table};
use serde::Serialize;

/// What would be done to one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PlanRow {
    /// The node.
    pub node: String,
    /// What would be done: `keep`, `start`, `recreate`, `create`, `build`,
    /// `pull` or `remove`.
    pub action: String,
    /// Why, where that needs saying.
    pub reason: Option<String>,
}

/// The plan as a document, to be written under [`dm_core::document::PLAN`].
#[derive(Debug, Serialize)]
pub(crate) struct PlanDocument<'a> {
    /// True where nothing would be done.
    pub unchanged: bool,
    /// What would be done to each node.
    pub plan: &'a [PlanRow],
}

impl<'a> PlanDocument<'a> {
    /// The document of a plan.
    #[must_use]
    pub(crate) fn new(plan: &'a [PlanRow]) -> Self {
        Self {
            unchanged: plan.iter().all(|row| row.action == "keep"),
            plan,
        }
    }
}

/// The plan as a table, with a line that sums it up.
#[must_use]
pub(crate) fn render(plan: &[PlanRow], canvas: &Canvas) -> String {
    let mut table = Table::new(vec![
        Column::new("action").min_width(8),
        Column::new("node").min_width(14),
        Column::new("reason").min_width(12).wrapped(),
    ]);
    for row in plan {
        let cell = Cell::new(&row.action);
        table.add_row(vec![
            match action_role(&row.action) {
                Some(role) => cell.with_role(role),
                None => cell,
            },
            Cell::new(&row.node),
            Cell::from_option(row.reason.as_deref()).with_role(StyleRole::Muted),
        ]);
    }
    let summary = canvas.wrap(&render_summary(plan), "", "");
    if plan.is_empty() {
        summary
    } else {
        format!("{}\n\n{summary}", table.render(canvas))
    }
}

fn action_role(action: &str) -> Option<StyleRole> {
    match action {
        "keep" => Some(StyleRole::Muted),
        "remove" => Some(StyleRole::Error),
        "recreate" => Some(StyleRole::Warning),
        "start" | "create" | "build" | "pull" => Some(StyleRole::Success),
        _ => None,
    }
}

/// How often each action occurs, in the order of their first occurrence.
fn render_summary(plan: &[PlanRow]) -> String {
    if plan.iter().all(|row| row.action == "keep") {
        return "nothing to do".into();
    }
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for row in plan {
        match counts.iter_mut().find(|(action, _)| *action == row.action) {
            Some((_, count)) => *count += 1,
            None => counts.push((&row.action, 1)),
        }
    }
    let counts: Vec<String> = counts
        .iter()
        .map(|(action, count)| format!("{count} to {action}"))
        .collect();
    format!("{}; nothing was changed", counts.join(", "))
}

#[cfg(test)]
mod tests {
    use dm_terminal::testing::{assert_fits, coloured_canvas, pipe_canvas, terminal_canvas};

    use super::*;

    fn plan() -> Vec<PlanRow> {
        let row = |node: &str, action: &str, reason: Option<&str>| PlanRow {
            node: node.into(),
            action: action.into(),
            reason: reason.map(Into::into),
        };
        vec![
            row("image/keycloak", "build", Some("the recipe changed")),
            row("postgres", "keep", None),
            row(
                "keycloak",
                "recreate",
                Some("environment changed: KC_CACHE, KC_HOSTNAME"),
            ),
            row("rabbitmq", "start", Some("exited (137) 3m ago")),
            row("openldap", "keep", None),
            row("mailhog", "remove", Some("no longer in dm.toml")),
        ]
    }

    #[test]
    fn a_plan_at_each_width() {
        insta::assert_snapshot!("plan_80", render(&plan(), &terminal_canvas(80)));
        insta::assert_snapshot!("plan_200", render(&plan(), &terminal_canvas(200)));
        insta::assert_snapshot!("plan_40", render(&plan(), &terminal_canvas(40)));
        insta::assert_snapshot!("plan_pipe", render(&plan(), &pipe_canvas()));
        assert_fits(&render(&plan(), &coloured_canvas(40)), 40);
    }

    #[test]
    fn the_document() {
        let document = dm_terminal::json::format_document(
            &dm_core::document::PLAN,
            &PlanDocument::new(&plan()),
        );
        insta::assert_snapshot!("plan_json", document.unwrap());
    }

    #[test]
    fn nothing_to_do() {
        assert_eq!(render(&[], &pipe_canvas()), "nothing to do");
        assert!(render(&plan()[1..2], &pipe_canvas()).ends_with("nothing to do"));
        assert!(PlanDocument::new(&plan()[1..2]).unchanged);
        assert!(!PlanDocument::new(&plan()).unchanged);
    }
}
