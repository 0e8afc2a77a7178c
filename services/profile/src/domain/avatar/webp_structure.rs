//! The structure of a WebP file. The decoder allocates what a chunk of metadata claims to contain,
//! up to 4 GiB, however short the file is. It also decodes a lossy frame in the size that the frame
//! itself has, up to 16,383 x 16,383 pixels, before it compares this size with that of the image.

use super::webp_codes;

/// The size of what precedes the chunks of a file: `RIFF`, a length and `WEBP`.
const FILE_HEADER_BYTES: usize = 12;

/// The size of what precedes the data of a chunk: its name and the length of its data.
const CHUNK_HEADER_BYTES: usize = 8;

/// The name of a chunk with a lossless frame.
const LOSSLESS_FRAME: &[u8; 4] = b"VP8L";

/// The name of a chunk with the alpha channel of a lossy frame.
const ALPHA_CHANNEL: &[u8; 4] = b"ALPH";

/// The name of a chunk with a frame of an animation, which consists of chunks.
const ANIMATION_FRAME: &[u8; 4] = b"ANMF";

/// The size of what precedes these chunks: position, size, duration and flags.
const FRAME_HEADER_BYTES: usize = 16;

/// The flag of an animation, in the first byte of the chunk `VP8X`.
const IS_ANIMATION: u8 = 0b10;

/// The start code of a lossy frame, after its first three bytes.
const START_CODE: [u8; 3] = [0x9d, 0x01, 0x2a];

/// The bits of a width or a height. The other ones are a scale.
const PIXELS: u16 = 0x3fff;

/// Returns whether all chunks end within the file, no lossy frame is larger than the image, and the
/// codes of the first frame need little memory.
pub(super) fn is_consistent(file: &[u8]) -> bool {
    let chunks = file.get(FILE_HEADER_BYTES..).unwrap_or_default();
    if !chunks.starts_with(b"VP8X") {
        // The file is a single frame, whose size is that of the image. The decoder also reads one
        // that is cut off.
        let data = chunks.get(CHUNK_HEADER_BYTES..).unwrap_or_default();
        return !chunks.starts_with(LOSSLESS_FRAME) || webp_codes::frame_fits(data);
    }
    let Some((_, header, chunks)) = split_chunk(chunks) else {
        return false;
    };
    let Some((max_width, max_height)) = header.get(4..).and_then(image_size) else {
        return false;
    };
    // The name does not matter: after an alpha channel, the decoder reads any chunk as a frame.
    let fits = |data: &[u8]| {
        let size = lossy_frame_size(data);
        size.is_none_or(|(width, height)| width <= max_width && height <= max_height)
    };
    let are_chunks_valid = all_chunks(chunks, |name, data| {
        if name == ANIMATION_FRAME {
            let chunks = data.get(FRAME_HEADER_BYTES..);
            chunks.is_some_and(|chunks| all_chunks(chunks, |_, data| fits(data)))
        } else {
            fits(data)
        }
    });
    are_chunks_valid && codes_fit(header, (max_width, max_height), chunks)
}

/// Returns whether the codes that the decoder reads need little memory. Of an animation, the
/// decoder reads the first frame. It also searches that frame for the chunks that a still image
/// lacks.
fn codes_fit(header: &[u8], canvas: (u32, u32), chunks: &[u8]) -> bool {
    let frame = find_chunk(chunks, ANIMATION_FRAME).unwrap_or_default();
    let frame_chunks = frame.get(FRAME_HEADER_BYTES..).unwrap_or_default();
    let is_animation = header.first().is_some_and(|flags| flags & IS_ANIMATION > 0);
    let frame_size = frame.get(6..).and_then(image_size);
    let size = frame_size.filter(|_| is_animation).unwrap_or(canvas);
    [chunks, frame_chunks].into_iter().all(|chunks| {
        let lossless = find_chunk(chunks, LOSSLESS_FRAME);
        let alpha = find_chunk(chunks, ALPHA_CHANNEL);
        lossless.is_none_or(webp_codes::frame_fits)
            && alpha.is_none_or(|alpha| webp_codes::alpha_fits(alpha, size))
    })
}

/// Returns the data of the first chunk with a name.
fn find_chunk<'a>(mut bytes: &'a [u8], wanted: &[u8; 4]) -> Option<&'a [u8]> {
    while let Some((name, data, rest)) = split_chunk(bytes) {
        if name == wanted {
            return Some(data);
        }
        bytes = rest;
    }
    None
}

/// Returns whether all chunks are complete and valid. A header that is cut off at the end is
/// ignored, as the decoder does.
fn all_chunks(mut bytes: &[u8], is_valid: impl Fn(&[u8; 4], &[u8]) -> bool) -> bool {
    while bytes.len() >= CHUNK_HEADER_BYTES {
        match split_chunk(bytes) {
            Some((name, data, rest)) if is_valid(name, data) => bytes = rest,
            _ => return false,
        }
    }
    true
}

/// Returns the name and the data of the chunk at the beginning, and what follows it. Returns `None`
/// if the data are cut off.
fn split_chunk(bytes: &[u8]) -> Option<(&[u8; 4], &[u8], &[u8])> {
    let (name, rest) = bytes.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (data, rest) = rest.split_at_checked(length)?;
    // A byte follows data of an odd length.
    let rest = rest.get(length % 2..).unwrap_or_default();
    Some((name, data, rest))
}

/// Returns width and height from the six bytes in which an image and a frame of an animation store
/// them.
fn image_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let [w0, w1, w2, h0, h1, h2] = *bytes.first_chunk::<6>()?;
    let pixels = |bytes| u32::from_le_bytes(bytes) + 1;
    Some((pixels([w0, w1, w2, 0]), pixels([h0, h1, h2, 0])))
}

/// Returns width and height of a lossy frame. Returns `None` if the data are no such frame.
fn lossy_frame_size(data: &[u8]) -> Option<(u32, u32)> {
    let size = data.get(3..)?.strip_prefix(&START_CODE)?;
    let (width, rest) = size.split_first_chunk::<2>()?;
    let height = rest.first_chunk::<2>()?;
    let pixels = |bytes: &[u8; 2]| u32::from(u16::from_le_bytes(*bytes) & PIXELS);
    Some((pixels(width), pixels(height)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::lossless_image_with_groups;
    use super::*;

    fn chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
        let length = u32::try_from(data.len()).unwrap().to_le_bytes();
        let padding = &[0_u8][..data.len() % 2];
        [&name[..], &length, data, padding].concat()
    }

    /// Returns a file with an image of 100 x 50 pixels and these chunks.
    fn file(chunks: &[Vec<u8>]) -> Vec<u8> {
        let header = chunk(b"VP8X", &[0, 0, 0, 0, 99, 0, 0, 49, 0, 0]);
        [&b"RIFF\0\0\0\0WEBP"[..], &header, &chunks.concat()].concat()
    }

    fn animation_frame(chunks: &[Vec<u8>]) -> Vec<u8> {
        let data = [vec![0; FRAME_HEADER_BYTES], chunks.concat()].concat();
        chunk(ANIMATION_FRAME, &data)
    }

    fn lossy_frame(width: u16, height: u16) -> Vec<u8> {
        let (width, height) = (width.to_le_bytes(), height.to_le_bytes());
        [&[0_u8, 0, 0][..], &START_CODE, &width, &height].concat()
    }

    #[test]
    fn lossy_frame_that_is_larger_than_the_image_is_inconsistent() {
        for (width, height, expected) in [
            (100, 50, true),
            (1, 1, true),
            (0x4000 + 100, 0x8000 + 50, true),
            (101, 50, false),
            (100, 51, false),
            (0x3fff, 0x3fff, false),
        ] {
            let frame = lossy_frame(width, height);
            let alpha = chunk(b"ALPH", &[0]);
            for (place, chunks) in [
                ("image", vec![chunk(b"VP8 ", &frame)]),
                (
                    "animation",
                    vec![animation_frame(&[chunk(b"VP8 ", &frame)])],
                ),
                (
                    "behind an alpha channel",
                    vec![animation_frame(&[alpha, chunk(b"any ", &frame)])],
                ),
            ] {
                let found = is_consistent(&file(&chunks));
                assert_eq!(found, expected, "{place}: {width} x {height}");
            }
        }
    }

    #[test]
    fn chunk_that_claims_more_data_than_the_file_has_is_inconsistent() {
        let complete = chunk(b"EXIF", b"abc");
        assert!(is_consistent(&file(std::slice::from_ref(&complete))));
        let mut cut_off = complete.clone();
        cut_off[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(!is_consistent(&file(std::slice::from_ref(&cut_off))));
        assert!(!is_consistent(&file(&[animation_frame(&[cut_off])])));
        assert!(!is_consistent(&file(&[chunk(ANIMATION_FRAME, &[0; 15])])));
        // The last padding is optional, and a header that is cut off is ignored.
        let whole = file(&[complete]);
        assert!(is_consistent(&whole[..whole.len() - 1]));
        assert!(is_consistent(&[&whole[..], b"EXIF"].concat()));
        assert!(!is_consistent(&whole[..25]), "the header of the image");
    }

    /// Wherever the decoder reads codes, they need little memory.
    #[test]
    fn codes_with_large_tables_are_inconsistent() {
        for (groups, expected) in [(256, true), (512, false)] {
            let frame = lossless_image_with_groups(groups);
            // Without the header of a frame, and with that of an alpha channel.
            let alpha = [&[1][..], &frame[5..]].concat();
            let (lossless, alpha) = (chunk(LOSSLESS_FRAME, &frame), chunk(ALPHA_CHANNEL, &alpha));
            let single = [&b"RIFF\0\0\0\0WEBP"[..], &lossless].concat();
            assert_eq!(is_consistent(&single), expected, "{groups}");
            for chunks in [
                &[lossless][..],
                &[alpha, chunk(b"VP8 ", &lossy_frame(4, 4))],
            ] {
                let name = String::from_utf8_lossy(&chunks[0][..4]);
                let still = file(chunks);
                assert_eq!(is_consistent(&still), expected, "{name}");
                let animation = |first: &[Vec<u8>], second: &[Vec<u8>]| {
                    let mut file = file(&[animation_frame(first), animation_frame(second)]);
                    // The flag of an animation.
                    file[FILE_HEADER_BYTES + CHUNK_HEADER_BYTES] |= IS_ANIMATION;
                    is_consistent(&file)
                };
                assert_eq!(animation(chunks, &[]), expected, "{name}");
                // Only the first frame is decoded.
                assert!(animation(&[], chunks), "{name}");
            }
        }
    }

    #[test]
    fn file_with_a_single_frame_is_consistent() {
        let frame = chunk(b"VP8 ", &lossy_frame(300, 300));
        assert!(is_consistent(&[&b"RIFF\0\0\0\0WEBP"[..], &frame].concat()));
        assert!(is_consistent(b"RIFF"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_accepted_or_rejected(bytes: Vec<u8>) {
            let _ = is_consistent(&bytes);
            let _ = is_consistent(&file(&[bytes]));
        }
    }
}
