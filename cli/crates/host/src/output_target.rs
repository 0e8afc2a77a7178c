//! The kind of file to which output is written.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

/// The paths of the current process's standard output.
const STDOUT_PATHS: [&str; 3] = ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];

/// The kind of file at an output path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputTarget {
    /// The standard output, by one of its paths.
    Stdout,
    /// A pipe or a character device, which is written to directly.
    Stream,
    /// A regular file, or a path that does not exist yet.
    File,
}

impl OutputTarget {
    /// Determines the kind of file at a path.
    ///
    /// # Errors
    /// Returns [`std::io::Error`] if the path cannot be inspected or is not writable, e.g. a
    /// directory.
    pub fn from_path(path: &Path) -> io::Result<Self> {
        if STDOUT_PATHS.iter().any(|name| path == Path::new(name)) {
            return Ok(Self::Stdout);
        }
        let kind = match fs::metadata(path) {
            Ok(metadata) => metadata.file_type(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::File),
            Err(error) => return Err(error),
        };
        if kind.is_fifo() || kind.is_char_device() {
            Ok(Self::Stream)
        } else if kind.is_file() {
            Ok(Self::File)
        } else if kind.is_dir() {
            Err(io::ErrorKind::IsADirectory.into())
        } else {
            Err(not_a_file("the path is a socket or a disk"))
        }
    }
}

/// Checks that a path is a regular file or does not exist. Replacing a pipe or a device
/// atomically by a file would remove it.
///
/// # Errors
/// Returns [`io::ErrorKind::InvalidInput`] if the path is a pipe or a device, and the errors of
/// [`OutputTarget::from_path`].
pub fn require_regular_file(path: &Path) -> io::Result<()> {
    match OutputTarget::from_path(path)? {
        OutputTarget::File => Ok(()),
        OutputTarget::Stdout | OutputTarget::Stream => Err(not_a_file(
            "the path is a pipe or a device, and a regular file is required",
        )),
    }
}

fn not_a_file(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_target_distinguishes_files_and_streams() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        assert_eq!(OutputTarget::from_path(&file).unwrap(), OutputTarget::File);
        fs::write(&file, "x").unwrap();
        assert_eq!(OutputTarget::from_path(&file).unwrap(), OutputTarget::File);
        assert!(require_regular_file(&file).is_ok());
        for (name, target) in [
            ("/dev/stdout", OutputTarget::Stdout),
            ("/proc/self/fd/1", OutputTarget::Stdout),
            ("/dev/null", OutputTarget::Stream),
        ] {
            assert_eq!(
                OutputTarget::from_path(Path::new(name)).unwrap(),
                target,
                "{name}"
            );
            let error = require_regular_file(Path::new(name)).unwrap_err();
            assert!(error.to_string().contains("regular file"), "{error}");
        }
        let error = OutputTarget::from_path(directory.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
        let socket = directory.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(OutputTarget::from_path(&socket).is_err());
    }
}
