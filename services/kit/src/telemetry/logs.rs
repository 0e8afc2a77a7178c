//! Logs: JSON lines on stdout, each of a bounded length.
//!
//! Fields are named after the OpenTelemetry semantic conventions where these define a name. The
//! fields are documented in `docs/services.md`.

use std::borrow::Cow;
use std::io::{self, Write};

use serde_json::Value;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

/// Maximum length in bytes of a text from a caller in a log line.
const MAX_TEXT_BYTES: usize = 256;

/// Maximum length in bytes of a log line, far more than a line should have.
const MAX_LINE_BYTES: usize = 8 * 1024;

/// Initialises logging. `LOG_LEVEL` is the filter, e.g. `debug` or `info,lapin=warn`.
pub fn init() {
    let filter = EnvFilter::try_from_env("LOG_LEVEL").unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_writer(|| BoundedLineWriter);
    // A second call, as from several tests in one process, has no effect.
    let _ = tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init();
}

/// Truncates a text from a caller to the maximum length in a log line.
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

/// Writes lines of a bounded length to stdout. The formatter writes each line with one call.
struct BoundedLineWriter;

impl Write for BoundedLineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut out = io::stdout().lock();
        if line.len() <= MAX_LINE_BYTES {
            out.write_all(line)?;
        } else {
            out.write_all(shorten_line(line).as_bytes())?;
        }
        // The line counts as written completely, even if it was shortened.
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

/// Returns the line with its texts truncated.
fn shorten_line(line: &[u8]) -> String {
    let mut value: Value = serde_json::from_slice(line).unwrap_or_default();
    truncate_strings(&mut value);
    let text = value.to_string();
    if value.is_object() && text.len() <= MAX_LINE_BYTES {
        format!("{text}\n")
    } else {
        let message = format!("log line of {} bytes omitted", line.len());
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
    fn long_line_is_shortened_to_a_valid_json_line() {
        let line = json!({"level": "INFO", "url.path": "a".repeat(60_000), "span": {"id": "x"}});
        let text = shorten_line(format!("{line}\n").as_bytes());
        assert!(text.len() < 1000 && text.ends_with('\n'), "{text}");
        let shortened: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(shortened["level"], "INFO");
        assert_eq!(shortened["span"]["id"], "x");
        assert!(
            shortened["url.path"]
                .as_str()
                .unwrap()
                .ends_with("(60000 bytes)")
        );
    }

    #[test]
    fn line_that_cannot_be_shortened_is_omitted() {
        let many: Vec<_> = (0..10_000).collect();
        for line in [
            json!({ "many": many }).to_string(),
            "x".repeat(MAX_LINE_BYTES + 1),
        ] {
            let shortened: Value = serde_json::from_str(&shorten_line(line.as_bytes())).unwrap();
            let message = shortened["message"].as_str().unwrap();
            assert!(message.ends_with("bytes omitted"), "{message}");
        }
    }

    proptest! {
        #[test]
        fn text_is_truncated_between_characters(text in "\\PC{0,400}") {
            let truncated = truncate(&text);
            prop_assert!(truncated.len() <= MAX_TEXT_BYTES + 40);
            prop_assert!(text.len() > MAX_TEXT_BYTES || truncated == text);
        }
    }
}
