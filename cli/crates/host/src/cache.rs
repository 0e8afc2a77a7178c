//! Where downloads are kept that can be had again.

use std::env;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use thiserror::Error;

/// Why there is no folder for downloads.
#[derive(Debug, Error)]
pub enum CacheError {
    /// Neither `XDG_CACHE_HOME` nor `HOME` says where.
    #[error("could not find a cache directory: neither XDG_CACHE_HOME nor HOME is set")]
    NoHome,
    /// The folder can't be made or looked at.
    #[error("could not create {}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another user could put files there.
    #[error("could not use the cache directory {}: other users can write to it", path.display())]
    WritableByOthers {
        /// The folder.
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
        let elsewhere = "set XDG_CACHE_HOME to a directory that only you can write to".to_owned();
        match self {
            Self::NoHome | Self::Io { .. } => vec![elsewhere],
            Self::WritableByOthers { path } => {
                vec![format!("chmod go-w {}", path.display()), elsewhere]
            }
        }
    }
}

/// This user's cache folder of `dm`: below `XDG_CACHE_HOME`, else `~/.cache`. It is made if
/// need be, and nobody else may write to it.
///
/// # Errors
/// There is no place for it, or it is not this user's alone.
pub fn open_cache_dir() -> Result<PathBuf, CacheError> {
    let set = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            // The XDG specification: a relative path is to be ignored.
            .filter(|path| path.is_absolute())
    };
    let parent = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    create_private_dir(&parent.ok_or(CacheError::NoHome)?.join("dm"))
}

fn create_private_dir(path: &Path) -> Result<PathBuf, CacheError> {
    let failed = |source| CacheError::Io {
        path: path.to_owned(),
        source,
    };
    let mut folder = DirBuilder::new();
    folder.recursive(true).mode(0o700);
    folder.create(path).map_err(failed)?;
    let facts = fs::metadata(path).map_err(failed)?;
    let ours = facts.uid() == rustix::process::geteuid().as_raw();
    if !ours || facts.mode() & 0o022 != 0 {
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
    fn a_folder_that_others_may_write_to_is_refused() {
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
