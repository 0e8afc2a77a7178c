//! Edits a dead letter until it is a valid event.

use std::io;
use std::path::Path;
use std::process::ExitStatus;

use dm_core::error::Result;
use dm_messaging::MessagingError;
use dm_messaging::dead_letters::edit::validate_edit;
use dm_messaging::dead_letters::replay::ReplayPlan;
use dm_messaging::dead_letters::replay_audit::EditedEvent;
use dm_messaging::dead_letters::{DeadLetter, browse, resolve_queue_names};
use lapin::Connection;

use crate::frontend::Frontend;

/// Opens the only dead letter of a plan in the user's editor until it is a valid event. No message
/// of its queue may be held by this process.
///
/// # Errors
/// Returns [`MessagingError::EditTargetNotUnique`] if the plan does not have exactly one dead
/// letter, and [`MessagingError::InvalidEdit`] if the event stays invalid. Fails if the broker
/// cannot be reached or the editor cannot be started.
pub(super) async fn edit_letter(
    frontend: &dyn Frontend,
    connection: &Connection,
    plan: &ReplayPlan,
) -> Result<EditedEvent> {
    let letter = only_letter(plan)?;
    let before = read_body(connection, letter).await?;
    edit_until_valid(frontend, &letter.queue, &before, dm_host::editor::edit)
}

fn only_letter(plan: &ReplayPlan) -> Result<&DeadLetter, MessagingError> {
    match plan.letters.as_slice() {
        [letter] => Ok(letter),
        letters => Err(MessagingError::EditTargetNotUnique(letters.len())),
    }
}

/// Returns the body of a dead letter as text, pretty-printed if it is JSON.
async fn read_body(connection: &Connection, letter: &DeadLetter) -> Result<String, MessagingError> {
    let queues = resolve_queue_names(std::slice::from_ref(&letter.queue))?;
    let details = browse::find_details(connection, &queues, &letter.fingerprint).await?;
    let first = details.into_iter().next();
    Ok(first.map(|detail| detail.body_text).unwrap_or_default())
}

/// Opens a text in an editor until it is a valid event, or until the user gives up. `open_editor`
/// opens a file and waits until it is closed.
fn edit_until_valid(
    frontend: &dyn Frontend,
    queue: &str,
    before: &str,
    open_editor: impl Fn(&Path) -> io::Result<ExitStatus>,
) -> Result<EditedEvent> {
    let file = tempfile::Builder::new()
        .prefix("dead-letter-")
        .suffix(".json")
        .tempfile()
        .map_err(MessagingError::from)?;
    std::fs::write(file.path(), before).map_err(MessagingError::from)?;
    loop {
        let status = open_editor(file.path()).map_err(MessagingError::from)?;
        let after = std::fs::read_to_string(file.path()).map_err(MessagingError::from)?;
        let reason = if status.success() {
            match validate_edit(queue, before, &after) {
                Ok(edited) => return Ok(edited),
                Err(reason) => reason,
            }
        } else {
            format!("the editor ended with {status}")
        };
        if frontend.can_ask() {
            frontend.warn(&reason);
            if frontend.confirm("Edit it again?")? {
                continue;
            }
        }
        // The edited text is not discarded.
        let (_, draft) = file
            .keep()
            .map_err(|error| MessagingError::from(error.error))?;
        return Err(MessagingError::InvalidEdit { reason, draft }.into());
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::os::unix::process::ExitStatusExt as _;

    use dm_core::error::Error;
    use dm_core::error_code::ErrorCode;
    use dm_messaging::dead_letters::examples::dead_letter;

    use super::*;
    use crate::test_support::ScriptedFrontend;

    const QUEUE: &str = "inventory.order-events.q";

    /// An event that [`QUEUE`] receives.
    const VALID_EVENT: &str = r#"{"specversion": "1.0", "id": "evt_1", "source": "/order-service",
        "type": "com.dundermifflin.order.created.v1", "subject": "order/ord_1",
        "data": {"orderId": "ord_1", "clientId": "c", "requestedShipDate": "2026-02-03",
                 "items": [{"sku": "a", "quantity": 1}], "createdBy": "jhalpert",
                 "createdAt": "2026-02-03T10:00:00Z"}}"#;

    /// Returns an editor that writes these texts, one each time it is opened.
    fn editor<'t>(
        texts: &'t [&'t str],
        opened: &'t Cell<usize>,
    ) -> impl Fn(&Path) -> io::Result<ExitStatus> + 't {
        move |file| {
            std::fs::write(file, texts[opened.get()])?;
            opened.set(opened.get() + 1);
            Ok(ExitStatus::default())
        }
    }

    /// Removes the draft that an error names, and returns its text.
    fn take_draft(error: &Error) -> String {
        assert_eq!(error.user_error().code(), ErrorCode::ReplayEditInvalid);
        let suggestions = error.suggestions();
        let draft = suggestions[0].strip_prefix("your draft is in ").unwrap();
        let text = std::fs::read_to_string(draft).unwrap();
        std::fs::remove_file(draft).unwrap();
        text
    }

    #[test]
    fn only_letter_requires_exactly_one() {
        let plan = |letters| ReplayPlan {
            letters,
            refused: Vec::new(),
            digest: String::new(),
        };
        let one = plan(vec![dead_letter("evt_1")]);
        assert_eq!(only_letter(&one).unwrap().id.as_deref(), Some("evt_1"));
        for count in [0, 2] {
            let letters = vec![dead_letter("evt_1"); count];
            assert!(matches!(
                only_letter(&plan(letters)),
                Err(MessagingError::EditTargetNotUnique(found)) if found == count
            ));
        }
    }

    #[test]
    fn invalid_event_is_edited_again_if_the_user_agrees() {
        let frontend = ScriptedFrontend::with_answer(Some(true));
        let opened = Cell::new(0);
        let editor = editor(&["{", VALID_EVENT], &opened);
        let edited = edit_until_valid(&*frontend, QUEUE, "{}", editor).unwrap();
        assert!(edited.body.contains("ord_1"), "{}", edited.body);
        assert_eq!(opened.get(), 2);
        assert_eq!(frontend.questions(), ["Edit it again?"]);
        let reports = frontend.reports();
        assert!(
            matches!(&reports[..], [report] if report.starts_with("the body is not a CloudEvents")),
            "{reports:?}"
        );
    }

    #[test]
    fn draft_is_kept_if_the_user_declines_or_cannot_be_asked() {
        for (answer, questions) in [(Some(false), 1), (None, 0)] {
            let frontend = ScriptedFrontend::with_answer(answer);
            let opened = Cell::new(0);
            let editor = editor(&["{\"draft\": 1}", VALID_EVENT], &opened);
            let error = edit_until_valid(&*frontend, QUEUE, "{}", editor).unwrap_err();
            assert_eq!(take_draft(&error), "{\"draft\": 1}");
            assert_eq!(opened.get(), 1);
            assert_eq!(frontend.questions().len(), questions);
            // Without a question, the error alone gives the reason.
            assert_eq!(frontend.reports().len(), questions);
        }
    }

    #[test]
    fn event_is_not_replayed_if_the_editor_fails() {
        let frontend = ScriptedFrontend::with_answer(None);
        let failing_editor = |file: &Path| -> io::Result<ExitStatus> {
            std::fs::write(file, VALID_EVENT)?;
            Ok(ExitStatus::from_raw(1 << 8))
        };
        let error = edit_until_valid(&*frontend, QUEUE, "{}", failing_editor).unwrap_err();
        let text = error.user_error().to_string();
        assert!(
            text.ends_with("the editor ended with exit status: 1"),
            "{text}"
        );
        assert_eq!(take_draft(&error), VALID_EVENT);
    }
}
