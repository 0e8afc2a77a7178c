//! Dead letters, and their way back.

use chrono::{DateTime, Utc};
use dm_messaging::dead::DeadLetter;
use dm_messaging::dead::audit::{Outcome, Run};
use dm_messaging::dead::look::{Group, Reading, Whole};
use dm_messaging::dead::parked::Parked;
use dm_messaging::dead::replay::{Plan, Refusal, Replayed, Told};
use dm_terminal::style::{Canvas, Role};
use dm_terminal::table::{Cell, Column, Table};
use dm_terminal::text;
use serde::Serialize;

/// Letters as a document.
#[derive(Debug, Serialize)]
pub(crate) struct Letters<'a, T> {
    /// The letters.
    pub letters: &'a [T],
}

/// What is parked, as a document.
#[derive(Debug, Serialize)]
pub(crate) struct ParkedLetters<'a> {
    /// The letters.
    pub letters: &'a [Parked],
}

/// Runs as a document.
#[derive(Debug, Serialize)]
pub(crate) struct Runs<'a> {
    /// The runs.
    pub runs: &'a [Run],
}

/// Why a queue was read.
#[must_use]
pub(crate) fn reading(reading: &Reading) -> String {
    let Reading {
        queue,
        letters,
        recorded,
    } = reading;
    let why = match recorded {
        Some(recorded) => format!("{} and {recorded} records", count(*letters)),
        None => format!("{} and no records", count(*letters)),
    };
    format!("read {queue}, because it has {why}")
}

fn count(letters: u64) -> String {
    let letters = usize::try_from(letters).unwrap_or(usize::MAX);
    text::count(letters, "dead letter")
}

/// What there is of each kind.
#[must_use]
pub(crate) fn groups(groups: &[Group], now: DateTime<Utc>, canvas: &Canvas) -> String {
    if groups.is_empty() {
        return "no dead letters".to_owned();
    }
    let mut table = Table::new(vec![
        Column::new("queue").least(20),
        Column::new("reason").least(12),
        Column::new("type").least(16),
        Column::new("count").right(),
        Column::new("oldest").rank(1),
        Column::new("latest").rank(2),
    ]);
    for group in groups {
        table.row(vec![
            Cell::new(&group.queue),
            Cell::new(&group.reason).role(Role::Warn),
            Cell::new(text::short_type(group.event_type.as_deref())),
            Cell::new(group.count.to_string()),
            Cell::new(text::ago(group.oldest, now)),
            Cell::new(text::ago(group.latest, now)),
        ]);
    }
    table.render(canvas)
}

/// Each of them on a line.
#[must_use]
pub(crate) fn each(letters: &[DeadLetter], now: DateTime<Utc>, canvas: &Canvas) -> String {
    if letters.is_empty() {
        return "no dead letters".to_owned();
    }
    let mut table = Table::new(vec![
        Column::new("id").least(36),
        Column::new("queue").rank(2).least(20),
        Column::new("reason").least(12),
        Column::new("type").rank(3).least(16),
        Column::new("failed").rank(1),
        Column::new("rounds").right().rank(5),
        Column::new("error").rank(4),
    ]);
    for letter in letters {
        table.row(vec![
            Cell::new(letter.id.as_deref().unwrap_or(&letter.fingerprint)),
            Cell::new(&letter.queue),
            Cell::new(&letter.reason).role(Role::Warn),
            Cell::new(text::short_type(letter.event_type.as_deref())),
            Cell::new(text::ago(letter.failed_at, now)),
            Cell::new(letter.replays.to_string()),
            Cell::optional(letter.error.as_deref()),
        ]);
    }
    table.render(canvas)
}

/// All that a letter is made of.
#[must_use]
pub(crate) fn whole(letters: &[Whole], canvas: &Canvas) -> String {
    let blocks: Vec<String> = letters.iter().map(|letter| one(letter, canvas)).collect();
    blocks.join("\n\n")
}

fn one(whole: &Whole, canvas: &Canvas) -> String {
    let letter = &whole.letter;
    let at = letter.failed_at.map(dm_contracts::time::format);
    let counts = format!(
        "{}, {}",
        text::count(
            usize::try_from(letter.attempts).unwrap_or(usize::MAX),
            "attempt"
        ),
        text::count(
            usize::try_from(letter.replays).unwrap_or(usize::MAX),
            "replay"
        ),
    );
    let place = format!("{}, place {}", letter.queue, letter.position);
    let mut lines = Vec::new();
    for (name, value) in [
        ("id", letter.id.as_deref()),
        ("type", letter.event_type.as_deref()),
        ("subject", letter.subject.as_deref()),
        ("queue", Some(place.as_str())),
        ("reason", Some(letter.reason.as_str())),
        ("error", letter.error.as_deref()),
        ("service", letter.service.as_deref()),
        ("failed", at.as_deref()),
        ("tried", Some(counts.as_str())),
        ("trace", letter.trace_id.as_deref()),
        ("fingerprint", Some(letter.fingerprint.as_str())),
    ] {
        if let Some(value) = value {
            let name = canvas.paint(Role::Muted, &text::pad(name, 12));
            lines.push(format!("{name}{}", text::harmless(value, false)));
        }
    }
    lines.push(canvas.paint(Role::Muted, "properties"));
    for (name, value) in &whole.properties {
        lines.push(format!("  {name}: {}", text::harmless(value, false)));
    }
    lines.push(canvas.paint(Role::Muted, "headers"));
    for (name, value) in &whole.headers {
        lines.push(format!("  {name}: {}", text::harmless(value, false)));
    }
    lines.push(canvas.paint(Role::Muted, "body"));
    lines.extend(
        whole
            .shown
            .lines()
            .map(|line| format!("  {}", text::harmless(line, false))),
    );
    lines.join("\n")
}

/// A set that would go back.
#[must_use]
pub(crate) fn plan(plan: &Plan, now: DateTime<Utc>, canvas: &Canvas) -> String {
    let mut blocks = Vec::new();
    if !plan.letters.is_empty() {
        blocks.push(each(&plan.letters, now, canvas));
    }
    let refusals: Vec<String> = plan
        .refused
        .iter()
        .map(|(letter, refusal)| canvas.wrap(&refused(letter, *refusal), "", "  "))
        .collect();
    if !refusals.is_empty() {
        blocks.push(refusals.join("\n"));
    }
    let sentence = if plan.letters.is_empty() {
        "nothing to replay".to_owned()
    } else {
        format!(
            "{} would be replayed; dm dlq replay --expect {} refuses other dead letters",
            text::count(plan.letters.len(), "dead letter"),
            plan.digest
        )
    };
    blocks.push(canvas.wrap(&sentence, "", ""));
    blocks.join("\n\n")
}

/// Why a letter stays.
#[must_use]
pub(crate) fn refused(letter: &DeadLetter, refusal: Refusal) -> String {
    let id = letter.id.as_deref().unwrap_or(&letter.fingerprint);
    match refusal {
        Refusal::Rounds => format!(
            "{id} stays: it was replayed {} already (--max-rounds)",
            text::count(
                usize::try_from(letter.replays).unwrap_or(usize::MAX),
                "time"
            )
        ),
        Refusal::Age => format!(
            "{id} stays: its inbox may no longer know it, and it would be processed twice (--force)"
        ),
    }
}

/// What became of one message of a replay.
#[must_use]
pub(crate) fn outcome(told: &Told<'_>) -> String {
    let id = told.id.unwrap_or("a message without an id");
    match told.outcome {
        Outcome::Replayed => format!("{id} is back in {}", told.queue),
        Outcome::Returned => format!("{id} stays: RabbitMQ has no queue for it"),
        Outcome::Missing => format!("{id} was no longer in {}", told.queue),
    }
}

/// Why a letter was not parked.
#[must_use]
pub(crate) fn not_parked(letter: &DeadLetter, why: &str) -> String {
    let id = letter.id.as_deref().unwrap_or(&letter.fingerprint);
    format!("{id} stays: could not record it: {why}")
}

/// What is parked.
#[must_use]
pub(crate) fn parked(letters: &[Parked], now: DateTime<Utc>, canvas: &Canvas) -> String {
    if letters.is_empty() {
        return "no parked messages".to_owned();
    }
    let mut table = Table::new(vec![
        Column::new("id").least(36),
        Column::new("queue").rank(2).least(20),
        Column::new("reason").least(12),
        Column::new("type").rank(3).least(16),
        Column::new("parked").rank(1),
        Column::new("note").rank(4),
    ]);
    for letter in letters {
        table.row(vec![
            Cell::new(letter.event_id.as_deref().unwrap_or(&letter.fingerprint)),
            Cell::new(&letter.queue),
            Cell::new(&letter.reason).role(Role::Warn),
            Cell::new(text::short_type(letter.event_type.as_deref())),
            Cell::new(text::ago(Some(letter.parked_at), now)),
            Cell::new(&letter.note),
        ]);
    }
    table.render(canvas)
}

/// What a replay did.
#[must_use]
pub(crate) fn replayed(done: &Replayed, canvas: &Canvas) -> String {
    let mut sentence = format!(
        "run {}: {} of {} back in the queue",
        done.run, done.replayed, done.messages
    );
    for (count, what) in [
        (done.returned, "had no queue and stayed"),
        (done.missing, "were no longer there"),
    ] {
        if count > 0 {
            sentence.push_str(&format!("; {count} {what}"));
        }
    }
    canvas.wrap(&sentence, "", "")
}

/// The replays of the past.
#[must_use]
pub(crate) fn history(runs: &[Run], canvas: &Canvas) -> String {
    if runs.is_empty() {
        return "no replay runs".to_owned();
    }
    let mut table = Table::new(vec![
        Column::new("run").least(16),
        Column::new("began").least(16),
        Column::new("state").least(9),
        Column::new("replayed").right(),
        Column::new("of").right(),
        Column::new("others").right().rank(2),
        Column::new("to").rank(3),
        Column::new("digest").rank(1),
    ]);
    for run in runs {
        let (state, role) = match run.ended_at {
            Some(_) => ("ended", Role::Good),
            None => ("unfinished", Role::Warn),
        };
        table.row(vec![
            Cell::new(&run.run_id),
            Cell::new(run.began_at.format("%Y-%m-%d %H:%M").to_string()),
            Cell::new(state).role(role),
            Cell::new(run.replayed.to_string()),
            Cell::new(run.messages.to_string()),
            Cell::new(run.others.to_string()),
            Cell::new(if run.to_exchange { "exchange" } else { "queue" }),
            Cell::new(&run.digest),
        ]);
    }
    table.render(canvas)
}

#[cfg(test)]
mod tests {
    use dm_contracts::time;
    use dm_terminal::testing::{assert_fits, terminal};
    use lapin::BasicProperties;
    use serde_json::json;

    use super::*;

    fn now() -> DateTime<Utc> {
        time::parse("2026-02-03T12:00:00Z").unwrap()
    }

    fn letter(id: &str) -> DeadLetter {
        DeadLetter {
            id: Some(format!("evt_{}{id}", "0".repeat(31))),
            event_type: Some("com.dundermifflin.order.created.v1".into()),
            subject: Some("order/ord_9001".into()),
            reason: "invalid-data".into(),
            error: Some("items is empty".into()),
            service: Some("inventory-service".into()),
            attempts: 1,
            failed_at: time::parse("2026-02-03T10:00:00Z"),
            fingerprint: "00112233445566778899aabbccddeeff".into(),
            ..DeadLetter::read(
                "inventory.order-events.q",
                1,
                &BasicProperties::default(),
                b"",
            )
        }
    }

    fn plan_of_two() -> Plan {
        Plan {
            letters: vec![letter("1"), letter("2")],
            refused: vec![(letter("3"), Refusal::Rounds), (letter("4"), Refusal::Age)],
            digest: "0123456789ab".into(),
        }
    }

    #[test]
    fn kinds_are_counted() {
        let found = [Group {
            queue: "inventory.order-events.q".into(),
            reason: "invalid-data".into(),
            event_type: Some("com.dundermifflin.order.created.v1".into()),
            count: 12,
            oldest: time::parse("2026-02-03T10:00:00Z"),
            latest: time::parse("2026-02-03T11:59:30Z"),
        }];
        insta::assert_snapshot!("dlq_groups_100", groups(&found, now(), &terminal(100)));
        for width in [60, 80, 200] {
            assert_fits(&groups(&found, now(), &terminal(width)), width);
        }
        assert_eq!(groups(&[], now(), &terminal(80)), "no dead letters");
    }

    #[test]
    fn a_set_says_what_goes_what_stays_and_its_digest() {
        insta::assert_snapshot!("dlq_plan_120", plan(&plan_of_two(), now(), &terminal(120)));
        for width in [60, 80, 200] {
            assert_fits(&plan(&plan_of_two(), now(), &terminal(width)), width);
        }
        let nothing = Plan {
            letters: Vec::new(),
            refused: Vec::new(),
            digest: String::new(),
        };
        assert_eq!(plan(&nothing, now(), &terminal(80)), "nothing to replay");
    }

    #[test]
    fn a_letter_is_shown_whole_and_harmless() {
        let whole_letter = Whole {
            letter: letter("1"),
            headers: [(
                "x-dm-error".to_owned(),
                "a \u{1b}[31mred\u{1b}[0m one".to_owned(),
            )]
            .into(),
            exchange: "dm.domain.events.dlx".into(),
            properties: [("message_id", "evt_1".to_owned())].into(),
            body: serde_json::value::to_raw_value(&json!({"id": "evt_1"})).unwrap(),
            body_base64: None,
            shown: "{\n  \"id\": \"evt_1\",\n  \"amount\": 0.1000\n}".into(),
        };
        let text = whole(&[whole_letter], &terminal(100));
        assert!(!text.contains("\u{1b}[31m"));
        insta::assert_snapshot!("dlq_show_100", text);
    }

    #[test]
    fn a_run_that_was_cut_short_is_told_from_one_that_ended() {
        let run = |ended: Option<&str>| Run {
            run_id: "rep_0123456789ab".into(),
            began_at: now(),
            ended_at: ended.and_then(time::parse),
            digest: "0123456789ab".into(),
            to_exchange: false,
            messages: 10,
            replayed: 7,
            others: 1,
        };
        let runs = [run(None), run(Some("2026-02-03T12:00:01Z"))];
        insta::assert_snapshot!("dlq_history_100", history(&runs, &terminal(100)));
        for width in [60, 80, 200] {
            assert_fits(&history(&runs, &terminal(width)), width);
        }
    }

    #[test]
    fn an_end_tells_of_what_stayed() {
        let done = Replayed {
            run: "rep_1".into(),
            messages: 5,
            replayed: 2,
            returned: 1,
            missing: 2,
        };
        assert_eq!(
            replayed(&done, &terminal(200)),
            "run rep_1: 2 of 5 back in the queue; 1 had no queue and stayed; \
             2 were no longer there"
        );
    }
}
