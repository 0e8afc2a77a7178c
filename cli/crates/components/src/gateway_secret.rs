//! The secret with which an instance's gateway authenticates to its services.
//!
//! It is created when the instance is brought up first, and kept in a file of the state
//! directory that only this user can read. `dm down --volumes` removes it.

use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use dm_core::instance::Instance;
use dm_host::state::StateError;
use uuid::Uuid;

/// The directory of the secrets in the state directory.
const SECRETS_DIR: &str = "gateway-secrets";

/// Returns the path of an instance's secret.
#[must_use]
pub(crate) fn secret_path(state_dir: &Path, instance: &Instance) -> PathBuf {
    let name = format!("{}.{}", instance.project, instance.name);
    state_dir.join(SECRETS_DIR).join(name)
}

/// Returns the secret of an instance, and creates it if it does not exist. Of several
/// concurrent calls one creates it.
///
/// # Errors
/// Returns [`StateError::Io`] if the file cannot be read or written.
pub fn load_or_create(state_dir: &Path, instance: &Instance) -> Result<String, StateError> {
    let path = secret_path(state_dir, instance);
    let failed = |operation, source| StateError::Io {
        operation,
        path: path.clone(),
        source,
    };
    match fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("read", error)),
    }
    create(&path).map_err(|error| failed("write", error))?;
    let text = fs::read_to_string(&path).map_err(|error| failed("read", error))?;
    Ok(text.trim().to_owned())
}

/// Removes the secret of an instance, if it exists.
///
/// # Errors
/// Returns [`StateError::Io`] if the file cannot be removed.
pub fn remove(state_dir: &Path, instance: &Instance) -> Result<(), StateError> {
    let path = secret_path(state_dir, instance);
    match fs::remove_file(&path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(StateError::Io {
            operation: "remove",
            path,
            source,
        }),
        _ => Ok(()),
    }
}

/// Writes a new secret in one step, unless another process was first.
fn create(path: &Path) -> io::Result<()> {
    let directory = path.parent().unwrap_or(path);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    // An empty file is left by a crash of the machine.
    if fs::metadata(path).is_ok_and(|metadata| metadata.len() == 0) {
        fs::remove_file(path)?;
    }
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    let secret = [Uuid::new_v4(), Uuid::new_v4()].map(|id| id.simple().to_string());
    writeln!(file, "{}", secret.concat())?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map(drop).map_err(Into::into),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn instance(name: &str) -> Instance {
        Instance::new("project-1f3a9c", name, "/p").unwrap()
    }

    #[test]
    fn each_instance_has_a_secret_readable_only_by_its_user() {
        let state = tempfile::tempdir().unwrap();
        let secret = |name| load_or_create(state.path(), &instance(name)).unwrap();
        let first = secret("default");
        assert_eq!(first.len(), 64);
        assert_eq!(secret("default"), first);
        assert_ne!(secret("review-7"), first);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let path = secret_path(state.path(), &instance("default"));
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
    }

    #[test]
    fn empty_secret_is_created_again() {
        let state = tempfile::tempdir().unwrap();
        let first = load_or_create(state.path(), &instance("default")).unwrap();
        fs::write(secret_path(state.path(), &instance("default")), "").unwrap();
        let second = load_or_create(state.path(), &instance("default")).unwrap();
        assert_eq!(second.len(), 64);
        assert_ne!(second, first);
        remove(state.path(), &instance("default")).unwrap();
        remove(state.path(), &instance("default")).unwrap();
        assert_ne!(
            load_or_create(state.path(), &instance("default")).unwrap(),
            second
        );
    }

    #[test]
    fn concurrent_calls_return_the_same_secret() {
        let state = tempfile::tempdir().unwrap();
        let secrets: Vec<String> = std::thread::scope(|scope| {
            let load = || load_or_create(state.path(), &instance("default")).unwrap();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(load)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert!(secrets.iter().all(|secret| *secret == secrets[0]));
    }
}
