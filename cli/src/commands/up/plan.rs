//! The plan that `dm up --dry-run` prints.

use dm_terminal::canvas::{Canvas, StyleRole};
use dm_terminal::table::{Cell, Column, Table};
use serde::Serialize;

/// The planned action for one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PlanRow {
    /// The node.
    pub node: String,
    /// The action: `keep`, `start`, `recreate`, `create`, `build`, `pull` or `remove`.
    pub action: String,
    /// The reason, if the action needs one.
    pub reason: Option<String>,
}

/// The document [`dm_core::document::PLAN`].
#[derive(Debug, Serialize)]
pub(crate) struct PlanDocument<'a> {
    /// True if all nodes are kept.
    pub unchanged: bool,
    /// The planned actions.
    pub plan: &'a [PlanRow],
}

impl<'a> PlanDocument<'a> {
    /// The document for a plan.
    #[must_use]
    pub(crate) fn new(plan: &'a [PlanRow]) -> Self {
        Self {
            unchanged: plan.iter().all(|row| row.action == "keep"),
            plan,
        }
    }
}

/// Renders the plan as a table with a summary line.
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

/// Returns the count of each action, in the order of their first occurrence.
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
    fn render_fits_each_width() {
        insta::assert_snapshot!("plan_80", render(&plan(), &terminal_canvas(80)));
        insta::assert_snapshot!("plan_200", render(&plan(), &terminal_canvas(200)));
        insta::assert_snapshot!("plan_40", render(&plan(), &terminal_canvas(40)));
        insta::assert_snapshot!("plan_pipe", render(&plan(), &pipe_canvas()));
        assert_fits(&render(&plan(), &coloured_canvas(40)), 40);
    }

    #[test]
    fn document_lists_all_actions() {
        let document = dm_terminal::json::format_document(
            &dm_core::document::PLAN,
            &PlanDocument::new(&plan()),
        );
        insta::assert_snapshot!("plan_json", document.unwrap());
    }

    #[test]
    fn plan_without_changes_is_nothing_to_do() {
        assert_eq!(render(&[], &pipe_canvas()), "nothing to do");
        assert!(render(&plan()[1..2], &pipe_canvas()).ends_with("nothing to do"));
        assert!(PlanDocument::new(&plan()[1..2]).unchanged);
        assert!(!PlanDocument::new(&plan()).unchanged);
    }
}
