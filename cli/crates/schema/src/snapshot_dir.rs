//! The directory of snapshots.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use dm_components::quote::shell_path;
use serde::Serialize;

use super::file_names::{file_name, file_stem};
use super::object::{SchemaDocument, SnapshotFormat};
use super::{SchemaError, diagram, pg_dump};

/// The path of the directory in a project.
const SNAPSHOT_DIR: &str = "docs/schemas";

/// The directory of snapshots.
#[derive(Debug, Clone)]
pub struct SnapshotDir {
    path: PathBuf,
    /// The path in output.
    display_path: PathBuf,
    /// Whether the path is the value of `--dir`.
    is_option: bool,
}

/// A written or removed file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WrittenFile {
    /// The path of the file, in the project or in the given directory.
    pub file: String,
    /// Whether the file has changed.
    pub changed: bool,
}

impl SnapshotDir {
    /// Returns the directory of a project.
    #[must_use]
    pub fn in_project(root: &Path) -> Self {
        Self {
            path: root.join(SNAPSHOT_DIR),
            display_path: PathBuf::from(SNAPSHOT_DIR),
            is_option: false,
        }
    }

    /// Returns the snapshots in another directory, which `--dir` names.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            display_path: path.to_owned(),
            is_option: true,
        }
    }

    /// Returns the command that writes the snapshots of this directory.
    #[must_use]
    pub fn snapshot_command(&self) -> String {
        let command = "dm schema snapshot";
        if self.is_option {
            format!("{command} --dir {}", shell_path(&self.path))
        } else {
            command.to_owned()
        }
    }

    /// Returns the path of a file in output.
    fn display_name(&self, name: &str) -> String {
        self.display_path.join(name).display().to_string()
    }

    /// Reads the snapshots.
    ///
    /// # Errors
    /// Returns [`SchemaError::NoSnapshots`] if there are none, [`SchemaError::InvalidSnapshot`] if a
    /// file is not a snapshot, and [`SchemaError::File`] if a file cannot be read.
    pub fn read(&self) -> Result<Vec<SchemaDocument>, SchemaError> {
        let mut documents = Vec::new();
        for path in self.files()? {
            let Some((name, format)) = parse_file_name(&path) else {
                continue;
            };
            if format != SnapshotFormat::Json && !is_generated(&path) {
                continue;
            }
            let text = fs::read_to_string(&path).map_err(file_error("read", &path))?;
            let document = SchemaDocument::parse(&name, format, &text).ok_or_else(|| {
                SchemaError::InvalidSnapshot {
                    path: path.clone(),
                    command: self.snapshot_command(),
                }
            })?;
            documents.push(document);
        }
        if documents.is_empty() {
            return Err(SchemaError::NoSnapshots {
                directory: self.path.clone(),
                command: self.snapshot_command(),
            });
        }
        Ok(documents)
    }

    fn files(&self) -> Result<Vec<PathBuf>, SchemaError> {
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(file_error("read", &self.path)(source)),
        };
        let mut files = Vec::new();
        for entry in entries {
            files.push(entry.map_err(file_error("read", &self.path))?.path());
        }
        files.sort();
        Ok(files)
    }

    /// Writes a file for each document, and a diagram of each schema. Removes generated files of
    /// documents that no longer exist.
    ///
    /// # Errors
    /// Returns [`SchemaError::File`] if a file cannot be written or removed.
    pub fn write(&self, documents: &[SchemaDocument]) -> Result<Vec<WrittenFile>, SchemaError> {
        fs::create_dir_all(&self.path).map_err(file_error("create", &self.path))?;
        let mut written = Vec::new();
        for (name, text) in render_files(documents) {
            let path = self.path.join(&name);
            let changed = fs::read_to_string(&path).ok().as_ref() != Some(&text);
            if changed {
                write_atomically(&path, &text)?;
            }
            written.push(WrittenFile {
                file: self.display_name(&name),
                changed,
            });
        }
        for path in self.files()? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let file = self.display_name(&name);
            if written.iter().all(|written| written.file != file) && is_generated(&path) {
                fs::remove_file(&path).map_err(file_error("remove", &path))?;
                written.push(WrittenFile {
                    file,
                    changed: true,
                });
            }
        }
        Ok(written)
    }

    /// Returns the diagrams that are missing or do not match these schemas.
    #[must_use]
    pub fn stale_diagrams(&self, documents: &[SchemaDocument]) -> Vec<String> {
        render_files(documents)
            .into_iter()
            .filter(|(name, _)| {
                Path::new(name)
                    .extension()
                    .is_some_and(|extension| extension == "md")
            })
            .filter(|(name, text)| {
                fs::read_to_string(self.path.join(name)).ok().as_ref() != Some(text)
            })
            .map(|(name, _)| self.display_name(&name))
            .collect()
    }
}

/// Returns whether a file was generated by `dm`, in contrast to a file of the user.
fn is_generated(path: &Path) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut lines = text.lines().take(3);
    lines.any(|line| line.contains("`dm schema snapshot`"))
}

/// Returns the names and texts of all files.
fn render_files(documents: &[SchemaDocument]) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for document in documents {
        files.push((file_name(document), document.render()));
        // A schema without tables has no diagram.
        let has_tables = document.objects.iter().any(|object| object.kind == "TABLE");
        if document.format == SnapshotFormat::Sql && has_tables {
            let name = format!("{}.md", file_stem(document));
            files.push((name, diagram::render(document)));
        }
    }
    files
}

/// Returns the document name and the format of a file name, or `None` for other files.
fn parse_file_name(path: &Path) -> Option<(String, SnapshotFormat)> {
    let stem = path.file_stem()?.to_str()?;
    let format = match path.extension()?.to_str()? {
        "sql" if stem == pg_dump::DATABASE_DOCUMENT => SnapshotFormat::Database,
        "sql" => SnapshotFormat::Sql,
        "json" => SnapshotFormat::Json,
        _ => return None,
    };
    let mut bytes = Vec::new();
    let mut rest = stem.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &rest[2..];
        } else {
            bytes.push(*first);
        }
    }
    Some((String::from_utf8(bytes).ok()?, format))
}

/// Writes a file atomically.
fn write_atomically(path: &Path, text: &str) -> Result<(), SchemaError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(file_error("write", path))?;
    file.write_all(text.as_bytes())
        .map_err(file_error("write", path))?;
    // Temporary files are private, but snapshots belong to the project.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::Permissions::from_mode(0o644);
        file.as_file()
            .set_permissions(mode)
            .map_err(file_error("write", path))?;
    }
    file.persist(path)
        .map_err(|error| file_error("write", path)(error.error))?;
    Ok(())
}

fn file_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SchemaError {
    move |source| SchemaError::File {
        doing,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use dm_core::error::UserError as _;
    use proptest::prelude::*;

    use super::super::object::SchemaObject;
    use super::*;

    fn document(name: &str, format: SnapshotFormat) -> SchemaDocument {
        let table = SchemaObject {
            kind: "TABLE".into(),
            name: "t".into(),
            text: "CREATE TABLE t ();".into(),
        };
        SchemaDocument {
            name: name.into(),
            format,
            objects: vec![table],
        }
    }

    proptest! {
        /// For schemas with any name: the file is in the directory and unique.
        #[test]
        fn file_name_is_parsed_back(name in "(\\PC|/|\\.|%|\\n|database|A){1,12}") {
            let document = document(&name, SnapshotFormat::Sql);
            let file = file_name(&document);
            prop_assert!(!file.contains('/') && !file.starts_with('.'), "{}", file);
            prop_assert_eq!(parse_file_name(Path::new(&file)), Some((name, SnapshotFormat::Sql)));
        }
    }

    #[test]
    fn snapshot_command_repeats_the_dir_option() {
        let root = tempfile::tempdir().unwrap();
        let project = SnapshotDir::in_project(root.path());
        assert_eq!(project.snapshot_command(), "dm schema snapshot");
        let other = SnapshotDir::new(&root.path().join("my schemas"));
        let command = other.snapshot_command();
        assert!(
            command.starts_with("dm schema snapshot --dir '") && command.ends_with("my schemas'"),
            "{command}"
        );
        let error = other.read().unwrap_err();
        assert_eq!(error.suggestions(), [command]);
    }

    #[test]
    fn written_snapshots_are_read_back_and_stale_files_removed() {
        let directory = tempfile::tempdir().unwrap();
        let snapshots = SnapshotDir::new(directory.path());
        let documents = [
            document("database", SnapshotFormat::Database),
            document("database", SnapshotFormat::Sql),
            document("../Sales", SnapshotFormat::Sql),
        ];
        fs::write(snapshots.path.join("own.sql"), "SELECT 1;").unwrap();
        snapshots.write(&documents).unwrap();
        let mut read = snapshots.read().unwrap();
        read.sort_by_key(|document| std::cmp::Reverse(document.name.clone()));
        assert_eq!(read.len(), 3);
        assert_eq!(snapshots.stale_diagrams(&read), [""; 0]);
        // Files of removed documents are removed, and files of the user are kept.
        let written = snapshots.write(&documents[..1]).unwrap();
        assert_eq!(
            written.iter().filter(|file| file.changed).count(),
            4,
            "{written:?}"
        );
        assert!(snapshots.path.join("own.sql").exists());
    }
}
