//! What `dm` remembers about this machine between two commands, and whose turn
//! it is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::HEXLOWER;
use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::lock::{FileLock, LockError, LockGuard, LockHolder};

/// Where the state is kept when root has no home of its own.
const ROOT_STATE_DIR: &str = "/var/lib/dm";

/// Why the state directory can't be used.
#[derive(Debug, Error)]
pub enum StateError {
    /// Neither `XDG_STATE_HOME` nor `HOME` says where.
    #[error("could not find a state directory: neither XDG_STATE_HOME nor HOME is set")]
    NoHome,
    /// The directory can't be made or read.
    #[error("could not {operation} {}", path.display())]
    Io {
        /// A verb: `create`, `read`, `write`.
        operation: &'static str,
        /// The directory or file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The directory belongs to another user, who could change what we trust.
    #[error("could not use {}: it belongs to another user (uid {owner})", path.display())]
    ForeignOwner {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// A file of ours is not what we wrote.
    #[error("could not read {}: the file is damaged", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
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
                vec!["set XDG_STATE_HOME to a directory of yours that is writable".into()]
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
    /// Opens this user's state directory, making it if need be.
    ///
    /// Root whose `HOME` is somebody else's (`sudo -E`) uses `/var/lib/dm`
    /// instead: files of root in a user's home would lock that user out.
    ///
    /// # Errors
    /// [`StateError`] when there is no place, or it can't be used.
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

    /// Uses `path` as state directory, making it if need be.
    ///
    /// # Errors
    /// [`StateError`] when it can't be made, or belongs to somebody else.
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

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The lock `name` of this directory; `name` must be fit for a file name.
    #[must_use]
    pub fn lock(&self, display_name: impl Into<String>, name: &str) -> FileLock {
        FileLock::new(
            display_name,
            self.path.join("locks").join(format!("{name}.lock")),
        )
    }

    /// The lock under which one `dm` at a time changes an instance.
    #[must_use]
    pub fn instance_lock(&self, project: &str, instance: &str) -> FileLock {
        self.lock(
            format!("instance {instance}"),
            &format!("{project}.{instance}"),
        )
    }

    /// Takes the lock of an instance, waiting up to `patience`; `on_wait` is
    /// told once whom it waits for.
    ///
    /// # Errors
    /// [`LockError`] when it stays busy, the wait is cancelled, or the file
    /// can't be used.
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

    /// Reads a JSON file of this directory; `None` if it isn't there.
    ///
    /// # Errors
    /// [`StateError`] when it can't be read or is not what it should be.
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

    /// Writes a JSON file of this directory in one step: a reader sees the old
    /// one or the new one, also after a crash.
    ///
    /// # Errors
    /// [`StateError::Io`] when it can't be written.
    pub fn write<T: serde::Serialize>(&self, name: &str, value: &T) -> Result<(), StateError> {
        let path = self.path.join(name);
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(&self.path)?;
            serde_json::to_writer_pretty(&mut file, value)?;
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

    /// Removes a file of this directory; fine if it isn't there.
    ///
    /// # Errors
    /// [`StateError::Io`] when it can't be removed.
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
    // The XDG specification: a relative path is to be ignored.
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
    path.metadata().ok().map(|facts| facts.uid())
}

/// The identity of a project on this machine: its name, and a short digest of
/// where it lies, so that two clones of one repository don't share anything.
/// Fit for labels, container names and file names.
#[must_use]
pub fn project_id(root: &Path, name: &str) -> String {
    // A symbolic link to a clone is that clone.
    let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    let digest = Sha256::digest(root.as_os_str().as_encoded_bytes());
    let short = HEXLOWER.encode(&digest[..4]);
    let slug: String = name
        .to_lowercase()
        .split(|letter: char| !letter.is_ascii_alphanumeric())
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
    fn two_clones_have_two_identities_and_a_link_is_no_clone() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        std::fs::create_dir(&one).unwrap();
        std::fs::create_dir(&two).unwrap();
        assert_ne!(project_id(&one, "dm"), project_id(&two, "dm"));
        assert_eq!(
            project_id(&one, "dm"),
            project_id(&dir.path().join("two/../one"), "dm")
        );
        let id = project_id(&one, "Dunder_Mifflin (demo)");
        assert!(id.starts_with("dunder-mifflin-demo-"), "{id}");
        assert_eq!(id.len(), "dunder-mifflin-demo-".len() + 8);
    }

    #[test]
    fn state_lies_where_the_xdg_specification_puts_it() {
        let at = |state: Option<&str>, home: Option<&str>, root, roots| {
            locate_state_dir(state.map(Into::into), home.map(Into::into), root, |_| roots)
                .map(|path| path.display().to_string())
        };
        assert_eq!(at(Some("/s"), Some("/h"), false, false).unwrap(), "/s/dm");
        assert_eq!(
            at(Some("rel"), Some("/h"), false, false).unwrap(),
            "/h/.local/state/dm"
        );
        assert_eq!(
            at(None, Some("/root"), true, true).unwrap(),
            "/root/.local/state/dm"
        );
        assert_eq!(
            at(None, Some("/home/pam"), true, false).unwrap(),
            "/var/lib/dm"
        );
        assert_eq!(at(None, None, true, false).unwrap(), "/var/lib/dm");
        assert_eq!(at(None, None, false, false), None);
    }

    #[test]
    fn files_are_replaced_whole_and_damage_is_named() {
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
