//! The cache directory, for files that can be downloaded again.

use std::env;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use thiserror::Error;

/// An error of the cache directory.
#[derive(Debug, Error)]
pub enum CacheError {
    /// Neither `XDG_CACHE_HOME` nor `HOME` is set.
    #[error("could not find a cache directory: neither XDG_CACHE_HOME nor HOME is set")]
    NoHome,
    /// The directory cannot be created or inspected.
    #[error("could not create {}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Other users can write to the directory.
    #[error("could not use the cache directory {}: other users can write to it", path.display())]
    WritableByOthers {
        /// The directory.
        path: PathBuf,
    },
}

impl UserError for CacheError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NoHome => ErrorCode::CacheNoHome,
            Self::Io { .. } => ErrorCode::CacheAccess,
            Self::WritableByOthers { .. } => ErrorCode::CacheShared,
        }
    }

    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Usage
    }

    fn suggestions(&self) -> Vec<String> {
        let advice = "set XDG_CACHE_HOME to a directory that only you can write to".to_owned();
        match self {
            Self::NoHome | Self::Io { .. } => vec![advice],
            Self::WritableByOthers { path } => {
                vec![format!("chmod go-w {}", path.display()), advice]
            }
        }
    }
}

/// Returns the user's cache directory of `dm`, below `XDG_CACHE_HOME` or else `~/.cache`.
/// Creates it if it does not exist, writable for this user only.
///
/// # Errors
/// Returns [`CacheError`] if the location is unknown, or if the directory cannot be created or
/// other users can write to it.
pub fn open_cache_dir() -> Result<PathBuf, CacheError> {
    let directory = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            // The XDG specification requires ignoring relative paths.
            .filter(|path| path.is_absolute())
    };
    let parent =
        directory("XDG_CACHE_HOME").or_else(|| directory("HOME").map(|home| home.join(".cache")));
    create_private_dir(&parent.ok_or(CacheError::NoHome)?.join("dm"))
}

fn create_private_dir(path: &Path) -> Result<PathBuf, CacheError> {
    let io_error = |source| CacheError::Io {
        path: path.to_owned(),
        source,
    };
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(path).map_err(io_error)?;
    let metadata = fs::metadata(path).map_err(io_error)?;
    let is_owner = metadata.uid() == rustix::process::geteuid().as_raw();
    if !is_owner || metadata.mode() & 0o022 != 0 {
        return Err(CacheError::WritableByOthers {
            path: path.to_owned(),
        });
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn cache_directory_writable_by_others_is_rejected() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("cache/dm");
        assert_eq!(create_private_dir(&path).unwrap(), path);
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o700);
        for mode in [0o777, 0o1777, 0o770] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = create_private_dir(&path).unwrap_err();
            assert_eq!(error.code(), ErrorCode::CacheShared, "{mode:o}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(create_private_dir(&path).unwrap(), path);
    }
}
