//! Renders the steps of a smoke test.

use dm_gateway_client::describe_failure;
use dm_smoke::report::{StepOutcome, StepResult};
use dm_terminal::Printer;
use dm_terminal::canvas::{Canvas, Glyph, StyleRole};
use dm_terminal::text;

/// The width of the longest service name, to align the steps.
const SERVICE_WIDTH: usize = 9;

/// Prints a step, and annotates a failure.
pub(crate) fn print_step(printer: &Printer, step: &StepResult) {
    printer.write_stderr(&render_step(step, &printer.stderr_canvas()));
    if let Some(annotation) = failure_annotation(step) {
        printer.annotate(&annotation);
    }
}

/// Renders a step as a line, followed by the details of a failure.
#[must_use]
pub(crate) fn render_step(step: &StepResult, canvas: &Canvas) -> String {
    let (glyph, role) = match step.outcome {
        StepOutcome::Passed => (Glyph::Check, StyleRole::Success),
        StepOutcome::Failed(_) => (Glyph::Failed, StyleRole::Error),
        StepOutcome::Skipped => (Glyph::Skipped, StyleRole::Muted),
    };
    let style = canvas.style;
    let mut line = format!(
        "{} {:SERVICE_WIDTH$}  {}",
        canvas.paint_glyph(role, glyph),
        step.service,
        step.name
    );
    match &step.outcome {
        StepOutcome::Passed => {
            let took = format!("  {}", text::format_duration(step.duration));
            line.push_str(&style.paint(StyleRole::Muted, &took));
        }
        StepOutcome::Skipped => line.push_str(&style.paint(StyleRole::Muted, "  skipped")),
        StepOutcome::Failed(failure) => {
            for detail in describe_failure(failure).lines() {
                line.push_str("\n    ");
                line.push_str(detail);
            }
        }
    }
    line
}

/// Returns the annotation of a failure for GitHub Actions.
#[must_use]
pub(crate) fn failure_annotation(step: &StepResult) -> Option<String> {
    let StepOutcome::Failed(failure) = &step.outcome else {
        return None;
    };
    let title = format!("{}: {}", step.service, step.name);
    Some(dm_terminal::github_actions::error_annotation(
        &title,
        &describe_failure(failure),
        None,
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dm_gateway_client::RequestFailure;
    use dm_terminal::testing;

    use super::*;

    fn failed() -> StepResult {
        let mut failure = RequestFailure::new("expected 201");
        failure.request = Some("POST /api/v1/orders".into());
        failure.status = Some(500);
        failure.trace_id = Some("0af7651916cd43dd8448eb211c80319c".into());
        failure.log_lines = vec!["order  failed: no such table".into()];
        StepResult {
            service: "order",
            name: "an order is placed",
            duration: Duration::from_millis(120),
            outcome: StepOutcome::Failed(failure),
        }
    }

    #[test]
    fn failed_step_shows_request_trace_and_log() {
        insta::assert_snapshot!(render_step(&failed(), &testing::terminal_canvas(80)), @r###"
        ✗ order      an order is placed
            expected 201
            POST /api/v1/orders: 500
            trace 0af7651916cd43dd8448eb211c80319c
            order  failed: no such table
        "###);
    }

    #[test]
    fn annotation_is_a_single_line() {
        insta::assert_snapshot!(failure_annotation(&failed()).unwrap(), @"::error title=order%3A an order is placed::expected 201%0APOST /api/v1/orders: 500%0Atrace 0af7651916cd43dd8448eb211c80319c%0Aorder  failed: no such table");
    }
}
