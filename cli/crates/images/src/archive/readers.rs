//! Readers that count and hash the bytes that pass through them.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

use crate::recipe::Sha256Digest;

/// A reader that reports the number of bytes read, once per megabyte.
pub(super) struct CountingReader<R, F> {
    inner: R,
    bytes_read: u64,
    reported: u64,
    on_progress: F,
}

impl<R: Read, F: FnMut(u64) -> io::Result<()>> CountingReader<R, F> {
    pub(super) const fn new(inner: R, on_progress: F) -> Self {
        Self {
            inner,
            bytes_read: 0,
            reported: 0,
            on_progress,
        }
    }
}

impl<R: Read, F: FnMut(u64) -> io::Result<()>> Read for CountingReader<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes_read += read as u64;
        if self.bytes_read - self.reported >= 1 << 20 {
            self.reported = self.bytes_read;
            (self.on_progress)(self.bytes_read)?;
        }
        Ok(read)
    }
}

/// The checksum over the entries of a tar: path, size and contents of each.
#[derive(Default)]
pub(super) struct EntryHasher(pub(super) Sha256);

impl EntryHasher {
    pub(super) fn begin_entry(&mut self, path: &str, size: u64) {
        self.0.update((path.len() as u64).to_be_bytes());
        self.0.update(path);
        self.0.update(size.to_be_bytes());
    }

    pub(super) fn finish(self) -> Sha256Digest {
        Sha256Digest::from_hasher(self.0)
    }
}

/// A reader that hashes its bytes.
pub(super) struct HashingReader<'a, R> {
    pub(super) inner: R,
    pub(super) hasher: &'a mut EntryHasher,
}

impl<R: Read> Read for HashingReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.0.update(&buffer[..read]);
        Ok(read)
    }
}
