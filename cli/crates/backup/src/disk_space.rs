//! Whether there is room for a second database.

use super::BackupError;
use super::restore_target::RestoreTarget;

/// What a restore needs beside the database's own size: the server's log of it, in bytes.
const WAL_RESERVE_BYTES: u64 = 256 << 20;

/// Refuses to make a database of this size, in bytes, where the disk has no room for it.
///
/// # Errors
/// [`BackupError::NoSpace`].
pub(super) async fn check_free_space(
    target: &RestoreTarget<'_>,
    size: u64,
) -> Result<(), BackupError> {
    let told = target
        .container
        .run(&["sh", "-c", "df -Pk \"${PGDATA:-/var/lib/postgresql}\""])
        .await?;
    let needed = required_bytes(size);
    match parse_free_bytes(&String::from_utf8_lossy(&told)) {
        Some(free) if free < needed => Err(BackupError::InsufficientSpace { needed, free }),
        // What can't be read must not keep anybody from a restore.
        _ => Ok(()),
    }
}

/// How much room a database of this size needs while it is made: an index is sorted beside it.
const fn required_bytes(size: u64) -> u64 {
    size.saturating_add(size / 10)
        .saturating_add(WAL_RESERVE_BYTES)
}

/// How much is free, in bytes, as `df -Pk` tells it.
fn parse_free_bytes(df_output: &str) -> Option<u64> {
    let kilobytes: u64 = df_output
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
        assert_eq!(parse_free_bytes(told), Some(67_237_352 * 1024));
        assert_eq!(parse_free_bytes("df: no such file"), None);
    }

    #[test]
    fn a_copy_needs_more_than_its_size() {
        assert!(required_bytes(1 << 30) > 1 << 30);
        assert_eq!(required_bytes(u64::MAX), u64::MAX);
    }
}
