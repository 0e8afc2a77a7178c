//! SHA-256 digests, which identify recipes, files and images.

use std::fmt;

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

/// The number of hex digits of a digest in a tag.
const SHORT_DIGITS: usize = 12;

/// A SHA-256 digest, as hex.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256Digest(String);

impl Sha256Digest {
    /// Computes the digest of bytes.
    #[must_use]
    pub fn compute(bytes: &[u8]) -> Self {
        Self::from_hasher(Sha256::new_with_prefix(bytes))
    }

    /// Returns the digest of a finished hash.
    #[must_use]
    pub(crate) fn from_hasher(hash: Sha256) -> Self {
        Self(HEXLOWER.encode(&hash.finalize()))
    }

    /// Returns all 64 digits.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the digits that a tag contains.
    #[must_use]
    pub(crate) fn short_hex(&self) -> &str {
        &self.0[..SHORT_DIGITS]
    }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
