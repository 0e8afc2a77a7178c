//! Errors of reading an image archive.

use std::io;

/// The reason why a file is not a usable image archive.
#[derive(Debug)]
pub(super) enum ImageArchiveError {
    NotAnArchive,
    UnsupportedFormat(String),
    Truncated,
    Corrupt(String),
    Io(io::Error),
}

impl From<io::Error> for ImageArchiveError {
    fn from(error: io::Error) -> Self {
        let text = error.to_string();
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            // The texts of tar and zstd for a truncated stream.
            _ if text.contains("incomplete frame") || text.contains("unexpected EOF") => {
                Self::Truncated
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::Interrupted => Self::Io(error),
            _ if error.raw_os_error().is_some() => Self::Io(error),
            _ => Self::Corrupt(text),
        }
    }
}
