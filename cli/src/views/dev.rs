//! What a rebuild did.

use dm_operations::rebuild::Round;
use dm_terminal::style::{Canvas, Role};
use dm_terminal::text;

/// The rebuild in a sentence.
#[must_use]
pub(crate) fn render(round: &Round, canvas: &Canvas) -> String {
    let took = text::duration(round.took);
    if round.compile_errors > 0 {
        let errors = text::count(round.compile_errors, "error");
        let sentence = format!("{errors} after {took}; the previous version keeps running");
        return canvas.paint(Role::Bad, &sentence);
    }
    if !round.failed.is_empty() {
        let sentence = format!("{} failed after {took}", round.failed.join(" and "));
        return canvas.paint(Role::Bad, &sentence);
    }
    if round.restarted.is_empty() {
        return canvas.paint(
            Role::Good,
            &format!("no binary changed: nothing to restart ({took})"),
        );
    }
    let sentence = format!("{} live after {took}", round.restarted.join(", "));
    canvas.paint(Role::Good, &sentence)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dm_terminal::testing;

    use super::*;

    fn round() -> Round {
        Round {
            ok: true,
            restarted: Vec::new(),
            compile_errors: 0,
            failed: Vec::new(),
            took: Duration::from_millis(3_210),
        }
    }

    #[test]
    fn each_end_has_its_sentence() {
        let canvas = testing::pipe();
        let sentence = |round: Round| render(&round, &canvas);
        insta::assert_snapshot!(sentence(round()), @"no binary changed: nothing to restart (3.2s)");
        let restarted = vec!["order".to_owned(), "inventory".to_owned()];
        insta::assert_snapshot!(sentence(Round { restarted, ..round() }), @"order, inventory live after 3.2s");
        insta::assert_snapshot!(sentence(Round { ok: false, compile_errors: 1, ..round() }), @"1 error after 3.2s; the previous version keeps running");
        let failed = vec!["order".to_owned()];
        insta::assert_snapshot!(sentence(Round { ok: false, failed, ..round() }), @"order failed after 3.2s");
    }
}
