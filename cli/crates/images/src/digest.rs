//! The digest that things are named by.

use std::fmt;

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

/// How many hex digits of a digest a tag shows.
const SHORT_DIGITS: usize = 12;

/// A SHA-256 digest, as hex.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256Digest(String);

impl Sha256Digest {
    /// The digest of some bytes.
    #[must_use]
    pub fn compute(bytes: &[u8]) -> Self {
        Self::from_hasher(Sha256::new_with_prefix(bytes))
    }

    /// The digest that a hash has come to.
    #[must_use]
    pub(crate) fn from_hasher(hash: Sha256) -> Self {
        Self(HEXLOWER.encode(&hash.finalize()))
    }

    /// All 64 digits.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The digits that a tag shows.
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
