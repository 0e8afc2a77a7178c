//! What cargo tells of a build, line by line: messages on its standard output, and its
//! progress bar on the other one.
//! <https://doc.rust-lang.org/cargo/reference/external-tools.html#json-messages>

use std::path::PathBuf;

use dm_core::error::{CompilerError, SourceLocation};
use serde::Deserialize;

/// A line of it, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CargoOutputLine {
    /// Something is made, or was made before.
    Artifact {
        /// The crate's target.
        target: String,
        /// The program, where it is one.
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
        /// How many crates, build scripts and runs of them are done.
        done: u64,
        /// Of how many in all.
        total: u64,
    },
    /// Something else for programs, or a word about a single crate.
    Other,
    /// A line for a person.
    Text,
}

impl CargoOutputLine {
    /// Reads a line.
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

    /// A line of standard error, e.g. `Building [==>   ] 37/120: serde, syn`.
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
        // "aborting due to 2 previous errors" counts what was told before.
        if self.spans.is_empty() && self.code.is_none() && self.message.starts_with("aborting") {
            return None;
        }
        let place = self.spans.into_iter().find(|span| span.is_primary);
        Some(CompilerError {
            rendered: self.rendered.unwrap_or_else(|| self.message.clone()),
            message: self.message,
            place: place.map(|span| SourceLocation {
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
    fn artifacts_are_told_from_what_is_for_a_person() {
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
    fn the_progress_bar_is_a_count() {
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
    fn an_error_has_its_place_and_warnings_are_left_out() {
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
                    place: Some(SourceLocation {
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
    fn a_count_of_errors_is_none() {
        let line = r#"{"reason":"compiler-message","target":{"name":"x"},"message":{"level":"error","message":"aborting due to 1 previous error","rendered":"error: aborting","code":null,"spans":[]}}"#;
        assert_eq!(CargoOutputLine::parse(line), CargoOutputLine::Other);
    }
}
