//! The digest of all inputs of the services' binaries.

use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::super::recipe::Sha256Digest;

/// The files and directories of a project that the services are compiled from.
/// Migrations and the product catalogue are compiled in.
pub const SERVICE_SOURCES: [&str; 5] = [
    "Cargo.toml",
    "Cargo.lock",
    "services",
    "migrations",
    "fixtures",
];

/// Computes the digest. It does not depend on the order of directory entries.
///
/// # Errors
/// Returns [`std::io::Error`] if a file cannot be read.
pub(super) fn hash_sources(root: &Path) -> io::Result<Sha256Digest> {
    let mut files = Vec::new();
    for input in SERVICE_SOURCES {
        collect_files(&root.join(input), &mut files)?;
    }
    files.sort();
    let mut hash = Sha256::new_with_prefix("dm services 1");
    for path in files {
        let contents = match std::fs::read(&path) {
            // An editor moved the file in between.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            contents => contents?,
        };
        let name = path.strip_prefix(root).unwrap_or(&path);
        hash.update(name.as_os_str().as_encoded_bytes());
        hash.update([0]);
        hash.update(contents.len().to_be_bytes());
        hash.update(contents);
    }
    Ok(Sha256Digest::from_hasher(hash))
}

/// Adds the file, or every file below the directory, without temporary files of editors.
/// A file that was removed meanwhile is ignored.
fn collect_files(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !metadata.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        if !is_editor_temp_file(&path) {
            collect_files(&path, files)?;
        }
    }
    Ok(())
}

/// Returns whether a file is a temporary file of an editor: its name begins with a dot or
/// ends in `~`.
#[must_use]
pub fn is_editor_temp_file(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') || name.ends_with('~')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_sources_detects_changes_and_ignores_editor_temp_files() {
        let project = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = project.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("Cargo.toml", "[workspace]");
        write("services/order/src/main.rs", "fn main() {}");
        let before = hash_sources(project.path()).unwrap();
        write("services/order/src/.main.rs.swp", "x");
        write("cli/src/main.rs", "fn main() {}");
        assert_eq!(hash_sources(project.path()).unwrap(), before);
        write(
            "migrations/orders/0002_orders.sql",
            "CREATE TABLE orders ()",
        );
        let after = hash_sources(project.path()).unwrap();
        assert_ne!(after, before);
        write("services/order/src/main.rs", "fn main() { run() }");
        assert_ne!(hash_sources(project.path()).unwrap(), after);
    }
}
