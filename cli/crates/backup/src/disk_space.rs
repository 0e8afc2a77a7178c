//! The check for space for a second database.

use super::BackupError;
use super::restore_target::RestoreTarget;

/// The space that a restore needs for the write-ahead log, in bytes.
const WAL_RESERVE_BYTES: u64 = 256 << 20;

/// Checks that the disk has space for a database of this size, in bytes.
///
/// # Errors
/// Returns [`BackupError::InsufficientSpace`] if it has not, and [`BackupError::Command`] if df
/// fails.
pub(super) async fn check_free_space(
    target: &RestoreTarget<'_>,
    size: u64,
) -> Result<(), BackupError> {
    let output = target
        .container
        .run(&["sh", "-c", "df -Pk \"${PGDATA:-/var/lib/postgresql}\""])
        .await?;
    let needed = required_bytes(size);
    match parse_free_bytes(&String::from_utf8_lossy(&output)) {
        Some(free) if free < needed => Err(BackupError::InsufficientSpace { needed, free }),
        // Unknown output of df must not prevent a restore.
        _ => Ok(()),
    }
}

/// Returns the space that a database of this size needs while it is restored: an index is sorted
/// in temporary files.
const fn required_bytes(size: u64) -> u64 {
    size.saturating_add(size / 10)
        .saturating_add(WAL_RESERVE_BYTES)
}

/// Returns the free space in bytes from the output of `df -Pk`.
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
    fn free_space_is_read_from_the_second_line_of_df() {
        let output = "Filesystem     1024-blocks     Used Available Capacity Mounted on\n\
                    /dev/vda1        102625208 30128492  67237352      31% /var/lib/postgresql\n";
        assert_eq!(parse_free_bytes(output), Some(67_237_352 * 1024));
        assert_eq!(parse_free_bytes("df: no such file"), None);
    }

    #[test]
    fn required_space_exceeds_the_size_and_saturates() {
        assert!(required_bytes(1 << 30) > 1 << 30);
        assert_eq!(required_bytes(u64::MAX), u64::MAX);
    }
}
