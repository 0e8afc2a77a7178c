//! Errors in the project's own sources, as the compiler shows them.

use dm_core::error::SourceError;

use super::style::{Canvas, Glyph, Role};
use super::text;

/// How many are shown whole: the first ones often cause the others.
const SHOWN: usize = 5;

/// The errors, each as the compiler drew it; lines are never broken, because carets
/// point at what stands above them.
pub fn all(errors: &[SourceError], canvas: &Canvas) -> Vec<String> {
    let bar = canvas.sign(Role::Muted, Glyph::Bar);
    let mut lines = Vec::new();
    for error in errors.iter().take(SHOWN) {
        for (number, line) in error.rendered.trim_end().lines().enumerate() {
            let mut line = text::harmless(line, false);
            if let Some(limit) = canvas.limit() {
                line = text::truncate(&line, limit.saturating_sub(4), canvas.style);
            }
            if number == 0 {
                line = canvas.paint(Role::Bad, &line);
            }
            lines.push(format!("  {bar} {line}").trim_end().to_owned());
        }
        lines.push(String::new());
    }
    let more = errors.len().saturating_sub(SHOWN);
    if more > 0 {
        let sentence = format!("  {} not shown", text::count(more, "error"));
        lines.push(canvas.paint(Role::Muted, &sentence));
    } else {
        lines.pop();
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn error(number: usize) -> SourceError {
        SourceError {
            message: "mismatched types".into(),
            place: None,
            rendered: format!(
                "error[E0308]: mismatched types\n --> services/order/src/main.rs:{number}:5\n  |\n{number} |     7\n  |     ^ expected `()`\n\n"
            ),
        }
    }

    #[test]
    fn an_error_is_drawn_as_the_compiler_draws_it() {
        let shown = all(&[error(7)], &testing::terminal(80)).join("\n");
        insta::assert_snapshot!(shown, @r"
        │ error[E0308]: mismatched types
        │  --> services/order/src/main.rs:7:5
        │   |
        │ 7 |     7
        │   |     ^ expected `()`
        ");
    }

    #[test]
    fn the_first_ones_are_shown_and_the_others_counted() {
        let errors: Vec<_> = (1..=7).map(error).collect();
        let shown = all(&errors, &testing::pipe());
        assert_eq!(
            shown.iter().filter(|line| line.contains("E0308")).count(),
            SHOWN
        );
        assert_eq!(
            shown.last().map(String::as_str),
            Some("  and 2 errors besides")
        );
    }
}
