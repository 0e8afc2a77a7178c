//! Converts an uploaded image to the image that is served.

use std::io::Cursor;

use dm_contracts::validation::MAX_AVATAR_PIXELS;
use image::imageops::{self, FilterType};
use image::metadata::Orientation;
use image::{
    DynamicImage, ImageDecoder as _, ImageError, ImageFormat, ImageReader, Limits, RgbaImage,
};
use thiserror::Error;

use super::{jpeg_structure, webp_structure};

/// Width and height of an avatar, in pixels.
const SIZE: u32 = 256;

/// Maximum size of a decoded image, in bytes: one of the maximum width and height with eight bits
/// per channel. It also limits what the decoders allocate in addition, for example for a colour
/// profile.
const MAX_DECODED_BYTES: u64 = MAX_AVATAR_PIXELS as u64 * MAX_AVATAR_PIXELS as u64 * 4;

/// The format of an uploaded image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ImageKind {
    /// PNG.
    Png,
    /// JPEG.
    Jpeg,
    /// WebP.
    WebP,
}

impl ImageKind {
    /// Returns the format with a content type. Parameters of the content type are ignored.
    pub(crate) fn from_content_type(content_type: &str) -> Option<Self> {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        [Self::Png, Self::Jpeg, Self::WebP]
            .into_iter()
            .find(|kind| essence.eq_ignore_ascii_case(kind.format().to_mime_type()))
    }

    /// Returns the name for messages.
    const fn name(self) -> &'static str {
        match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::WebP => "WebP",
        }
    }

    const fn format(self) -> ImageFormat {
        match self {
            Self::Png => ImageFormat::Png,
            Self::Jpeg => ImageFormat::Jpeg,
            Self::WebP => ImageFormat::WebP,
        }
    }
}

/// An image that cannot become an avatar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum InvalidImage {
    /// It is too wide, too high, or too large when decoded.
    #[error(
        "image must have at most {pixels} x {pixels} pixels, and {size} MiB when decoded",
        pixels = MAX_AVATAR_PIXELS,
        size = MAX_DECODED_BYTES >> 20
    )]
    TooLarge,
    /// It is damaged, or has another format.
    #[error("image is not a valid {} file", .0.name())]
    Undecodable(ImageKind),
}

/// Returns the centre of an image as a PNG file of 256 x 256 pixels without metadata. Of an
/// animation, it is the first frame. The same image gives the same bytes.
///
/// # Errors
/// Returns [`InvalidImage`] if the file is not a valid image of this format, or is too large.
pub(crate) fn to_avatar(kind: ImageKind, file: &[u8]) -> Result<Vec<u8>, InvalidImage> {
    let undecodable = InvalidImage::Undecodable(kind);
    let is_of_kind = image::guess_format(file).is_ok_and(|format| format == kind.format());
    let has_valid_structure = match kind {
        ImageKind::Png => true,
        ImageKind::Jpeg => jpeg_structure::is_complete(file),
        ImageKind::WebP => webp_structure::is_consistent(file),
    };
    if !is_of_kind || !has_valid_structure {
        return Err(undecodable);
    }
    let (image, orientation) = decode(kind, file).map_err(|error| match error {
        ImageError::Limits(_) => InvalidImage::TooLarge,
        _ => undecodable,
    })?;
    let mut avatar = DynamicImage::ImageRgba8(crop_and_resize(&image).ok_or(undecodable)?);
    // The metadata, which says how to turn the image, is not kept.
    avatar.apply_orientation(orientation);
    let mut png = Vec::new();
    avatar
        .write_to(&mut Cursor::new(&mut png), ImageFormat::Png)
        .map_err(|_| undecodable)?;
    Ok(png)
}

/// Decodes an image within the limits. Its size is checked before its pixels are allocated.
fn decode(kind: ImageKind, file: &[u8]) -> Result<(DynamicImage, Orientation), ImageError> {
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(MAX_AVATAR_PIXELS);
    limits.max_image_height = Some(MAX_AVATAR_PIXELS);
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    let mut reader = ImageReader::with_format(Cursor::new(file), kind.format());
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder()?;
    limits.reserve(decoder.total_bytes())?;
    // Damaged metadata is no reason to reject an image.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    Ok((DynamicImage::from_decoder(decoder)?, orientation))
}

/// Returns the largest square in the centre of an image in the size of an avatar, or `None` if
/// the image has no pixels. The image is not copied.
fn crop_and_resize(image: &DynamicImage) -> Option<RgbaImage> {
    let (width, height) = (image.width(), image.height());
    let side = width.min(height);
    if side == 0 {
        return None;
    }
    let square = imageops::crop_imm(image, (width - side) / 2, (height - side) / 2, side, side);
    Some(imageops::resize(&*square, SIZE, SIZE, FilterType::Triangle))
}

#[cfg(test)]
mod tests {
    use image::{ColorType, Rgb, RgbImage};
    use proptest::prelude::*;

    use super::super::testing::lossless_image_with_groups;
    use super::*;

    const KINDS: [ImageKind; 3] = [ImageKind::Png, ImageKind::Jpeg, ImageKind::WebP];

    /// Returns a file with this image.
    fn encode(kind: ImageKind, image: &RgbImage) -> Vec<u8> {
        let mut file = Vec::new();
        DynamicImage::ImageRgb8(image.clone())
            .write_to(&mut Cursor::new(&mut file), kind.format())
            .unwrap();
        file
    }

    /// Returns an image whose left half is red, and whose right half is blue.
    fn two_halves(width: u32, height: u32) -> RgbImage {
        let (red, blue) = (Rgb([250, 0, 0]), Rgb([0, 0, 250]));
        RgbImage::from_fn(width, height, |x, _| if x < width / 2 { red } else { blue })
    }

    /// Decodes an avatar, which must be a PNG file of the size of avatars.
    fn decoded(avatar: &[u8]) -> RgbaImage {
        let image = image::load_from_memory_with_format(avatar, ImageFormat::Png).unwrap();
        assert_eq!((image.width(), image.height()), (SIZE, SIZE));
        assert_eq!(image.color(), ColorType::Rgba8);
        image.into_rgba8()
    }

    fn is_red(image: &RgbaImage, x: u32, y: u32) -> bool {
        let [red, _, blue, alpha] = image.get_pixel(x, y).0;
        assert!(
            alpha == 255 && red.abs_diff(blue) > 150,
            "{red} {blue} {alpha}"
        );
        red > blue
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| {
                (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
            })
        })
    }

    fn png_chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
        let length = u32::try_from(data.len()).unwrap().to_be_bytes();
        let content = [&name[..], data].concat();
        let crc = crc32(&content).to_be_bytes();
        [&length[..], &content[..], &crc].concat()
    }

    /// Returns a PNG file that claims a size and has no pixels.
    fn png_header(width: u32, height: u32) -> Vec<u8> {
        let mut header = width.to_be_bytes().to_vec();
        header.extend(height.to_be_bytes());
        header.extend([8, 6, 0, 0, 0]);
        [
            b"\x89PNG\r\n\x1a\n".to_vec(),
            png_chunk(b"IHDR", &header),
            png_chunk(b"IDAT", &[]),
            png_chunk(b"IEND", &[]),
        ]
        .concat()
    }

    /// Inserts a chunk behind the header of a PNG file.
    fn with_png_chunk(file: &[u8], name: &[u8; 4], data: &[u8]) -> Vec<u8> {
        const END_OF_HEADER: usize = 33;
        let (header, rest) = file.split_at(END_OF_HEADER);
        [header, &png_chunk(name, data)[..], rest].concat()
    }

    /// Inserts a segment behind the start of a JPEG file.
    fn with_jpeg_segment(file: &[u8], marker: u8, data: &[u8]) -> Vec<u8> {
        let length = u16::try_from(data.len() + 2).unwrap().to_be_bytes();
        [&file[..2], &[0xff, marker], &length, data, &file[2..]].concat()
    }

    /// Returns Exif data with an orientation and a text.
    fn exif(orientation: u8, text: &str) -> Vec<u8> {
        let entry = |tag: u16, kind: u16, count: u32, value: [u8; 4]| {
            [
                &tag.to_le_bytes()[..],
                &kind.to_le_bytes(),
                &count.to_le_bytes(),
                &value,
            ]
            .concat()
        };
        let length = u32::try_from(text.len()).unwrap();
        [
            b"II*\0\x08\0\0\0\x02\0".to_vec(),
            // The description of the image, at the end, and the orientation.
            entry(0x010e, 2, length, 38_u32.to_le_bytes()),
            entry(0x0112, 3, 1, [orientation, 0, 0, 0]),
            vec![0; 4],
            text.as_bytes().to_vec(),
        ]
        .concat()
    }

    fn riff_chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
        let length = u32::try_from(data.len()).unwrap().to_le_bytes();
        let padding = vec![0; data.len() % 2];
        [&name[..], &length, data, &padding[..]].concat()
    }

    fn webp(chunks: &[Vec<u8>]) -> Vec<u8> {
        riff_chunk(b"RIFF", &[&b"WEBP"[..], &chunks.concat()[..]].concat())
    }

    /// Returns an animation of two images of the same size.
    fn animation(first: &RgbImage, second: &RgbImage) -> Vec<u8> {
        let three = |number: u32| number.to_le_bytes()[..3].to_vec();
        let size = [three(first.width() - 1), three(first.height() - 1)].concat();
        let frame = |image: &RgbImage| {
            let still = encode(ImageKind::WebP, image);
            assert_eq!(&still[12..16], b"VP8L");
            // Position, size, duration, flags.
            let head = [vec![0; 6], size.clone(), three(100), vec![0]].concat();
            riff_chunk(b"ANMF", &[&head[..], &still[12..]].concat())
        };
        webp(&[
            riff_chunk(b"VP8X", &[vec![0x02, 0, 0, 0], size.clone()].concat()),
            riff_chunk(b"ANIM", &[0; 6]),
            frame(first),
            frame(second),
        ])
    }

    #[test]
    fn centre_of_each_format_becomes_a_png_of_the_size_of_avatars() {
        for kind in KINDS {
            for (width, height) in [(640, 200), (200, 640), (256, 256), (30, 50), (1, 1)] {
                let file = encode(kind, &two_halves(width, height));
                let avatar = to_avatar(kind, &file).unwrap();
                let image = decoded(&avatar);
                if width > 1 {
                    assert!(is_red(&image, 10, 128), "{kind:?} {width}x{height}");
                }
                assert!(!is_red(&image, 245, 128), "{kind:?} {width}x{height}");
                assert_eq!(to_avatar(kind, &file), Ok(avatar));
            }
        }
    }

    #[test]
    fn avatar_of_an_avatar_is_the_same() {
        let file = encode(ImageKind::Png, &two_halves(500, 300));
        let avatar = to_avatar(ImageKind::Png, &file).unwrap();
        assert_eq!(to_avatar(ImageKind::Png, &avatar), Ok(avatar.clone()));
    }

    #[test]
    fn metadata_turns_the_image_and_is_not_kept() {
        const SECRET: &str = "41.4090 N, 75.6624 W";
        let image = two_halves(300, 300);
        // Turned by 90 degrees clockwise, the left half is at the top.
        let exif = exif(6, SECRET);
        let app1 = [&b"Exif\0\0"[..], &exif[..]].concat();
        let jpeg = with_jpeg_segment(&encode(ImageKind::Jpeg, &image), 0xe1, &app1);
        let comment = with_jpeg_segment(&jpeg, 0xfe, SECRET.as_bytes());
        let png = with_png_chunk(&encode(ImageKind::Png, &image), b"eXIf", &exif);
        let text = [&b"Comment\0"[..], SECRET.as_bytes()].concat();
        let text = with_png_chunk(&png, b"tEXt", &text);
        for (kind, file) in [(ImageKind::Jpeg, comment), (ImageKind::Png, text)] {
            let find = |bytes: &[u8]| {
                let mut windows = bytes.windows(SECRET.len());
                windows.any(|window| window == SECRET.as_bytes())
            };
            assert!(find(&file));
            let avatar = to_avatar(kind, &file).unwrap();
            assert!(!find(&avatar), "{kind:?}");
            for name in [b"eXIf", b"tEXt", b"iTXt", b"zTXt", b"iCCP"] {
                assert!(!avatar.windows(4).any(|window| window == name), "{kind:?}");
            }
            let image = decoded(&avatar);
            assert!(
                is_red(&image, 128, 10) && !is_red(&image, 128, 245),
                "{kind:?}"
            );
        }
    }

    #[test]
    fn animation_gives_its_first_frame() {
        let first = RgbImage::from_pixel(20, 10, Rgb([250, 0, 0]));
        let second = RgbImage::from_pixel(20, 10, Rgb([0, 0, 250]));
        let avatar = to_avatar(ImageKind::WebP, &animation(&first, &second)).unwrap();
        assert!(is_red(&decoded(&avatar), 128, 128));
    }

    #[test]
    fn image_with_too_many_pixels_is_rejected_before_it_is_decoded() {
        let png = |width, height| to_avatar(ImageKind::Png, &png_header(width, height));
        for (width, height) in [(60_000, 60_000), (4_097, 1), (1, 4_097), (u32::MAX >> 1, 1)] {
            let refused = png(width, height);
            assert!(refused.is_err(), "{width}x{height}");
            if width <= 60_000 {
                assert_eq!(refused, Err(InvalidImage::TooLarge), "{width}x{height}");
            }
        }
        // The claimed size is permitted, but there are no pixels.
        assert_eq!(
            png(4_096, 4_096),
            Err(InvalidImage::Undecodable(ImageKind::Png))
        );
        for kind in [ImageKind::Jpeg, ImageKind::WebP] {
            let wide = encode(kind, &RgbImage::new(4_097, 1));
            assert_eq!(to_avatar(kind, &wide), Err(InvalidImage::TooLarge));
            assert!(to_avatar(kind, &encode(kind, &RgbImage::new(4_096, 1))).is_ok());
        }
    }

    #[test]
    fn lossy_frame_that_is_larger_than_its_image_is_rejected() {
        let header = riff_chunk(b"VP8X", &[0; 10]);
        let frame = [0x10, 0, 0, 0x9d, 0x01, 0x2a, 0xff, 0x3f, 0xff, 0x3f];
        let file = webp(&[header, riff_chunk(b"VP8 ", &frame)]);
        assert_eq!(
            to_avatar(ImageKind::WebP, &file),
            Err(InvalidImage::Undecodable(ImageKind::WebP))
        );
    }

    /// The decoder accepts both images.
    #[test]
    fn lossless_image_whose_codes_need_much_memory_is_rejected() {
        for (groups, expected) in [(256, true), (512, false)] {
            let file = webp(&[riff_chunk(b"VP8L", &lossless_image_with_groups(groups))]);
            assert!(image::load_from_memory_with_format(&file, ImageFormat::WebP).is_ok());
            assert_eq!(
                to_avatar(ImageKind::WebP, &file).is_ok(),
                expected,
                "{groups}"
            );
        }
    }

    #[test]
    fn sixteen_bits_per_channel_halve_the_number_of_pixels() {
        let png = |height| {
            let mut file = Vec::new();
            DynamicImage::new_rgba16(4_096, height)
                .write_to(&mut Cursor::new(&mut file), ImageFormat::Png)
                .unwrap();
            to_avatar(ImageKind::Png, &file)
        };
        assert!(png(2_048).is_ok());
        assert_eq!(png(2_049), Err(InvalidImage::TooLarge));
    }

    #[test]
    fn damaged_or_mislabelled_file_is_undecodable() {
        for kind in KINDS {
            let file = encode(kind, &two_halves(90, 70));
            for other in KINDS.into_iter().filter(|other| *other != kind) {
                let refused = to_avatar(other, &file);
                assert_eq!(refused, Err(InvalidImage::Undecodable(other)));
            }
            let half = &file[..file.len() / 2];
            assert_eq!(
                to_avatar(kind, half),
                Err(InvalidImage::Undecodable(kind)),
                "{kind:?}"
            );
            for text in ["", "GIF89a", "<svg xmlns=\"http://www.w3.org/2000/svg\"/>"] {
                let refused = to_avatar(kind, text.as_bytes());
                assert_eq!(refused, Err(InvalidImage::Undecodable(kind)));
            }
        }
    }

    #[test]
    fn content_type_selects_the_format() {
        for (content_type, kind) in [
            ("image/png", Some(ImageKind::Png)),
            ("Image/JPEG; charset=binary", Some(ImageKind::Jpeg)),
            ("image/webp", Some(ImageKind::WebP)),
            ("image/jpg", None),
            ("image/gif", None),
            ("image/svg+xml", None),
            ("application/json", None),
            ("", None),
        ] {
            assert_eq!(ImageKind::from_content_type(content_type), kind);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// A file with changed bytes is an avatar or an error.
        #[test]
        fn changed_bytes_never_panic(
            kind in 0..KINDS.len(),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        ) {
            let kind = KINDS[kind];
            let mut file = encode(kind, &two_halves(40, 30));
            for (at, byte) in changes {
                let at = at.index(file.len());
                file[at] = byte;
            }
            let _ = to_avatar(kind, &file).map(|avatar| decoded(&avatar));
        }
    }
}
