//! Renders the findings of `dm doctor`.

use dm_terminal::canvas::{Canvas, Glyph, StyleRole};
use dm_terminal::error_report::render_next_steps;
use dm_terminal::text;
use serde::Serialize;

use dm_doctor::{CheckStatus, DoctorFinding};

/// The document [`dm_core::document::DOCTOR`].
#[derive(Debug, Serialize)]
pub(crate) struct DoctorDocument<'a> {
    /// True if no finding is an error.
    pub ok: bool,
    /// The findings.
    pub findings: &'a [DoctorFinding],
}

impl<'a> DoctorDocument<'a> {
    /// The document for these findings.
    #[must_use]
    pub(crate) fn new(findings: &'a [DoctorFinding]) -> Self {
        Self {
            ok: findings
                .iter()
                .all(|finding| finding.status != CheckStatus::Error),
            findings,
        }
    }
}

/// Renders the findings as a list with a summary line.
#[must_use]
pub(crate) fn render(findings: &[DoctorFinding], canvas: &Canvas) -> String {
    let longest = findings
        .iter()
        .map(|finding| text::display_width(&finding.name))
        .max()
        .unwrap_or(0)
        .min(canvas.width / 3);
    let mut lines = Vec::new();
    for finding in findings {
        let (role, glyph) = status_style(finding.status);
        let name = text::pad_right(
            &text::truncate(&finding.name, longest, canvas.style),
            longest,
        );
        let name = if finding.status == CheckStatus::Ok {
            name
        } else {
            canvas.paint(role, &name)
        };
        lines.push(canvas.wrap(
            &text::sanitize(&finding.detail, false),
            &format!("{} {name}  ", canvas.paint_glyph(role, glyph)),
            &" ".repeat(longest + 4),
        ));
        lines.extend(render_next_steps(&finding.next, canvas));
    }
    if !lines.is_empty() {
        lines.push(String::new());
    }
    lines.push(render_summary(findings, canvas));
    lines.join("\n")
}

fn status_style(status: CheckStatus) -> (StyleRole, Glyph) {
    match status {
        CheckStatus::Ok => (StyleRole::Success, Glyph::Check),
        CheckStatus::Warning => (StyleRole::Warning, Glyph::Warning),
        CheckStatus::Error => (StyleRole::Error, Glyph::Failed),
        CheckStatus::Skipped => (StyleRole::Muted, Glyph::Skipped),
    }
}

fn render_summary(findings: &[DoctorFinding], canvas: &Canvas) -> String {
    let count = |status| {
        findings
            .iter()
            .filter(|finding| finding.status == status)
            .count()
    };
    let (errors, warnings) = (count(CheckStatus::Error), count(CheckStatus::Warning));
    let mut parts = Vec::new();
    if errors > 0 {
        parts.push(canvas.paint(StyleRole::Error, &text::pluralize(errors, "error")));
    }
    if warnings > 0 {
        parts.push(canvas.paint(StyleRole::Warning, &text::pluralize(warnings, "warning")));
    }
    if count(CheckStatus::Skipped) > 0 {
        parts.push(format!("{} skipped", count(CheckStatus::Skipped)));
    }
    parts.push(canvas.paint(
        StyleRole::Success,
        &format!("{} fine", count(CheckStatus::Ok)),
    ));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use dm_terminal::testing::{assert_fits, coloured_canvas, pipe_canvas, terminal_canvas};

    use super::*;

    fn findings() -> Vec<DoctorFinding> {
        let finding = |name: &str, status, detail: &str, next: &[&str]| DoctorFinding {
            name: name.into(),
            status,
            detail: detail.into(),
            next: next.iter().map(ToString::to_string).collect(),
        };
        vec![
            finding(
                "engine",
                CheckStatus::Ok,
                "Docker 20.10.24 at unix:///var/run/docker.sock, API 1.41 (default socket)",
                &[],
            ),
            finding(
                "port 5432",
                CheckStatus::Error,
                "taken by postgres (process 4211)",
                &["kill 4211", "dm up --ports auto"],
            ),
            finding(
                "memory",
                CheckStatus::Warning,
                "2.1 GB free, the stack takes about 1.6 GB",
                &["close what you don't need, or raise the memory of the engine's virtual machine"],
            ),
            finding(
                "clock",
                CheckStatus::Skipped,
                "no container to compare with",
                &[],
            ),
        ]
    }

    #[test]
    fn render_fits_each_width() {
        insta::assert_snapshot!("doctor_80", render(&findings(), &terminal_canvas(80)));
        insta::assert_snapshot!("doctor_200", render(&findings(), &terminal_canvas(200)));
        insta::assert_snapshot!("doctor_40", render(&findings(), &terminal_canvas(40)));
        insta::assert_snapshot!("doctor_pipe", render(&findings(), &pipe_canvas()));
        assert_fits(&render(&findings(), &coloured_canvas(40)), 40);
    }

    #[test]
    fn document_lists_all_findings() {
        let document = dm_terminal::json::format_document(
            &dm_core::document::DOCTOR,
            &DoctorDocument::new(&findings()),
        );
        insta::assert_snapshot!("doctor_json", document.unwrap());
    }

    #[test]
    fn document_is_ok_without_an_error() {
        assert!(!DoctorDocument::new(&findings()).ok);
        assert!(DoctorDocument::new(&findings()[2..]).ok);
    }
}
