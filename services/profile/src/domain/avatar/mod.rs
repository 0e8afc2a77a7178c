//! Avatars.
//!
//! ```text
//! upload          converts an uploaded image to the image that is served
//! jpeg_structure  rejects JPEG files that are cut off, or slow to decode
//! webp_structure  rejects WebP files that need more memory than an image of their size
//! webp_codes      measures the tables for the codes of lossless WebP images
//! initials        the generated image of a user who has uploaded none
//! ```

mod initials;
mod jpeg_structure;
#[cfg(test)]
mod testing;
mod upload;
mod webp_codes;
mod webp_structure;

pub(crate) use initials::initials_svg;
pub(crate) use upload::{ImageKind, InvalidImage, to_avatar};
