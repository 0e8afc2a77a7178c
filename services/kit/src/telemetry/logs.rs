//! Logs: one JSON object a line on stdout, each of a bounded length.

use std::borrow::Cow;
use std::io::{self, Write};

use serde_json::Value;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

/// The longest text of a caller in a line, in bytes.
const MAX_TEXT_BYTES: usize = 256;

/// The longest line, in bytes: far more than any line should have.
const MAX_LINE_BYTES: usize = 8 * 1024;

/// Begins to log. `LOG_LEVEL` filters, e.g. `debug` or `info,lapin=warn`.
pub fn init() {
    let filter = EnvFilter::try_from_env("LOG_LEVEL").unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_writer(|| BoundedLineWriter);
    // A second call, as from tests in one process, changes nothing.
    let _ = tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init();
}

/// A text that a caller sent, short enough for a line of the log.
#[must_use]
pub fn truncate(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_TEXT_BYTES {
        return Cow::Borrowed(text);
    }
    let mut end = MAX_TEXT_BYTES;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}… ({} bytes)", &text[..end], text.len()).into()
}

/// Where lines go. The formatter writes each one at once.
struct BoundedLineWriter;

impl Write for BoundedLineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut out = io::stdout().lock();
        if line.len() <= MAX_LINE_BYTES {
            out.write_all(line)?;
        } else {
            out.write_all(shorten_line(line).as_bytes())?;
        }
        // What was written of the line that came: all of it, in whatever form.
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

/// The same line with its texts cut.
fn shorten_line(line: &[u8]) -> String {
    let mut value: Value = serde_json::from_slice(line).unwrap_or_default();
    truncate_strings(&mut value);
    let text = value.to_string();
    if value.is_object() && text.len() <= MAX_LINE_BYTES {
        format!("{text}\n")
    } else {
        let message = format!("a line of {} bytes is left out", line.len());
        format!(
            "{}\n",
            serde_json::json!({"level": "WARN", "message": message})
        )
    }
}

fn truncate_strings(value: &mut Value) {
    match value {
        Value::String(text) => *text = truncate(text).into_owned(),
        Value::Array(items) => items.iter_mut().for_each(truncate_strings),
        Value::Object(fields) => fields.values_mut().for_each(truncate_strings),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_long_line_stays_a_line_of_json() {
        let line = json!({"level": "INFO", "path": "a".repeat(60_000), "span": {"id": "x"}});
        let text = shorten_line(format!("{line}\n").as_bytes());
        assert!(text.len() < 1000 && text.ends_with('\n'), "{text}");
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["level"], "INFO");
        assert_eq!(read["span"]["id"], "x");
        assert!(read["path"].as_str().unwrap().ends_with("(60000 bytes)"));
    }

    #[test]
    fn what_can_not_be_cut_is_left_out() {
        let many: Vec<_> = (0..10_000).collect();
        for line in [
            json!({ "many": many }).to_string(),
            "x".repeat(MAX_LINE_BYTES + 1),
        ] {
            let read: Value = serde_json::from_str(&shorten_line(line.as_bytes())).unwrap();
            let message = read["message"].as_str().unwrap();
            assert!(message.ends_with("bytes is left out"), "{message}");
        }
    }

    proptest! {
        #[test]
        fn a_text_is_cut_between_characters(text in "\\PC{0,400}") {
            let short = truncate(&text);
            prop_assert!(short.len() <= MAX_TEXT_BYTES + 40);
            prop_assert!(text.len() > MAX_TEXT_BYTES || short == text);
        }
    }
}
