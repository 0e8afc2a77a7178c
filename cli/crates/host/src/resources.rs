//! Disk and memory of this machine.

use std::path::{Path, PathBuf};

/// Returns the bytes available on the file system of `path` or of its nearest existing parent.
/// Returns `None` if the system does not provide them.
#[must_use]
pub fn free_disk_space(path: &Path) -> Option<u64> {
    let existing = path.ancestors().find(|path| path.exists())?;
    let statistics = rustix::fs::statvfs(existing).ok()?;
    statistics.f_bavail.checked_mul(statistics.f_frsize)
}

/// Memory sizes in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryInfo {
    /// The total memory.
    pub total: u64,
    /// The memory that is available without swapping.
    pub available: u64,
}

/// Returns the machine's memory, within the limit of the current control group. Returns `None` if
/// the system does not provide it.
#[must_use]
pub fn read_memory_info() -> Option<MemoryInfo> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let limit = ["/sys/fs/cgroup", "/sys/fs/cgroup/memory"]
        .map(PathBuf::from)
        .into_iter()
        .find_map(|group| CgroupLimit::read(&group));
    parse_meminfo(&text).map(|memory| limit.map_or(memory, |limit| limit.apply(memory)))
}

fn parse_meminfo(meminfo: &str) -> Option<MemoryInfo> {
    let field = |name: &str| -> Option<u64> {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
        kibibytes.checked_mul(1024)
    };
    Some(MemoryInfo {
        total: field("MemTotal:")?,
        available: field("MemAvailable:")?,
    })
}

/// The limit of the control group at the root of the visible hierarchy.
#[derive(Debug, Clone, Copy)]
struct CgroupLimit {
    limit: u64,
    used: u64,
}

impl CgroupLimit {
    fn read(group: &Path) -> Option<Self> {
        let number = |names: [&str; 2]| -> Option<u64> {
            names.iter().find_map(|name| {
                let text = std::fs::read_to_string(group.join(name)).ok()?;
                text.trim().parse().ok()
            })
        };
        Some(Self {
            limit: number(["memory.max", "memory.limit_in_bytes"])?,
            used: number(["memory.current", "memory.usage_in_bytes"])?,
        })
    }

    /// Applies the limit to the machine's memory. "No limit" is a number near 2^63 in version 1
    /// and the text `max` in version 2. Neither changes the memory.
    fn apply(self, memory: MemoryInfo) -> MemoryInfo {
        MemoryInfo {
            total: memory.total.min(self.limit),
            available: memory.available.min(self.limit.saturating_sub(self.used)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes_and_limited_by_the_control_group() {
        let memory =
            parse_meminfo("MemTotal:  2048 kB\nMemFree: 1 kB\nMemAvailable: 1024 kB\n").unwrap();
        assert_eq!(
            memory,
            MemoryInfo {
                total: 2_097_152,
                available: 1_048_576
            }
        );
        let bounded = CgroupLimit {
            limit: 1_000_000,
            used: 400_000,
        }
        .apply(memory);
        assert_eq!(
            bounded,
            MemoryInfo {
                total: 1_000_000,
                available: 600_000
            }
        );
        let unbounded = CgroupLimit {
            limit: u64::MAX >> 1,
            used: 1,
        }
        .apply(memory);
        assert_eq!(unbounded, memory);
        assert_eq!(parse_meminfo("nothing"), None);
    }

    #[test]
    fn free_disk_space_uses_the_nearest_existing_parent() {
        let dir = tempfile::tempdir().unwrap();
        assert!(free_disk_space(&dir.path().join("not/yet/made")).unwrap() > 0);
    }
}
