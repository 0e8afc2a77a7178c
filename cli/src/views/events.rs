//! Events as they pass, one of them whole, and the story of many.

use chrono::{DateTime, TimeDelta, Utc};
use dm_contracts::time;
use dm_core::error::Result;
use dm_messaging::tail::{ObservedEvent, ObservedEventKind};
use dm_messaging::trace::{DeliveryStatus, EventDelivery, EventDetail, EventTrace, TracedEvent};
use dm_terminal::Printer;
use dm_terminal::canvas::{Canvas, Glyph, StyleRole};
use dm_terminal::text;
use serde::Serialize;
use serde_json::Value;

use super::outbox::state_role;

/// A line that a service logged.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct TraceLogLine {
    /// When.
    pub at: Option<DateTime<Utc>>,
    /// By which service.
    pub component: String,
    /// The line.
    pub text: String,
}

/// A story with what was logged.
#[derive(Debug, Serialize)]
pub(crate) struct TraceDocument<'a> {
    /// The story.
    #[serde(flatten)]
    pub trace: &'a EventTrace,
    /// The lines.
    pub logs: &'a [TraceLogLine],
}

/// A message that passes, on a line.
#[must_use]
pub(crate) fn render_observed(seen: &ObservedEvent, data: bool, canvas: &Canvas) -> String {
    let at = seen.at.format("%H:%M:%S%.3f").to_string();
    let (role, glyph) = match seen.kind {
        ObservedEventKind::Published => (StyleRole::Success, Glyph::Check),
        ObservedEventKind::Retried => (StyleRole::Warning, Glyph::Warning),
        ObservedEventKind::Dead => (StyleRole::Error, Glyph::Failed),
    };
    let mut line = format!(
        "{} {} {}  {}  {}",
        canvas.paint(StyleRole::Muted, &at),
        canvas.paint_glyph(role, glyph),
        canvas.paint(
            StyleRole::Emphasis,
            &text::sanitize(text::short_event_type(seen.event_type.as_deref()), false)
        ),
        text::sanitize(seen.subject.as_deref().unwrap_or("-"), false),
        canvas.paint(
            StyleRole::Muted,
            &text::sanitize(seen.id.as_deref().unwrap_or("-"), false)
        ),
    );
    if let Some(queue) = &seen.queue {
        let what = match seen.kind {
            ObservedEventKind::Dead => "dead-lettered in",
            _ => "to be retried in",
        };
        let reason = seen.reason.as_deref().unwrap_or("unknown");
        let error = seen.error.as_deref().unwrap_or_default();
        let failure = format!("  {what} {queue}: {reason}: {error}");
        line.push_str(&canvas.paint(role, &text::sanitize(&failure, false)));
    }
    if let Some(said) = seen.data.as_ref().filter(|_| data) {
        line.push_str(&format!(
            "\n    {}",
            text::sanitize(&said.to_string(), false)
        ));
    }
    line
}

/// Shows an event with its way.
///
/// # Errors
/// A closed output.
pub(crate) fn print_event(printer: &Printer, event: &EventDetail) -> Result<()> {
    Ok(
        printer.print_result(&dm_core::document::EVENT_DETAIL, event, |canvas| {
            render_event(event, Utc::now(), canvas)
        })?,
    )
}

/// An event, all of it.
#[must_use]
pub(crate) fn render_event(whole: &EventDetail, now: DateTime<Utc>, canvas: &Canvas) -> String {
    let row = &whole.event.row;
    let state = row.state(now);
    let written = time::format(row.created_at);
    let published = row.published_at.map(|at| {
        format!(
            "{}, {} later",
            time::format(at),
            format_elapsed(at - row.created_at)
        )
    });
    let place = format!("{}, number {}", row.service, row.sequence);
    let attempts = row.attempts.to_string();
    let held = row
        .not_before
        .filter(|until| *until > now)
        .map(time::format);
    let shown = canvas.paint(state_role(state), state.as_str());
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
            let name = canvas.paint(StyleRole::Muted, &text::pad_right(name, 12));
            lines.push(format!("{name}{}", text::sanitize(value, false)));
        }
    }
    lines.push(format!(
        "{}{shown}",
        canvas.paint(StyleRole::Muted, &text::pad_right("state", 12))
    ));
    lines.push(canvas.paint(StyleRole::Muted, "queues"));
    if whole.event.deliveries.is_empty() {
        lines.push("  no service of the stack consumes it".to_owned());
    }
    for delivery in &whole.event.deliveries {
        lines.push(format!(
            "  {}",
            render_delivery(delivery, row.created_at, canvas)
        ));
    }
    lines.push(canvas.paint(StyleRole::Muted, "envelope"));
    // Indented, for a person. As JSON it is shown byte for byte.
    let envelope: Value = serde_json::from_str(whole.envelope.get()).unwrap_or_default();
    let envelope = serde_json::to_string_pretty(&envelope).unwrap_or_default();
    lines.extend(
        envelope
            .lines()
            .map(|line| format!("  {}", text::sanitize(line, false))),
    );
    lines.join("\n")
}

/// How far an event is on its way to a queue.
fn render_delivery(delivery: &EventDelivery, since: DateTime<Utc>, canvas: &Canvas) -> String {
    let (role, glyph, what) = match delivery.fate {
        DeliveryStatus::Consumed => (StyleRole::Success, Glyph::Check, "processed"),
        DeliveryStatus::Unpublished => (StyleRole::Active, Glyph::Waiting, "not published yet"),
        DeliveryStatus::Waiting => (StyleRole::Active, Glyph::Waiting, "waits"),
        DeliveryStatus::Unknown => (
            StyleRole::Warning,
            Glyph::Waiting,
            "waits, or was dead-lettered",
        ),
        DeliveryStatus::Dead => (StyleRole::Error, Glyph::Failed, "dead-lettered"),
        DeliveryStatus::Parked => (StyleRole::Warning, Glyph::Skipped, "parked"),
        DeliveryStatus::HandedOver => (StyleRole::Muted, Glyph::Check, "handed over"),
    };
    let who = delivery.consumer.map_or("outside", |name| {
        name.strip_suffix("-service").unwrap_or(name)
    });
    let mut line = format!(
        "{} {} {}",
        canvas.paint_glyph(role, glyph),
        canvas.paint(StyleRole::Emphasis, who),
        canvas.paint(role, what)
    );
    if let Some(at) = delivery.at {
        line.push_str(&format!(
            " {}",
            canvas.paint(StyleRole::Muted, &format_offset(at, since))
        ));
    }
    line.push_str(&format!(
        " {}",
        canvas.paint(StyleRole::Muted, delivery.queue)
    ));
    if let Some(reason) = &delivery.reason {
        let error = delivery.error.as_deref().unwrap_or_default();
        let why = text::sanitize(&format!("{reason}: {error}"), false);
        line.push_str(&format!(" {}", canvas.paint(role, &why)));
    }
    line
}

/// A time as counted from another one.
fn format_offset(at: DateTime<Utc>, since: DateTime<Utc>) -> String {
    let after = at - since;
    let sign = if after < TimeDelta::zero() { "-" } else { "+" };
    format!("{sign}{}", format_elapsed(after.abs()))
}

/// How long something took: what happens within a second is told in milliseconds.
fn format_elapsed(time: TimeDelta) -> String {
    if time < TimeDelta::seconds(1) {
        return format!("{}ms", time.num_milliseconds());
    }
    text::format_duration(time.to_std().unwrap_or_default())
}

/// What a service's log line says: they are JSON, with fields of their own beside the
/// level and the message.
fn format_log_line(line: &str) -> String {
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
pub(crate) fn render_trace(document: &TraceDocument<'_>, canvas: &Canvas) -> String {
    let story = document.trace;
    let first = story.events.iter().map(|event| event.row.created_at).min();
    let first = first.unwrap_or_default();
    let mut lines = vec![format!(
        "{} {}",
        canvas.paint(StyleRole::Emphasis, &text::sanitize(&story.of, false)),
        canvas.paint(StyleRole::Muted, &format!("from {}", time::format(first)))
    )];
    for trace in &story.traces {
        lines.push(canvas.paint(
            StyleRole::Muted,
            &format!("trace {}", text::sanitize(trace, false)),
        ));
    }
    lines.push(String::new());
    for event in &story.events {
        push_event_tree(event, first, "", &mut lines, canvas);
    }
    if !story.timeline.is_empty() {
        lines.push(String::new());
        lines.push(canvas.paint(StyleRole::Muted, "timeline"));
        for step in &story.timeline {
            lines.push(format!(
                "  {}  {}  {}",
                text::pad_right(&format_offset(step.at, first), 8),
                text::sanitize(&step.status, false),
                canvas.paint(StyleRole::Muted, &text::sanitize(&step.source, false))
            ));
        }
    }
    if !document.logs.is_empty() {
        lines.push(String::new());
        lines.push(canvas.paint(StyleRole::Muted, "logs"));
        for line in document.logs {
            let at = line
                .at
                .map_or_else(String::new, |at| format_offset(at, first));
            lines.push(format!(
                "  {}  {}  {}",
                text::pad_right(&at, 8),
                canvas.paint(StyleRole::Muted, &line.component),
                text::sanitize(&format_log_line(&line.text), false)
            ));
        }
    }
    lines.join("\n")
}

fn push_event_tree(
    event: &TracedEvent,
    first: DateTime<Utc>,
    indent: &str,
    lines: &mut Vec<String>,
    canvas: &Canvas,
) {
    let row = &event.row;
    let published = row.published_at.map_or_else(
        || canvas.paint(StyleRole::Active, "not published"),
        |at| {
            canvas.paint(
                StyleRole::Muted,
                &format!("published {}", format_offset(at, first)),
            )
        },
    );
    lines.push(format!(
        "{indent}{} {}  {}  {}  {published}  {}",
        canvas.paint(
            StyleRole::Muted,
            &text::pad_right(&format_offset(row.created_at, first), 8)
        ),
        canvas.paint(
            StyleRole::Emphasis,
            &text::sanitize(text::short_event_type(Some(&row.event_type)), false)
        ),
        text::sanitize(&row.subject, false),
        row.service,
        canvas.paint(StyleRole::Muted, &text::sanitize(&row.event_id, false)),
    ));
    for delivery in &event.deliveries {
        lines.push(format!(
            "{indent}  {}",
            render_delivery(delivery, first, canvas)
        ));
        let below = format!("{indent}      ");
        for caused in &delivery.caused {
            push_event_tree(caused, first, &below, lines, canvas);
        }
    }
}

#[cfg(test)]
mod tests {
    use dm_messaging::tail::examples::published_event;
    use dm_messaging::trace::TimelineStep;
    use dm_messaging::trace::examples::{order_created_event, stock_reserved_event};
    use dm_terminal::testing::terminal_canvas;
    use serde_json::value::RawValue;

    use super::*;

    /// As it was written, and as no library would write it.
    const ENVELOPE: &str = r#"{"id":"evt_1",  "data":{}}"#;

    #[test]
    fn what_passes_is_a_line() {
        let dead = ObservedEvent {
            kind: ObservedEventKind::Dead,
            queue: Some("inventory.order-events.q".into()),
            reason: Some("invalid-data".into()),
            error: Some("items is \u{1b}[31mempty".into()),
            ..published_event()
        };
        let canvas = terminal_canvas(100);
        let lines = [
            render_observed(&published_event(), true, &canvas),
            render_observed(&dead, false, &canvas),
        ];
        insta::assert_snapshot!("events_tail", lines.join("\n"));
    }

    #[test]
    fn an_event_is_shown_whole() {
        let now = time::parse("2026-02-03T12:00:00Z").unwrap();
        let shown = EventDetail {
            event: order_created_event(),
            envelope: RawValue::from_string(ENVELOPE.into()).unwrap(),
        };
        insta::assert_snapshot!(
            "event_show",
            render_event(&shown, now, &terminal_canvas(100))
        );
        let document =
            dm_terminal::json::format_document(&dm_core::document::EVENT_DETAIL, &shown).unwrap();
        assert!(document.contains(ENVELOPE), "{document}");
    }

    #[test]
    fn a_log_line_is_read() {
        let line =
            r#"{"timestamp":"t","level":"INFO","message":"answered","status":200,"span":{}}"#;
        assert_eq!(format_log_line(line), "INFO answered status=200");
        assert_eq!(format_log_line("no JSON"), "no JSON");
    }

    #[test]
    fn a_story_is_a_tree() {
        let mut first = order_created_event();
        first.deliveries[0].caused = vec![stock_reserved_event()];
        let story_of_it = EventTrace {
            of: "ord_9001".into(),
            traces: vec!["0af7651916cd43dd8448eb211c80319c".into()],
            events: vec![first],
            timeline: vec![TimelineStep {
                order_id: "ord_9001".into(),
                status: "CREATED".into(),
                at: time::parse("2026-02-03T10:00:00Z").unwrap(),
                source: "order-service".into(),
            }],
        };
        let told = TraceDocument {
            trace: &story_of_it,
            logs: &[],
        };
        insta::assert_snapshot!("events_trace", render_trace(&told, &terminal_canvas(120)));
    }
}
