//! The key of the digests that `dm` stores where other users can see them.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use super::state::StateError;

const KEY_FILE: &str = "digest.key";
const KEY_LENGTH: usize = 32;

/// Returns the user's key. Creates it at the first call, and if its file is missing; then every
/// container counts as changed once.
///
/// # Errors
/// Returns [`StateError::Io`] if the state directory cannot be used.
pub fn load_or_create_digest_key(state: &Path) -> Result<Vec<u8>, StateError> {
    let path = state.join(KEY_FILE);
    let io_error = |operation| {
        let path = path.clone();
        move |source| StateError::Io {
            operation,
            path,
            source,
        }
    };
    if let Some(key) = read_key(&path).map_err(io_error("read"))? {
        return Ok(key);
    }
    let mut key = vec![0; KEY_LENGTH];
    let mut create = || -> io::Result<()> {
        aws_lc_rs::rand::fill(&mut key).map_err(io::Error::other)?;
        // Temporary files are accessible to their owner only.
        let mut file = tempfile::NamedTempFile::new_in(state)?;
        file.write_all(&key)?;
        file.as_file().sync_all()?;
        match file.persist_noclobber(&path) {
            // Another process has created the key in the meantime.
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
            other => drop(other?),
        }
        Ok(())
    };
    create().map_err(io_error("write"))?;
    Ok(read_key(&path)
        .map_err(io_error("read"))?
        .unwrap_or_default())
}

/// Reads the existing key. Removes a file of another length, which is not a key.
fn read_key(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(key) if key.len() == KEY_LENGTH => Ok(Some(key)),
        Ok(_) => fs::remove_file(path).map(|()| None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn digest_key_is_created_once_and_readable_by_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let key = load_or_create_digest_key(directory.path()).unwrap();
        assert_eq!(load_or_create_digest_key(directory.path()).unwrap(), key);
        assert_eq!(key.len(), KEY_LENGTH);
        let file = directory.path().join(KEY_FILE);
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(&file, "short").unwrap();
        assert_ne!(load_or_create_digest_key(directory.path()).unwrap(), key);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
