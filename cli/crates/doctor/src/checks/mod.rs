//! The checks. Each is a function that returns findings.

pub(super) mod engine;
pub(super) mod leftovers;
pub(super) mod machine;
pub(super) mod ports;

/// Formats bytes as decimal gigabytes.
fn format_gigabytes(bytes: u64) -> String {
    let tenths = bytes / 100_000_000;
    format!("{}.{} GB", tenths / 10, tenths % 10)
}

/// A gigabyte, in bytes.
const GIGABYTE: u64 = 1_000_000_000;

/// The detail of checks that require an engine.
const NO_ENGINE: &str = "no engine answers";

#[cfg(test)]
mod tests {
    #[test]
    fn format_gigabytes_truncates_to_a_tenth() {
        assert_eq!(super::format_gigabytes(12_345_000_000), "12.3 GB");
        assert_eq!(super::format_gigabytes(99_999_999), "0.0 GB");
    }
}
