//! A build with the engine's classic builder: reports its steps as progress and a failure
//! with the step and the output, and removes intermediate images.

use std::sync::Arc;
use std::time::Duration;

use dm_engine::images::{BuildEvent, BuildOptions};
use dm_engine::{Engine, EngineError, EngineRefusal};
use futures_util::StreamExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::build_context::{self, ContextEntry};
use super::error::{ImageError, disk_full_hints};
use super::process::{LogTail, output_hints};
use super::progress::{ImageProgress, ProgressUpdate};

/// How long the engine may take to stop an aborted step.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// The interval of the attempts to remove the image that an aborted step uses.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The maximum number of attempts to build an image while other images are removed.
const MAX_ATTEMPTS: u32 = 5;
/// The maximum width of a reported detail, in columns.
const MAX_DETAIL_WIDTH: usize = 80;

/// Builds images from a context.
pub(super) struct ImageBuilder<'a> {
    pub engine: &'a Engine,
    pub progress: &'a dyn ImageProgress,
    pub cancel: &'a CancellationToken,
}

impl ImageBuilder<'_> {
    /// Builds an image and returns its id. It has no tag yet: the caller tags it last, so
    /// that an incomplete image is never found.
    ///
    /// For each step, the engine searches its cache, which contains the images of all builds. It
    /// fails if another client removes one of them during the search, even an unrelated one. The
    /// build is then repeated.
    pub(super) async fn build(
        &self,
        name: &str,
        options: BuildOptions,
        entries: Vec<ContextEntry>,
    ) -> Result<String, ImageError> {
        let entries: Arc<[ContextEntry]> = entries.into();
        let mut attempt = 1;
        loop {
            let mut parser = BuildOutputParser::default();
            let outcome = self
                .build_once(name, options.clone(), entries.clone(), &mut parser)
                .await;
            match outcome {
                Err(BuildFailure::Engine(error))
                    if error.refusal() == Some(EngineRefusal::CachedImageRemoved)
                        && attempt < MAX_ATTEMPTS =>
                {
                    tracing::debug!(%error, name, "repeating a build");
                    attempt += 1;
                }
                Err(BuildFailure::Engine(error)) => {
                    return Err(build_error(name, &mut parser, error));
                }
                Err(BuildFailure::Image(error)) => return Err(error),
                Ok(id) => return Ok(id),
            }
        }
    }

    async fn build_once(
        &self,
        name: &str,
        options: BuildOptions,
        entries: Arc<[ContextEntry]>,
        parser: &mut BuildOutputParser,
    ) -> Result<String, BuildFailure> {
        let context = build_context::tar_stream(entries);
        let mut events = self.engine.build_image(options, context);
        self.progress.on_progress(
            name,
            ProgressUpdate::new("building").with_detail("sending the context"),
        );
        let outcome = loop {
            let event = tokio::select! {
                () = self.cancel.cancelled() => break Err(ImageError::Cancelled.into()),
                event = events.next() => event,
            };
            match event {
                None => break take_image_id(name, parser).map_err(BuildFailure::from),
                Some(Ok(BuildEvent::Built(id))) => parser.image_id = Some(id),
                Some(Ok(BuildEvent::Output(text))) => {
                    for update in parser.feed(&text) {
                        self.progress.on_progress(name, update);
                    }
                }
                Some(Ok(BuildEvent::Transfer(event))) => {
                    let update = ProgressUpdate::new("pulling").with_detail(event.status);
                    let update = match event.current {
                        Some(current) => update.with_bytes(current, event.total),
                        None => update,
                    };
                    self.progress.on_progress(name, update);
                }
                Some(Err(error)) => break Err(BuildFailure::Engine(error)),
            }
        };
        // Dropping the stream ends a build that still runs.
        drop(events);
        let result = outcome.as_ref().ok().cloned();
        self.remove_intermediate_images(&parser.created_images, result.as_deref())
            .await;
        outcome
    }

    /// Removes the images of the steps: all of them after a failure, and after a success
    /// the stages that the image is not based on. The engine itself keeps images that are
    /// in use.
    async fn remove_intermediate_images(&self, created: &[String], result: Option<&str>) {
        // An aborted step uses its image until the engine has stopped it.
        let timeout = result.map_or(STOP_TIMEOUT, |_| Duration::ZERO);
        let deadline = Instant::now() + timeout;
        for id in created.iter().rev() {
            if result.is_some_and(|result| result.trim_start_matches("sha256:").starts_with(id)) {
                continue;
            }
            if let Err(error) = self.remove_untagged(id, deadline).await {
                tracing::debug!(%error, "left an intermediate image behind");
            }
        }
    }

    /// Removes an untagged image as soon as it is unused; keeps it if that takes too long.
    async fn remove_untagged(&self, id: &str, deadline: Instant) -> Result<(), EngineError> {
        loop {
            // The engine would also remove a tagged image if it is given by its id.
            match self.engine.inspect_image(id).await? {
                Some(image) if image.references.is_empty() => {}
                _ => return Ok(()),
            }
            if self.engine.remove_image(id).await? || Instant::now() >= deadline {
                return Ok(());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

/// A failed attempt.
enum BuildFailure {
    /// The engine refused the build or failed.
    Engine(EngineError),
    /// Any other failure, with its final error.
    Image(ImageError),
}

impl From<ImageError> for BuildFailure {
    fn from(error: ImageError) -> Self {
        Self::Image(error)
    }
}

fn take_image_id(name: &str, parser: &mut BuildOutputParser) -> Result<String, ImageError> {
    parser.image_id.take().ok_or_else(|| ImageError::Build {
        name: name.to_owned(),
        step: parser.step.take(),
        reason: "the builder ended without an image".into(),
        log: std::mem::take(&mut parser.tail).into_lines(),
        hints: vec!["dm doctor".into()],
    })
}

/// Returns the error of a failed build, with its step and output.
fn build_error(name: &str, parser: &mut BuildOutputParser, error: EngineError) -> ImageError {
    let Some(reason) = error.engine_message().map(str::to_owned) else {
        return error.into();
    };
    let mut tail = std::mem::take(&mut parser.tail);
    let hints = if error.refusal() == Some(EngineRefusal::DiskFull) {
        disk_full_hints()
    } else {
        output_hints(&tail)
    };
    if tail.is_empty() {
        tail.push(&reason);
    }
    ImageError::Build {
        name: name.to_owned(),
        step: parser.step.take(),
        reason: reason.trim().to_owned(),
        log: tail.into_lines(),
        hints,
    }
}

/// Parses the output of the classic builder.
#[derive(Debug, Default)]
struct BuildOutputParser {
    /// The output since the last line end.
    partial_line: String,
    /// The current step, as `3/7: RUN …`.
    step: Option<String>,
    /// The number of the step, and the number of all steps.
    position: (u64, u64),
    /// The instruction of the step, e.g. `RUN`.
    instruction_name: String,
    /// True if the result of the step came from the cache.
    cached: bool,
    /// The images that this build created, in order.
    created_images: Vec<String>,
    /// The id of the result.
    image_id: Option<String>,
    tail: LogTail,
}

impl BuildOutputParser {
    /// Parses a chunk of output and returns the progress to report.
    fn feed(&mut self, text: &str) -> Vec<ProgressUpdate> {
        self.partial_line.push_str(text);
        let mut updates = Vec::new();
        while let Some(end) = self.partial_line.find('\n') {
            let line: String = self.partial_line.drain(..=end).collect();
            updates.extend(self.parse_line(&to_plain_text(&line)));
        }
        updates
    }

    fn parse_line(&mut self, line: &str) -> Option<ProgressUpdate> {
        if let Some((number, total, instruction)) = parse_step(line) {
            self.step = Some(format!("{number}/{total}: {instruction}"));
            self.position = (number, total);
            // The image of FROM existed before.
            self.cached = instruction.starts_with("FROM ");
            let (keyword, rest) = instruction.split_once(' ').unwrap_or((instruction, ""));
            self.instruction_name = keyword.to_ascii_uppercase();
            // Labels and similar instructions are not reported.
            return match self.instruction_name.as_str() {
                // Its output is more informative than a page of shell.
                "RUN" => Some(self.progress_update("RUN")),
                "FROM" | "COPY" | "ADD" => Some(self.progress_update(&format!("{keyword} {rest}"))),
                _ => None,
            };
        }
        match line.strip_prefix(" ---> ") {
            Some("Using cache") => self.cached = true,
            Some(text) if text.starts_with("Running in ") => {}
            Some(id) if is_short_id(id) => {
                if !self.cached {
                    self.created_images.push(id.to_owned());
                }
            }
            _ if line.starts_with("Removing intermediate container ") => {}
            _ => {
                self.tail.push(line);
                let line = line.trim();
                return (!line.is_empty() && self.position.1 > 0)
                    .then(|| self.progress_update(&format!("{}: {line}", self.instruction_name)));
            }
        }
        None
    }

    fn progress_update(&self, detail: &str) -> ProgressUpdate {
        ProgressUpdate::new("building")
            .with_detail(truncate_detail(detail))
            .with_steps(self.position.0, self.position.1)
    }
}

/// Returns a line of output as plain text: without colours, and only the last version of
/// text that a program redraws in place (after a carriage return).
fn to_plain_text(line: &str) -> String {
    let line = console::strip_ansi_codes(line);
    let line = line.trim_end();
    let last = line.rsplit('\r').next().unwrap_or(line);
    last.replace('\t', " ")
        .chars()
        .filter(|character| !character.is_control())
        .collect()
}

/// Truncates a detail to one line.
fn truncate_detail(detail: &str) -> String {
    console::truncate_str(detail, MAX_DETAIL_WIDTH, "…").into_owned()
}

/// Splits `Step 3/7 : RUN apt-get update` into number, total and instruction.
fn parse_step(line: &str) -> Option<(u64, u64, &str)> {
    let (position, instruction) = line.strip_prefix("Step ")?.split_once(" : ")?;
    let (number, total) = position.split_once('/')?;
    Some((
        number.parse().ok()?,
        total.parse().ok()?,
        instruction.trim(),
    ))
}

fn is_short_id(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parser_tracks_step_created_images_and_log_tail() {
        let mut parser = BuildOutputParser::default();
        let mut updates = Vec::new();
        for text in [
            "Step 1/4 : FROM dm/base:1",
            "\n ---> 111111111111\n",
            "Step 2/4 : COPY a /a\n",
            " ---> Using cache\n",
            " ---> 222222222222\n",
            "Step 3/4 : RUN make\n",
            " ---> Running in aaaaaaaaaaaa\n",
            "compiling ",
            "x\nlinking\n",
            "Removing intermediate container aaaaaaaaaaaa\n",
            " ---> 333333333333\n",
            "Step 4/4 : RUN false\n ---> Running in bbbbbbbbbbbb\noops\n",
        ] {
            updates.extend(parser.feed(text));
        }
        assert_eq!(parser.created_images, ["333333333333"]);
        assert_eq!(parser.step.as_deref(), Some("4/4: RUN false"));
        assert_eq!(parser.tail.into_lines(), ["compiling x", "linking", "oops"]);
        let reported: Vec<_> = updates
            .iter()
            .map(|update| (update.current.unwrap(), update.detail.as_deref().unwrap()))
            .collect();
        assert_eq!(
            reported,
            [
                (1, "FROM dm/base:1"),
                (2, "COPY a /a"),
                (3, "RUN"),
                (3, "RUN: compiling x"),
                (3, "RUN: linking"),
                (4, "RUN"),
                (4, "RUN: oops")
            ]
        );
    }

    #[test]
    fn parser_reports_details_as_short_plain_text() {
        let mut parser = BuildOutputParser::default();
        let long = "apt-get install ".repeat(60);
        let updates = parser.feed(&format!(
            "Step 1/3 : LABEL a=b\nStep 2/3 : RUN {long}\n\
             \x1b[91mWarning: \x1b[0mslow\n10%\r100%\r\n{long}\n\
             \x1b[0mRemoving intermediate container aaaaaaaaaaaa\n\
             \x1b[0m ---> 333333333333\nStep 3/3 : CMD [\"x\"]\n"
        ));
        let details: Vec<&str> = updates
            .iter()
            .map(|update| update.detail.as_deref().unwrap())
            .collect();
        assert_eq!(details[..3], ["RUN", "RUN: Warning: slow", "RUN: 100%"]);
        assert_eq!(details.len(), 4);
        assert!(details[3].ends_with('…'));
        assert_eq!(console::measure_text_width(details[3]), MAX_DETAIL_WIDTH);
        assert_eq!(parser.created_images, ["333333333333"]);
        assert_eq!(parser.tail.into_lines()[..2], ["Warning: slow", "100%"]);
    }
}
