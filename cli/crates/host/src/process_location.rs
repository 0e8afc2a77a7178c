//! Where a process runs: on which host, in which container, among which processes.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use serde::{Deserialize, Serialize};

/// How many digits of a container's id the engine shows.
const SHORT_ID_LENGTH: usize = 12;
/// How many digits a container's id has.
const FULL_ID_LENGTH: usize = 64;

/// Where a process runs. A process id means the same only at the same place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessLocation {
    /// The name of the host, as the process sees it.
    #[serde(default)]
    pub host: String,
    /// The container's short id, where it runs in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Which numbering of processes: the inode of its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
}

impl ProcessLocation {
    /// Where this process runs.
    #[must_use]
    pub(crate) fn current() -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Self {
            host: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            container: parse_container_id(&mounts),
            processes: fs::metadata("/proc/self/ns/pid")
                .ok()
                .map(|namespace| namespace.ino()),
        }
    }
}

/// The short id of the container whose mounts these are. An engine mounts files of its own
/// over these names, from a folder that has the container's id as its name.
fn parse_container_id(mounts: &str) -> Option<String> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        if !matches!(point, "/etc/hostname" | "/etc/hosts" | "/etc/resolv.conf") {
            return None;
        }
        let id = root.split('/').find(|part| {
            part.len() == FULL_ID_LENGTH && part.bytes().all(|byte| byte.is_ascii_hexdigit())
        })?;
        id.get(..SHORT_ID_LENGTH).map(str::to_owned)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_known_by_the_files_that_its_engine_mounts() {
        let id = "ab".repeat(32);
        let docker = format!(
            "36 35 98:0 / /proc rw - proc proc rw\n\
             590 580 259:1 /var/lib/docker/containers/{id}/hostname /etc/hostname rw - ext4 /d rw"
        );
        assert_eq!(parse_container_id(&docker).as_deref(), Some("abababababab"));
        // Somebody mounts the engine's folder: that is no container.
        let host = format!(
            "590 580 259:1 /var/lib/docker/containers/{id}/mounts/shm /dev/shm rw - tmpfs shm rw"
        );
        assert_eq!(parse_container_id(&host), None);
        assert_eq!(parse_container_id(""), None);
    }

    #[test]
    fn a_process_is_always_at_the_same_place() {
        assert_eq!(ProcessLocation::current(), ProcessLocation::current());
    }
}
