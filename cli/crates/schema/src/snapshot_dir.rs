//! The folder of snapshots.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::file_names::{file_name, file_stem};
use super::object::{SchemaDocument, SnapshotFormat};
use super::{SchemaError, diagram, pg_dump};

/// Where it is in a project.
pub const SNAPSHOT_DIR: &str = "docs/schemas";

/// The folder of snapshots.
#[derive(Debug, Clone)]
pub struct SnapshotDir {
    path: PathBuf,
    /// How it is told.
    display_path: PathBuf,
}

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WrittenFile {
    /// The file, in the project or in the folder that was named.
    pub file: String,
    /// Whether it is other than it was.
    pub changed: bool,
}

impl SnapshotDir {
    /// The folder of a project.
    #[must_use]
    pub fn in_project(root: &Path) -> Self {
        Self {
            path: root.join(SNAPSHOT_DIR),
            display_path: PathBuf::from(SNAPSHOT_DIR),
        }
    }

    /// Another folder than the project's.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            display_path: path.to_owned(),
        }
    }

    /// A file of it, as it is told.
    fn display_name(&self, name: &str) -> String {
        self.display_path.join(name).display().to_string()
    }

    /// The snapshots.
    ///
    /// # Errors
    /// There are none, or one of them is none.
    pub fn read(&self) -> Result<Vec<SchemaDocument>, SchemaError> {
        let mut documents = Vec::new();
        for path in self.files()? {
            let Some((name, form)) = parse_file_name(&path) else {
                continue;
            };
            if form != SnapshotFormat::Json && !is_generated(&path) {
                continue;
            }
            let text = fs::read_to_string(&path).map_err(file_error("read", &path))?;
            let document = SchemaDocument::parse(&name, form, &text)
                .ok_or_else(|| SchemaError::InvalidSnapshot(path.clone()))?;
            documents.push(document);
        }
        if documents.is_empty() {
            return Err(SchemaError::NoSnapshots(self.path.clone()));
        }
        Ok(documents)
    }

    fn files(&self) -> Result<Vec<PathBuf>, SchemaError> {
        let listed = match fs::read_dir(&self.path) {
            Ok(listed) => listed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(file_error("read", &self.path)(source)),
        };
        let mut files = Vec::new();
        for entry in listed {
            files.push(entry.map_err(file_error("read", &self.path))?.path());
        }
        files.sort();
        Ok(files)
    }

    /// Writes a file for each of these, and a picture of each schema. Those that it wrote of
    /// what is no longer there go.
    ///
    /// # Errors
    /// A file can't be written.
    pub fn write(&self, documents: &[SchemaDocument]) -> Result<Vec<WrittenFile>, SchemaError> {
        fs::create_dir_all(&self.path).map_err(file_error("make", &self.path))?;
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
            if written.iter().all(|it| it.file != file) && is_generated(&path) {
                fs::remove_file(&path).map_err(file_error("remove", &path))?;
                written.push(WrittenFile {
                    file,
                    changed: true,
                });
            }
        }
        Ok(written)
    }

    /// The pictures that are not of these schemas, or missing.
    #[must_use]
    pub fn stale_diagrams(&self, documents: &[SchemaDocument]) -> Vec<String> {
        render_files(documents)
            .into_iter()
            .filter(|(name, _)| Path::new(name).extension().is_some_and(|it| it == "md"))
            .filter(|(name, text)| {
                fs::read_to_string(self.path.join(name)).ok().as_ref() != Some(text)
            })
            .map(|(name, _)| self.display_name(&name))
            .collect()
    }
}

/// Whether a file is one that was written here, and not somebody's own.
fn is_generated(path: &Path) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    let first = text.lines().take(3);
    first
        .into_iter()
        .any(|line| line.contains("`dm schema snapshot`"))
}

/// Each file's name and text.
fn render_files(documents: &[SchemaDocument]) -> Vec<(String, String)> {
    let mut contents = Vec::new();
    for document in documents {
        contents.push((file_name(document), document.render()));
        // A schema without tables has nothing to show.
        let has_tables = document.objects.iter().any(|it| it.kind == "TABLE");
        if document.format == SnapshotFormat::Sql && has_tables {
            let name = format!("{}.md", file_stem(document));
            contents.push((name, diagram::render(document)));
        }
    }
    contents
}

/// The name and the form that a file's name tells; nothing where it is none of these files.
fn parse_file_name(path: &Path) -> Option<(String, SnapshotFormat)> {
    let stem = path.file_stem()?.to_str()?;
    let form = match path.extension()?.to_str()? {
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
    Some((String::from_utf8(bytes).ok()?, form))
}

/// All of it, or what was there before.
fn write_atomically(path: &Path, text: &str) -> Result<(), SchemaError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(file_error("write", path))?;
    file.write_all(text.as_bytes())
        .map_err(file_error("write", path))?;
    // Files of one's own are private; these are the project's.
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
    use proptest::prelude::*;

    use super::super::object::SchemaObject;
    use super::*;

    fn document(name: &str, form: SnapshotFormat) -> SchemaDocument {
        let table = SchemaObject {
            kind: "TABLE".into(),
            name: "t".into(),
            text: "CREATE TABLE t ();".into(),
        };
        SchemaDocument {
            name: name.into(),
            format: form,
            objects: vec![table],
        }
    }

    proptest! {
        /// A schema of any name has a file of its own, in the folder and nowhere else.
        #[test]
        fn any_schema_has_a_file(name in "(\\PC|/|\\.|%|\\n|database|A){1,12}") {
            let document = document(&name, SnapshotFormat::Sql);
            let file = file_name(&document);
            prop_assert!(!file.contains('/') && !file.starts_with('.'), "{}", file);
            prop_assert_eq!(parse_file_name(Path::new(&file)), Some((name, SnapshotFormat::Sql)));
        }
    }

    #[test]
    fn a_folder_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let folder = SnapshotDir::new(folder.path());
        let documents = [
            document("database", SnapshotFormat::Database),
            document("database", SnapshotFormat::Sql),
            document("../Sales", SnapshotFormat::Sql),
        ];
        fs::write(folder.path.join("own.sql"), "SELECT 1;").unwrap();
        folder.write(&documents).unwrap();
        let mut read = folder.read().unwrap();
        read.sort_by_key(|it| std::cmp::Reverse(it.name.clone()));
        assert_eq!(read.len(), 3);
        assert_eq!(folder.stale_diagrams(&read), [""; 0]);
        // What is no longer there goes, and what is somebody's own stays.
        let written = folder.write(&documents[..1]).unwrap();
        assert_eq!(
            written.iter().filter(|it| it.changed).count(),
            4,
            "{written:?}"
        );
        assert!(folder.path.join("own.sql").exists());
    }
}
