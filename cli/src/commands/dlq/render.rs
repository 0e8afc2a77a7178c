//! Renders dead letters and replay runs.

use chrono::{DateTime, Utc};
use dm_messaging::dead_letters::DeadLetter;
use dm_messaging::dead_letters::browse::{DeadLetterDetail, DeadLetterGroup, ScannedQueue};
use dm_messaging::dead_letters::parking::ParkedLetter;
use dm_messaging::dead_letters::replay::{
    ReplayPlan, ReplayProgress, ReplayRefusal, ReplaySummary,
};
use dm_messaging::dead_letters::replay_audit::{ReplayOutcome, ReplayRun};
use dm_terminal::canvas::{Canvas, StyleRole};
use dm_terminal::table::{Cell, Column, Table};
use dm_terminal::text;
use serde::Serialize;

/// The document of dead letters.
#[derive(Debug, Serialize)]
pub(crate) struct LettersDocument<'a, T> {
    /// The letters.
    pub letters: &'a [T],
}

/// The document of parked messages.
#[derive(Debug, Serialize)]
pub(crate) struct ParkedDocument<'a> {
    /// The letters.
    pub letters: &'a [ParkedLetter],
}

/// The document of replay runs.
#[derive(Debug, Serialize)]
pub(crate) struct HistoryDocument<'a> {
    /// The runs.
    pub runs: &'a [ReplayRun],
}

/// Returns the sentence that explains why a queue was read.
#[must_use]
pub(crate) fn reading_sentence(reading: &ScannedQueue) -> String {
    let ScannedQueue {
        queue,
        message_count,
        recorded,
    } = reading;
    let reason = match recorded {
        Some(recorded) => format!(
            "{} and {recorded} records",
            count_dead_letters(*message_count)
        ),
        None => format!("{} and no records", count_dead_letters(*message_count)),
    };
    format!("read {queue}, because it has {reason}")
}

fn count_dead_letters(count: u64) -> String {
    text::pluralize(count, "dead letter")
}

/// Renders the groups as a table.
#[must_use]
pub(crate) fn render_groups(
    groups: &[DeadLetterGroup],
    now: DateTime<Utc>,
    canvas: &Canvas,
) -> String {
    if groups.is_empty() {
        return "no dead letters".to_owned();
    }
    let mut table = Table::new(vec![
        Column::new("queue").min_width(20),
        Column::new("reason").min_width(12),
        Column::new("type").min_width(16),
        Column::new("count").right_aligned(),
        Column::new("oldest").drop_priority(1),
        Column::new("latest").drop_priority(2),
    ]);
    for group in groups {
        table.add_row(vec![
            Cell::new(&group.queue),
            Cell::new(&group.reason).with_role(StyleRole::Warning),
            Cell::new(text::short_event_type(group.event_type.as_deref())),
            Cell::new(group.count.to_string()),
            Cell::new(text::format_ago(group.oldest, now)),
            Cell::new(text::format_ago(group.latest, now)),
        ]);
    }
    table.render(canvas)
}

/// Renders the dead letters as a table.
#[must_use]
pub(crate) fn render_letters(
    letters: &[DeadLetter],
    now: DateTime<Utc>,
    canvas: &Canvas,
) -> String {
    if letters.is_empty() {
        return "no dead letters".to_owned();
    }
    let mut table = Table::new(vec![
        Column::new("id").min_width(36),
        Column::new("queue").drop_priority(2).min_width(20),
        Column::new("reason").min_width(12),
        Column::new("type").drop_priority(3).min_width(16),
        Column::new("failed").drop_priority(1),
        Column::new("rounds").right_aligned().drop_priority(5),
        Column::new("error").drop_priority(4),
    ]);
    for letter in letters {
        table.add_row(vec![
            Cell::new(letter.id.as_deref().unwrap_or(&letter.fingerprint)),
            Cell::new(&letter.queue),
            Cell::new(&letter.reason).with_role(StyleRole::Warning),
            Cell::new(text::short_event_type(letter.event_type.as_deref())),
            Cell::new(text::format_ago(letter.failed_at, now)),
            Cell::new(letter.replays.to_string()),
            Cell::from_option(letter.error.as_deref()),
        ]);
    }
    table.render(canvas)
}

/// Renders dead letters with all their details.
#[must_use]
pub(crate) fn render_details(letters: &[DeadLetterDetail], canvas: &Canvas) -> String {
    let blocks: Vec<String> = letters
        .iter()
        .map(|letter| render_detail(letter, canvas))
        .collect();
    blocks.join("\n\n")
}

fn render_detail(detail: &DeadLetterDetail, canvas: &Canvas) -> String {
    let letter = &detail.letter;
    let at = letter.failed_at.map(dm_contracts::time::format);
    let counts = format!(
        "{}, {}",
        text::pluralize(letter.attempts, "attempt"),
        text::pluralize(letter.replays, "replay"),
    );
    let position = format!("{}, position {}", letter.queue, letter.position);
    let mut lines = Vec::new();
    for (name, value) in [
        ("id", letter.id.as_deref()),
        ("type", letter.event_type.as_deref()),
        ("subject", letter.subject.as_deref()),
        ("queue", Some(position.as_str())),
        ("reason", Some(letter.reason.as_str())),
        ("error", letter.error.as_deref()),
        ("service", letter.service.as_deref()),
        ("failed", at.as_deref()),
        ("attempts", Some(counts.as_str())),
        ("trace", letter.trace_id.as_deref()),
        ("fingerprint", Some(letter.fingerprint.as_str())),
    ] {
        if let Some(value) = value {
            let name = canvas.paint(StyleRole::Muted, &text::pad_right(name, 12));
            lines.push(format!("{name}{}", text::sanitize(value, false)));
        }
    }
    lines.push(canvas.paint(StyleRole::Muted, "properties"));
    for (name, value) in &detail.properties {
        lines.push(format!("  {name}: {}", text::sanitize(value, false)));
    }
    lines.push(canvas.paint(StyleRole::Muted, "headers"));
    for (name, value) in &detail.headers {
        lines.push(format!("  {name}: {}", text::sanitize(value, false)));
    }
    lines.push(canvas.paint(StyleRole::Muted, "body"));
    lines.extend(
        detail
            .body_text
            .lines()
            .map(|line| format!("  {}", text::sanitize(line, false))),
    );
    lines.join("\n")
}

/// Renders the plan of a replay.
#[must_use]
pub(crate) fn render_plan(plan: &ReplayPlan, now: DateTime<Utc>, canvas: &Canvas) -> String {
    let mut blocks = Vec::new();
    if !plan.letters.is_empty() {
        blocks.push(render_letters(&plan.letters, now, canvas));
    }
    let refusals: Vec<String> = plan
        .refused
        .iter()
        .map(|(letter, refusal)| canvas.wrap(&refusal_sentence(letter, *refusal), "", "  "))
        .collect();
    if !refusals.is_empty() {
        blocks.push(refusals.join("\n"));
    }
    let sentence = if plan.letters.is_empty() {
        "nothing to replay".to_owned()
    } else {
        // The digest is that of the selected set: the filters of the command belong to it.
        format!(
            "{} would be replayed; add --expect {} to the same command to refuse other dead letters",
            text::pluralize(plan.letters.len(), "dead letter"),
            plan.digest
        )
    };
    blocks.push(canvas.wrap(&sentence, "", ""));
    blocks.join("\n\n")
}

/// Returns the sentence that explains why a dead letter is not replayed.
#[must_use]
pub(crate) fn refusal_sentence(letter: &DeadLetter, refusal: ReplayRefusal) -> String {
    let id = letter.id.as_deref().unwrap_or(&letter.fingerprint);
    match refusal {
        ReplayRefusal::MaxRoundsReached => format!(
            "{id} is skipped: it was replayed {} already (--max-rounds)",
            text::pluralize(letter.replays, "time")
        ),
        ReplayRefusal::RetentionExceeded => format!(
            "{id} is skipped: its inbox may no longer know it, and it would be processed twice (--force)"
        ),
    }
}

/// Returns the sentence about the outcome of one message.
#[must_use]
pub(crate) fn outcome_sentence(progress: &ReplayProgress<'_>) -> String {
    let id = progress.id.unwrap_or("a message without an id");
    match progress.outcome {
        ReplayOutcome::Replayed => format!("{id} is back in {}", progress.queue),
        ReplayOutcome::Returned => format!("{id} was not replayed: RabbitMQ has no queue for it"),
        ReplayOutcome::Missing => format!("{id} was no longer in {}", progress.queue),
    }
}

/// Returns the sentence that explains why a dead letter was not parked.
#[must_use]
pub(crate) fn parking_failure_sentence(letter: &DeadLetter, reason: &str) -> String {
    let id = letter.id.as_deref().unwrap_or(&letter.fingerprint);
    format!("{id} was not parked: could not record it: {reason}")
}

/// Renders the parked messages as a table.
#[must_use]
pub(crate) fn render_parked(
    letters: &[ParkedLetter],
    now: DateTime<Utc>,
    canvas: &Canvas,
) -> String {
    if letters.is_empty() {
        return "no parked messages".to_owned();
    }
    let mut table = Table::new(vec![
        Column::new("id").min_width(36),
        Column::new("queue").drop_priority(2).min_width(20),
        Column::new("reason").min_width(12),
        Column::new("type").drop_priority(3).min_width(16),
        Column::new("parked").drop_priority(1),
        Column::new("note").drop_priority(4),
    ]);
    for letter in letters {
        table.add_row(vec![
            Cell::new(letter.event_id.as_deref().unwrap_or(&letter.fingerprint)),
            Cell::new(&letter.queue),
            Cell::new(&letter.reason).with_role(StyleRole::Warning),
            Cell::new(text::short_event_type(letter.event_type.as_deref())),
            Cell::new(text::format_ago(Some(letter.parked_at), now)),
            Cell::new(&letter.note),
        ]);
    }
    table.render(canvas)
}

/// Returns the sentence about the result of a replay.
#[must_use]
pub(crate) fn replay_sentence(summary: &ReplaySummary, canvas: &Canvas) -> String {
    let mut sentence = format!(
        "run {}: {} of {} dead letters were replayed",
        summary.run_id, summary.replayed, summary.messages
    );
    for (count, what) in [
        (summary.returned, "had no queue and were kept"),
        (summary.missing, "were no longer there"),
    ] {
        if count > 0 {
            sentence.push_str(&format!("; {count} {what}"));
        }
    }
    canvas.wrap(&sentence, "", "")
}

/// Renders the replay runs as a table.
#[must_use]
pub(crate) fn render_history(runs: &[ReplayRun], canvas: &Canvas) -> String {
    if runs.is_empty() {
        return "no replay runs".to_owned();
    }
    let mut table = Table::new(vec![
        Column::new("run").min_width(16),
        Column::new("started").min_width(16),
        Column::new("state").min_width(9),
        Column::new("replayed").right_aligned(),
        Column::new("total").right_aligned(),
        Column::new("not replayed").right_aligned().drop_priority(2),
        Column::new("to").drop_priority(3),
        Column::new("digest").drop_priority(1),
    ]);
    for run in runs {
        let (state, role) = match run.ended_at {
            Some(_) => ("finished", StyleRole::Success),
            None => ("unfinished", StyleRole::Warning),
        };
        table.add_row(vec![
            Cell::new(&run.run_id),
            Cell::new(run.began_at.format("%Y-%m-%d %H:%M").to_string()),
            Cell::new(state).with_role(role),
            Cell::new(run.replayed.to_string()),
            Cell::new(run.messages.to_string()),
            Cell::new(run.not_replayed.to_string()),
            Cell::new(if run.to_exchange { "exchange" } else { "queue" }),
            Cell::new(&run.digest),
        ]);
    }
    table.render(canvas)
}

#[cfg(test)]
mod tests {
    use dm_contracts::time;
    use dm_messaging::dead_letters::examples::dead_letter;
    use dm_terminal::testing::{assert_fits, terminal_canvas};
    use serde_json::json;

    use super::*;

    fn now() -> DateTime<Utc> {
        time::parse("2026-02-03T12:00:00Z").unwrap()
    }

    fn letter(id: &str) -> DeadLetter {
        dead_letter(&format!("evt_{}{id}", "0".repeat(31)))
    }

    fn plan_of_two() -> ReplayPlan {
        ReplayPlan {
            letters: vec![letter("1"), letter("2")],
            refused: vec![
                (letter("3"), ReplayRefusal::MaxRoundsReached),
                (letter("4"), ReplayRefusal::RetentionExceeded),
            ],
            digest: "0123456789ab".into(),
        }
    }

    #[test]
    fn groups_are_rendered_with_counts_and_times() {
        let groups = [DeadLetterGroup {
            queue: "inventory.order-events.q".into(),
            reason: "invalid-data".into(),
            event_type: Some("com.dundermifflin.order.created.v1".into()),
            count: 12,
            oldest: time::parse("2026-02-03T10:00:00Z"),
            latest: time::parse("2026-02-03T11:59:30Z"),
        }];
        insta::assert_snapshot!(
            "dlq_groups_100",
            render_groups(&groups, now(), &terminal_canvas(100))
        );
        for width in [60, 80, 200] {
            assert_fits(
                &render_groups(&groups, now(), &terminal_canvas(width)),
                width,
            );
        }
        assert_eq!(
            render_groups(&[], now(), &terminal_canvas(80)),
            "no dead letters"
        );
    }

    #[test]
    fn plan_shows_replayed_and_refused_letters_and_the_digest() {
        insta::assert_snapshot!(
            "dlq_plan_120",
            render_plan(&plan_of_two(), now(), &terminal_canvas(120))
        );
        for width in [60, 80, 200] {
            assert_fits(
                &render_plan(&plan_of_two(), now(), &terminal_canvas(width)),
                width,
            );
        }
        let nothing = ReplayPlan {
            letters: Vec::new(),
            refused: Vec::new(),
            digest: String::new(),
        };
        assert_eq!(
            render_plan(&nothing, now(), &terminal_canvas(80)),
            "nothing to replay"
        );
    }

    #[test]
    fn details_are_complete_and_contain_no_escape_sequences() {
        let detail = DeadLetterDetail {
            letter: letter("1"),
            headers: [(
                dm_contracts::headers::ERROR.to_owned(),
                "a \u{1b}[31mred\u{1b}[0m one".to_owned(),
            )]
            .into(),
            exchange: "dm.domain.events.dlx".into(),
            properties: [("message_id", "evt_1".to_owned())].into(),
            body: serde_json::value::to_raw_value(&json!({"id": "evt_1"})).unwrap(),
            body_base64: None,
            body_text: "{\n  \"id\": \"evt_1\",\n  \"amount\": 0.1000\n}".into(),
        };
        let text = render_details(&[detail], &terminal_canvas(100));
        assert!(!text.contains("\u{1b}[31m"));
        insta::assert_snapshot!("dlq_show_100", text);
    }

    #[test]
    fn history_distinguishes_unfinished_from_finished_runs() {
        let run = |ended_at: Option<&str>| ReplayRun {
            run_id: "rep_0123456789ab".into(),
            began_at: now(),
            ended_at: ended_at.and_then(time::parse),
            digest: "0123456789ab".into(),
            to_exchange: false,
            messages: 10,
            replayed: 7,
            not_replayed: 1,
        };
        let runs = [run(None), run(Some("2026-02-03T12:00:01Z"))];
        insta::assert_snapshot!(
            "dlq_history_100",
            render_history(&runs, &terminal_canvas(100))
        );
        for width in [60, 80, 200] {
            assert_fits(&render_history(&runs, &terminal_canvas(width)), width);
        }
    }

    #[test]
    fn replay_sentence_counts_messages_that_were_not_replayed() {
        let summary = ReplaySummary {
            run_id: "rep_1".into(),
            messages: 5,
            replayed: 2,
            returned: 1,
            missing: 2,
        };
        assert_eq!(
            replay_sentence(&summary, &terminal_canvas(200)),
            "run rep_1: 2 of 5 dead letters were replayed; 1 had no queue and were kept; \
             2 were no longer there"
        );
    }
}
