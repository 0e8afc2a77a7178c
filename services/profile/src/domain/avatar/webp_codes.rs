//! The prefix codes of a lossless WebP image, and of a compressed alpha channel. The decoder stores
//! a table for each code, also for a code that no pixel uses. A code of 140 bytes can have a table
//! of 70 KB, so that a file of 2 MiB could need 1 GiB, however few pixels its image has.

use dm_contracts::validation::MAX_AVATAR_PIXELS;

/// Maximum size of the tables of an image, in bytes. The usual encoder writes at most 2,600 groups
/// of five codes, of which a group needs about 10 KB.
const MAX_TABLE_BYTES: usize = 32 << 20;

/// The maximum number of groups of codes: a pixel selects one with 16 bits.
const MAX_GROUPS: usize = 1 << 16;

/// The size of a code without its table.
const CODE_BYTES: usize = 64;

/// The size of a code with two symbols or more, without the entries that depend on its length.
const TABLE_BYTES: usize = 96;

/// The size of an entry of a table.
const ENTRY_BYTES: usize = 4;

/// The maximum length of the codes in a table, in bits. Longer ones are stored in a tree.
const MAX_TABLE_BITS: usize = 10;

/// The size of the two nodes that a symbol adds to the tree.
const NODE_BYTES: usize = 32;

/// The maximum length of a code, in bits.
const MAX_LENGTH: usize = 15;

/// The values of a channel. In the code of the green channel, a symbol from here on is the length
/// of a copy.
const CHANNEL_VALUES: usize = 256;

/// In the code of the green channel, a symbol from here on is a colour of the cache.
const FIRST_CACHED: usize = CHANNEL_VALUES + 24;

/// The number of symbols for the distance of a copy.
const DISTANCES: usize = 40;

/// The order in which the lengths of the codes for lengths are stored.
const LENGTH_ORDER: [usize; 19] = [
    17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
];

/// Returns whether the codes of a lossless frame, the data of a chunk `VP8L`, need little memory.
pub(super) fn frame_fits(data: &[u8]) -> bool {
    let mut bits = BitReader::new(data);
    let mut read_size = || {
        let _signature = bits.read(8)?;
        let size = (bits.read(14)? + 1, bits.read(14)? + 1);
        let _alpha_and_version = bits.read(4)?;
        Some(size)
    };
    // The decoder rejects a frame without a header.
    read_size().is_none_or(|size| stream_fits(bits, size))
}

/// Returns whether the codes of an alpha channel, the data of a chunk `ALPH`, need little memory.
pub(super) fn alpha_fits(data: &[u8], (width, height): (u32, u32)) -> bool {
    /// The bits of the compression, and the value for a lossless image.
    const COMPRESSION: u8 = 0b11;
    const LOSSLESS: u8 = 1;
    match data.split_first() {
        Some((flags, stream)) if flags & COMPRESSION == LOSSLESS => {
            let size = (width as usize, height as usize);
            stream_fits(BitReader::new(stream), size)
        }
        _ => true,
    }
}

fn stream_fits(mut bits: BitReader<'_>, (width, height): (usize, usize)) -> bool {
    // The decoder rejects a larger image before it reads the stream, and one that ends early or is
    // invalid at the same bit as this function.
    width.max(height) > MAX_AVATAR_PIXELS as usize
        || has_small_tables(&mut bits, width, height).unwrap_or(true)
}

/// Returns whether the tables of an image need little memory, or `None` if the image ends before
/// its codes or is invalid.
fn has_small_tables(bits: &mut BitReader<'_>, mut width: usize, height: usize) -> Option<bool> {
    let mut is_transformed = [false; 4];
    while bits.read_bit()? {
        let transform = bits.read(2)?;
        if std::mem::replace(&mut is_transformed[transform], true) {
            return None;
        }
        let is_valid = match transform {
            // Predictors, and factors of colours: a value for each block.
            0 | 1 => skip_blocks(bits, width, height)?,
            // A palette. Up to eight pixels are packed into one.
            3 => {
                let colours = bits.read(8)? + 1;
                let is_valid = skip_image(bits, colours, 1)?;
                width = width.div_ceil(match colours {
                    ..=2 => 8,
                    3..=4 => 4,
                    5..=16 => 2,
                    _ => 1,
                });
                is_valid
            }
            _ => true,
        };
        if !is_valid {
            return Some(false);
        }
    }
    let cached = read_cache_size(bits)?;
    let mut groups = 1;
    if bits.read_bit()? {
        // Each block selects a group. The number of groups is not decoded: pixels follow the last
        // one, and hardly ever look like further groups with large tables.
        if !skip_blocks(bits, width, height)? {
            return Some(false);
        }
        groups = MAX_GROUPS;
    }
    let mut size = 0;
    for _ in 0..groups {
        let Some(codes) = read_group(bits, cached) else {
            break;
        };
        size += codes.iter().map(PrefixCode::table_size).sum::<usize>();
        if size > MAX_TABLE_BYTES {
            return Some(false);
        }
    }
    Some(true)
}

/// Reads the size of blocks, and skips an image with a pixel for each.
fn skip_blocks(bits: &mut BitReader<'_>, width: usize, height: usize) -> Option<bool> {
    let side = 4 << bits.read(3)?;
    skip_image(bits, width.div_ceil(side), height.div_ceil(side))
}

/// Skips an image that another one contains. Returns `false` if a code is incomplete: the decoder
/// accepts some of these codes, and may read other symbols than this function.
fn skip_image(bits: &mut BitReader<'_>, width: usize, height: usize) -> Option<bool> {
    let cached = read_cache_size(bits)?;
    let [green, red, blue, alpha, distance] = read_group(bits, cached)?;
    let codes = [&green, &red, &blue, &alpha, &distance];
    if !codes.into_iter().all(PrefixCode::is_complete) {
        return Some(false);
    }
    let mut remaining = width * height;
    while remaining > 0 {
        let symbol = green.read_symbol(bits)?;
        let pixels = if symbol < CHANNEL_VALUES {
            for code in [&red, &blue, &alpha] {
                code.read_symbol(bits)?;
            }
            1
        } else if symbol < FIRST_CACHED {
            let length = read_number(bits, symbol - CHANNEL_VALUES)?;
            let symbol = distance.read_symbol(bits)?;
            read_number(bits, symbol)?;
            length
        } else {
            1
        };
        remaining = remaining.checked_sub(pixels)?;
    }
    Some(true)
}

/// Reads the number of colours in the cache.
fn read_cache_size(bits: &mut BitReader<'_>) -> Option<usize> {
    if !bits.read_bit()? {
        return Some(0);
    }
    match bits.read(4)? {
        size @ 1..=11 => Some(1 << size),
        _ => None,
    }
}

/// Reads the rest of a length or a distance that begins with a symbol.
fn read_number(bits: &mut BitReader<'_>, symbol: usize) -> Option<usize> {
    if symbol < 4 {
        return Some(symbol + 1);
    }
    let extra = (symbol - 2) >> 1;
    Some(((2 + (symbol & 1)) << extra) + bits.read(extra)? + 1)
}

/// Reads the codes of green, red, blue, alpha and distance.
fn read_group(bits: &mut BitReader<'_>, cached: usize) -> Option<[PrefixCode; 5]> {
    Some([
        PrefixCode::read(bits, FIRST_CACHED + cached)?,
        PrefixCode::read(bits, CHANNEL_VALUES)?,
        PrefixCode::read(bits, CHANNEL_VALUES)?,
        PrefixCode::read(bits, CHANNEL_VALUES)?,
        PrefixCode::read(bits, DISTANCES)?,
    ])
}

/// A prefix code.
struct PrefixCode {
    /// The number of symbols by the length of their code.
    counts: [usize; MAX_LENGTH + 1],
    /// The symbols, in the order of their codes.
    symbols: Vec<usize>,
}

impl PrefixCode {
    /// Reads a code for this number of symbols. Returns `None` if the decoder rejects it.
    fn read(bits: &mut BitReader<'_>, alphabet: usize) -> Option<Self> {
        if bits.read_bit()? {
            return Self::read_simple(bits, alphabet);
        }
        let mut lengths = [0; LENGTH_ORDER.len()];
        let count = bits.read(4)? + 4;
        for symbol in &LENGTH_ORDER[..count] {
            lengths[*symbol] = bits.read(3)?;
        }
        let code = Self::from_lengths(&lengths)?;
        let mut tokens = alphabet;
        if bits.read_bit()? {
            let width = 2 + 2 * bits.read(3)?;
            tokens = bits.read(width)? + 2;
            if tokens > alphabet {
                return None;
            }
        }
        let mut lengths = Vec::with_capacity(alphabet);
        let mut previous = 8;
        while lengths.len() < alphabet && tokens > 0 {
            tokens -= 1;
            let (length, repetitions) = match code.read_symbol(bits)? {
                16 => (previous, bits.read(2)? + 3),
                17 => (0, bits.read(3)? + 3),
                18 => (0, bits.read(7)? + 11),
                length => (length, 1),
            };
            if length > 0 {
                previous = length;
            }
            lengths.extend(std::iter::repeat_n(length, repetitions));
            if lengths.len() > alphabet {
                return None;
            }
        }
        Self::from_lengths(&lengths)
    }

    /// Reads a code with one or two symbols.
    fn read_simple(bits: &mut BitReader<'_>, alphabet: usize) -> Option<Self> {
        let has_two = bits.read_bit()?;
        let width = if bits.read_bit()? { 8 } else { 1 };
        let mut symbols = vec![bits.read(width)?];
        if has_two {
            symbols.push(bits.read(8)?);
        }
        let mut counts = [0; MAX_LENGTH + 1];
        counts[1] = symbols.len();
        let is_valid = symbols.iter().all(|symbol| *symbol < alphabet);
        is_valid.then_some(Self { counts, symbols })
    }

    /// Returns the code with these lengths, of at most 15 bits. A symbol of length 0 has no code.
    fn from_lengths(lengths: &[usize]) -> Option<Self> {
        let mut counts = [0; MAX_LENGTH + 1];
        let used = (0..lengths.len()).filter(|symbol| lengths[*symbol] > 0);
        let mut symbols: Vec<usize> = used.collect();
        for symbol in &symbols {
            counts[lengths[*symbol]] += 1;
        }
        symbols.sort_by_key(|symbol| lengths[*symbol]);
        let code = Self { counts, symbols };
        // The decoder compares the number of codes modulo 2^16.
        let longest = code.longest();
        let used = code.counts[1..=longest]
            .iter()
            .fold(0_usize, |used, count| ((used + *count) << 1) & 0xffff);
        let is_accepted = match code.symbols.len() {
            0 => false,
            1 => true,
            _ => used == (2 << longest) & 0xffff,
        };
        is_accepted.then_some(code)
    }

    /// Returns the length of the longest code, in bits.
    fn longest(&self) -> usize {
        let longest = self.counts.iter().rposition(|count| *count > 0);
        longest.unwrap_or_default()
    }

    /// Returns whether each sequence of bits begins with exactly one code.
    fn is_complete(&self) -> bool {
        let lengths = 1..=MAX_LENGTH;
        let used: usize = lengths
            .map(|length| self.counts[length] << (MAX_LENGTH - length))
            .sum();
        self.symbols.len() == 1 || used == 1 << MAX_LENGTH
    }

    /// Returns the size of this code in the memory of the decoder, in bytes.
    fn table_size(&self) -> usize {
        if self.symbols.len() == 1 {
            return CODE_BYTES;
        }
        let entries = 1 << self.longest().min(MAX_TABLE_BITS);
        let in_tree: usize = self.counts[MAX_TABLE_BITS + 1..].iter().sum();
        CODE_BYTES + TABLE_BYTES + ENTRY_BYTES * entries + NODE_BYTES * in_tree
    }

    /// Reads a symbol of a complete code.
    fn read_symbol(&self, bits: &mut BitReader<'_>) -> Option<usize> {
        if let [symbol] = self.symbols[..] {
            return Some(symbol);
        }
        // The codes of a length are consecutive numbers, and follow those of the length before.
        let (mut code, mut first_code, mut first_symbol) = (0_usize, 0_usize, 0_usize);
        for &count in &self.counts[1..] {
            code = (code << 1) + usize::from(bits.read_bit()?);
            first_code <<= 1;
            if code < first_code + count {
                return self.symbols.get(first_symbol + code - first_code).copied();
            }
            first_code += count;
            first_symbol += count;
        }
        None
    }
}

/// Reads bits, the lowest one of a byte first.
struct BitReader<'a> {
    bytes: &'a [u8],
    /// The number of bits that were read.
    position: usize,
}

impl<'a> BitReader<'a> {
    const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    fn read_bit(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.position / 8)?;
        let bit = (byte >> (self.position % 8)) & 1;
        self.position += 1;
        Some(bit == 1)
    }

    /// Reads a number of this many bits, the lowest one first.
    fn read(&mut self, width: usize) -> Option<usize> {
        (0..width).try_fold(0, |number, at| {
            Some(number + (usize::from(self.read_bit()?) << at))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::lossless_image_with_groups;
    use super::*;

    #[test]
    fn frame_with_large_tables_does_not_fit() {
        // About 70 KB for each group.
        for (groups, expected) in [(1, true), (256, true), (512, false), (4_096, false)] {
            let frame = lossless_image_with_groups(groups);
            assert_eq!(frame_fits(&frame), expected, "{groups}");
        }
    }

    #[test]
    fn alpha_channel_fits_like_a_frame_of_its_size() {
        /// The size of the header of a frame, in bytes. An alpha channel has none.
        const HEADER: usize = 5;
        for (groups, expected) in [(256, true), (512, false)] {
            let stream = &lossless_image_with_groups(groups)[HEADER..];
            let alpha = |flags: u8| [&[flags][..], stream].concat();
            assert_eq!(alpha_fits(&alpha(1), (4, 4)), expected, "{groups}");
            assert_eq!(alpha_fits(&alpha(0b1_1101), (4, 4)), expected, "{groups}");
            assert!(alpha_fits(&alpha(0), (4, 4)), "not compressed");
            // The decoder rejects it.
            assert!(alpha_fits(&alpha(1), (4, MAX_AVATAR_PIXELS + 1)));
        }
    }

    #[test]
    fn table_size_depends_on_the_lengths_of_the_codes() {
        let size =
            |lengths: &[usize]| PrefixCode::from_lengths(lengths).map(|code| code.table_size());
        assert_eq!(size(&[0, 0, 7]), Some(64));
        assert_eq!(size(&[1, 1]), Some(64 + 96 + 8));
        let long = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 12];
        assert_eq!(size(&long), Some(64 + 96 + 4_096 + 3 * 32));
        for invalid in [&[][..], &[0, 0], &[1, 2], &[1, 1, 1]] {
            assert_eq!(size(invalid), None, "{invalid:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_fit_or_not(
            bytes in any::<Vec<u8>>(),
            width in 0..5_000_u32,
            height in 0..5_000_u32,
        ) {
            let _ = frame_fits(&bytes);
            let _ = frame_fits(&[&[0x2f, 3, 0xc0, 0, 0][..], &bytes].concat());
            let _ = alpha_fits(&[&[1][..], &bytes].concat(), (width, height));
        }
    }
}
