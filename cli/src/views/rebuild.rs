//! What a rebuild did.

use dm_operations::rebuild::RebuildResult;
use dm_terminal::canvas::{Canvas, StyleRole};
use dm_terminal::text;

/// The rebuild in a sentence.
#[must_use]
pub(crate) fn render(round: &RebuildResult, canvas: &Canvas) -> String {
    let took = text::format_duration(round.took);
    if round.compile_errors > 0 {
        let errors = text::pluralize(round.compile_errors, "error");
        let sentence = format!("{errors} after {took}; the previous version keeps running");
        return canvas.paint(StyleRole::Error, &sentence);
    }
    if !round.failed.is_empty() {
        let sentence = format!("{} failed after {took}", round.failed.join(" and "));
        return canvas.paint(StyleRole::Error, &sentence);
    }
    if round.restarted.is_empty() {
        return canvas.paint(
            StyleRole::Success,
            &format!("no binary changed: nothing to restart ({took})"),
        );
    }
    let sentence = format!("{} live after {took}", round.restarted.join(", "));
    canvas.paint(StyleRole::Success, &sentence)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dm_terminal::testing;

    use super::*;

    fn round() -> RebuildResult {
        RebuildResult {
            ok: true,
            restarted: Vec::new(),
            compile_errors: 0,
            failed: Vec::new(),
            took: Duration::from_millis(3_210),
        }
    }

    #[test]
    fn each_end_has_its_sentence() {
        let canvas = testing::pipe_canvas();
        let sentence = |round: RebuildResult| render(&round, &canvas);
        insta::assert_snapshot!(sentence(round()), @"no binary changed: nothing to restart (3.2s)");
        let restarted = vec!["order".to_owned(), "inventory".to_owned()];
        insta::assert_snapshot!(sentence(RebuildResult { restarted, ..round() }), @"order, inventory live after 3.2s");
        insta::assert_snapshot!(sentence(RebuildResult { ok: false, compile_errors: 1, ..round() }), @"1 error after 3.2s; the previous version keeps running");
        let failed = vec!["order".to_owned()];
        insta::assert_snapshot!(sentence(RebuildResult { ok: false, failed, ..round() }), @"order failed after 3.2s");
    }
}
