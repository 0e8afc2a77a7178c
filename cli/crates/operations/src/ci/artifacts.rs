//! The files that a job keeps.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use thiserror::Error;

/// The JUnit file in the folder of artifacts.
const JUNIT_FILE: &str = "junit.xml";
/// The summary.
const SUMMARY_FILE: &str = "summary.md";
/// The JSON lines.
const EVENTS_FILE: &str = "ci.jsonl";
/// The diagnostics bundle of a job that failed.
const BUNDLE_FILE: &str = "diagnostics.tar.zst";

/// A file that can't be written.
#[derive(Debug, Error)]
pub enum ArtifactError {
    /// The system refuses.
    #[error("could not write {}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The JUnit file could not be made.
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

/// Where the files of a job go.
#[derive(Debug, Default)]
pub struct Artifacts {
    /// The JUnit file.
    pub junit: Option<PathBuf>,
    /// The summary, in Markdown.
    pub summary: Option<PathBuf>,
    /// The summary of the step that GitHub Actions shows; others write to it, too.
    pub step_summary: Option<PathBuf>,
    /// The diagnostics bundle, if something fails.
    pub bundle: Option<PathBuf>,
    event_log: Option<(PathBuf, File)>,
}

impl Artifacts {
    /// Files in a folder, which is made, and elsewhere where that was asked. The
    /// folders are tried before anything is started.
    ///
    /// # Errors
    /// Where the folder can't be made or written to.
    pub fn prepare(
        folder: Option<&Path>,
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
        if let Some(folder) = folder {
            std::fs::create_dir_all(folder).map_err(write_error(folder))?;
            let bundle = folder.join(BUNDLE_FILE);
            // Of an earlier job in the same folder.
            match std::fs::remove_file(&bundle) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(write_error(&bundle)(error));
                }
                _ => {}
            }
            artifacts.bundle = Some(bundle);
            artifacts
                .junit
                .get_or_insert_with(|| folder.join(JUNIT_FILE));
            artifacts
                .summary
                .get_or_insert_with(|| folder.join(SUMMARY_FILE));
            let lines = folder.join(EVENTS_FILE);
            let file = File::create(&lines).map_err(write_error(&lines))?;
            artifacts.event_log = Some((lines, file));
        }
        for path in [&artifacts.junit, &artifacts.summary].into_iter().flatten() {
            File::create(path).map_err(write_error(path))?;
        }
        Ok(artifacts)
    }

    /// Keeps a JSON line.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn write_event_line(&mut self, line: &str) -> Result<(), ArtifactError> {
        if let Some((path, file)) = &mut self.event_log {
            writeln!(file, "{line}").map_err(write_error(path))?;
        }
        Ok(())
    }

    /// Writes what came out.
    ///
    /// # Errors
    /// Where a file can't be written.
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

    /// The files that there are.
    #[must_use]
    pub fn files(&self) -> Vec<&Path> {
        let lines = self.event_log.as_ref().map(|(path, _)| path);
        [
            self.junit.as_ref(),
            self.summary.as_ref(),
            lines,
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
    fn a_folder_gets_everything_and_a_named_file_goes_where_it_was_named() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("ci");
        let step = place.path().join("step.md");
        std::fs::write(&step, "before\n").unwrap();
        let junit = place.path().join("own.xml");
        let mut artifacts =
            Artifacts::prepare(Some(&folder), Some(junit.clone()), None, Some(step.clone()))
                .unwrap();
        artifacts.write_event_line("{}").unwrap();
        artifacts.write_reports("<x/>", "# summary\n").unwrap();
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert_eq!(read(&junit), "<x/>");
        assert_eq!(read(&folder.join(SUMMARY_FILE)), "# summary\n");
        assert_eq!(read(&folder.join(EVENTS_FILE)), "{}\n");
        assert_eq!(read(&step), "before\n# summary\n");
        let files = artifacts.files();
        assert_eq!(
            files,
            [junit, folder.join(SUMMARY_FILE), folder.join(EVENTS_FILE)]
        );
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_told_first() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = Artifacts::prepare(Some(&file.join("ci")), None, None, None).unwrap_err();
        assert_eq!(error.exit_status(), ExitStatus::Usage);
    }

    #[test]
    fn without_a_folder_nothing_is_written() {
        let artifacts = Artifacts::prepare(None, None, None, None).unwrap();
        artifacts.write_reports("<x/>", "# summary").unwrap();
        assert!(artifacts.files().is_empty());
    }
}
