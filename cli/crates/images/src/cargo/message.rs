//! Parser of cargo's output: JSON messages on standard output, and the progress bar on
//! standard error.
//! <https://doc.rust-lang.org/cargo/reference/external-tools.html#json-messages>

use std::path::PathBuf;

use dm_core::error::{CompilerError, SourceLocation};
use serde::Deserialize;

/// A line of cargo's output.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CargoOutputLine {
    /// A finished artifact, new or from an earlier build.
    Artifact {
        /// The crate's target.
        target: String,
        /// The path of the program, if the artifact is one.
        executable: Option<PathBuf>,
    },
    /// The compiler found an error.
    CompileError {
        /// The crate's target.
        target: String,
        /// The error.
        error: CompilerError,
    },
    /// The progress bar.
    Progress {
        /// The number of finished crates, build scripts and runs of them.
        done: u64,
        /// The number of all of them.
        total: u64,
    },
    /// Another message for programs, or a status line about a single crate.
    Other,
    /// Text for humans.
    Text,
}

impl CargoOutputLine {
    /// Parses a line.
    pub(super) fn parse(line: &str) -> Self {
        if !line.starts_with('{') {
            return Self::parse_status(line.trim_start());
        }
        match serde_json::from_str(line) {
            Ok(CargoMessage::Artifact { target, executable }) => Self::Artifact {
                target: target.name,
                executable,
            },
            Ok(CargoMessage::Diagnostic { target, message }) => match message.into_source_error() {
                Some(error) => Self::CompileError {
                    target: target.name,
                    error,
                },
                None => Self::Other,
            },
            Ok(CargoMessage::Other) => Self::Other,
            Err(_) => Self::Text,
        }
    }

    /// Parses a line of standard error, e.g. `Building [==>   ] 37/120: serde, syn`.
    fn parse_status(line: &str) -> Self {
        if line.starts_with("Compiling ") {
            return Self::Other;
        }
        let bar = line.strip_prefix("Building [");
        let count = bar.and_then(|bar| bar.split_once("] "));
        let numbers = count.and_then(|(_, count)| count.split([':', ' ']).next()?.split_once('/'));
        match numbers.map(|(done, total)| (done.parse(), total.parse())) {
            Some((Ok(done), Ok(total))) => Self::Progress { done, total },
            _ if bar.is_some() => Self::Other,
            _ => Self::Text,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(tag = "reason")]
enum CargoMessage {
    #[serde(rename = "compiler-artifact")]
    Artifact {
        target: CargoTarget,
        executable: Option<PathBuf>,
    },
    #[serde(rename = "compiler-message")]
    Diagnostic {
        target: CargoTarget,
        message: CompilerDiagnostic,
    },
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
struct CargoTarget {
    name: String,
}

/// <https://doc.rust-lang.org/rustc/json.html#diagnostics>
#[derive(Debug, Deserialize)]
struct CompilerDiagnostic {
    level: String,
    message: String,
    rendered: Option<String>,
    spans: Vec<DiagnosticSpan>,
    code: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
struct DiagnosticSpan {
    file_name: String,
    line_start: u32,
    column_start: u32,
    is_primary: bool,
}

impl CompilerDiagnostic {
    fn into_source_error(self) -> Option<CompilerError> {
        if !self.level.starts_with("error") {
            return None;
        }
        // "aborting due to 2 previous errors" only counts the errors reported before.
        if self.spans.is_empty() && self.code.is_none() && self.message.starts_with("aborting") {
            return None;
        }
        let location = self.spans.into_iter().find(|span| span.is_primary);
        Some(CompilerError {
            rendered: self.rendered.unwrap_or_else(|| self.message.clone()),
            message: self.message,
            location: location.map(|span| SourceLocation {
                file: span.file_name,
                line: span.line_start,
                column: span.column_start,
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_separates_artifacts_from_text() {
        let line = r#"{"reason":"compiler-artifact","package_id":"x","target":{"kind":["bin"],"name":"order-service"},"fresh":true,"executable":"/t/order-service"}"#;
        assert_eq!(
            CargoOutputLine::parse(line),
            CargoOutputLine::Artifact {
                target: "order-service".into(),
                executable: Some("/t/order-service".into()),
            }
        );
        let finished = r#"{"reason":"build-finished","success":true}"#;
        assert_eq!(CargoOutputLine::parse(finished), CargoOutputLine::Other);
        assert_eq!(
            CargoOutputLine::parse("error: could not compile `order-service`"),
            CargoOutputLine::Text
        );
    }

    #[test]
    fn parse_reads_counts_from_the_progress_bar() {
        let bar = "    Building [=======>              ] 37/120: serde(build), syn\u{2026} ";
        let (done, total) = (37, 120);
        assert_eq!(
            CargoOutputLine::parse(bar),
            CargoOutputLine::Progress { done, total }
        );
        assert_eq!(
            CargoOutputLine::parse("Building [==>] 37/120"),
            CargoOutputLine::Progress { done, total }
        );
        assert_eq!(
            CargoOutputLine::parse("Building [=>  "),
            CargoOutputLine::Other
        );
        assert_eq!(
            CargoOutputLine::parse("   Compiling serde v1.0.0"),
            CargoOutputLine::Other
        );
        assert_eq!(
            CargoOutputLine::parse("error: Building [x] failed"),
            CargoOutputLine::Text
        );
    }

    #[test]
    fn parse_returns_errors_with_location_and_ignores_warnings() {
        let line = |level: &str| {
            format!(
                r#"{{"reason":"compiler-message","target":{{"name":"order-service"}},"message":{{"level":"{level}","message":"mismatched types","rendered":"{level}[E0308]: mismatched types\n","code":{{"code":"E0308"}},"spans":[{{"file_name":"a.rs","line_start":1,"column_start":1,"is_primary":false}},{{"file_name":"services/order/src/main.rs","line_start":7,"column_start":3,"is_primary":true}}]}}}}"#
            )
        };
        assert_eq!(
            CargoOutputLine::parse(&line("error")),
            CargoOutputLine::CompileError {
                target: "order-service".into(),
                error: CompilerError {
                    message: "mismatched types".into(),
                    location: Some(SourceLocation {
                        file: "services/order/src/main.rs".into(),
                        line: 7,
                        column: 3,
                    }),
                    rendered: "error[E0308]: mismatched types\n".into(),
                },
            }
        );
        assert_eq!(
            CargoOutputLine::parse(&line("warning")),
            CargoOutputLine::Other
        );
    }

    #[test]
    fn parse_ignores_the_count_of_previous_errors() {
        let line = r#"{"reason":"compiler-message","target":{"name":"x"},"message":{"level":"error","message":"aborting due to 1 previous error","rendered":"error: aborting","code":null,"spans":[]}}"#;
        assert_eq!(CargoOutputLine::parse(line), CargoOutputLine::Other);
    }
}
