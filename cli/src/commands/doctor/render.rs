//! What `dm doctor` found, as a list.

use dm_terminal::report::next_steps;
use dm_terminal::style::{Canvas, Glyph, Role};
use dm_terminal::text;
use serde::Serialize;

use dm_doctor::{Finding, Status};

/// The findings as a document, to be written under [`dm_core::document::DOCTOR`].
#[derive(Debug, Serialize)]
pub(crate) struct Document<'a> {
    /// True where nothing is an error.
    pub ok: bool,
    /// What was found.
    pub findings: &'a [Finding],
}

impl<'a> Document<'a> {
    /// The document of these findings.
    #[must_use]
    pub(crate) fn new(findings: &'a [Finding]) -> Self {
        Self {
            ok: findings
                .iter()
                .all(|finding| finding.status != Status::Error),
            findings,
        }
    }
}

/// The findings as a list, with a line that sums them up.
#[must_use]
pub(crate) fn render(findings: &[Finding], canvas: &Canvas) -> String {
    let longest = findings
        .iter()
        .map(|finding| text::width(&finding.name))
        .max()
        .unwrap_or(0)
        .min(canvas.width / 3);
    let mut lines = Vec::new();
    for finding in findings {
        let (role, glyph) = look(finding.status);
        let name = text::pad(
            &text::truncate(&finding.name, longest, canvas.style),
            longest,
        );
        let name = if finding.status == Status::Ok {
            name
        } else {
            canvas.paint(role, &name)
        };
        lines.push(canvas.wrap(
            &text::harmless(&finding.detail, false),
            &format!("{} {name}  ", canvas.sign(role, glyph)),
            &" ".repeat(longest + 4),
        ));
        lines.extend(next_steps(&finding.next, canvas));
    }
    if !lines.is_empty() {
        lines.push(String::new());
    }
    lines.push(summary(findings, canvas));
    lines.join("\n")
}

fn look(status: Status) -> (Role, Glyph) {
    match status {
        Status::Ok => (Role::Good, Glyph::Ready),
        Status::Warning => (Role::Warn, Glyph::Warning),
        Status::Error => (Role::Bad, Glyph::Failed),
        Status::Skipped => (Role::Muted, Glyph::Skipped),
    }
}

fn summary(findings: &[Finding], canvas: &Canvas) -> String {
    let of = |status| {
        findings
            .iter()
            .filter(|finding| finding.status == status)
            .count()
    };
    let (errors, warnings) = (of(Status::Error), of(Status::Warning));
    let mut parts = Vec::new();
    if errors > 0 {
        parts.push(canvas.paint(Role::Bad, &text::count(errors, "error")));
    }
    if warnings > 0 {
        parts.push(canvas.paint(Role::Warn, &text::count(warnings, "warning")));
    }
    if of(Status::Skipped) > 0 {
        parts.push(format!("{} skipped", of(Status::Skipped)));
    }
    parts.push(canvas.paint(Role::Good, &format!("{} fine", of(Status::Ok))));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use dm_terminal::testing::{assert_fits, coloured, pipe, terminal};

    use super::*;

    fn findings() -> Vec<Finding> {
        let finding = |name: &str, status, detail: &str, next: &[&str]| Finding {
            name: name.into(),
            status,
            detail: detail.into(),
            next: next.iter().map(ToString::to_string).collect(),
        };
        vec![
            finding(
                "engine",
                Status::Ok,
                "Docker 20.10.24 at unix:///var/run/docker.sock, API 1.41 (default socket)",
                &[],
            ),
            finding(
                "port 5432",
                Status::Error,
                "taken by postgres (process 4211)",
                &["kill 4211", "dm up --ports auto"],
            ),
            finding(
                "memory",
                Status::Warning,
                "2.1 GB free, the stack takes about 1.6 GB",
                &["close what you don't need, or raise the memory of the engine's virtual machine"],
            ),
            finding(
                "clock",
                Status::Skipped,
                "no container to compare with",
                &[],
            ),
        ]
    }

    #[test]
    fn findings_at_each_width() {
        insta::assert_snapshot!("doctor_80", render(&findings(), &terminal(80)));
        insta::assert_snapshot!("doctor_200", render(&findings(), &terminal(200)));
        insta::assert_snapshot!("doctor_40", render(&findings(), &terminal(40)));
        insta::assert_snapshot!("doctor_pipe", render(&findings(), &pipe()));
        assert_fits(&render(&findings(), &coloured(40)), 40);
    }

    #[test]
    fn the_document() {
        let document = dm_terminal::json::document(&dm_core::document::DOCTOR, &Document::new(&findings()));
        insta::assert_snapshot!("doctor_json", document.unwrap());
    }

    #[test]
    fn only_an_error_is_not_ok() {
        assert!(!Document::new(&findings()).ok);
        assert!(Document::new(&findings()[2..]).ok);
    }
}
