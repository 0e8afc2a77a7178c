//! Workflow commands of GitHub Actions: what a run's summary page and a pull
//! request's files show.
//! <https://docs.github.com/actions/reference/workflow-commands-for-github-actions>

use dm_core::error::SourceLocation;

use super::text;

/// An error on one line, at its place in the sources where it has one.
#[must_use]
pub fn error_annotation(title: &str, message: &str, place: Option<&SourceLocation>) -> String {
    let title = escape_property(&text::sanitize(title, false));
    let message = escape_data(&sanitize_lines(message));
    let place = place.map_or_else(String::new, |place| {
        format!(
            "file={},line={},col={},",
            escape_property(&place.file),
            place.line,
            place.column
        )
    });
    format!("::error {place}title={title}::{message}")
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
    fn an_annotation_is_one_line_whatever_is_in_it() {
        let text = error_annotation("a: b, c", "50 %\n::warning::x\x1b[2J", None);
        assert_eq!(text, "::error title=a%3A b%2C c::50 %25%0A::warning::x");
    }

    #[test]
    fn a_place_stands_beside_the_code() {
        let place = SourceLocation {
            file: "services/order/src/main.rs".into(),
            line: 7,
            column: 3,
        };
        assert_eq!(
            error_annotation("order", "mismatched types", Some(&place)),
            "::error file=services/order/src/main.rs,line=7,col=3,title=order::mismatched types"
        );
    }
}
