//! Events as they pass, one of them whole, and the story of many.

use chrono::{DateTime, TimeDelta, Utc};
use dm_contracts::time;
use dm_core::error::Result;
use dm_messaging::story::{Delivery, Event, Fate, Story, Whole};
use dm_messaging::tail::{Kind, Seen};
use dm_terminal::Printer;
use dm_terminal::style::{Canvas, Glyph, Role};
use dm_terminal::text;
use serde::Serialize;
use serde_json::Value;

use super::outbox::role;

/// A line that a service logged.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LogLine {
    /// When.
    pub at: Option<DateTime<Utc>>,
    /// By which service.
    pub component: String,
    /// The line.
    pub text: String,
}

/// A story with what was logged.
#[derive(Debug, Serialize)]
pub(crate) struct Told<'a> {
    /// The story.
    #[serde(flatten)]
    pub story: &'a Story,
    /// The lines.
    pub logs: &'a [LogLine],
}

/// A message that passes, on a line.
#[must_use]
pub(crate) fn line(seen: &Seen, data: bool, canvas: &Canvas) -> String {
    let at = seen.at.format("%H:%M:%S%.3f").to_string();
    let (role, glyph) = match seen.kind {
        Kind::Published => (Role::Good, Glyph::Ready),
        Kind::Retried => (Role::Warn, Glyph::Warning),
        Kind::Dead => (Role::Bad, Glyph::Failed),
    };
    let mut line = format!(
        "{} {} {}  {}  {}",
        canvas.paint(Role::Muted, &at),
        canvas.sign(role, glyph),
        canvas.paint(
            Role::Strong,
            &text::harmless(text::short_type(seen.event_type.as_deref()), false)
        ),
        text::harmless(seen.subject.as_deref().unwrap_or("-"), false),
        canvas.paint(
            Role::Muted,
            &text::harmless(seen.id.as_deref().unwrap_or("-"), false)
        ),
    );
    if let Some(queue) = &seen.queue {
        let what = match seen.kind {
            Kind::Dead => "dead-lettered in",
            _ => "to be retried in",
        };
        let reason = seen.reason.as_deref().unwrap_or("unknown");
        let error = seen.error.as_deref().unwrap_or_default();
        let failure = format!("  {what} {queue}: {reason}: {error}");
        line.push_str(&canvas.paint(role, &text::harmless(&failure, false)));
    }
    if let Some(said) = seen.data.as_ref().filter(|_| data) {
        line.push_str(&format!(
            "\n    {}",
            text::harmless(&said.to_string(), false)
        ));
    }
    line
}

/// Shows an event with its way.
///
/// # Errors
/// A closed output.
pub(crate) fn show(printer: &Printer, event: &Whole) -> Result<()> {
    Ok(printer.result(&dm_core::document::EVENT_DETAIL, event, |canvas| {
        whole(event, Utc::now(), canvas)
    })?)
}

/// An event, all of it.
#[must_use]
pub(crate) fn whole(whole: &Whole, now: DateTime<Utc>, canvas: &Canvas) -> String {
    let row = &whole.event.row;
    let state = row.state(now);
    let written = time::format(row.created_at);
    let published = row
        .published_at
        .map(|at| format!("{}, {} later", time::format(at), took(at - row.created_at)));
    let place = format!("{}, number {}", row.service, row.sequence);
    let attempts = row.attempts.to_string();
    let held = row
        .not_before
        .filter(|until| *until > now)
        .map(time::format);
    let shown = canvas.paint(role(state), state.as_str());
    let mut lines = Vec::new();
    for (name, value) in [
        ("id", Some(row.event_id.as_str())),
        ("type", Some(row.event_type.as_str())),
        ("subject", Some(row.subject.as_str())),
        ("outbox", Some(place.as_str())),
        ("written", Some(written.as_str())),
        ("published", published.as_deref()),
        ("kept until", held.as_deref()),
        ("attempts", Some(attempts.as_str())),
        ("last error", row.last_error.as_deref()),
        ("trace", row.trace_id()),
    ] {
        if let Some(value) = value {
            let name = canvas.paint(Role::Muted, &text::pad(name, 12));
            lines.push(format!("{name}{}", text::harmless(value, false)));
        }
    }
    lines.push(format!(
        "{}{shown}",
        canvas.paint(Role::Muted, &text::pad("state", 12))
    ));
    lines.push(canvas.paint(Role::Muted, "queues"));
    if whole.event.deliveries.is_empty() {
        lines.push("  no service of the stack consumes it".to_owned());
    }
    for delivery in &whole.event.deliveries {
        lines.push(format!("  {}", way(delivery, row.created_at, canvas)));
    }
    lines.push(canvas.paint(Role::Muted, "envelope"));
    // Indented, for a person. As JSON it is shown byte for byte.
    let envelope: Value = serde_json::from_str(whole.envelope.get()).unwrap_or_default();
    let envelope = serde_json::to_string_pretty(&envelope).unwrap_or_default();
    lines.extend(
        envelope
            .lines()
            .map(|line| format!("  {}", text::harmless(line, false))),
    );
    lines.join("\n")
}

/// How far an event is on its way to a queue.
fn way(delivery: &Delivery, since: DateTime<Utc>, canvas: &Canvas) -> String {
    let (role, glyph, what) = match delivery.fate {
        Fate::Consumed => (Role::Good, Glyph::Ready, "processed"),
        Fate::Unpublished => (Role::Active, Glyph::Waiting, "not published yet"),
        Fate::Waiting => (Role::Active, Glyph::Waiting, "waits"),
        Fate::Unknown => (Role::Warn, Glyph::Waiting, "waits, or was dead-lettered"),
        Fate::Dead => (Role::Bad, Glyph::Failed, "dead-lettered"),
        Fate::Parked => (Role::Warn, Glyph::Skipped, "parked"),
        Fate::HandedOver => (Role::Muted, Glyph::Ready, "handed over"),
    };
    let who = delivery.consumer.map_or("outside", |name| {
        name.strip_suffix("-service").unwrap_or(name)
    });
    let mut line = format!(
        "{} {} {}",
        canvas.sign(role, glyph),
        canvas.paint(Role::Strong, who),
        canvas.paint(role, what)
    );
    if let Some(at) = delivery.at {
        line.push_str(&format!(
            " {}",
            canvas.paint(Role::Muted, &after(at, since))
        ));
    }
    line.push_str(&format!(" {}", canvas.paint(Role::Muted, delivery.queue)));
    if let Some(reason) = &delivery.reason {
        let error = delivery.error.as_deref().unwrap_or_default();
        let why = text::harmless(&format!("{reason}: {error}"), false);
        line.push_str(&format!(" {}", canvas.paint(role, &why)));
    }
    line
}

/// A time as counted from another one.
fn after(at: DateTime<Utc>, since: DateTime<Utc>) -> String {
    let after = at - since;
    let sign = if after < TimeDelta::zero() { "-" } else { "+" };
    format!("{sign}{}", took(after.abs()))
}

/// How long something took: what happens within a second is told in milliseconds.
fn took(time: TimeDelta) -> String {
    if time < TimeDelta::seconds(1) {
        return format!("{}ms", time.num_milliseconds());
    }
    text::duration(time.to_std().unwrap_or_default())
}

/// What a service's log line says: they are JSON, with fields of their own beside the
/// level and the message.
fn said(line: &str) -> String {
    let Ok(Value::Object(mut fields)) = serde_json::from_str(line) else {
        return line.to_owned();
    };
    for known in ["timestamp", "target", "span"] {
        fields.remove(known);
    }
    let mut words: Vec<String> = ["level", "message"]
        .iter()
        .filter_map(|name| Some(fields.remove(*name)?.as_str()?.to_owned()))
        .collect();
    words.extend(fields.iter().map(|(name, value)| {
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        format!("{name}={value}")
    }));
    words.join(" ")
}

/// A story as a tree. Times are counted from its first event.
#[must_use]
pub(crate) fn story(told: &Told<'_>, canvas: &Canvas) -> String {
    let story = told.story;
    let first = story.events.iter().map(|event| event.row.created_at).min();
    let first = first.unwrap_or_default();
    let mut lines = vec![format!(
        "{} {}",
        canvas.paint(Role::Strong, &text::harmless(&story.of, false)),
        canvas.paint(Role::Muted, &format!("from {}", time::format(first)))
    )];
    for trace in &story.traces {
        lines.push(canvas.paint(
            Role::Muted,
            &format!("trace {}", text::harmless(trace, false)),
        ));
    }
    lines.push(String::new());
    for event in &story.events {
        tree(event, first, "", &mut lines, canvas);
    }
    if !story.timeline.is_empty() {
        lines.push(String::new());
        lines.push(canvas.paint(Role::Muted, "timeline"));
        for step in &story.timeline {
            lines.push(format!(
                "  {}  {}  {}",
                text::pad(&after(step.at, first), 8),
                text::harmless(&step.status, false),
                canvas.paint(Role::Muted, &text::harmless(&step.source, false))
            ));
        }
    }
    if !told.logs.is_empty() {
        lines.push(String::new());
        lines.push(canvas.paint(Role::Muted, "logs"));
        for line in told.logs {
            let at = line.at.map_or_else(String::new, |at| after(at, first));
            lines.push(format!(
                "  {}  {}  {}",
                text::pad(&at, 8),
                canvas.paint(Role::Muted, &line.component),
                text::harmless(&said(&line.text), false)
            ));
        }
    }
    lines.join("\n")
}

fn tree(
    event: &Event,
    first: DateTime<Utc>,
    indent: &str,
    lines: &mut Vec<String>,
    canvas: &Canvas,
) {
    let row = &event.row;
    let published = row.published_at.map_or_else(
        || canvas.paint(Role::Active, "not published"),
        |at| canvas.paint(Role::Muted, &format!("published {}", after(at, first))),
    );
    lines.push(format!(
        "{indent}{} {}  {}  {}  {published}  {}",
        canvas.paint(Role::Muted, &text::pad(&after(row.created_at, first), 8)),
        canvas.paint(
            Role::Strong,
            &text::harmless(text::short_type(Some(&row.event_type)), false)
        ),
        text::harmless(&row.subject, false),
        row.service,
        canvas.paint(Role::Muted, &text::harmless(&row.event_id, false)),
    ));
    for delivery in &event.deliveries {
        lines.push(format!("{indent}  {}", way(delivery, first, canvas)));
        let below = format!("{indent}      ");
        for caused in &delivery.caused {
            tree(caused, first, &below, lines, canvas);
        }
    }
}

#[cfg(test)]
mod tests {
    use dm_messaging::story::Step;
    use dm_messaging::story::examples::{placed, reserved};
    use dm_messaging::tail::examples::passed;
    use dm_terminal::testing::terminal;
    use serde_json::value::RawValue;

    use super::*;

    /// As it was written, and as no library would write it.
    const ENVELOPE: &str = r#"{"id":"evt_1",  "data":{}}"#;

    #[test]
    fn what_passes_is_a_line() {
        let dead = Seen {
            kind: Kind::Dead,
            queue: Some("inventory.order-events.q".into()),
            reason: Some("invalid-data".into()),
            error: Some("items is \u{1b}[31mempty".into()),
            ..passed()
        };
        let canvas = terminal(100);
        let lines = [line(&passed(), true, &canvas), line(&dead, false, &canvas)];
        insta::assert_snapshot!("events_tail", lines.join("\n"));
    }

    #[test]
    fn an_event_is_shown_whole() {
        let now = time::parse("2026-02-03T12:00:00Z").unwrap();
        let shown = Whole {
            event: placed(),
            envelope: RawValue::from_string(ENVELOPE.into()).unwrap(),
        };
        insta::assert_snapshot!("event_show", whole(&shown, now, &terminal(100)));
        let document = dm_terminal::json::document(&dm_core::document::EVENT_DETAIL, &shown).unwrap();
        assert!(document.contains(ENVELOPE), "{document}");
    }

    #[test]
    fn a_log_line_is_read() {
        let line =
            r#"{"timestamp":"t","level":"INFO","message":"answered","status":200,"span":{}}"#;
        assert_eq!(said(line), "INFO answered status=200");
        assert_eq!(said("no JSON"), "no JSON");
    }

    #[test]
    fn a_story_is_a_tree() {
        let mut first = placed();
        first.deliveries[0].caused = vec![reserved()];
        let story_of_it = Story {
            of: "ord_9001".into(),
            traces: vec!["0af7651916cd43dd8448eb211c80319c".into()],
            events: vec![first],
            timeline: vec![Step {
                order_id: "ord_9001".into(),
                status: "CREATED".into(),
                at: time::parse("2026-02-03T10:00:00Z").unwrap(),
                source: "order-service".into(),
            }],
        };
        let told = Told {
            story: &story_of_it,
            logs: &[],
        };
        insta::assert_snapshot!("events_trace", story(&told, &terminal(120)));
    }
}
