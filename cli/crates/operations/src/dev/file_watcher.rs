//! Watches the files of the project for changes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use dm_images::{SERVICE_SOURCES, is_editor_temp_file};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use thiserror::Error;
use tokio::sync::mpsc;

/// Editors and version control write several files, and one file in several steps: events
/// within this interval of each other count as one change.
const DEBOUNCE_INTERVAL: Duration = Duration::from_millis(50);

/// The maximum number of changed files that are named.
const MAX_NAMED_FILES: usize = 3;

/// The project could not be watched.
#[derive(Debug, Error)]
pub(crate) enum WatchError {
    /// The operating system returned an error.
    #[error("could not watch {} for changes", path.display())]
    Watch {
        /// The watched path.
        path: PathBuf,
        /// The error.
        #[source]
        source: notify::Error,
    },
    /// The operating system stopped reporting events.
    #[error("could not watch {} any longer: the system stopped reporting changes", root.display())]
    EventStreamClosed {
        /// The project directory.
        root: PathBuf,
    },
}

impl UserError for WatchError {
    fn code(&self) -> ErrorCode {
        ErrorCode::FileWatch
    }

    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Engine
    }

    fn suggestions(&self) -> Vec<String> {
        match self {
            Self::Watch { source, .. }
                if matches!(source.kind, notify::ErrorKind::MaxFilesWatch) =>
            {
                vec!["sudo sysctl fs.inotify.max_user_watches=524288".into()]
            }
            _ => vec!["rebuild yourself after a change: dm rebuild".into()],
        }
    }
}

/// The files that changed together, relative to the project directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangedFiles(BTreeSet<PathBuf>);

impl ChangedFiles {
    /// Leaves out files that no longer exist, unless all of them were removed: many programs
    /// write a file under a temporary name first.
    fn without_temporary_files(mut self, root: &Path) -> Self {
        if self.0.iter().any(|path| root.join(path).exists()) {
            self.0.retain(|path| root.join(path).exists());
        }
        self
    }
}

impl std::fmt::Display for ChangedFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self
            .0
            .iter()
            .take(MAX_NAMED_FILES)
            .map(|path| path.display().to_string())
            .collect();
        f.write_str(&names.join(", "))?;
        match self.0.len().saturating_sub(MAX_NAMED_FILES) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Watches the sources of the services and the configuration.
pub(super) struct FileWatcher {
    root: PathBuf,
    watcher: RecommendedWatcher,
    events: mpsc::UnboundedReceiver<notify::Result<Event>>,
}

impl FileWatcher {
    /// Starts to watch the project directory.
    ///
    /// # Errors
    /// Returns [`WatchError::Watch`] if the operating system refuses.
    pub(super) fn new(root: &Path) -> Result<Self, WatchError> {
        let failed = |source| WatchError::Watch {
            path: root.to_owned(),
            source,
        };
        // Events carry resolved paths, without symbolic links.
        let root = root
            .canonicalize()
            .map_err(|error| failed(notify::Error::io(error)))?;
        let (sender, events) = mpsc::unbounded_channel();
        let watcher = notify::recommended_watcher(move |event| {
            // A closed channel means that the owner of the watcher is gone.
            let _ = sender.send(event);
        })
        .map_err(failed)?;
        let mut file_watcher = Self {
            root,
            watcher,
            events,
        };
        // The directory itself, for its files and for directories that are created later.
        file_watcher.watch_path(&file_watcher.root.clone(), RecursiveMode::NonRecursive)?;
        for source in SERVICE_SOURCES {
            let path = file_watcher.root.join(source);
            if path.is_dir() {
                file_watcher.watch_path(&path, RecursiveMode::Recursive)?;
            }
        }
        Ok(file_watcher)
    }

    fn watch_path(&mut self, path: &Path, mode: RecursiveMode) -> Result<(), WatchError> {
        self.watcher
            .watch(path, mode)
            .map_err(|source| WatchError::Watch {
                path: path.to_owned(),
                source,
            })
    }

    /// Waits until files have changed and no further event follows.
    ///
    /// # Errors
    /// Returns [`WatchError`] if the operating system reports no more changes.
    pub(super) async fn next_change(&mut self) -> Result<ChangedFiles, WatchError> {
        let mut changes = ChangedFiles::default();
        loop {
            let event = if changes.0.is_empty() {
                self.events.recv().await
            } else {
                match tokio::time::timeout(DEBOUNCE_INTERVAL, self.events.recv()).await {
                    Ok(event) => event,
                    Err(_) => return Ok(changes.without_temporary_files(&self.root)),
                }
            };
            match event {
                Some(Ok(event)) => self.record_event(&event, &mut changes)?,
                Some(Err(source)) => {
                    return Err(WatchError::Watch {
                        path: self.root.clone(),
                        source,
                    });
                }
                None => {
                    return Err(WatchError::EventStreamClosed {
                        root: self.root.clone(),
                    });
                }
            }
        }
    }

    fn record_event(
        &mut self,
        event: &Event,
        changes: &mut ChangedFiles,
    ) -> Result<(), WatchError> {
        if matches!(event.kind, EventKind::Access(_)) {
            return Ok(());
        }
        for path in &event.paths {
            let Some(relative) = relevant_path(&self.root, path) else {
                continue;
            };
            let is_new_source = relative.components().count() == 1 && path.is_dir();
            if is_new_source && event.kind.is_create() {
                self.watch_path(path, RecursiveMode::Recursive)?;
            }
            changes.0.insert(relative.to_owned());
        }
        Ok(())
    }
}

/// Returns the path relative to the project directory if a change of it is relevant.
fn relevant_path<'p>(root: &Path, path: &'p Path) -> Option<&'p Path> {
    let relative = path.strip_prefix(root).ok()?;
    let first = relative.components().next()?.as_os_str().to_str()?;
    let is_watched = SERVICE_SOURCES.contains(&first)
        || [dm_config::CONFIG_FILE, dm_config::LOCAL_CONFIG_FILE].contains(&first);
    let is_temporary = relative
        .ancestors()
        .any(|part| !part.as_os_str().is_empty() && is_editor_temp_file(part));
    (is_watched && !is_temporary).then_some(relative)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relevant_path_ignores_editor_files_and_unwatched_directories() {
        let root = Path::new("/p");
        for (path, expected) in [
            ("/p/services/order/src/main.rs", true),
            ("/p/Cargo.lock", true),
            ("/p/dm.toml", true),
            ("/p/migrations/orders/0002.sql", true),
            ("/p/services/order/src/.main.rs.swp", false),
            ("/p/services/order/.git/index", false),
            ("/p/services/order/src/main.rs~", false),
            ("/p/cli/src/main.rs", false),
            ("/p/target/debug/order", false),
            ("/p", false),
            ("/elsewhere/services/x.rs", false),
        ] {
            assert_eq!(
                relevant_path(root, Path::new(path)).is_some(),
                expected,
                "{path}"
            );
        }
    }

    #[test]
    fn changed_files_beyond_the_limit_are_counted() {
        let paths = ["a", "b", "c", "d", "e"].map(PathBuf::from);
        let changes = ChangedFiles(paths.into_iter().collect());
        assert_eq!(changes.to_string(), "a, b, c and 2 more");
    }

    #[test]
    fn temporary_files_are_left_out_of_changes() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("main.rs"), "x").unwrap();
        let changes = |paths: &[&str]| {
            ChangedFiles(paths.iter().map(PathBuf::from).collect())
                .without_temporary_files(root.path())
                .to_string()
        };
        assert_eq!(changes(&["main.rs", "sedX1"]), "main.rs");
        assert_eq!(changes(&["gone.rs"]), "gone.rs");
    }

    #[tokio::test]
    async fn file_watcher_reports_changed_sources_only() {
        let project = tempfile::tempdir().unwrap();
        let source = project.path().join("services/order/src");
        std::fs::create_dir_all(&source).unwrap();
        let mut watcher = FileWatcher::new(project.path()).unwrap();
        std::fs::write(project.path().join("README.md"), "x").unwrap();
        for file in ["main.rs", "lib.rs"] {
            std::fs::write(source.join(file), "x").unwrap();
        }
        let mut seen = BTreeSet::new();
        // A slow machine may report two changes.
        while seen.len() < 2 {
            seen.extend(watcher.next_change().await.unwrap().0);
        }
        let expected = ["lib.rs", "main.rs"].map(|file| Path::new("services/order/src").join(file));
        assert_eq!(seen, BTreeSet::from(expected));
    }

    #[tokio::test]
    async fn file_watcher_watches_a_directory_that_is_created_later() {
        let project = tempfile::tempdir().unwrap();
        let mut watcher = FileWatcher::new(project.path()).unwrap();
        let directory = project.path().join("migrations");
        std::fs::create_dir(&directory).unwrap();
        assert_eq!(
            watcher.next_change().await.unwrap().to_string(),
            "migrations"
        );
        std::fs::write(directory.join("0001.sql"), "x").unwrap();
        let changes = watcher.next_change().await.unwrap();
        assert_eq!(changes.to_string(), "migrations/0001.sql");
    }
}
