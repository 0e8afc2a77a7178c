//! The steps of a smoke test as a person reads them.

use dm_gateway_client::describe;
use dm_smoke::report::{Outcome, Step};
use dm_terminal::Printer;
use dm_terminal::style::{Canvas, Glyph, Role};
use dm_terminal::text;

/// The widest name of a service, so that steps stand below each other.
const SERVICE: usize = 9;

/// Shows a step, and annotates a failure.
pub(crate) fn show(printer: &Printer, shown: &Step) {
    printer.message(&step(shown, &printer.err()));
    if let Some(annotation) = annotation(shown) {
        printer.annotate(&annotation);
    }
}

/// One step on a line; below it all that is known where it failed.
#[must_use]
pub(crate) fn step(step: &Step, canvas: &Canvas) -> String {
    let (glyph, role) = match step.outcome {
        Outcome::Passed => (Glyph::Ready, Role::Good),
        Outcome::Failed(_) => (Glyph::Failed, Role::Bad),
        Outcome::Skipped => (Glyph::Skipped, Role::Muted),
    };
    let style = canvas.style;
    let mut line = format!(
        "{} {:SERVICE$}  {}",
        canvas.sign(role, glyph),
        step.service,
        step.name
    );
    match &step.outcome {
        Outcome::Passed => {
            let took = format!("  {}", text::duration(step.took));
            line.push_str(&style.paint(Role::Muted, &took));
        }
        Outcome::Skipped => line.push_str(&style.paint(Role::Muted, "  skipped")),
        Outcome::Failed(fault) => {
            for detail in describe(fault).lines() {
                line.push_str("\n    ");
                line.push_str(detail);
            }
        }
    }
    line
}

/// A failure as GitHub Actions annotates it.
#[must_use]
pub(crate) fn annotation(step: &Step) -> Option<String> {
    let Outcome::Failed(fault) = &step.outcome else {
        return None;
    };
    let title = format!("{}: {}", step.service, step.name);
    Some(dm_terminal::annotation::error(
        &title,
        &describe(fault),
        None,
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dm_gateway_client::Fault;
    use dm_terminal::testing;

    use super::*;

    fn failed() -> Step {
        let mut fault = Fault::new("expected 201");
        fault.request = Some("POST /api/v1/orders".into());
        fault.status = Some(500);
        fault.trace_id = Some("0af7651916cd43dd8448eb211c80319c".into());
        fault.log = vec!["order  failed: no such table".into()];
        Step {
            service: "order",
            name: "an order is placed",
            took: Duration::from_millis(120),
            outcome: Outcome::Failed(fault),
        }
    }

    #[test]
    fn a_failure_shows_request_trace_and_log() {
        insta::assert_snapshot!(step(&failed(), &testing::terminal(80)), @r###"
        ✗ order      an order is placed
            expected 201
            POST /api/v1/orders: 500
            trace 0af7651916cd43dd8448eb211c80319c
            order  failed: no such table
        "###);
    }

    #[test]
    fn an_annotation_is_one_line() {
        insta::assert_snapshot!(annotation(&failed()).unwrap(), @r###"
        ::error title=order%3A an order is placed::expected 201%0APOST /api/v1/orders: 500%0Atrace 0af7651916cd43dd8448eb211c80319c%0Aorder  failed: no such table
        "###);
    }
}
