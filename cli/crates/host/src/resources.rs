//! Disk and memory of this machine.

use std::path::{Path, PathBuf};

/// Bytes that we may still write to the file system that holds `path` (or its
/// nearest existing parent); `None` where the system doesn't tell.
#[must_use]
pub fn free_disk_space(path: &Path) -> Option<u64> {
    let existing = path.ancestors().find(|path| path.exists())?;
    let facts = rustix::fs::statvfs(existing).ok()?;
    facts.f_bavail.checked_mul(facts.f_frsize)
}

/// Memory in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryInfo {
    /// In all.
    pub total: u64,
    /// What a new program can have without swapping.
    pub available: u64,
}

/// This machine's memory, within the limit of the control group that we run in;
/// `None` where the system doesn't tell.
#[must_use]
pub fn read_memory_info() -> Option<MemoryInfo> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let limits = ["/sys/fs/cgroup", "/sys/fs/cgroup/memory"]
        .map(PathBuf::from)
        .into_iter()
        .find_map(|group| CgroupLimit::read(&group));
    parse_meminfo(&text).map(|memory| limits.map_or(memory, |limit| limit.apply(memory)))
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

/// What the control group at the root of our view allows.
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

    /// "No limit" is a number near 2^63 in version 1 and the word `max` in
    /// version 2; both leave the machine's own figures.
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
    fn memory_is_read_in_bytes_and_bounded_by_the_group() {
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
    fn disk_is_asked_of_the_nearest_existing_parent() {
        let dir = tempfile::tempdir().unwrap();
        assert!(free_disk_space(&dir.path().join("not/yet/made")).unwrap() > 0);
    }
}
