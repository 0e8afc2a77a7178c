//! Human-readable numbers with units and nouns.

use std::fmt::Display;
use std::time::Duration;

/// Formats a duration: `2.1s`, `1m 04s`, `3h 07m`, `2d 5h`.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let tenths = (duration.as_millis() + 50) / 100;
    if tenths < 600 {
        return format!("{}.{}s", tenths / 10, tenths % 10);
    }
    let seconds = (tenths + 5) / 10;
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    if minutes < 60 {
        format!("{minutes}m {:02}s", seconds % 60)
    } else if hours < 24 {
        format!("{hours}h {:02}m", minutes % 60)
    } else {
        format!("{}d {}h", hours / 24, hours % 24)
    }
}

/// Formats a time offset in a run, always in seconds, so that lines can be sorted by it.
#[must_use]
pub fn format_seconds(offset: Duration) -> String {
    let tenths = (offset.as_millis() + 50) / 100;
    format!("{}.{}s", tenths / 10, tenths % 10)
}

/// Formats a number of bytes: `812 B`, `45.1 MB`. The units are powers of ten, as with disks
/// and registries.
#[must_use]
pub fn format_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut tenths = (u128::from(bytes) * 10 + 500) / 1000;
    for unit in UNITS {
        if tenths < 10_000 {
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
        tenths = (tenths + 500) / 1000;
    }
    format!("{} EB", tenths / 10)
}

/// Formats a number with its noun: `1 node`, `2 nodes`.
#[must_use]
pub fn pluralize<N: Copy + Display + PartialEq + From<u8>>(number: N, noun: &str) -> String {
    let plural = if number == N::from(1) { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pluralize_adds_an_s_unless_the_number_is_one() {
        assert_eq!(pluralize(0_u64, "node"), "0 nodes");
        assert_eq!(pluralize(1_usize, "node"), "1 node");
        assert_eq!(pluralize(2_u32, "node"), "2 nodes");
    }

    #[test]
    fn format_duration_uses_the_two_largest_units() {
        let text = |millis| format_duration(Duration::from_millis(millis));
        assert_eq!(text(0), "0.0s");
        assert_eq!(text(2_149), "2.1s");
        assert_eq!(text(59_949), "59.9s");
        assert_eq!(text(59_950), "1m 00s");
        assert_eq!(text(64_000), "1m 04s");
        assert_eq!(text(3_600_000), "1h 00m");
        assert_eq!(text(189_000_000), "2d 4h");
        assert_eq!(format_seconds(Duration::from_secs(75)), "75.0s");
    }

    #[test]
    fn format_bytes_rounds_to_the_next_unit() {
        assert_eq!(format_bytes(999), "999 B");
        assert_eq!(format_bytes(1_000), "1.0 kB");
        assert_eq!(format_bytes(999_950), "1.0 MB");
        assert_eq!(format_bytes(45_120_000), "45.1 MB");
    }
}
