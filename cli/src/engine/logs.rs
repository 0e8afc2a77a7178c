//! Container logs as a stream of lines.

use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptionsBuilder;
use chrono::{DateTime, Utc};
use futures_util::{Stream, TryStreamExt};

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
    Out,
    /// Standard error.
    Err,
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

impl Engine {
    /// The container's log lines, oldest first.
    pub fn log_lines(
        &self,
        name: &str,
        query: &LogQuery,
    ) -> impl Stream<Item = Result<LogLine, EngineError>> + use<> {
        let mut options = LogsOptionsBuilder::new()
            .stdout(true)
            .stderr(true)
            .timestamps(true)
            .follow(query.follow);
        if let Some(since) = query.since {
            options = options.since(i32::try_from(since).unwrap_or(i32::MAX));
        }
        if let Some(tail) = query.tail {
            options = options.tail(&tail.to_string());
        }
        let doing = format!("read the log of container {name}");
        // The stream outlives this call: it must not borrow from the engine.
        let docker = self.docker().clone();
        let name = name.to_owned();
        async_stream(docker, name, options.build())
            .map_ok(parse)
            .map_err(move |source| EngineError::Api {
                doing: doing.clone(),
                source,
            })
    }
}

fn async_stream(
    docker: bollard::Docker,
    name: String,
    options: bollard::query_parameters::LogsOptions,
) -> impl Stream<Item = Result<LogOutput, bollard::errors::Error>> {
    docker.logs(&name, Some(options))
}

/// With time stamps each line is `<RFC 3339> <text>`.
fn parse(output: LogOutput) -> LogLine {
    let stream = match output {
        LogOutput::StdErr { .. } => LogStream::Err,
        _ => LogStream::Out,
    };
    let bytes = output.into_bytes();
    let text = String::from_utf8_lossy(&bytes);
    let line = text.trim_end_matches(['\n', '\r']);
    let (time, text) = line.split_once(' ').unwrap_or((line, ""));
    LogLine {
        time: time.parse().ok(),
        stream,
        text: text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_from_its_time_stamp() {
        let output = LogOutput::StdErr {
            message: "2026-11-24T22:50:27.1Z hello  world\r\n".into(),
        };
        assert_eq!(
            parse(output),
            LogLine {
                time: "2026-11-24T22:50:27.1Z".parse().ok(),
                stream: LogStream::Err,
                text: "hello  world".into()
            }
        );
    }

    #[test]
    fn an_empty_line_stays_a_line() {
        let output = LogOutput::StdOut {
            message: "2026-11-24T22:50:27.1Z \n".into(),
        };
        assert_eq!(parse(output).text, "");
    }
}
