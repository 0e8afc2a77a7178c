//! Renders the logs of several components as one stream, with the component's name before each
//! line.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use dm_terminal::canvas::{Glyph, SERIES_COLOURS, StyleRole};
use dm_terminal::{OutputError, Printer, json, text};
use serde::Serialize;

/// The length at which an unterminated line is written.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// Writes the logs of several components to stdout as they arrive, in complete lines.
#[derive(Debug)]
pub(crate) struct LogPrinter {
    printer: Printer,
    has_prefix: bool,
    timestamps: bool,
    name_width: usize,
    partial_lines: BTreeMap<String, PartialLine>,
    is_first: bool,
}

/// A line whose end has not arrived yet.
#[derive(Debug, Default)]
struct PartialLine {
    bytes: Vec<u8>,
    time: Option<DateTime<Utc>>,
}

/// The document of a line.
#[derive(Debug, Serialize)]
struct LogLineDocument<'a> {
    component: &'a str,
    time: Option<String>,
    line: &'a str,
}

impl LogPrinter {
    /// A printer for the logs of these components. The name of a single component is not
    /// printed.
    #[must_use]
    pub(crate) fn new(printer: &Printer, components: &[String], timestamps: bool) -> Self {
        Self {
            printer: printer.clone(),
            has_prefix: components.len() != 1,
            timestamps,
            name_width: components
                .iter()
                .map(|name| text::display_width(name))
                .max()
                .unwrap_or(0),
            partial_lines: BTreeMap::new(),
            is_first: true,
        }
    }

    /// Writes the complete lines of a chunk, which may end in the middle of a line or of a
    /// character. `time` is when the engine received it.
    ///
    /// # Errors
    /// As for [`Printer::write_stdout`].
    pub(crate) fn write_chunk(
        &mut self,
        component: &str,
        bytes: &[u8],
        time: Option<DateTime<Utc>>,
    ) -> Result<(), OutputError> {
        let mut partial = self.partial_lines.remove(component).unwrap_or_default();
        let mut lines = String::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if partial.bytes.is_empty() {
                partial.time = time;
            }
            partial.bytes.extend_from_slice(piece);
            if piece.ends_with(b"\n") || partial.bytes.len() >= MAX_LINE_BYTES {
                lines.push_str(&self.render_line(component, &partial)?);
                partial = PartialLine::default();
            }
        }
        if !partial.bytes.is_empty() {
            self.partial_lines.insert(component.to_owned(), partial);
        }
        self.printer.write_stdout(&lines)
    }

    /// Writes the remaining partial lines. Must be called when the logs end.
    ///
    /// # Errors
    /// As for [`Printer::write_stdout`].
    pub(crate) fn finish(mut self) -> Result<(), OutputError> {
        let mut lines = String::new();
        for (component, partial) in std::mem::take(&mut self.partial_lines) {
            lines.push_str(&self.render_line(&component, &partial)?);
        }
        self.printer.write_stdout(&lines)
    }

    fn render_line(
        &mut self,
        component: &str,
        partial: &PartialLine,
    ) -> Result<String, OutputError> {
        let raw = String::from_utf8_lossy(&partial.bytes);
        let raw = raw.strip_suffix('\n').unwrap_or(&raw);
        let raw = raw.strip_suffix('\r').unwrap_or(raw);
        let time = partial
            .time
            .map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true));
        if self.printer.is_json() {
            // JSON escapes control characters: the line is complete.
            let body = LogLineDocument {
                component,
                time,
                line: raw,
            };
            let first = std::mem::take(&mut self.is_first);
            let mut line = if first {
                json::format_line(&dm_core::document::LOGS, &body)?
            } else {
                json::format_continuation_line(&dm_core::document::LOGS, &body)?
            };
            line.push('\n');
            return Ok(line);
        }
        let canvas = self.printer.stdout_canvas();
        let mut line = String::new();
        if self.has_prefix {
            let name = text::pad_right(&text::sanitize(component, false), self.name_width);
            let bar = canvas.style.glyph(Glyph::QuoteBar);
            line.push_str(&canvas.paint(component_role(component), &format!("{name} {bar}")));
            line.push(' ');
        }
        if let Some(time) = time.filter(|_| self.timestamps) {
            line.push_str(&canvas.paint(StyleRole::Muted, &time));
            line.push(' ');
        }
        line.push_str(&text::sanitize(raw, canvas.style.colour));
        line.push('\n');
        Ok(line)
    }
}

/// Returns the colour of a component. It depends only on the name (FNV-1a), so that it is the
/// same in every run.
fn component_role(component: &str) -> StyleRole {
    let hash = component.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    StyleRole::Series(u8::try_from(hash % u32::from(SERIES_COLOURS)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use dm_terminal::testing::{CapturedOutput, captured_printer, escape_sgr, pipe_env};
    use dm_terminal::{ColorChoice, OutputFlags};

    use super::*;

    fn names() -> Vec<String> {
        vec!["postgres".into(), "mq".into()]
    }

    fn logs(flags: &OutputFlags, timestamps: bool) -> (LogPrinter, CapturedOutput) {
        let (printer, out, _) = captured_printer(flags, &pipe_env());
        (LogPrinter::new(&printer, &names(), timestamps), out)
    }

    fn noon() -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(1_764_000_000, 123_000_000)
    }

    #[test]
    fn lines_follow_padded_component_names() {
        let (mut logs, out) = logs(&OutputFlags::default(), true);
        logs.write_chunk("postgres", b"one\r\ntwo\n", noon())
            .unwrap();
        logs.write_chunk("mq", b"\x1b[31mred\x1b[0m\x1b[2J\n", noon())
            .unwrap();
        logs.finish().unwrap();
        insta::assert_snapshot!(out.contents());
    }

    #[test]
    fn partial_lines_are_written_when_complete() {
        let (mut logs, out) = logs(&OutputFlags::default(), false);
        // The euro sign arrives in two parts, with another component between.
        logs.write_chunk("postgres", b"price \xe2\x82", None)
            .unwrap();
        logs.write_chunk("mq", b"whole\n", None).unwrap();
        logs.write_chunk("postgres", b"\xac 5\nlast", None).unwrap();
        assert_eq!(out.contents(), "mq       │ whole\npostgres │ price € 5\n");
        logs.finish().unwrap();
        assert!(out.contents().ends_with("postgres │ last\n"));
    }

    #[test]
    fn unterminated_line_is_written_at_the_length_limit() {
        let (mut logs, out) = logs(&OutputFlags::default(), false);
        for _ in 0..3 {
            logs.write_chunk("mq", &vec![b'x'; MAX_LINE_BYTES / 2], None)
                .unwrap();
        }
        assert_eq!(out.contents().lines().count(), 1);
        logs.finish().unwrap();
        assert_eq!(out.contents().matches('x').count(), MAX_LINE_BYTES / 2 * 3);
    }

    #[test]
    fn colours_are_kept_if_colour_is_enabled() {
        let flags = OutputFlags {
            color: ColorChoice::Always,
            ..OutputFlags::default()
        };
        let (mut logs, out) = logs(&flags, false);
        logs.write_chunk("mq", b"\x1b[31mred\x1b[H\n", None)
            .unwrap();
        insta::assert_snapshot!(escape_sgr(&out.contents()));
    }

    #[test]
    fn single_component_has_no_name_prefix() {
        let (printer, out, _) = captured_printer(&OutputFlags::default(), &pipe_env());
        let mut logs = LogPrinter::new(&printer, &["mq".to_owned()], false);
        logs.write_chunk("mq", b"text\n", None).unwrap();
        assert_eq!(out.contents(), "text\n");
    }

    #[test]
    fn json_lines_keep_control_characters() {
        let flags = OutputFlags {
            json: true,
            ..OutputFlags::default()
        };
        let (mut logs, out) = logs(&flags, false);
        logs.write_chunk("mq", b"a\x1b[2J\nb\n", noon()).unwrap();
        insta::assert_snapshot!(out.contents());
    }
}
