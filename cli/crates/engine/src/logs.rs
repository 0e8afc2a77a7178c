//! Container logs as a stream of lines.
//!
//! An engine splits a long line into chunks of 16 KiB, returns them one by one and counts each
//! as a line. Here a line is a line of the program: text that is searched for in a line, above
//! all a secret, must not be split between chunks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptionsBuilder;
use chrono::{DateTime, Utc};
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};

use super::{Engine, EngineError};

/// Selects the log lines of a container.
#[derive(Debug, Clone, Default)]
pub struct LogQuery {
    /// Follow new lines until the container ends.
    pub follow: bool,
    /// Only lines since this time, in seconds of the Unix epoch.
    pub since: Option<i64>,
    /// Maximum number of existing lines, newest ones.
    pub tail: Option<usize>,
}

/// The output stream of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line of a container's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// The time at which the engine received it, if reported.
    pub time: Option<DateTime<Utc>>,
    /// The stream.
    pub stream: LogStream,
    /// The text without the line end.
    pub text: String,
}

/// The maximum length of a line in bytes. The rest of a longer line is dropped.
const MAX_LINE_BYTES: usize = 8 << 20;

/// The chunks of a container's log, as the engine returns them.
type LogChunks = BoxStream<'static, Result<LogOutput, bollard::errors::Error>>;

/// The lines of a container's log.
type LogLines = BoxStream<'static, Result<LogLine, bollard::errors::Error>>;

impl Engine {
    /// Returns the log lines of a container, oldest first.
    pub fn log_lines(
        &self,
        name: &str,
        query: &LogQuery,
    ) -> impl Stream<Item = Result<LogLine, EngineError>> + use<> {
        // The stream outlives this call and must not borrow from the engine.
        let (docker, query) = (self.docker().clone(), query.clone());
        let action = format!("read the log of container {name}");
        let name = name.to_owned();
        let lines = async move {
            let Some(limit) = query.tail else {
                let lines: LogLines = join_chunks(log_chunks(&docker, &name, &query, None)).boxed();
                return Ok::<LogLines, bollard::errors::Error>(lines);
            };
            let tail_lines = last_lines(&docker, &name, &query, limit).await?;
            if !query.follow {
                return Ok(stream::iter(tail_lines.into_iter().map(Ok)).boxed());
            }
            // Follows from the time of the last line, which the engine accepts in seconds.
            let last_time = tail_lines.back().and_then(|line| line.time);
            let follow_query = LogQuery {
                since: last_time.map(|time| time.timestamp()).or(query.since),
                ..query
            };
            let tail = last_time.is_none().then_some(0);
            let new_lines = join_chunks(log_chunks(&docker, &name, &follow_query, tail))
                .try_filter(move |line| std::future::ready(line.time > last_time));
            Ok(stream::iter(tail_lines.into_iter().map(Ok))
                .chain(new_lines)
                .boxed())
        };
        stream::once(lines)
            .try_flatten()
            .map_err(move |source| EngineError::Api {
                action: action.clone(),
                source,
            })
    }

    /// Returns the last `lines` log lines of a container, oldest first, without time stamps.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] if the container does not exist.
    pub async fn last_log_lines(
        &self,
        name: &str,
        lines: usize,
    ) -> Result<Vec<String>, EngineError> {
        let query = LogQuery {
            tail: Some(lines),
            ..LogQuery::default()
        };
        let lines = self.log_lines(name, &query);
        lines.map_ok(|line| line.text).try_collect().await
    }
}

/// Returns the last lines of a log. The number of their chunks is only known after reading.
async fn last_lines(
    docker: &bollard::Docker,
    name: &str,
    query: &LogQuery,
    limit: usize,
) -> Result<VecDeque<LogLine>, bollard::errors::Error> {
    let query_without_follow = LogQuery {
        follow: false,
        ..query.clone()
    };
    // One more: the first chunk may be the end of a longer line.
    let mut chunk_limit = limit.saturating_add(1);
    loop {
        let received = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&received);
        let counted = log_chunks(docker, name, &query_without_follow, Some(chunk_limit))
            .inspect_ok(move |_| {
                count.fetch_add(1, Ordering::Relaxed);
            });
        let mut last = VecDeque::new();
        let mut lines = 0_usize;
        let mut joined = std::pin::pin!(join_chunks(counted));
        while let Some(line) = joined.try_next().await? {
            lines += 1;
            last.push_back(line);
            if last.len() > limit {
                last.pop_front();
            }
        }
        if lines > limit || received.load(Ordering::Relaxed) < chunk_limit {
            return Ok(last);
        }
        chunk_limit = chunk_limit.saturating_mul(4);
    }
}

fn log_chunks(
    docker: &bollard::Docker,
    name: &str,
    query: &LogQuery,
    tail: Option<usize>,
) -> LogChunks {
    let mut options = LogsOptionsBuilder::new()
        .stdout(true)
        .stderr(true)
        .timestamps(true)
        .follow(query.follow);
    if let Some(since) = query.since {
        options = options.since(i32::try_from(since).unwrap_or(i32::MAX));
    }
    if let Some(tail) = tail {
        options = options.tail(&tail.to_string());
    }
    docker.logs(name, Some(options.build())).boxed()
}

/// Joins chunks to lines.
fn join_chunks<E>(
    chunks: impl Stream<Item = Result<LogOutput, E>> + Send + 'static,
) -> impl Stream<Item = Result<LogLine, E>> + Send + 'static
where
    E: Send + 'static,
{
    let state = (chunks.boxed(), LineAssembler::default());
    stream::try_unfold(state, |(mut chunks, mut assembler)| async move {
        loop {
            let line = match chunks.try_next().await? {
                Some(chunk) => assembler.feed(chunk),
                None => match assembler.flush() {
                    Some(line) => Some(line),
                    None => return Ok(None),
                },
            };
            if let Some(line) = line {
                return Ok(Some((line, (chunks, assembler))));
            }
        }
    })
}

/// The incomplete lines, by stream.
#[derive(Debug, Default)]
struct LineAssembler {
    stdout: Option<PartialLine>,
    stderr: Option<PartialLine>,
}

#[derive(Debug)]
struct PartialLine {
    time: Option<DateTime<Utc>>,
    text: Vec<u8>,
}

impl LineAssembler {
    /// Adds a chunk and returns the line that it completes. With time stamps each chunk is
    /// `<RFC 3339> <text>`, and the last one of a line contains the line end.
    fn feed(&mut self, chunk: LogOutput) -> Option<LogLine> {
        let stream = match chunk {
            LogOutput::StdErr { .. } => LogStream::Stderr,
            _ => LogStream::Stdout,
        };
        let bytes = chunk.into_bytes();
        let stamp = bytes.iter().position(|byte| *byte == b' ');
        let (stamp, text) = match stamp {
            Some(index) => (&bytes[..index], &bytes[index + 1..]),
            None => (
                bytes.trim_ascii_end(),
                &bytes[bytes.trim_ascii_end().len()..],
            ),
        };
        let slot = match stream {
            LogStream::Stdout => &mut self.stdout,
            LogStream::Stderr => &mut self.stderr,
        };
        let line = slot.get_or_insert_with(|| PartialLine {
            time: std::str::from_utf8(stamp)
                .ok()
                .and_then(|stamp| stamp.parse().ok()),
            text: Vec::new(),
        });
        let remaining = MAX_LINE_BYTES.saturating_sub(line.text.len());
        line.text
            .extend_from_slice(&text[..text.len().min(remaining)]);
        if text.ends_with(b"\n") {
            slot.take().map(|line| line.into_line(stream))
        } else {
            None
        }
    }

    /// Returns an incomplete line at the end of the log.
    fn flush(&mut self) -> Option<LogLine> {
        let stdout = self
            .stdout
            .take()
            .map(|line| line.into_line(LogStream::Stdout));
        stdout.or_else(|| {
            self.stderr
                .take()
                .map(|line| line.into_line(LogStream::Stderr))
        })
    }
}

impl PartialLine {
    fn into_line(self, stream: LogStream) -> LogLine {
        let text = String::from_utf8_lossy(&self.text);
        LogLine {
            time: self.time,
            stream,
            text: text.trim_end_matches(['\n', '\r']).to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STAMP: &str = "2026-11-24T22:50:27.1Z ";

    fn chunk(text: &str) -> LogOutput {
        LogOutput::StdErr {
            message: format!("{STAMP}{text}").into(),
        }
    }

    async fn lines(chunks: Vec<LogOutput>) -> Vec<LogLine> {
        let chunks = stream::iter(chunks.into_iter().map(Ok::<_, std::io::Error>));
        join_chunks(chunks).try_collect().await.unwrap()
    }

    #[tokio::test]
    async fn join_chunks_separates_the_time_stamp_from_the_text() {
        assert_eq!(
            lines(vec![chunk("hello  world\r\n")]).await,
            [LogLine {
                time: STAMP.trim().parse().ok(),
                stream: LogStream::Stderr,
                text: "hello  world".into()
            }]
        );
    }

    #[tokio::test]
    async fn join_chunks_keeps_empty_lines() {
        assert_eq!(lines(vec![chunk("\n")]).await[0].text, "");
    }

    #[tokio::test]
    async fn join_chunks_keeps_stdout_and_stderr_separate() {
        let stdout_chunk = LogOutput::StdOut {
            message: format!("{STAMP}ready\n").into(),
        };
        let joined = lines(vec![
            chunk("bears_bee"),
            stdout_chunk,
            chunk("ts\n"),
            chunk("end"),
        ])
        .await;
        let texts: Vec<_> = joined.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts, ["ready", "bears_beets", "end"]);
    }

    proptest! {
        #[test]
        fn join_chunks_restores_a_line_split_at_any_byte(
            text in "[ -~ä]{0,60}",
            cuts in proptest::collection::vec(0_usize..60, 0..4),
        ) {
            let line = format!("{text}\n");
            let mut cuts: Vec<_> = cuts
                .into_iter()
                .filter(|cut| *cut > 0 && *cut < line.len())
                .collect();
            cuts.sort_unstable();
            cuts.dedup();
            cuts.push(line.len());
            let mut begin = 0;
            let mut chunks = Vec::new();
            for cut in cuts {
                // Also within a multi-byte character.
                let mut message = STAMP.as_bytes().to_vec();
                message.extend_from_slice(&line.as_bytes()[begin..cut]);
                chunks.push(LogOutput::StdOut { message: message.into() });
                begin = cut;
            }
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let joined = runtime.block_on(lines(chunks));
            prop_assert_eq!(joined.len(), 1);
            prop_assert_eq!(&joined[0].text, &text);
        }
    }
}
