//! Renders the result of a rebuild.

use dm_operations::rebuild::RebuildResult;
use dm_terminal::canvas::{Canvas, StyleRole};
use dm_terminal::text;

/// Renders the result as a sentence.
#[must_use]
pub(crate) fn render(result: &RebuildResult, canvas: &Canvas) -> String {
    let took = text::format_duration(result.took);
    if result.compile_errors > 0 {
        let errors = text::pluralize(result.compile_errors, "error");
        let sentence = format!("{errors} after {took}; the previous version keeps running");
        return canvas.paint(StyleRole::Error, &sentence);
    }
    if !result.failed.is_empty() {
        let sentence = format!("{} failed after {took}", result.failed.join(" and "));
        return canvas.paint(StyleRole::Error, &sentence);
    }
    if result.restarted.is_empty() {
        return canvas.paint(
            StyleRole::Success,
            &format!("no binary changed: nothing to restart ({took})"),
        );
    }
    let sentence = format!("{} live after {took}", result.restarted.join(", "));
    canvas.paint(StyleRole::Success, &sentence)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dm_terminal::testing;

    use super::*;

    fn result() -> RebuildResult {
        RebuildResult {
            ok: true,
            restarted: Vec::new(),
            compile_errors: 0,
            failed: Vec::new(),
            took: Duration::from_millis(3_210),
        }
    }

    #[test]
    fn render_describes_each_result() {
        let canvas = testing::pipe_canvas();
        let sentence = |result: RebuildResult| render(&result, &canvas);
        insta::assert_snapshot!(sentence(result()), @"no binary changed: nothing to restart (3.2s)");
        let restarted = vec!["order".to_owned(), "inventory".to_owned()];
        insta::assert_snapshot!(sentence(RebuildResult { restarted, ..result() }), @"order, inventory live after 3.2s");
        insta::assert_snapshot!(sentence(RebuildResult { ok: false, compile_errors: 1, ..result() }), @"1 error after 3.2s; the previous version keeps running");
        let failed = vec!["order".to_owned()];
        insta::assert_snapshot!(sentence(RebuildResult { ok: false, failed, ..result() }), @"order failed after 3.2s");
    }
}
