//! Cargo, once for all services.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::super::error::ImageError;
use super::super::process;
use super::super::progress::{Progress, Update};
use super::SERVICES;

/// The profile of the workspace that services are built with.
const PROFILE: &str = "service";

/// What makes a binary need nothing beside itself.
const STATIC: &str = "-C target-feature=+crt-static";

/// Cargo in a project.
pub(super) struct Compiler<'a> {
    pub(super) cargo: PathBuf,
    pub(super) root: &'a Path,
    pub(super) progress: &'a dyn Progress,
    pub(super) cancel: &'a CancellationToken,
}

/// A line of `--message-format json`, as far as it matters here.
/// <https://doc.rust-lang.org/cargo/reference/external-tools.html#json-messages>
#[derive(Debug, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Message {
    CompilerArtifact {
        target: Target,
        fresh: bool,
        executable: Option<PathBuf>,
    },
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
}

impl Compiler<'_> {
    /// Compiles the services. Answers the binary of each.
    pub(super) async fn compile<'n>(
        &self,
        names: &[&'n str],
    ) -> Result<BTreeMap<&'n str, PathBuf>, ImageError> {
        let triple = self.triple().await?;
        let flags = format!(
            "CARGO_TARGET_{}_RUSTFLAGS",
            triple.to_uppercase().replace('-', "_")
        );
        let mut command = Command::new(&self.cargo);
        command
            .current_dir(self.root)
            // Named, so that the flags don't go to build scripts and macros.
            .args([
                "build",
                "--locked",
                "--profile",
                PROFILE,
                "--target",
                &triple,
            ])
            .args(["--message-format", "json-render-diagnostics"])
            // All at once, whichever changed: with others left out cargo would unify
            // features anew, and compile what is compiled already.
            .args(
                names
                    .iter()
                    .flat_map(|name| ["--package".to_owned(), binary(name)]),
            )
            .arg("--bins")
            .env(flags, STATIC);
        self.progress.working(SERVICES, Update::doing("compiling"));
        let mut found = BTreeMap::new();
        let mut compiled = 0;
        process::run_filtered("cargo", command, self.cancel, |line| {
            let Some(message) = message(line) else {
                return true;
            };
            let Message::CompilerArtifact {
                target,
                fresh,
                executable,
            } = message
            else {
                return false;
            };
            if !fresh {
                compiled += 1;
                let detail = format!("{} ({compiled})", target.name);
                self.progress
                    .working(SERVICES, Update::doing("compiling").with(detail));
            }
            if let Some(executable) = executable {
                found.insert(target.name, executable);
            }
            false
        })
        .await?;
        names
            .iter()
            .map(|&name| match found.remove(&binary(name)) {
                Some(path) => Ok((name, path)),
                None => Err(ImageError::Program {
                    program: "cargo".into(),
                    reason: format!("it made no binary of service {name}"),
                    log: Vec::new(),
                    hints: vec!["dm doctor".into()],
                }),
            })
            .collect()
    }

    /// The target that this machine's own programs have.
    async fn triple(&self) -> Result<String, ImageError> {
        // The compiler that cargo would take.
        let mut command = Command::new(self.cargo.with_file_name("rustc"));
        command.current_dir(self.root).arg("-vV");
        let mut triple = None;
        process::run_filtered("rustc", command, self.cancel, |line| {
            if let Some(host) = line.strip_prefix("host: ") {
                triple = Some(host.to_owned());
            }
            true
        })
        .await?;
        let triple = triple.unwrap_or_default();
        if triple.contains("-linux-") {
            Ok(triple)
        } else {
            Err(ImageError::ToolMissing {
                tool: "a Rust compiler for Linux".into(),
                reason: format!("this one makes programs for `{triple}`"),
            })
        }
    }
}

/// The package of a service and its binary: only the gateway goes by its bare name.
fn binary(name: &str) -> String {
    match name {
        "gateway" => name.to_owned(),
        _ => format!("{name}-service"),
    }
}

/// The message of a line, unless the line is for a person.
fn message(line: &str) -> Option<Message> {
    line.starts_with('{')
        .then(|| serde_json::from_str(line).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn artifacts_are_told_from_what_is_for_a_person() {
        let line = r#"{"reason":"compiler-artifact","package_id":"x","target":{"kind":["bin"],"name":"order-service"},"fresh":true,"executable":"/t/order-service"}"#;
        assert!(matches!(
            message(line),
            Some(Message::CompilerArtifact { executable: Some(_), fresh: true, target })
                if target.name == "order-service"
        ));
        assert!(matches!(
            message(r#"{"reason":"build-finished","success":true}"#),
            Some(Message::Other)
        ));
        assert!(message("error[E0308]: mismatched types").is_none());
    }
}
