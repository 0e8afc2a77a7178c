//! One build by the engine's classic builder: its steps as progress, its failure
//! with the step and the output, and nothing left behind.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use dm_engine::images::{BuildEvent, BuildOptions};
use dm_engine::{Engine, EngineError, EngineRefusal};
use futures_util::{Stream, StreamExt};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::error::{ImageError, disk_full_hints};
use super::process::{LogTail, output_hints};
use super::progress::{ImageProgress, ProgressUpdate};

/// How long the engine may take to stop a step that was broken off.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// How often it is tried meanwhile to remove what that step stands on.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The longest detail that is told, in columns.
const MAX_DETAIL_WIDTH: usize = 80;

/// What a build works with.
pub(super) struct ImageBuilder<'a> {
    pub engine: &'a Engine,
    pub progress: &'a dyn ImageProgress,
    pub cancel: &'a CancellationToken,
}

impl ImageBuilder<'_> {
    /// Builds an image and returns its id. It has no tag yet: the caller gives it
    /// one as the last thing, so that nothing half made is ever found.
    pub(super) async fn build(
        &self,
        name: &str,
        options: BuildOptions,
        context: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<String, ImageError> {
        let mut events = self.engine.build_image(options, context);
        let mut transcript = BuildOutputParser::default();
        self.progress.on_progress(
            name,
            ProgressUpdate::new("building").with_detail("sending the context"),
        );
        let outcome = loop {
            let event = tokio::select! {
                () = self.cancel.cancelled() => break Err(ImageError::Cancelled),
                event = events.next() => event,
            };
            match event {
                None => break self.take_image_id(name, &mut transcript),
                Some(Ok(BuildEvent::Built(id))) => transcript.image_id = Some(id),
                Some(Ok(BuildEvent::Output(text))) => {
                    for update in transcript.feed(&text) {
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
                Some(Err(error)) => break Err(build_error(name, &mut transcript, error)),
            }
        };
        // Closing the stream ends a build that still runs.
        drop(events);
        let result = outcome.as_ref().ok().cloned();
        self.remove_intermediate_images(&transcript.created_images, result.as_deref())
            .await;
        outcome
    }

    fn take_image_id(
        &self,
        name: &str,
        transcript: &mut BuildOutputParser,
    ) -> Result<String, ImageError> {
        transcript.image_id.take().ok_or_else(|| ImageError::Build {
            name: name.to_owned(),
            step: transcript.step.take(),
            reason: "the builder ended without an image".into(),
            log: std::mem::take(&mut transcript.tail).into_lines(),
            hints: vec!["dm doctor".into()],
        })
    }

    /// Removes what the steps left: all of it after a failure, and after a success
    /// the stages that the image does not stand on. The engine itself keeps what
    /// something still needs.
    async fn remove_intermediate_images(&self, created: &[String], result: Option<&str>) {
        // A step that was broken off needs its image until the engine has stopped it.
        let patience = result.map_or(STOP_TIMEOUT, |_| Duration::ZERO);
        let until = Instant::now() + patience;
        for id in created.iter().rev() {
            if result.is_some_and(|result| result.trim_start_matches("sha256:").starts_with(id)) {
                continue;
            }
            if let Err(error) = self.remove_untagged(id, until).await {
                tracing::debug!(%error, "left an intermediate image behind");
            }
        }
    }

    /// Removes an image that has no tag, as soon as nothing needs it, or leaves it.
    async fn remove_untagged(&self, id: &str, until: Instant) -> Result<(), EngineError> {
        loop {
            // By its id, the engine would remove a tagged image, too.
            match self.engine.inspect_image(id).await? {
                Some(image) if image.references.is_empty() => {}
                _ => return Ok(()),
            }
            if self.engine.remove_image(id).await? || Instant::now() >= until {
                return Ok(());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

/// A build's failure with all that is known of it.
fn build_error(name: &str, transcript: &mut BuildOutputParser, error: EngineError) -> ImageError {
    let Some(reason) = error.engine_message().map(str::to_owned) else {
        return error.into();
    };
    let mut tail = std::mem::take(&mut transcript.tail);
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
        step: transcript.step.take(),
        reason: reason.trim().to_owned(),
        log: tail.into_lines(),
        hints,
    }
}

/// What the classic builder's output tells.
#[derive(Debug, Default)]
struct BuildOutputParser {
    /// The output since the last line end.
    partial_line: String,
    /// The step under way, as `3/7: RUN …`.
    step: Option<String>,
    /// Its number and how many there are.
    position: (u64, u64),
    /// Its verb, e.g. `RUN`.
    instruction_name: String,
    /// True where the result of the step is one that was known before.
    cached: bool,
    /// The images that this build made, in order.
    created_images: Vec<String>,
    /// The id of the result.
    image_id: Option<String>,
    tail: LogTail,
}

impl BuildOutputParser {
    /// Takes text as it comes; returns what is worth telling.
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
        if let Some((number, of, instruction)) = parse_step(line) {
            self.step = Some(format!("{number}/{of}: {instruction}"));
            self.position = (number, of);
            // What FROM names was there before.
            self.cached = instruction.starts_with("FROM ");
            let (verb, rest) = instruction.split_once(' ').unwrap_or((instruction, ""));
            self.instruction_name = verb.to_ascii_uppercase();
            // Labels and the like are no work.
            return match self.instruction_name.as_str() {
                // Its output says better what it does than a page of shell.
                "RUN" => Some(self.progress_update("RUN")),
                "FROM" | "COPY" | "ADD" => Some(self.progress_update(&format!("{verb} {rest}"))),
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

/// A line of output as plain text: what a program redraws in place (after a
/// carriage return) counts as it is at last, and colours are gone.
fn to_plain_text(line: &str) -> String {
    let line = console::strip_ansi_codes(line);
    let line = line.trim_end();
    let last = line.rsplit('\r').next().unwrap_or(line);
    last.replace('\t', " ")
        .chars()
        .filter(|character| !character.is_control())
        .collect()
}

/// A detail that fits into a line.
fn truncate_detail(detail: &str) -> String {
    console::truncate_str(detail, MAX_DETAIL_WIDTH, "…").into_owned()
}

/// `Step 3/7 : RUN apt-get update`, in its parts.
fn parse_step(line: &str) -> Option<(u64, u64, &str)> {
    let (position, instruction) = line.strip_prefix("Step ")?.split_once(" : ")?;
    let (number, of) = position.split_once('/')?;
    Some((number.parse().ok()?, of.parse().ok()?, instruction.trim()))
}

fn is_short_id(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transcript_knows_its_step_its_own_images_and_its_last_lines() {
        let mut transcript = BuildOutputParser::default();
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
            updates.extend(transcript.feed(text));
        }
        assert_eq!(transcript.created_images, ["333333333333"]);
        assert_eq!(transcript.step.as_deref(), Some("4/4: RUN false"));
        assert_eq!(
            transcript.tail.into_lines(),
            ["compiling x", "linking", "oops"]
        );
        let told: Vec<_> = updates
            .iter()
            .map(|update| (update.current.unwrap(), update.detail.as_deref().unwrap()))
            .collect();
        assert_eq!(
            told,
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
    fn what_is_told_of_a_step_is_plain_and_short() {
        let mut transcript = BuildOutputParser::default();
        let long = "apt-get install ".repeat(60);
        let updates = transcript.feed(&format!(
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
        assert_eq!(transcript.created_images, ["333333333333"]);
        assert_eq!(transcript.tail.into_lines()[..2], ["Warning: slow", "100%"]);
    }
}
