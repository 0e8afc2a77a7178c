//! The structure of a JPEG file. The decoder completes a file that is cut off with grey, and
//! takes the time of a whole image for each scan, however short it is.

/// The maximum number of scans. The usual encoders write about ten.
const MAX_SCANS: usize = 64;

const START_OF_IMAGE: u8 = 0xd8;
const END_OF_IMAGE: u8 = 0xd9;
const START_OF_SCAN: u8 = 0xda;

/// Returns whether a file has at least one scan, not too many of them, and an end.
pub(super) fn is_complete(file: &[u8]) -> bool {
    let Some(mut rest) = file.strip_prefix(&[0xff, START_OF_IMAGE]) else {
        return false;
    };
    let mut scans = 0;
    while let Some((marker, after)) = next_marker(rest) {
        rest = match marker {
            END_OF_IMAGE => return scans > 0,
            // TEM and the restart markers have no content.
            0x01 | 0xd0..=0xd7 => after,
            _ => {
                scans += usize::from(marker == START_OF_SCAN);
                match skip_segment(after) {
                    Some(rest) if scans <= MAX_SCANS => rest,
                    _ => return false,
                }
            }
        };
    }
    false
}

/// Returns the next marker, and what follows it. In the data of a scan, the byte 0xff is followed
/// by 0 unless it begins a marker.
fn next_marker(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let at = bytes
        .windows(2)
        .position(|pair| pair[0] == 0xff && !matches!(pair[1], 0x00 | 0xff))?;
    Some((bytes[at + 1], &bytes[at + 2..]))
}

/// Returns what follows the segment at the beginning, whose length includes its own two bytes.
fn skip_segment(bytes: &[u8]) -> Option<&[u8]> {
    let length = bytes.first_chunk().copied().map(u16::from_be_bytes)?;
    bytes.get(usize::from(length.max(2))..)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A scan: its header, and data with a stuffed byte and a restart marker.
    const SCAN: [u8; 10] = [0xff, 0xda, 0, 3, 7, 0xff, 0, 9, 0xff, 0xd0];

    /// Returns a file with a thumbnail in its metadata, and a number of scans.
    fn file(scans: usize) -> Vec<u8> {
        let metadata = [0xff, 0xe1, 0, 6, 0xff, 0xd9, 0xff, 0xda];
        let end = [0xff, END_OF_IMAGE, 1, 2, 3];
        [&[0xff, 0xd8][..], &metadata, &SCAN.repeat(scans)[..], &end].concat()
    }

    #[test]
    fn file_needs_an_end_and_a_limited_number_of_scans() {
        for (scans, expected) in [(0, false), (1, true), (10, true), (64, true), (65, false)] {
            assert_eq!(is_complete(&file(scans)), expected, "{scans}");
        }
        let whole = file(2);
        let end = whole.len() - 3;
        for length in 0..whole.len() {
            assert_eq!(is_complete(&whole[..length]), length >= end, "{length}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_accepted_or_rejected(bytes: Vec<u8>) {
            let _ = is_complete(&bytes);
            let _ = is_complete(&[&[0xff, 0xd8][..], &bytes[..]].concat());
        }
    }
}
