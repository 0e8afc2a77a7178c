//! A build context as a tar stream that is created while it is sent.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::mpsc;

/// The path of the entry with the instructions.
pub(super) const DOCKERFILE: &str = "Dockerfile";

/// The number of bytes per chunk of the stream.
const CHUNK_SIZE: usize = 256 * 1024;

/// One entry of a context.
#[derive(Debug)]
pub(super) struct ContextEntry {
    /// Its path in the context.
    pub path: String,
    /// Its permission bits.
    pub mode: u32,
    /// The source of its bytes.
    pub source: EntrySource,
}

/// The source of the bytes of an entry.
#[derive(Debug)]
pub(super) enum EntrySource {
    /// Bytes in memory.
    Bytes(Cow<'static, [u8]>),
    /// A file, which is read while it is sent.
    File(PathBuf),
}

impl ContextEntry {
    /// Creates a text file that only its owner may write.
    pub(super) fn from_text(path: &str, text: String) -> Self {
        Self {
            path: path.to_owned(),
            mode: 0o644,
            source: EntrySource::Bytes(text.into_bytes().into()),
        }
    }
}

/// Appends the labels to the instructions of a context as one step. Labels that are passed
/// to the engine beside the context would be one step each.
pub(super) fn append_labels(entries: &mut [ContextEntry], labels: &HashMap<String, String>) {
    let Some(EntrySource::Bytes(instructions)) = entries
        .iter_mut()
        .find(|entry| entry.path == DOCKERFILE)
        .map(|entry| &mut entry.source)
    else {
        return;
    };
    let mut step = String::from("\nLABEL");
    for (name, value) in labels.iter().collect::<BTreeMap<_, _>>() {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        step.push_str(&format!(" \"{name}\"=\"{value}\""));
    }
    step.push('\n');
    instructions.to_mut().extend_from_slice(step.as_bytes());
}

/// Returns the context as a tar. Owner and times are the same on every machine, so that the
/// builder's cache matches.
pub(super) fn tar_stream(
    entries: Arc<[ContextEntry]>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static {
    stream_from_writer(move |writer| {
        let mut tar = tar::Builder::new(writer);
        for entry in entries.iter() {
            let mut header = tar::Header::new_gnu();
            header.set_mode(entry.mode);
            header.set_entry_type(tar::EntryType::Regular);
            match &entry.source {
                EntrySource::Bytes(bytes) => {
                    header.set_size(bytes.len() as u64);
                    tar.append_data(&mut header, &entry.path, bytes.as_ref())?;
                }
                EntrySource::File(path) => {
                    let file = File::open(path)?;
                    header.set_size(file.metadata()?.len());
                    tar.append_data(&mut header, &entry.path, file)?;
                }
            }
        }
        tar.into_inner()?.flush()
    })
}

/// Returns the output of a blocking producer as a stream. The producer receives a broken pipe
/// when the stream is dropped; an error that it returns ends the stream.
pub(super) fn stream_from_writer(
    producer: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static {
    let (sender, mut receiver) = mpsc::channel(4);
    tokio::task::spawn_blocking(move || {
        let channel = ChannelWriter(sender.clone());
        let mut writer = io::BufWriter::with_capacity(CHUNK_SIZE, channel);
        if let Err(error) = producer(&mut writer).and_then(|()| writer.flush()) {
            // Buffered data must not follow the error.
            drop(writer.into_parts());
            // Either the stream was dropped, or its reader receives the error.
            drop(sender.blocking_send(Err(error)));
        }
    });
    futures_util::stream::poll_fn(move |context| receiver.poll_recv(context))
}

struct ChannelWriter(mpsc::Sender<io::Result<Bytes>>);

impl Write for ChannelWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .blocking_send(Ok(Bytes::copy_from_slice(bytes)))
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use futures_util::{StreamExt, TryStreamExt};

    use super::*;

    #[tokio::test]
    async fn tar_stream_is_deterministic() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("big");
        std::fs::write(&file, vec![7; 3 * CHUNK_SIZE]).unwrap();
        let context = || {
            let entries = [
                ContextEntry::from_text("Dockerfile", "FROM scratch".into()),
                ContextEntry {
                    path: "big.tar.gz".into(),
                    mode: 0o600,
                    source: EntrySource::File(file.clone()),
                },
            ];
            tar_stream(Arc::new(entries)).try_collect::<Vec<_>>()
        };
        let (one, two) = (
            context().await.unwrap().concat(),
            context().await.unwrap().concat(),
        );
        assert_eq!(one, two);
        let mut archive = tar::Archive::new(one.as_slice());
        let mut entries = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut contents = Vec::new();
            entry.read_to_end(&mut contents).unwrap();
            let path = entry.path().unwrap().display().to_string();
            entries.push((path, entry.header().mode().unwrap(), contents.len()));
        }
        assert_eq!(
            entries,
            [
                ("Dockerfile".to_owned(), 0o644, 12),
                ("big.tar.gz".to_owned(), 0o600, 3 * CHUNK_SIZE)
            ]
        );
    }

    #[tokio::test]
    async fn tar_stream_with_a_missing_file_ends_with_the_io_error() {
        let entry = ContextEntry {
            path: "x".into(),
            mode: 0o644,
            source: EntrySource::File("/nonexistent".into()),
        };
        let last = tar_stream(Arc::new([entry]))
            .collect::<Vec<_>>()
            .await
            .pop()
            .unwrap();
        assert_eq!(last.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
