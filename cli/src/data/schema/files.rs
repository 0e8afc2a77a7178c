//! The folder of snapshots.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::object::{Document, Form};
use super::{SchemaError, diagram};

/// Where it is in a project.
pub const FOLDER: &str = "docs/schemas";

/// The folder of snapshots.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
}

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Written {
    /// The file, in the project.
    pub file: String,
    /// Whether it is other than it was.
    pub changed: bool,
}

impl Folder {
    /// The folder of a project.
    #[must_use]
    pub fn of(root: &Path) -> Self {
        Self {
            path: root.join(FOLDER),
        }
    }

    /// The snapshots.
    ///
    /// # Errors
    /// There are none, or one of them is none.
    pub fn read(&self) -> Result<Vec<Document>, SchemaError> {
        let mut documents = Vec::new();
        for path in self.files()? {
            let form = match path.extension().and_then(|it| it.to_str()) {
                Some("sql") => Form::Sql,
                Some("json") => Form::Json,
                _ => continue,
            };
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let text = fs::read_to_string(&path).map_err(failed("read", &path))?;
            let document = Document::parse(&name, form, &text)
                .ok_or_else(|| SchemaError::NoSnapshot(path.clone()))?;
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
            Err(source) => return Err(failed("read", &self.path)(source)),
        };
        let mut files = Vec::new();
        for entry in listed {
            files.push(entry.map_err(failed("read", &self.path))?.path());
        }
        files.sort();
        Ok(files)
    }

    /// Writes a file for each of these, and a picture of each schema. Those that it wrote of
    /// what is no longer there go.
    ///
    /// # Errors
    /// A file can't be written.
    pub fn write(&self, documents: &[Document]) -> Result<Vec<Written>, SchemaError> {
        fs::create_dir_all(&self.path).map_err(failed("make", &self.path))?;
        let mut written = Vec::new();
        for (name, text) in contents(documents) {
            let path = self.path.join(&name);
            let changed = fs::read_to_string(&path).ok().as_ref() != Some(&text);
            if changed {
                replace(&path, &text)?;
            }
            written.push(Written {
                file: format!("{FOLDER}/{name}"),
                changed,
            });
        }
        for path in self.files()? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let file = format!("{FOLDER}/{name}");
            if written.iter().all(|it| it.file != file) && is_ours(&path) {
                fs::remove_file(&path).map_err(failed("remove", &path))?;
                written.push(Written {
                    file,
                    changed: true,
                });
            }
        }
        Ok(written)
    }

    /// The pictures that are not of these schemas, or missing.
    #[must_use]
    pub fn stale_pictures(&self, documents: &[Document]) -> Vec<String> {
        contents(documents)
            .into_iter()
            .filter(|(name, _)| Path::new(name).extension().is_some_and(|it| it == "md"))
            .filter(|(name, text)| {
                fs::read_to_string(self.path.join(name)).ok().as_ref() != Some(text)
            })
            .map(|(name, _)| format!("{FOLDER}/{name}"))
            .collect()
    }
}

/// Whether a file is one that was written here, and not somebody's own.
fn is_ours(path: &Path) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    let first = text.lines().take(3);
    first
        .into_iter()
        .any(|line| line.contains("`dm schema snapshot`"))
}

/// Each file's name and text.
fn contents(documents: &[Document]) -> Vec<(String, String)> {
    let mut contents = Vec::new();
    for document in documents {
        let (name, form) = (&document.name, document.form);
        contents.push((format!("{name}.{}", form.extension()), document.render()));
        if form == Form::Sql {
            contents.push((format!("{name}.md"), diagram::render(document)));
        }
    }
    contents
}

/// All of it, or what was there before.
fn replace(path: &Path, text: &str) -> Result<(), SchemaError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed("write", path))?;
    file.write_all(text.as_bytes())
        .map_err(failed("write", path))?;
    // Files of one's own are private; these are the project's.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::Permissions::from_mode(0o644);
        file.as_file()
            .set_permissions(mode)
            .map_err(failed("write", path))?;
    }
    file.persist(path)
        .map_err(|error| failed("write", path)(error.error))?;
    Ok(())
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SchemaError {
    move |source| SchemaError::File {
        doing,
        path: path.to_owned(),
        source,
    }
}
