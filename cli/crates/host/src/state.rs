//! The state directory of `dm` on this machine: state files and locks.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::HEXLOWER;
use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::lock::{FileLock, LockError, LockGuard, LockHolder};

/// The state directory of root if root has no home directory of its own.
const ROOT_STATE_DIR: &str = "/var/lib/dm";

/// An error of the state directory.
#[derive(Debug, Error)]
pub enum StateError {
    /// Neither `XDG_STATE_HOME` nor `HOME` is set.
    #[error("could not find a state directory: neither XDG_STATE_HOME nor HOME is set")]
    NoHome,
    /// The directory or a file cannot be created, read or written.
    #[error("could not {operation} {}", path.display())]
    Io {
        /// The operation: `create`, `read`, `write`, `remove`.
        operation: &'static str,
        /// The directory or file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The directory belongs to another user, who could change trusted files.
    #[error("could not use {}: it belongs to another user (uid {owner})", path.display())]
    ForeignOwner {
        /// The directory.
        path: PathBuf,
        /// The uid of its owner.
        owner: u32,
    },
    /// A state file is damaged.
    #[error("could not read {}: the file is damaged", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The error of reading it as JSON.
        #[source]
        source: serde_json::Error,
    },
}

impl UserError for StateError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NoHome => ErrorCode::StateNoHome,
            Self::Io { .. } => ErrorCode::StateAccess,
            Self::ForeignOwner { .. } => ErrorCode::StateNotOurs,
            Self::Corrupt { .. } => ErrorCode::StateDamaged,
        }
    }

    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Usage
    }

    fn suggestions(&self) -> Vec<String> {
        match self {
            Self::NoHome | Self::Io { .. } | Self::ForeignOwner { .. } => {
                vec!["set XDG_STATE_HOME to a directory that you can write to".into()]
            }
            Self::Corrupt { path, .. } => vec![format!(
                "move the file away, which does not affect running stacks: mv {0} {0}.damaged",
                path.display()
            )],
        }
    }
}

/// The state directory: `$XDG_STATE_HOME/dm`, else `~/.local/state/dm`.
#[derive(Debug, Clone)]
pub struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// Opens the user's state directory. Creates it if it does not exist.
    ///
    /// If root has the `HOME` of another user (`sudo -E`), it uses `/var/lib/dm` instead:
    /// files of root in a user's home directory would lock that user out.
    ///
    /// # Errors
    /// Returns [`StateError`] if the location is unknown or the directory cannot be used.
    pub fn open() -> Result<Self, StateError> {
        let root = rustix::process::geteuid().is_root();
        let path = locate_state_dir(
            std::env::var_os("XDG_STATE_HOME").map(PathBuf::from),
            std::env::home_dir(),
            root,
            |home| owner_uid(home).is_some_and(|owner| owner == 0),
        )
        .ok_or(StateError::NoHome)?;
        Self::open_at(path)
    }

    /// Uses `path` as the state directory. Creates it if it does not exist.
    ///
    /// # Errors
    /// Returns [`StateError`] if it cannot be created or belongs to another user.
    pub fn open_at(path: impl Into<PathBuf>) -> Result<Self, StateError> {
        let path = path.into();
        let io = |source| StateError::Io {
            operation: "create",
            path: path.clone(),
            source,
        };
        create_private_dir(&path).map_err(io)?;
        std::fs::create_dir_all(path.join("locks")).map_err(io)?;
        if let Some(owner) = owner_uid(&path)
            && owner != rustix::process::geteuid().as_raw()
        {
            return Err(StateError::ForeignOwner { path, owner });
        }
        Ok(Self { path })
    }

    /// Returns the path of the directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the lock `name` of this directory. `name` must be valid as a file name.
    #[must_use]
    pub fn lock(&self, display_name: impl Into<String>, name: &str) -> FileLock {
        FileLock::new(
            display_name,
            self.path.join("locks").join(format!("{name}.lock")),
        )
    }

    /// Returns the lock under which one `dm` at a time changes an instance.
    #[must_use]
    pub fn instance_lock(&self, project: &str, instance: &str) -> FileLock {
        self.lock(
            format!("instance {instance}"),
            &format!("{project}.{instance}"),
        )
    }

    /// Takes the lock of an instance, waiting up to `timeout`. If it has to wait, it calls
    /// `on_wait` once with the holder.
    ///
    /// # Errors
    /// Returns [`LockError`] if the lock stays busy, the wait is cancelled, or the file cannot be
    /// used.
    pub async fn lock_instance(
        &self,
        project: &str,
        instance: &str,
        command: &str,
        timeout: Duration,
        cancel: &CancellationToken,
        on_wait: impl FnOnce(Option<LockHolder>),
    ) -> Result<LockGuard, LockError> {
        self.instance_lock(project, instance)
            .lock(command, timeout, cancel, on_wait)
            .await
    }

    /// Reads a JSON file of this directory. Returns `None` if it does not exist.
    ///
    /// # Errors
    /// Returns [`StateError`] if the file cannot be read or is damaged.
    pub fn read<T: serde::de::DeserializeOwned>(
        &self,
        name: &str,
    ) -> Result<Option<T>, StateError> {
        let path = self.path.join(name);
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|source| StateError::Corrupt { path, source }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StateError::Io {
                operation: "read",
                path,
                source,
            }),
        }
    }

    /// Writes a JSON file of this directory atomically: a reader sees the old or the new
    /// content, even after a crash.
    ///
    /// # Errors
    /// Returns [`StateError::Io`] if the file cannot be written.
    pub fn write<T: serde::Serialize>(&self, name: &str, value: &T) -> Result<(), StateError> {
        let path = self.path.join(name);
        let write = || -> std::io::Result<()> {
            // Not written to the file directly: each token would be a system call.
            let text = serde_json::to_vec_pretty(value)?;
            let mut file = tempfile::NamedTempFile::new_in(&self.path)?;
            file.write_all(&text)?;
            file.as_file().sync_data()?;
            file.persist(&path)?;
            Ok(())
        };
        write().map_err(|source| StateError::Io {
            operation: "write",
            path: path.clone(),
            source,
        })
    }

    /// Removes a file of this directory. Does nothing if it does not exist.
    ///
    /// # Errors
    /// Returns [`StateError::Io`] if the file cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), StateError> {
        let path = self.path.join(name);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(StateError::Io {
                operation: "remove",
                path,
                source,
            }),
            _ => Ok(()),
        }
    }
}

fn locate_state_dir(
    state_home: Option<PathBuf>,
    home: Option<PathBuf>,
    root: bool,
    is_owned_by_root: impl Fn(&Path) -> bool,
) -> Option<PathBuf> {
    // The XDG specification requires ignoring relative paths.
    if let Some(state_home) = state_home.filter(|path| path.is_absolute()) {
        return Some(state_home.join("dm"));
    }
    match home.filter(|path| path.is_absolute()) {
        Some(home) if !root || is_owned_by_root(&home) => Some(home.join(".local/state/dm")),
        _ if root => Some(ROOT_STATE_DIR.into()),
        _ => None,
    }
}

fn create_private_dir(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

fn owner_uid(path: &Path) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    path.metadata().ok().map(|metadata| metadata.uid())
}

/// Returns the id of a project on this machine: its name, and a short digest of its path, so that
/// two clones of one repository share nothing. It is valid in labels, container names and file
/// names.
#[must_use]
pub fn project_id(root: &Path, name: &str) -> String {
    // A symbolic link to a clone has the same id.
    let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    let digest = Sha256::digest(root.as_os_str().as_encoded_bytes());
    let short = HEXLOWER.encode(&digest[..4]);
    let slug: String = name
        .to_lowercase()
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("-");
    if slug.is_empty() {
        short
    } else {
        format!("{slug}-{short}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn project_id_depends_on_the_canonical_path() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("one"), dir.path().join("two"));
        std::fs::create_dir(&first).unwrap();
        std::fs::create_dir(&second).unwrap();
        assert_ne!(project_id(&first, "dm"), project_id(&second, "dm"));
        assert_eq!(
            project_id(&first, "dm"),
            project_id(&dir.path().join("two/../one"), "dm")
        );
        let id = project_id(&first, "Dunder_Mifflin (demo)");
        assert!(id.starts_with("dunder-mifflin-demo-"), "{id}");
        assert_eq!(id.len(), "dunder-mifflin-demo-".len() + 8);
    }

    #[test]
    fn locate_state_dir_follows_the_xdg_specification() {
        let locate = |state: Option<&str>, home: Option<&str>, root, is_owned_by_root| {
            locate_state_dir(state.map(Into::into), home.map(Into::into), root, |_| {
                is_owned_by_root
            })
            .map(|path| path.display().to_string())
        };
        assert_eq!(
            locate(Some("/s"), Some("/h"), false, false).unwrap(),
            "/s/dm"
        );
        assert_eq!(
            locate(Some("rel"), Some("/h"), false, false).unwrap(),
            "/h/.local/state/dm"
        );
        assert_eq!(
            locate(None, Some("/root"), true, true).unwrap(),
            "/root/.local/state/dm"
        );
        assert_eq!(
            locate(None, Some("/home/pam"), true, false).unwrap(),
            "/var/lib/dm"
        );
        assert_eq!(locate(None, None, true, false).unwrap(), "/var/lib/dm");
        assert_eq!(locate(None, None, false, false), None);
    }

    #[test]
    fn state_files_are_written_read_and_removed_and_damage_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open_at(dir.path().join("state")).unwrap();
        assert_eq!(state.read::<Vec<u8>>("x.json").unwrap(), None);
        state.write("x.json", &vec![1_u8, 2]).unwrap();
        assert_eq!(state.read::<Vec<u8>>("x.json").unwrap(), Some(vec![1, 2]));
        std::fs::write(state.path().join("x.json"), "{").unwrap();
        let error = state.read::<Vec<u8>>("x.json").unwrap_err();
        assert_eq!(error.code(), ErrorCode::StateDamaged);
        assert!(error.suggestions()[0].contains("x.json.damaged"));
        state.remove("x.json").unwrap();
        state.remove("x.json").unwrap();
        assert_eq!(state.read::<Vec<u8>>("x.json").unwrap(), None);
    }
}
