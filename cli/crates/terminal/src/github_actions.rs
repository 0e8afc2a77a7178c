//! Workflow commands of GitHub Actions, which create annotations on a run's summary
//! page and in a pull request's files.
//! <https://docs.github.com/actions/reference/workflow-commands-for-github-actions>

use dm_core::error::SourceLocation;

use super::text;

/// Returns an error annotation on one line, with its source location if it has one.
#[must_use]
pub fn error_annotation(title: &str, message: &str, location: Option<&SourceLocation>) -> String {
    let title = escape_property(&text::sanitize(title, false));
    let message = escape_data(&sanitize_lines(message));
    let location = location.map_or_else(String::new, |location| {
        format!(
            "file={},line={},col={},",
            escape_property(&location.file),
            location.line,
            location.column
        )
    });
    format!("::error {location}title={title}::{message}")
}

fn sanitize_lines(message: &str) -> String {
    let lines: Vec<_> = message
        .lines()
        .map(|line| text::sanitize(line, false))
        .collect();
    lines.join("\n")
}

fn escape_data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn escape_property(text: &str) -> String {
    escape_data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotation_escapes_line_breaks_and_delimiters() {
        let text = error_annotation("a: b, c", "50 %\n::warning::x\x1b[2J", None);
        assert_eq!(text, "::error title=a%3A b%2C c::50 %25%0A::warning::x");
    }

    #[test]
    fn annotation_contains_the_source_location() {
        let location = SourceLocation {
            file: "services/order/src/main.rs".into(),
            line: 7,
            column: 3,
        };
        assert_eq!(
            error_annotation("order", "mismatched types", Some(&location)),
            "::error file=services/order/src/main.rs,line=7,col=3,title=order::mismatched types"
        );
    }
}
