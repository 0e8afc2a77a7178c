//! Errors in the project's own sources, as the compiler prints them.

use dm_core::error::CompilerError;

use super::canvas::{Canvas, Glyph, StyleRole};
use super::text;

/// The number of errors that are shown: the first ones often cause the others.
const MAX_ERRORS: usize = 5;

/// Renders the errors as the compiler printed them. Lines are never broken, because carets
/// refer to the text above them.
pub fn render_errors(errors: &[CompilerError], canvas: &Canvas) -> Vec<String> {
    let bar = canvas.paint_glyph(StyleRole::Muted, Glyph::QuoteBar);
    let mut lines = Vec::new();
    for error in errors.iter().take(MAX_ERRORS) {
        for (number, line) in error.rendered.trim_end().lines().enumerate() {
            let mut line = text::sanitize(line, false);
            if let Some(limit) = canvas.max_columns() {
                line = text::truncate(&line, limit.saturating_sub(4), canvas.style);
            }
            if number == 0 {
                line = canvas.paint(StyleRole::Error, &line);
            }
            lines.push(format!("  {bar} {line}").trim_end().to_owned());
        }
        lines.push(String::new());
    }
    let hidden = errors.len().saturating_sub(MAX_ERRORS);
    if hidden > 0 {
        let sentence = format!("  {} not shown", text::pluralize(hidden, "error"));
        lines.push(canvas.paint(StyleRole::Muted, &sentence));
    } else {
        lines.pop();
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn error(number: usize) -> CompilerError {
        CompilerError {
            message: "mismatched types".into(),
            location: None,
            rendered: format!(
                "error[E0308]: mismatched types\n --> services/order/src/main.rs:{number}:5\n  |\n{number} |     7\n  |     ^ expected `()`\n\n"
            ),
        }
    }

    #[test]
    fn render_errors_keeps_the_compiler_output() {
        let shown = render_errors(&[error(7)], &testing::terminal_canvas(80)).join("\n");
        insta::assert_snapshot!(shown, @r"
        │ error[E0308]: mismatched types
        │  --> services/order/src/main.rs:7:5
        │   |
        │ 7 |     7
        │   |     ^ expected `()`
        ");
    }

    #[test]
    fn render_errors_counts_hidden_errors() {
        let errors: Vec<_> = (1..=7).map(error).collect();
        let shown = render_errors(&errors, &testing::pipe_canvas());
        assert_eq!(
            shown.iter().filter(|line| line.contains("E0308")).count(),
            MAX_ERRORS
        );
        assert_eq!(
            shown.last().map(String::as_str),
            Some("  2 errors not shown")
        );
    }
}
