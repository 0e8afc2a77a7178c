//! Readers that count and hash what goes through them.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

use crate::recipe::Digest;

/// A reader that tells how much has gone through it, each megabyte.
pub(super) struct Counted<R, F> {
    inner: R,
    done: u64,
    told: u64,
    tell: F,
}

impl<R: Read, F: FnMut(u64) -> io::Result<()>> Counted<R, F> {
    pub(super) const fn new(inner: R, tell: F) -> Self {
        Self {
            inner,
            done: 0,
            told: 0,
            tell,
        }
    }
}

impl<R: Read, F: FnMut(u64) -> io::Result<()>> Read for Counted<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.done += read as u64;
        if self.done - self.told >= 1 << 20 {
            self.told = self.done;
            (self.tell)(self.done)?;
        }
        Ok(read)
    }
}

/// The checksum over the entries of a tar: path, size and contents of each.
#[derive(Default)]
pub(super) struct EntryHash(pub(super) Sha256);

impl EntryHash {
    pub(super) fn begin(&mut self, path: &str, size: u64) {
        self.0.update((path.len() as u64).to_be_bytes());
        self.0.update(path);
        self.0.update(size.to_be_bytes());
    }

    pub(super) fn finish(self) -> Digest {
        Digest::from_hash(self.0)
    }
}

/// A reader whose bytes enter a hash.
pub(super) struct Hashed<'a, R> {
    pub(super) inner: R,
    pub(super) hash: &'a mut EntryHash,
}

impl<R: Read> Read for Hashed<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.0.update(&buffer[..read]);
        Ok(read)
    }
}
