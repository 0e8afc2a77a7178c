//! The location of a process: its host, container and PID namespace.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use serde::{Deserialize, Serialize};

/// The number of digits of a short container id.
const SHORT_ID_LENGTH: usize = 12;
/// The number of digits of a full container id.
const FULL_ID_LENGTH: usize = 64;

/// The location of a process. A process id identifies a process only within one location.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessLocation {
    /// The host name that the process sees.
    #[serde(default)]
    pub host: String,
    /// The short id of the container in which the process runs, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The inode of the PID namespace.
    #[serde(rename = "processes", default, skip_serializing_if = "Option::is_none")]
    pub pid_namespace: Option<u64>,
}

impl ProcessLocation {
    /// Returns the location of the current process.
    #[must_use]
    pub(crate) fn current() -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Self {
            host: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            container: parse_container_id(&mounts),
            pid_namespace: fs::metadata("/proc/self/ns/pid")
                .ok()
                .map(|namespace| namespace.ino()),
        }
    }
}

/// Returns the short id of the container with these mounts. An engine mounts its own files over
/// these names, from a directory that has the container's id as its name.
fn parse_container_id(mounts: &str) -> Option<String> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(3);
        let (root, mount_point) = (fields.next()?, fields.next()?);
        if !matches!(
            mount_point,
            "/etc/hostname" | "/etc/hosts" | "/etc/resolv.conf"
        ) {
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
    fn parse_container_id_finds_the_id_in_engine_mounts() {
        let id = "ab".repeat(32);
        let docker = format!(
            "36 35 98:0 / /proc rw - proc proc rw\n\
             590 580 259:1 /var/lib/docker/containers/{id}/hostname /etc/hostname rw - ext4 /d rw"
        );
        assert_eq!(parse_container_id(&docker).as_deref(), Some("abababababab"));
        // A host on which the engine's directory is mounted is not a container.
        let host = format!(
            "590 580 259:1 /var/lib/docker/containers/{id}/mounts/shm /dev/shm rw - tmpfs shm rw"
        );
        assert_eq!(parse_container_id(&host), None);
        assert_eq!(parse_container_id(""), None);
    }

    #[test]
    fn current_location_is_stable() {
        assert_eq!(ProcessLocation::current(), ProcessLocation::current());
    }
}
