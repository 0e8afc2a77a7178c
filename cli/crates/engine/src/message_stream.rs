//! Streams of JSON messages: the progress of a build, a pull, an import or a load.

use std::future::ready;

use bollard::errors::Error;
use futures_util::{Stream, StreamExt};

/// The message of the error with which `tokio_util::codec` reports bytes after the last message.
const BYTES_REMAINING: &str = "bytes remaining on stream";

/// Ends a stream after the last message.
///
/// The engine ends each message with CR LF. If the end of the last message arrives separately,
/// bollard's decoder returns the message, keeps the CR, and reports it at the end of the response as
/// an error. If the connection breaks, that is another error. Callers check what they need from the
/// messages, such as the id of an image.
pub(crate) fn messages<T>(
    stream: impl Stream<Item = Result<T, Error>>,
) -> impl Stream<Item = Result<T, Error>> {
    stream.take_while(|message| ready(!message.as_ref().is_err_and(is_bytes_remaining)))
}

fn is_bytes_remaining(error: &Error) -> bool {
    matches!(error, Error::IOError { err } if err.to_string() == BYTES_REMAINING)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use crate::images::{BuildEvent, BuildOptions};
    use crate::{Engine, EngineError, EngineSettings};

    /// Starts an engine that reports its version, and answers every other request with these chunks,
    /// each in a packet of its own.
    fn start_engine(path: &Path, chunks: &'static [&'static str]) {
        let listener = tokio::net::UnixListener::bind(path).unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let head =
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
                if request.starts_with(b"GET") {
                    let version = r#"{"Version":"1","ApiVersion":"1.44"}"#;
                    let answer =
                        format!("{head}content-length: {}\r\n\r\n{version}", version.len());
                    let _ = stream.write_all(answer.as_bytes()).await;
                    continue;
                }
                let head = format!("{head}transfer-encoding: chunked\r\n\r\n");
                let _ = stream.write_all(head.as_bytes()).await;
                for chunk in chunks {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    let chunk = format!("{:x}\r\n{chunk}\r\n", chunk.len());
                    let _ = stream.write_all(chunk.as_bytes()).await;
                }
                if chunks.last().is_some_and(|chunk| chunk.ends_with('\n')) {
                    let _ = stream.write_all(b"0\r\n\r\n").await;
                }
            }
        });
    }

    /// Builds an image on an engine that answers with these chunks.
    async fn build(chunks: &'static [&'static str]) -> Vec<Result<BuildEvent, EngineError>> {
        use futures_util::StreamExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("engine.sock");
        start_engine(&path, chunks);
        let settings = EngineSettings {
            host: Some(format!("unix://{}", path.display())),
        };
        let engine = Engine::connect(&settings).await.unwrap();
        let context = futures_util::stream::empty();
        let events = engine.build_image(BuildOptions::default(), context);
        events.collect().await
    }

    #[tokio::test]
    async fn message_whose_line_end_arrives_separately_is_the_last_one() {
        for chunks in [
            &["{\"stream\":\"Step 1\"}\r\n{\"aux\":{\"ID\":\"sha256:1\"}}\r\n"][..],
            &[
                "{\"stream\":\"Step 1\"}\r\n{\"aux\":{\"ID\":\"sha256:1\"}}",
                "\r\n",
            ],
            &[
                "{\"stream\":\"Step 1\"}",
                "\r\n",
                "{\"aux\":{\"ID\":",
                "\"sha256:1\"}}",
                "\r\n",
            ],
        ] {
            let events: Vec<_> = build(chunks)
                .await
                .into_iter()
                .map(Result::unwrap)
                .collect();
            assert_eq!(
                events,
                [
                    BuildEvent::Output("Step 1".into()),
                    BuildEvent::Built("sha256:1".into())
                ],
                "{chunks:?}"
            );
        }
    }

    #[tokio::test]
    async fn response_that_is_cut_off_is_an_error() {
        let mut events = build(&["{\"stream\":\"Step 1\"}\r\n{\"aux\":{\"ID\":"]).await;
        let last = events.pop().unwrap();
        assert!(
            matches!(last, Err(EngineError::Unreachable { .. })),
            "{last:?}"
        );
    }
}
