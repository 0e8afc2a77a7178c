//! The report of a component that failed.

use std::path::Path;

use dm_stack::event::NodeFailure;
use dm_terminal::Printer;
use dm_terminal::canvas::{Canvas, Glyph, StyleRole};
use dm_terminal::compiler_errors;
use dm_terminal::error_report::render_next_steps;
use dm_terminal::github_actions;
use dm_terminal::text;

/// The number of log lines that are shown.
const MAX_LOG_LINES: usize = 20;
/// The terminal rows that one log line may occupy.
const MAX_ROWS_PER_LINE: usize = 4;
/// The columns of a log line that are shown in a pipe.
const MAX_LINE_WIDTH: usize = 4000;
/// The columns of the labels.
const LABEL_WIDTH: usize = 12;

/// Prints a component's failure with all details, and annotations in GitHub Actions.
pub(crate) fn print(failure: &NodeFailure, printer: &Printer) {
    printer.write_stderr(&render(failure, &printer.stderr_canvas()));
    for annotation in github_annotations(failure) {
        printer.annotate(&annotation);
    }
}

/// Renders a failure with all details as text.
#[must_use]
pub fn render(failure: &NodeFailure, canvas: &Canvas) -> String {
    let head = format!(
        "{} {}: {}",
        canvas.paint(StyleRole::Error, &format!("{} failed", failure.name)),
        format_args!("at {}", text::format_seconds(failure.elapsed)),
        text::sanitize(&failure.message, false),
    );
    let sign = format!("{} ", canvas.paint_glyph(StyleRole::Error, Glyph::Failed));
    let mut lines = vec![canvas.wrap(&head, &sign, "  ")];
    lines.extend(render_facts(failure, canvas));
    lines.push(String::new());
    if failure.source_errors.is_empty() {
        lines.extend(render_log(&failure.log, canvas));
    } else {
        lines.extend(compiler_errors::render_errors(
            &failure.source_errors,
            canvas,
        ));
    }
    if !failure.next.is_empty() {
        lines.push(String::new());
        lines.extend(render_next_steps(&failure.next, canvas));
    }
    // A blank line separates the report from the next output.
    lines.extend([String::new(), String::new()]);
    lines.join("\n")
}

/// Renders the path of the diagnostics bundle.
#[must_use]
pub fn render_bundle_path(path: &Path, canvas: &Canvas) -> String {
    // On one line, so that it can be copied.
    format!(
        "  {} {}",
        canvas.paint(StyleRole::Muted, "diagnostics:"),
        text::sanitize(&path.display().to_string(), false)
    )
}

fn render_facts(failure: &NodeFailure, canvas: &Canvas) -> Vec<String> {
    let mut facts = Vec::new();
    if let Some(state) = &failure.state {
        facts.push(("state", state.clone()));
    }
    match (failure.out_of_memory, failure.exit_code) {
        (true, Some(code)) => facts.push(("exit code", format!("{code}, killed: out of memory"))),
        (true, None) => facts.push(("exit code", "none, killed: out of memory".into())),
        (false, Some(code)) => facts.push(("exit code", describe_exit_code(code))),
        (false, None) => {}
    }
    if let Some(probe) = &failure.probe {
        facts.push(("last probe", text::sanitize(probe, false)));
    }
    if !failure.blocked_nodes.is_empty() {
        facts.push(("blocks", failure.blocked_nodes.join(", ")));
    }
    facts
        .into_iter()
        .map(|(label, fact)| {
            let label = canvas.paint(StyleRole::Muted, &text::pad_right(label, LABEL_WIDTH));
            canvas.wrap(&fact, &format!("  {label}"), &" ".repeat(LABEL_WIDTH + 2))
        })
        .collect()
}

/// Formats an exit code, with its signal if it stands for one.
fn describe_exit_code(code: i64) -> String {
    let signal = match code {
        129 => "SIGHUP",
        130 => "SIGINT",
        131 => "SIGQUIT",
        132 => "SIGILL",
        134 => "SIGABRT",
        135 => "SIGBUS",
        136 => "SIGFPE",
        137 => "SIGKILL",
        139 => "SIGSEGV",
        141 => "SIGPIPE",
        143 => "SIGTERM",
        _ => return code.to_string(),
    };
    format!("{code} ({signal})")
}

fn render_log(log: &[String], canvas: &Canvas) -> Vec<String> {
    if log.is_empty() {
        return vec![canvas.paint(StyleRole::Muted, "  no log output")];
    }
    let shown = &log[log.len().saturating_sub(MAX_LOG_LINES)..];
    let title = if shown.len() == 1 {
        "  last log line".to_owned()
    } else {
        format!("  last {} log lines", shown.len())
    };
    let bar = canvas.paint_glyph(StyleRole::Muted, Glyph::QuoteBar);
    let ellipsis = canvas.style.glyph(Glyph::Ellipsis);
    let mut lines = vec![canvas.paint(StyleRole::Muted, &title)];
    for line in shown {
        let line = text::sanitize(line, false);
        let line = line.trim_end();
        let Some(limit) = canvas.max_columns() else {
            lines.push(format!(
                "  {bar} {}",
                text::truncate(line, MAX_LINE_WIDTH, canvas.style)
            ));
            continue;
        };
        // The cause is often at the end of a long line: it is wrapped, not truncated.
        let mut pieces = text::hard_wrap(line, limit.saturating_sub(4));
        if pieces.len() > MAX_ROWS_PER_LINE {
            // The head and the tail are the most useful parts.
            let tail = pieces.split_off(pieces.len() - 1);
            pieces.truncate(MAX_ROWS_PER_LINE - 2);
            pieces.push(ellipsis.to_owned());
            pieces.extend(tail);
        }
        lines.extend(
            pieces
                .into_iter()
                .map(|piece| format!("  {bar} {piece}").trim_end().to_owned()),
        );
    }
    lines
}

/// Returns the failure as workflow commands of GitHub Actions: one, or one for every
/// compiler error, at its source location.
#[must_use]
pub(crate) fn github_annotations(failure: &NodeFailure) -> Vec<String> {
    let title = format!("dm: {} failed", failure.name);
    if !failure.source_errors.is_empty() {
        return failure
            .source_errors
            .iter()
            .map(|error| {
                github_actions::error_annotation(&title, &error.message, error.location.as_ref())
            })
            .collect();
    }
    let mut message = failure.message.clone();
    if let Some(probe) = &failure.probe {
        message.push_str("\nlast probe: ");
        message.push_str(probe);
    }
    if let Some(last) = failure.log.last() {
        message.push_str("\nlast log line: ");
        message.push_str(last);
    }
    vec![github_actions::error_annotation(&title, &message, None)]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dm_terminal::testing::{
        assert_fits, coloured_canvas, escape_sgr, pipe_canvas, terminal_canvas,
    };

    use super::*;

    fn keycloak() -> NodeFailure {
        let mut log: Vec<String> = (1..=21).map(|n| format!("line {n}")).collect();
        log.push("2026-11-24 22:57:01,123 \x1b[31mERROR\x1b[0m [org.keycloak.quarkus.runtime.cli.ExecutionExceptionHandler] (main) ERROR: Failed to start server in (production) mode: Unable to find the JDBC driver (org.postgresql.Driver) for jdbc:postgresql://postgres:5432/dunder".into());
        log.push("::error::not ours\x1b[2J".into());
        NodeFailure {
            name: "keycloak".into(),
            message: "the container exited before it was ready".into(),
            state: Some("exited".into()),
            exit_code: Some(1),
            out_of_memory: false,
            probe: Some(
                "GET http://127.0.0.1:8080/realms/dunder-mifflin: connection refused".into(),
            ),
            log,
            source_errors: Vec::new(),
            blocked_nodes: vec!["gateway".into(), "profile".into(), "order".into()],
            next: vec![
                "dm logs keycloak".into(),
                "dm doctor --bundle".into(),
                "if the machine is slow, allow more time with --wait-timeout or in dm.toml".into(),
            ],
            elapsed: Duration::from_millis(12_340),
        }
    }

    fn killed() -> NodeFailure {
        NodeFailure {
            name: "rabbitmq".into(),
            message: "the kernel killed it".into(),
            state: None,
            exit_code: Some(137),
            out_of_memory: true,
            probe: None,
            log: vec![],
            source_errors: Vec::new(),
            blocked_nodes: vec![],
            next: vec![],
            elapsed: Duration::from_millis(900),
        }
    }

    #[test]
    fn failure_on_a_terminal_fits_each_width() {
        insta::assert_snapshot!("failure_80", render(&keycloak(), &terminal_canvas(80)));
        insta::assert_snapshot!("failure_40", render(&keycloak(), &terminal_canvas(40)));
        insta::assert_snapshot!("failure_200", render(&keycloak(), &terminal_canvas(200)));
        insta::assert_snapshot!(
            "failure_colour",
            escape_sgr(&render(&keycloak(), &coloured_canvas(80)))
        );
        for width in [40, 80, 200] {
            assert_fits(&render(&keycloak(), &coloured_canvas(width)), width);
        }
    }

    #[test]
    fn failure_in_a_pipe_is_not_wrapped() {
        insta::assert_snapshot!("failure_pipe", render(&keycloak(), &pipe_canvas()));
    }

    #[test]
    fn failure_out_of_memory_names_the_cause() {
        insta::assert_snapshot!("failure_memory", render(&killed(), &terminal_canvas(80)));
    }

    #[test]
    fn exit_code_of_a_signal_contains_its_name() {
        assert_eq!(describe_exit_code(139), "139 (SIGSEGV)");
        assert_eq!(describe_exit_code(3), "3");
    }

    #[test]
    fn annotation_is_one_line() {
        let annotations = github_annotations(&keycloak());
        let [annotation] = annotations.as_slice() else {
            panic!("{annotations:?}");
        };
        assert!(annotation.starts_with("::error title=dm%3A keycloak failed::the container"));
        assert_eq!(annotation.lines().count(), 1);
    }

    #[test]
    fn log_line_cannot_start_a_workflow_command() {
        for line in render(&keycloak(), &pipe_canvas()).lines() {
            assert!(!line.trim_start().starts_with("::"), "{line}");
        }
    }
}
