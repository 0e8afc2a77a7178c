//! The report of a command's error: its code, message, causes and next steps.

use std::fmt;

use dm_core::error::Error;
use dm_core::error_code::ErrorCode;
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, SourceCode};
use miette::{ThemeCharacters, ThemeStyles};
use serde::Serialize;

use super::canvas::{Canvas, StyleRole};
use super::text;

/// Renders an error as text.
#[must_use]
pub fn render_text(error: &Error, canvas: &Canvas) -> String {
    let user_error = error.user_error();
    let chain = error.error_chain();
    let (message, causes) = chain
        .split_first()
        .map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    let head = canvas.paint(StyleRole::Error, &format!("error[{}]", user_error.code()));
    let mut lines = vec![canvas.wrap(&format!("{head}: {}", single_line(message)), "", "  ")];
    for cause in causes {
        let label = canvas.paint(StyleRole::Muted, "because: ");
        lines.push(canvas.wrap(&single_line(cause), &format!("  {label}"), "           "));
    }
    for detail in user_error.details() {
        lines.push(canvas.wrap(&single_line(&detail), "  ", "    "));
    }
    let mut help = None;
    if let Some(diagnostic) = user_error.diagnostic() {
        lines.extend(render_snippet(diagnostic, canvas));
        help = diagnostic.help().map(|help| help.to_string());
        for related in diagnostic.related().into_iter().flatten() {
            lines.push(String::new());
            lines.extend(render_related(related, canvas));
        }
    }
    let next: Vec<String> = help.into_iter().chain(error.suggestions()).collect();
    if !next.is_empty() {
        lines.push(String::new());
        lines.extend(render_next_steps(&next, canvas));
    }
    lines.join("\n")
}

/// Renders one of several errors of a report.
fn render_related(diagnostic: &dyn Diagnostic, canvas: &Canvas) -> Vec<String> {
    let code = diagnostic.code().map(|code| code.to_string());
    let head = canvas.paint(
        StyleRole::Error,
        &code.map_or_else(String::new, |code| format!("{code}: ")),
    );
    let message = single_line(&diagnostic.to_string());
    let mut lines = vec![canvas.wrap(&format!("{head}{message}"), "", "  ")];
    lines.extend(render_snippet(diagnostic, canvas));
    if let Some(help) = diagnostic.help() {
        let label = "  help: ";
        let indent = " ".repeat(label.len());
        let first = canvas.paint(StyleRole::Emphasis, label);
        lines.push(canvas.wrap(&single_line(&help.to_string()), &first, &indent));
    }
    lines
}

/// Sanitizes a text to one line. Foreign texts (a response of the engine) may have
/// several lines and control characters.
fn single_line(text: &str) -> String {
    text::sanitize(text, false)
}

/// Renders the next steps. Commands stay on one line, to be copied; sentences are
/// wrapped.
pub fn render_next_steps(next: &[String], canvas: &Canvas) -> Vec<String> {
    let label = "  next: ";
    let indent = " ".repeat(label.len());
    next.iter()
        .enumerate()
        .map(|(number, step)| {
            let first = if number == 0 {
                canvas.paint(StyleRole::Emphasis, label)
            } else {
                indent.clone()
            };
            if is_command(step) {
                format!("{first}{}", canvas.paint(StyleRole::Command, step))
            } else {
                canvas.wrap(step, &first, &indent)
            }
        })
        .collect()
}

/// Returns whether a step is a command that can be typed.
pub(crate) fn is_command(step: &str) -> bool {
    const PROGRAMS: [&str; 7] = ["dm", "./dm", "docker", "sudo", "export", "kill", "apt-get"];
    let mut words = step.split_whitespace();
    words.next().is_some_and(|word| PROGRAMS.contains(&word)) && !step.ends_with('.')
}

/// Renders the location of an error in its source text, with a caret.
fn render_snippet(diagnostic: &dyn Diagnostic, canvas: &Canvas) -> Vec<String> {
    let theme = GraphicalTheme {
        characters: if canvas.style.unicode {
            ThemeCharacters::unicode()
        } else {
            ThemeCharacters::ascii()
        },
        styles: if canvas.style.colour {
            ThemeStyles::ansi()
        } else {
            ThemeStyles::none()
        },
    };
    let mut report = String::new();
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(canvas.width)
        .with_context_lines(1)
        .without_cause_chain();
    if handler
        .render_report(&mut report, &Snippet(diagnostic))
        .is_err()
    {
        return Vec::new();
    }
    // The first line is miette's headline. It is empty: ours is already rendered.
    report
        .lines()
        .skip(1)
        .map(|line| line.trim_end().to_owned())
        .collect()
}

/// A diagnostic reduced to its source location.
struct Snippet<'a>(&'a dyn Diagnostic);

impl fmt::Debug for Snippet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Snippet")
    }
}

impl fmt::Display for Snippet<'_> {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

impl std::error::Error for Snippet<'_> {}

impl Diagnostic for Snippet<'_> {
    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.0.source_code()
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.0.labels()
    }
}

/// The document of an error.
#[derive(Debug, Serialize)]
pub struct ErrorDocument {
    error: ErrorContent,
}

#[derive(Debug, Serialize)]
struct ErrorContent {
    code: ErrorCode,
    exit_code: u8,
    message: String,
    causes: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
    next: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    locations: Vec<LabeledLocation>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<RelatedError>,
}

/// One of several errors of a report.
#[derive(Debug, Serialize)]
struct RelatedError {
    code: Option<String>,
    message: String,
    help: Option<String>,
    locations: Vec<LabeledLocation>,
}

impl RelatedError {
    fn new(diagnostic: &dyn Diagnostic) -> Self {
        Self {
            code: diagnostic.code().map(|code| code.to_string()),
            message: diagnostic.to_string(),
            help: diagnostic.help().map(|help| help.to_string()),
            locations: labeled_locations(diagnostic),
        }
    }
}

/// A location in a source text. Line and column count from 1.
#[derive(Debug, Serialize)]
struct LabeledLocation {
    source: Option<String>,
    line: usize,
    column: usize,
    offset: usize,
    length: usize,
    label: Option<String>,
}

/// Converts an error into a document of the schema [`dm_core::document::ERROR`].
#[must_use]
pub fn to_document(error: &Error) -> ErrorDocument {
    let user_error = error.user_error();
    let mut chain = error.error_chain().into_iter();
    let diagnostic = user_error.diagnostic();
    ErrorDocument {
        error: ErrorContent {
            code: user_error.code(),
            exit_code: user_error.exit_status().code(),
            message: chain.next().unwrap_or_default(),
            causes: chain.collect(),
            details: user_error.details(),
            help: diagnostic
                .and_then(|d| d.help())
                .map(|help| help.to_string()),
            next: error.suggestions(),
            locations: diagnostic.map(labeled_locations).unwrap_or_default(),
            errors: diagnostic
                .and_then(|diagnostic| diagnostic.related())
                .into_iter()
                .flatten()
                .map(RelatedError::new)
                .collect(),
        },
    }
}

fn labeled_locations(diagnostic: &dyn Diagnostic) -> Vec<LabeledLocation> {
    let (Some(source), Some(labels)) = (diagnostic.source_code(), diagnostic.labels()) else {
        return Vec::new();
    };
    labels
        .filter_map(|label| {
            let span = source.read_span(label.inner(), 0, 0).ok()?;
            Some(LabeledLocation {
                source: span.name().map(ToOwned::to_owned),
                line: span.line() + 1,
                column: span.column() + 1,
                offset: label.offset(),
                length: label.len(),
                label: label.label().map(ToOwned::to_owned),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use dm_core::error::{ExitStatus, UserError};
    use miette::{NamedSource, SourceSpan};
    use thiserror::Error as ThisError;

    use super::*;
    use crate::testing::{assert_fits, coloured_canvas, escape_sgr, pipe_canvas, terminal_canvas};

    #[derive(Debug, ThisError)]
    #[error("connection refused (os error 111)\n\x1b[2Jand more")]
    struct Cause;

    #[derive(Debug, ThisError)]
    #[error("the engine at unix:///var/run/docker.sock does not answer")]
    struct PlainError(#[source] Cause);

    impl UserError for PlainError {
        fn code(&self) -> ErrorCode {
            ErrorCode::EngineUnreachable
        }

        fn exit_status(&self) -> ExitStatus {
            ExitStatus::Engine
        }

        fn suggestions(&self) -> Vec<String> {
            vec![
                "dm engine start".into(),
                "set DOCKER_HOST to the address of another engine, if there is one".into(),
            ]
        }
    }

    #[derive(Debug, ThisError, Diagnostic)]
    #[error("unknown key `verison` in dm.toml")]
    #[diagnostic(help("did you mean `version`?"))]
    struct LocatedError {
        #[source_code]
        source_code: NamedSource<&'static str>,
        #[label("not a key of [postgres]")]
        span: SourceSpan,
    }

    impl UserError for LocatedError {
        fn code(&self) -> ErrorCode {
            ErrorCode::ConfigUnknownKey
        }

        fn exit_status(&self) -> ExitStatus {
            ExitStatus::Usage
        }

        fn suggestions(&self) -> Vec<String> {
            vec!["dm config show".into()]
        }

        fn diagnostic(&self) -> Option<&dyn Diagnostic> {
            Some(self)
        }
    }

    fn located_error() -> Error {
        LocatedError {
            source_code: NamedSource::new("dm.toml", "[postgres]\nverison = 17\nport = 5432\n"),
            span: (11, 7).into(),
        }
        .into()
    }

    #[test]
    fn text_of_an_error_without_source() {
        let error = Error::from(PlainError(Cause));
        insta::assert_snapshot!(render_text(&error, &terminal_canvas(80)));
        insta::assert_snapshot!(render_text(&error, &terminal_canvas(40)));
        insta::assert_snapshot!(escape_sgr(&render_text(&error, &coloured_canvas(80))));
        assert_fits(&render_text(&error, &coloured_canvas(40)), 40);
    }

    #[test]
    fn text_of_an_error_with_a_source_location() {
        insta::assert_snapshot!(render_text(&located_error(), &terminal_canvas(80)));
        insta::assert_snapshot!(render_text(&located_error(), &pipe_canvas()));
        insta::assert_snapshot!(escape_sgr(&render_text(
            &located_error(),
            &coloured_canvas(80)
        )));
        assert_fits(&render_text(&located_error(), &terminal_canvas(40)), 40);
    }

    /// Returns the error of a configuration with two mistakes.
    fn error_with_two_parts() -> Error {
        let project = tempfile::tempdir().unwrap();
        let file = "[postgres]\nprot = 5433\n\n[timeouts]\nwait = 300\n";
        std::fs::write(project.path().join("dm.toml"), file).unwrap();
        let options = dm_config::LoadOptions {
            current_dir: project.path().to_owned(),
            ..Default::default()
        };
        dm_config::Config::load(&options, []).unwrap_err().into()
    }

    #[test]
    fn text_of_an_error_with_two_parts() {
        insta::assert_snapshot!(render_text(&error_with_two_parts(), &terminal_canvas(80)));
        assert_fits(
            &render_text(&error_with_two_parts(), &terminal_canvas(40)),
            40,
        );
    }

    #[test]
    fn document_contains_each_error() {
        insta::assert_snapshot!(
            super::super::json::format_document(
                &dm_core::document::ERROR,
                &to_document(&error_with_two_parts())
            )
            .unwrap()
        );
    }

    #[test]
    fn document_contains_line_and_column() {
        insta::assert_snapshot!(
            super::super::json::format_document(
                &dm_core::document::ERROR,
                &to_document(&located_error())
            )
            .unwrap()
        );
    }
}
