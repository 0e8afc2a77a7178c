//! Images for tests.

/// The order in which the lengths of the codes for lengths are stored, and these lengths.
const CODES_FOR_LENGTHS: [(usize, usize); 19] = [
    (17, 0),
    (18, 0),
    (0, 0),
    (1, 3),
    (2, 3),
    (3, 3),
    (4, 4),
    (5, 0),
    (16, 1),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 0),
    (12, 0),
    (13, 0),
    (14, 0),
    (15, 4),
];

/// Writes bits, the lowest one of a byte first.
#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    count: usize,
}

impl BitWriter {
    fn bit(&mut self, bit: bool) {
        let at = self.count % 8;
        if at == 0 {
            self.bytes.push(0);
        }
        *self.bytes.last_mut().unwrap() |= u8::from(bit) << at;
        self.count += 1;
    }

    /// Writes a number of this many bits, the lowest one first.
    fn number(&mut self, number: usize, width: usize) {
        for at in 0..width {
            self.bit((number >> at) & 1 == 1);
        }
    }

    /// Writes bits in the order of the text.
    fn bits(&mut self, bits: &str) {
        for bit in bits.bytes() {
            self.bit(bit == b'1');
        }
    }

    /// Writes a code with one symbol.
    fn code_of(&mut self, symbol: usize) {
        self.bits("101");
        self.number(symbol, 8);
    }
}

/// Returns a valid lossless WebP frame of 4 x 4 black pixels. It has this many groups of codes, of
/// 146 bytes each, and the decoder needs a table of 70 KB for each.
pub(super) fn lossless_image_with_groups(groups: usize) -> Vec<u8> {
    let mut image = BitWriter::default();
    // Signature, width, height, no alpha channel, version.
    image.number(0x2f, 8);
    image.number(3, 14);
    image.number(3, 14);
    image.number(0, 4);
    // No transform, and a cache of 2,048 colours.
    image.bits("01");
    image.number(11, 4);
    // A group for each block of 4 x 4 pixels. The only block selects the last group.
    image.bit(true);
    image.number(0, 3);
    image.bit(false);
    let last = groups - 1;
    for symbol in [last & 0xff, last >> 8, 0, 0, 0] {
        image.code_of(symbol);
    }
    for _ in 0..groups {
        add_large_code(&mut image);
        for _ in 0..4 {
            image.code_of(0);
        }
    }
    image.number(0, 16);
    image.bytes
}

/// Adds a code whose symbols have lengths of 1, 2, 3 and 4 bits, and 2,048 further ones of 15 bits.
fn add_large_code(image: &mut BitWriter) {
    image.bit(false);
    image.number(CODES_FOR_LENGTHS.len() - 4, 4);
    for (_, length) in CODES_FOR_LENGTHS {
        image.number(length, 3);
    }
    // The number of lengths and repetitions, minus 2, in 10 bits.
    image.bit(true);
    image.number(4, 3);
    image.number(345, 10);
    for length in ["100", "101", "110", "1110", "1111"] {
        image.bits(length);
    }
    // The last length is repeated 340 times six times, four times and three times.
    for repetitions in std::iter::repeat_n(6, 340).chain([4, 3]) {
        image.bits("0");
        image.number(repetitions - 3, 2);
    }
}
