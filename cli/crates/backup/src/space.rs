//! Whether there is room for a second database.

use super::BackupError;
use super::target::Target;

/// What a restore needs beside the database's own size: the server's log of it, in bytes.
const BESIDE: u64 = 256 << 20;

/// Refuses to make a database of this size, in bytes, where the disk has no room for it.
///
/// # Errors
/// [`BackupError::NoSpace`].
pub(super) async fn check(target: &Target<'_>, size: u64) -> Result<(), BackupError> {
    let told = target
        .postgres
        .run(&["sh", "-c", "df -Pk \"${PGDATA:-/var/lib/postgresql}\""])
        .await?;
    let needed = needed(size);
    match free(&String::from_utf8_lossy(&told)) {
        Some(free) if free < needed => Err(BackupError::NoSpace { needed, free }),
        // What can't be read must not keep anybody from a restore.
        _ => Ok(()),
    }
}

/// How much room a database of this size needs while it is made: an index is sorted beside it.
const fn needed(size: u64) -> u64 {
    size.saturating_add(size / 10).saturating_add(BESIDE)
}

/// How much is free, in bytes, as `df -Pk` tells it.
fn free(told: &str) -> Option<u64> {
    let kilobytes: u64 = told
        .lines()
        .nth(1)?
        .split_whitespace()
        .nth(3)?
        .parse()
        .ok()?;
    Some(kilobytes.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_free_is_read_from_the_second_line() {
        let told = "Filesystem     1024-blocks     Used Available Capacity Mounted on\n\
                    /dev/vda1        102625208 30128492  67237352      31% /var/lib/postgresql\n";
        assert_eq!(free(told), Some(67_237_352 * 1024));
        assert_eq!(free("df: no such file"), None);
    }

    #[test]
    fn a_copy_needs_more_than_its_size() {
        assert!(needed(1 << 30) > 1 << 30);
        assert_eq!(needed(u64::MAX), u64::MAX);
    }
}
