//! The files that a CI job writes.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use thiserror::Error;

/// The name of the JUnit file in the artifacts directory.
const JUNIT_FILE: &str = "junit.xml";
/// The name of the summary.
const SUMMARY_FILE: &str = "summary.md";
/// The name of the event log, in JSON lines.
const EVENTS_FILE: &str = "ci.jsonl";
/// The name of the diagnostics bundle of a failed job.
const BUNDLE_FILE: &str = "diagnostics.tar.zst";

/// An artifact could not be written.
#[derive(Debug, Error)]
pub enum ArtifactError {
    /// A file or directory could not be written.
    #[error("could not write {}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// The error.
        #[source]
        source: io::Error,
    },
    /// The JUnit report could not be serialized.
    #[error("could not serialize the JUnit report")]
    Junit(#[from] quick_junit::SerializeError),
}

impl UserError for ArtifactError {
    fn code(&self) -> ErrorCode {
        ErrorCode::ReportWrite
    }

    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Usage
    }

    fn suggestions(&self) -> Vec<String> {
        vec!["check --artifacts, --junit, --summary and the free disk space".into()]
    }
}

/// The paths of the files of a job.
#[derive(Debug, Default)]
pub struct Artifacts {
    /// The JUnit file.
    pub junit: Option<PathBuf>,
    /// The summary, in Markdown.
    pub summary: Option<PathBuf>,
    /// The step summary of GitHub Actions. Other steps append to it, too.
    pub step_summary: Option<PathBuf>,
    /// The diagnostics bundle, if something fails.
    pub bundle: Option<PathBuf>,
    event_log: Option<(PathBuf, File)>,
}

impl Artifacts {
    /// Creates the directory and the files, so that an unusable path is reported before the
    /// job starts. Explicit paths take precedence over the directory.
    ///
    /// # Errors
    /// Returns [`ArtifactError::Write`] if a directory or file cannot be created.
    pub fn prepare(
        directory: Option<&Path>,
        junit: Option<PathBuf>,
        summary: Option<PathBuf>,
        step_summary: Option<PathBuf>,
    ) -> Result<Self, ArtifactError> {
        let mut artifacts = Self {
            junit,
            summary,
            step_summary,
            ..Self::default()
        };
        if let Some(directory) = directory {
            std::fs::create_dir_all(directory).map_err(write_error(directory))?;
            let bundle = directory.join(BUNDLE_FILE);
            // The bundle of an earlier job in the same directory.
            match std::fs::remove_file(&bundle) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(write_error(&bundle)(error));
                }
                _ => {}
            }
            artifacts.bundle = Some(bundle);
            artifacts
                .junit
                .get_or_insert_with(|| directory.join(JUNIT_FILE));
            artifacts
                .summary
                .get_or_insert_with(|| directory.join(SUMMARY_FILE));
            let path = directory.join(EVENTS_FILE);
            let file = File::create(&path).map_err(write_error(&path))?;
            artifacts.event_log = Some((path, file));
        }
        for path in [&artifacts.junit, &artifacts.summary].into_iter().flatten() {
            File::create(path).map_err(write_error(path))?;
        }
        Ok(artifacts)
    }

    /// Appends a line to the event log.
    ///
    /// # Errors
    /// Returns [`ArtifactError::Write`] if the line cannot be written.
    pub fn write_event_line(&mut self, line: &str) -> Result<(), ArtifactError> {
        if let Some((path, file)) = &mut self.event_log {
            writeln!(file, "{line}").map_err(write_error(path))?;
        }
        Ok(())
    }

    /// Writes the JUnit file and the summaries.
    ///
    /// # Errors
    /// Returns [`ArtifactError::Write`] if a file cannot be written.
    pub fn write_reports(&self, junit: &str, summary: &str) -> Result<(), ArtifactError> {
        for (path, text) in [(&self.junit, junit), (&self.summary, summary)] {
            if let Some(path) = path {
                std::fs::write(path, text).map_err(write_error(path))?;
            }
        }
        if let Some(path) = &self.step_summary {
            let file = File::options().append(true).create(true).open(path);
            file.and_then(|mut file| file.write_all(summary.as_bytes()))
                .map_err(write_error(path))?;
        }
        Ok(())
    }

    /// Returns the files that exist.
    #[must_use]
    pub fn files(&self) -> Vec<&Path> {
        let event_log = self.event_log.as_ref().map(|(path, _)| path);
        [
            self.junit.as_ref(),
            self.summary.as_ref(),
            event_log,
            self.bundle.as_ref(),
        ]
        .into_iter()
        .flatten()
        .filter(|path| path.exists())
        .map(PathBuf::as_path)
        .collect()
    }
}

fn write_error(path: &Path) -> impl FnOnce(io::Error) -> ArtifactError + use<> {
    let path = path.to_owned();
    move |source| ArtifactError::Write { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn artifacts_are_written_to_the_directory_unless_a_path_is_given() {
        let temp_dir = tempfile::tempdir().unwrap();
        let directory = temp_dir.path().join("ci");
        let step = temp_dir.path().join("step.md");
        std::fs::write(&step, "before\n").unwrap();
        let junit = temp_dir.path().join("own.xml");
        let mut artifacts = Artifacts::prepare(
            Some(&directory),
            Some(junit.clone()),
            None,
            Some(step.clone()),
        )
        .unwrap();
        artifacts.write_event_line("{}").unwrap();
        artifacts.write_reports("<x/>", "# summary\n").unwrap();
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert_eq!(read(&junit), "<x/>");
        assert_eq!(read(&directory.join(SUMMARY_FILE)), "# summary\n");
        assert_eq!(read(&directory.join(EVENTS_FILE)), "{}\n");
        assert_eq!(read(&step), "before\n# summary\n");
        let files = artifacts.files();
        assert_eq!(
            files,
            [
                junit,
                directory.join(SUMMARY_FILE),
                directory.join(EVENTS_FILE)
            ]
        );
    }

    #[test]
    fn prepare_fails_if_the_directory_cannot_be_created() {
        let temp_dir = tempfile::tempdir().unwrap();
        let file = temp_dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = Artifacts::prepare(Some(&file.join("ci")), None, None, None).unwrap_err();
        assert_eq!(error.exit_status(), ExitStatus::Usage);
    }

    #[test]
    fn artifacts_without_a_directory_write_nothing() {
        let artifacts = Artifacts::prepare(None, None, None, None).unwrap();
        artifacts.write_reports("<x/>", "# summary").unwrap();
        assert!(artifacts.files().is_empty());
    }
}
