//! The key of the digests that `dm` puts where others see them.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use super::state::StateError;

const KEY_FILE: &str = "digest.key";
const KEY_LENGTH: usize = 32;

/// This user's key, made at the first call. Without its file a new one is made; then every
/// container counts as changed, once.
///
/// # Errors
/// [`StateError::Io`] where the state directory can't be used.
pub fn load_or_create_digest_key(state: &Path) -> Result<Vec<u8>, StateError> {
    let path = state.join(KEY_FILE);
    let failed = |doing| {
        let path = path.clone();
        move |source| StateError::Io {
            operation: doing,
            path,
            source,
        }
    };
    if let Some(key) = read_key(&path).map_err(failed("read"))? {
        return Ok(key);
    }
    let mut key = vec![0; KEY_LENGTH];
    let mut made = || -> io::Result<()> {
        aws_lc_rs::rand::fill(&mut key).map_err(io::Error::other)?;
        // Of its owner alone, as temporary files are.
        let mut file = tempfile::NamedTempFile::new_in(state)?;
        file.write_all(&key)?;
        file.as_file().sync_all()?;
        match file.persist_noclobber(&path) {
            // Another call was quicker.
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
            other => drop(other?),
        }
        Ok(())
    };
    made().map_err(failed("write"))?;
    Ok(read_key(&path).map_err(failed("read"))?.unwrap_or_default())
}

/// The key that is there. A file of another length is no key, and goes.
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
    fn the_key_is_made_once_and_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let key = load_or_create_digest_key(folder.path()).unwrap();
        assert_eq!(load_or_create_digest_key(folder.path()).unwrap(), key);
        assert_eq!(key.len(), KEY_LENGTH);
        let file = folder.path().join(KEY_FILE);
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(&file, "short").unwrap();
        assert_ne!(load_or_create_digest_key(folder.path()).unwrap(), key);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
