//! Container logs as a stream of lines.
//!
//! An engine keeps a long line in pieces of 16 KiB, hands them out one by one and counts them
//! as lines. Here a line is what its program wrote: nothing that is looked for in a line, a
//! secret above all, may lie over the end of a piece.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptionsBuilder;
use chrono::{DateTime, Utc};
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};

use super::{Engine, EngineError};

/// Which of a container's log lines are wanted.
#[derive(Debug, Clone, Default)]
pub struct LogQuery {
    /// Go on with new lines until the container ends.
    pub follow: bool,
    /// Only lines since this moment, in seconds of the Unix epoch.
    pub since: Option<i64>,
    /// Only the last so many of the lines there are.
    pub tail: Option<usize>,
}

/// Which of its two streams a container wrote to.
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
    /// When the engine received it, where it tells.
    pub time: Option<DateTime<Utc>>,
    /// The stream.
    pub stream: LogStream,
    /// The text without its line end.
    pub text: String,
}

/// A line is not kept beyond this many bytes: what follows of it is left out.
const MAX_LINE_BYTES: usize = 8 << 20;

/// The pieces of a container's log, as the engine hands them out.
type LogChunks = BoxStream<'static, Result<LogOutput, bollard::errors::Error>>;

/// The lines of a container's log.
type LogLines = BoxStream<'static, Result<LogLine, bollard::errors::Error>>;

impl Engine {
    /// The container's log lines, oldest first.
    pub fn log_lines(
        &self,
        name: &str,
        query: &LogQuery,
    ) -> impl Stream<Item = Result<LogLine, EngineError>> + use<> {
        // The stream outlives this call: it must not borrow from the engine.
        let (docker, query) = (self.docker().clone(), query.clone());
        let doing = format!("read the log of container {name}");
        let name = name.to_owned();
        let begun = async move {
            let Some(wanted) = query.tail else {
                let lines: LogLines = join_chunks(log_chunks(&docker, &name, &query, None)).boxed();
                return Ok::<LogLines, bollard::errors::Error>(lines);
            };
            let last = last_lines(&docker, &name, &query, wanted).await?;
            if !query.follow {
                return Ok(stream::iter(last.into_iter().map(Ok)).boxed());
            }
            // From the moment of the last one on, of which the engine knows the second.
            let from = last.back().and_then(|line| line.time);
            let since = LogQuery {
                since: from.map(|time| time.timestamp()).or(query.since),
                ..query
            };
            let tail = from.is_none().then_some(0);
            let new = join_chunks(log_chunks(&docker, &name, &since, tail))
                .try_filter(move |line| std::future::ready(line.time > from));
            Ok(stream::iter(last.into_iter().map(Ok)).chain(new).boxed())
        };
        stream::once(begun)
            .try_flatten()
            .map_err(move |source| EngineError::Api {
                doing: doing.clone(),
                source,
            })
    }

    /// The container's last `lines` log lines, oldest first, without time stamps.
    ///
    /// # Errors
    /// [`EngineError::Api`] where the container is gone.
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

/// The last lines of a log. How many pieces they are is not known before they are read.
async fn last_lines(
    docker: &bollard::Docker,
    name: &str,
    query: &LogQuery,
    wanted: usize,
) -> Result<VecDeque<LogLine>, bollard::errors::Error> {
    let ended = LogQuery {
        follow: false,
        ..query.clone()
    };
    // One more: the first that comes may be the end of a longer one.
    let mut asked = wanted.saturating_add(1);
    loop {
        let came = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&came);
        let counted = log_chunks(docker, name, &ended, Some(asked)).inspect_ok(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let mut last = VecDeque::new();
        let mut lines = 0_usize;
        let mut all = std::pin::pin!(join_chunks(counted));
        while let Some(line) = all.try_next().await? {
            lines += 1;
            last.push_back(line);
            if last.len() > wanted {
                last.pop_front();
            }
        }
        if lines > wanted || came.load(Ordering::Relaxed) < asked {
            return Ok(last);
        }
        asked = asked.saturating_mul(4);
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

/// The lines that pieces make up.
fn join_chunks<E>(
    pieces: impl Stream<Item = Result<LogOutput, E>> + Send + 'static,
) -> impl Stream<Item = Result<LogLine, E>> + Send + 'static
where
    E: Send + 'static,
{
    let state = (pieces.boxed(), LineAssembler::default());
    stream::try_unfold(state, |(mut pieces, mut joiner)| async move {
        loop {
            let line = match pieces.try_next().await? {
                Some(piece) => joiner.feed(piece),
                None => match joiner.flush() {
                    Some(line) => Some(line),
                    None => return Ok(None),
                },
            };
            if let Some(line) = line {
                return Ok(Some((line, (pieces, joiner))));
            }
        }
    })
}

/// The lines that have begun and not ended, by stream.
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
    /// Takes a piece; gives the line that it ends. With time stamps each piece is
    /// `<RFC 3339> <text>`, and the last one of a line has its end.
    fn feed(&mut self, piece: LogOutput) -> Option<LogLine> {
        let stream = match piece {
            LogOutput::StdErr { .. } => LogStream::Stderr,
            _ => LogStream::Stdout,
        };
        let bytes = piece.into_bytes();
        let stamp = bytes.iter().position(|byte| *byte == b' ');
        let (stamp, text) = match stamp {
            Some(at) => (&bytes[..at], &bytes[at + 1..]),
            None => (
                bytes.trim_ascii_end(),
                &bytes[bytes.trim_ascii_end().len()..],
            ),
        };
        let slot = match stream {
            LogStream::Stdout => &mut self.stdout,
            LogStream::Stderr => &mut self.stderr,
        };
        let begun = slot.get_or_insert_with(|| PartialLine {
            time: std::str::from_utf8(stamp)
                .ok()
                .and_then(|it| it.parse().ok()),
            text: Vec::new(),
        });
        let room = MAX_LINE_BYTES.saturating_sub(begun.text.len());
        begun.text.extend_from_slice(&text[..text.len().min(room)]);
        if text.ends_with(b"\n") {
            slot.take().map(|begun| begun.into_line(stream))
        } else {
            None
        }
    }

    /// A line that never ended.
    fn flush(&mut self) -> Option<LogLine> {
        let out = self
            .stdout
            .take()
            .map(|begun| begun.into_line(LogStream::Stdout));
        out.or_else(|| {
            self.stderr
                .take()
                .map(|begun| begun.into_line(LogStream::Stderr))
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

    fn piece(text: &str) -> LogOutput {
        LogOutput::StdErr {
            message: format!("{STAMP}{text}").into(),
        }
    }

    async fn lines(pieces: Vec<LogOutput>) -> Vec<LogLine> {
        let pieces = stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
        join_chunks(pieces).try_collect().await.unwrap()
    }

    #[tokio::test]
    async fn a_line_is_split_from_its_time_stamp() {
        assert_eq!(
            lines(vec![piece("hello  world\r\n")]).await,
            [LogLine {
                time: STAMP.trim().parse().ok(),
                stream: LogStream::Stderr,
                text: "hello  world".into()
            }]
        );
    }

    #[tokio::test]
    async fn an_empty_line_stays_a_line() {
        assert_eq!(lines(vec![piece("\n")]).await[0].text, "");
    }

    #[tokio::test]
    async fn pieces_of_two_streams_are_not_mixed() {
        let out = LogOutput::StdOut {
            message: format!("{STAMP}ready\n").into(),
        };
        let found = lines(vec![piece("bears_bee"), out, piece("ts\n"), piece("end")]).await;
        let texts: Vec<_> = found.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts, ["ready", "bears_beets", "end"]);
    }

    proptest! {
        #[test]
        fn a_line_is_whole_wherever_it_was_cut(
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
            let mut pieces = Vec::new();
            for cut in cuts {
                // Also within a letter.
                let mut message = STAMP.as_bytes().to_vec();
                message.extend_from_slice(&line.as_bytes()[begin..cut]);
                pieces.push(LogOutput::StdOut { message: message.into() });
                begin = cut;
            }
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let found = runtime.block_on(lines(pieces));
            prop_assert_eq!(found.len(), 1);
            prop_assert_eq!(&found[0].text, &text);
        }
    }
}
