//! Where downloads are kept that can be had again.

use std::env;
use std::path::PathBuf;

/// This user's cache folder of `dm`: below `XDG_CACHE_HOME`, else `~/.cache`,
/// else, for a user without a home, the system's temporary folder.
#[must_use]
pub fn dir() -> PathBuf {
    let set = |name: &str| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set("XDG_CACHE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(env::temp_dir)
        .join("dm")
}
