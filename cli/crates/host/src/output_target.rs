//! What a path leads to that something is to be written to.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

/// The names of this process's standard output.
const STDOUT_PATHS: [&str; 3] = ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputTarget {
    /// The standard output, by its name.
    Stdout,
    /// A pipe or a character device: it is written to as it is.
    Stream,
    /// A regular file, or none yet.
    File,
}

impl OutputTarget {
    /// What a path leads to.
    ///
    /// # Errors
    /// Nothing that can be written to, e.g. a folder, or it can't be seen.
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

/// Refuses what is no regular file: a file that is put in its place, whole or not at all,
/// would do away with the pipe or the device.
///
/// # Errors
/// Something that is no regular file has this name.
pub fn require_regular_file(path: &Path) -> io::Result<()> {
    match OutputTarget::from_path(path)? {
        OutputTarget::File => Ok(()),
        OutputTarget::Stdout | OutputTarget::Stream => Err(not_a_file(
            "the path is a pipe or a device, and a regular file is required",
        )),
    }
}

fn not_a_file(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_no_files() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
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
            let refused = require_regular_file(Path::new(name)).unwrap_err();
            assert!(refused.to_string().contains("regular file"), "{refused}");
        }
        let refused = OutputTarget::from_path(folder.path()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::IsADirectory);
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(OutputTarget::from_path(&socket).is_err());
    }
}
