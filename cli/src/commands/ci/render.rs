//! Renders the report of a job: as a sentence, and as a summary in Markdown for GitHub
//! Actions.
//! <https://docs.github.com/actions/reference/workflow-commands-for-github-actions#adding-a-job-summary>

use std::fmt::Write as _;
use std::time::Duration;

use dm_gateway_client::describe_failure;
use dm_operations::ci::report::{CiReport, NodeOutcome, StageName};
use dm_smoke::report::StepOutcome;
use dm_stack::timings::CriticalPath;
use dm_terminal::canvas::{Canvas, StyleRole};
use dm_terminal::text;

/// The maximum number of log lines of a failure in the summary.
const MAX_LOG_LINES: usize = 20;
/// Shorter phases are left out of the critical path.
const MIN_PHASE: Duration = Duration::from_millis(50);

/// Renders the result of the job as a sentence.
#[must_use]
pub(crate) fn render_sentence(report: &CiReport, canvas: &Canvas) -> String {
    let role = if report.is_success() {
        StyleRole::Success
    } else {
        StyleRole::Error
    };
    let stages: Vec<_> = report
        .stages
        .iter()
        .map(|stage| {
            let suffix = if stage.ok { "" } else { " failed" };
            format!(
                "{}{suffix} {}",
                stage.name.as_str(),
                text::format_duration(stage.took)
            )
        })
        .collect();
    let sentence = format!(
        "{} after {}: {}",
        outcome_word(report),
        text::format_duration(report.took()),
        stages.join(", ")
    );
    canvas.paint(role, &sentence)
}

fn outcome_word(report: &CiReport) -> &'static str {
    if report.interrupted {
        "interrupted"
    } else if report.is_success() {
        "passed"
    } else {
        "failed"
    }
}

/// Renders the report as Markdown.
#[must_use]
pub(crate) fn render_markdown(report: &CiReport) -> String {
    let mut page = format!(
        "## dm ci {} after {}\n\n",
        outcome_word(report),
        text::format_duration(report.took())
    );
    page.push_str("| stage | result | time |\n|---|---|---:|\n");
    for stage in &report.stages {
        let result = match (&stage.error, stage.name) {
            (Some(error), _) => format!("❌ {}", escape_cell(error)),
            (None, StageName::Smoke) => {
                let sentence = report.step_counts().summary(report.smoke.len());
                format!("{} {sentence}", outcome_emoji(stage.ok))
            }
            (None, _) => outcome_emoji(stage.ok).to_owned(),
        };
        let took = text::format_duration(stage.took);
        write_row(&mut page, &[stage.name.as_str(), &result, &took]);
    }
    for failure in report.failures() {
        let skipped = failure.log.len().saturating_sub(MAX_LOG_LINES);
        let mut lines: Vec<String> = Vec::new();
        lines.extend(
            failure
                .probe
                .iter()
                .map(|probe| format!("last probe: {probe}")),
        );
        let source_errors = failure.source_errors.iter();
        lines.extend(source_errors.map(|error| error.rendered.clone()));
        lines.extend(failure.log.iter().skip(skipped).cloned());
        write_failure(
            &mut page,
            &failure.name,
            &failure.message,
            &lines.join("\n"),
        );
    }
    for step in report.smoke.iter().flatten() {
        if let StepOutcome::Failed(failure) = &step.outcome {
            let title = format!("{}: {}", step.service, step.name);
            write_failure(
                &mut page,
                &title,
                &failure.message,
                &describe_failure(failure),
            );
        }
    }
    if let Some(timings) = &report.timings {
        write_critical_path(&mut page, &timings.critical_path);
    }
    write_components(&mut page, report);
    page
}

const fn outcome_emoji(ok: bool) -> &'static str {
    if ok { "✅" } else { "❌" }
}

fn write_critical_path(page: &mut String, chain: &CriticalPath) {
    let total = text::format_duration(chain.total);
    let _ = write!(
        page,
        "\n### Critical path of the start: {total}\n\n\
         | node | started after | took | phases |\n|---|---:|---:|---|\n"
    );
    for link in &chain.links {
        let phases: Vec<_> = link
            .phases
            .iter()
            .filter(|(_, duration)| *duration >= MIN_PHASE)
            .map(|(phase, duration)| format!("{phase} {}", text::format_duration(*duration)))
            .collect();
        let started_after = text::format_duration(link.started);
        let took = text::format_duration(link.ready.saturating_sub(link.started));
        write_row(
            page,
            &[&link.node, &started_after, &took, &phases.join(", ")],
        );
    }
}

fn write_components(page: &mut String, report: &CiReport) {
    if report.components.is_empty() {
        return;
    }
    page.push_str("\n<details><summary>All nodes of the start</summary>\n\n");
    page.push_str("| node | result | time |\n|---|---|---:|\n");
    for component in &report.components {
        let result = match &component.outcome {
            NodeOutcome::Ready => "✅ ready".to_owned(),
            NodeOutcome::Failed(failure) => format!("❌ {}", failure.message),
            NodeOutcome::NotReached => "not reached".to_owned(),
        };
        write_row(
            page,
            &[
                &component.name,
                &result,
                &text::format_duration(component.took),
            ],
        );
    }
    page.push_str("\n</details>\n");
}

fn write_row(page: &mut String, cells: &[&str]) {
    let cells: Vec<_> = cells.iter().map(|text| escape_cell(text)).collect();
    let _ = writeln!(page, "| {} |", cells.join(" | "));
}

/// Escapes a text for a table cell, so that it contains no markup.
fn escape_cell(text: &str) -> String {
    text::sanitize(text, false)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('|', "\\|")
}

/// Writes a failure with its details.
fn write_failure(page: &mut String, title: &str, message: &str, details: &str) {
    let _ = write!(
        page,
        "\n### ❌ {}\n\n{}\n",
        escape_cell(title),
        escape_cell(message)
    );
    if details.is_empty() {
        return;
    }
    // The fence must be longer than any fence in the details.
    let longest = details
        .split(|character| character != '`')
        .map(str::len)
        .max()
        .unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let lines: Vec<_> = details
        .lines()
        .map(|line| text::sanitize(line, false))
        .collect();
    let _ = write!(page, "\n{fence}text\n{}\n{fence}\n", lines.join("\n"));
}

#[cfg(test)]
mod tests {
    use dm_terminal::testing;

    use super::*;
    use dm_operations::ci::examples::report;

    #[test]
    fn markdown_has_stages_failures_and_the_critical_path() {
        insta::assert_snapshot!("ci_summary", render_markdown(&report()));
    }

    #[test]
    fn sentence_names_the_stages() {
        insta::assert_snapshot!(render_sentence(&report(), &testing::pipe_canvas()), @"failed after 5.2s: up failed 4.0s, down 1.2s");
    }

    #[test]
    fn fence_is_longer_than_a_fence_in_the_details() {
        let mut page = String::new();
        write_failure(&mut page, "order", "failed", "```\n# not a title");
        assert!(
            page.contains("\n````text\n```\n# not a title\n````\n"),
            "{page}"
        );
    }

    #[test]
    fn markdown_cell_with_a_pipe_is_escaped() {
        assert_eq!(escape_cell("a | b\n<script>"), "a \\| b &lt;script>");
    }
}
