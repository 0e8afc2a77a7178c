//! Renders events: as they are published, one in detail, and a trace.

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

/// A log line of a service.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct TraceLogLine {
    /// The time.
    pub at: Option<DateTime<Utc>>,
    /// The service.
    pub component: String,
    /// The text.
    pub text: String,
}

/// The document of a trace with its log lines.
#[derive(Debug, Serialize)]
pub(crate) struct TraceDocument<'a> {
    /// The trace.
    #[serde(flatten)]
    pub trace: &'a EventTrace,
    /// The log lines.
    pub logs: &'a [TraceLogLine],
}

/// Renders an observed event as a line.
#[must_use]
pub(crate) fn render_observed(event: &ObservedEvent, with_data: bool, canvas: &Canvas) -> String {
    let at = event.observed_at.format("%H:%M:%S%.3f").to_string();
    let (role, glyph) = match event.kind {
        ObservedEventKind::Published => (StyleRole::Success, Glyph::Check),
        ObservedEventKind::Retried => (StyleRole::Warning, Glyph::Warning),
        ObservedEventKind::DeadLettered => (StyleRole::Error, Glyph::Failed),
    };
    let mut line = format!(
        "{} {} {}  {}  {}",
        canvas.paint(StyleRole::Muted, &at),
        canvas.paint_glyph(role, glyph),
        canvas.paint(
            StyleRole::Emphasis,
            &text::sanitize(text::short_event_type(event.event_type.as_deref()), false)
        ),
        text::sanitize(event.subject.as_deref().unwrap_or("-"), false),
        canvas.paint(
            StyleRole::Muted,
            &text::sanitize(event.id.as_deref().unwrap_or("-"), false)
        ),
    );
    if let Some(queue) = &event.queue {
        let status = match event.kind {
            ObservedEventKind::DeadLettered => "dead-lettered in",
            _ => "waits for a retry in",
        };
        let reason = event.reason.as_deref().unwrap_or("unknown");
        let error = event.error.as_deref().unwrap_or_default();
        let failure = format!("  {status} {queue}: {reason}: {error}");
        line.push_str(&canvas.paint(role, &text::sanitize(&failure, false)));
    }
    if let Some(data) = event.data.as_ref().filter(|_| with_data) {
        line.push_str(&format!(
            "\n    {}",
            text::sanitize(&data.to_string(), false)
        ));
    }
    line
}

/// Prints an event with its deliveries.
///
/// # Errors
/// If the output is closed.
pub(crate) fn print_event(printer: &Printer, event: &EventDetail) -> Result<()> {
    Ok(
        printer.print_result(&dm_core::document::EVENT_DETAIL, event, |canvas| {
            render_event(event, Utc::now(), canvas)
        })?,
    )
}

/// Renders an event with all its details.
#[must_use]
pub(crate) fn render_event(detail: &EventDetail, now: DateTime<Utc>, canvas: &Canvas) -> String {
    let row = &detail.event.row;
    let state = row.state(now);
    let written_at = time::format(row.created_at);
    let published = row.published_at.map(|at| {
        format!(
            "{}, {} later",
            time::format(at),
            format_elapsed(at - row.created_at)
        )
    });
    let outbox = format!("{}, number {}", row.service, row.sequence);
    let attempts = row.attempts.to_string();
    let held_until = row
        .not_before
        .filter(|until| *until > now)
        .map(time::format);
    let painted_state = canvas.paint(state_role(state), state.as_str());
    let mut lines = Vec::new();
    for (name, value) in [
        ("id", Some(row.event_id.as_str())),
        ("type", Some(row.event_type.as_str())),
        ("subject", Some(row.subject.as_str())),
        ("outbox", Some(outbox.as_str())),
        ("written", Some(written_at.as_str())),
        ("published", published.as_deref()),
        ("held until", held_until.as_deref()),
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
        "{}{painted_state}",
        canvas.paint(StyleRole::Muted, &text::pad_right("state", 12))
    ));
    lines.push(canvas.paint(StyleRole::Muted, "queues"));
    if detail.event.deliveries.is_empty() {
        lines.push("  no queue receives it".to_owned());
    }
    for delivery in &detail.event.deliveries {
        lines.push(format!(
            "  {}",
            render_delivery(delivery, row.created_at, canvas)
        ));
    }
    lines.push(canvas.paint(StyleRole::Muted, "envelope"));
    // Indented for reading. With --json, it is printed unchanged.
    let envelope: Value = serde_json::from_str(detail.envelope.get()).unwrap_or_default();
    let envelope = serde_json::to_string_pretty(&envelope).unwrap_or_default();
    lines.extend(
        envelope
            .lines()
            .map(|line| format!("  {}", text::sanitize(line, false))),
    );
    lines.join("\n")
}

/// Renders the delivery of an event to a queue.
fn render_delivery(delivery: &EventDelivery, since: DateTime<Utc>, canvas: &Canvas) -> String {
    let (role, glyph, status) = match delivery.status {
        DeliveryStatus::Processed => (StyleRole::Success, Glyph::Check, "processed"),
        DeliveryStatus::Unpublished => (StyleRole::Active, Glyph::Waiting, "not published yet"),
        DeliveryStatus::Waiting => (StyleRole::Active, Glyph::Waiting, "waiting"),
        DeliveryStatus::Unknown => (
            StyleRole::Warning,
            Glyph::Waiting,
            "waiting or dead-lettered",
        ),
        DeliveryStatus::DeadLettered => (StyleRole::Error, Glyph::Failed, "dead-lettered"),
        DeliveryStatus::Parked => (StyleRole::Warning, Glyph::Skipped, "parked"),
        DeliveryStatus::HandedOver => (StyleRole::Muted, Glyph::Check, "handed over"),
    };
    let consumer = delivery.consumer.map_or("outside", |name| {
        name.strip_suffix("-service").unwrap_or(name)
    });
    let mut line = format!(
        "{} {} {}",
        canvas.paint_glyph(role, glyph),
        canvas.paint(StyleRole::Emphasis, consumer),
        canvas.paint(role, status)
    );
    if let Some(at) = delivery.status_at {
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
        let cause = text::sanitize(&format!("{reason}: {error}"), false);
        line.push_str(&format!(" {}", canvas.paint(role, &cause)));
    }
    line
}

/// Formats a time relative to another one.
fn format_offset(at: DateTime<Utc>, since: DateTime<Utc>) -> String {
    let offset = at - since;
    let sign = if offset < TimeDelta::zero() { "-" } else { "+" };
    format!("{sign}{}", format_elapsed(offset.abs()))
}

/// Formats a duration, below one second in milliseconds.
fn format_elapsed(time: TimeDelta) -> String {
    if time < TimeDelta::seconds(1) {
        return format!("{}ms", time.num_milliseconds());
    }
    text::format_duration(time.to_std().unwrap_or_default())
}

/// Formats a JSON log line of a service: the level, the message, and the other fields.
fn format_log_line(line: &str) -> String {
    let Ok(Value::Object(mut fields)) = serde_json::from_str(line) else {
        return line.to_owned();
    };
    for field in ["timestamp", "target", "span"] {
        fields.remove(field);
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

/// Renders a trace as a tree. Times are relative to its first event.
#[must_use]
pub(crate) fn render_trace(document: &TraceDocument<'_>, canvas: &Canvas) -> String {
    let trace = document.trace;
    let first = trace.events.iter().map(|event| event.row.created_at).min();
    let first = first.unwrap_or_default();
    let mut lines = vec![format!(
        "{} {}",
        canvas.paint(StyleRole::Emphasis, &text::sanitize(&trace.query, false)),
        canvas.paint(StyleRole::Muted, &format!("from {}", time::format(first)))
    )];
    for trace_id in &trace.traces {
        lines.push(canvas.paint(
            StyleRole::Muted,
            &format!("trace {}", text::sanitize(trace_id, false)),
        ));
    }
    lines.push(String::new());
    for event in &trace.events {
        push_event_tree(event, first, "", &mut lines, canvas);
    }
    if !trace.timeline.is_empty() {
        lines.push(String::new());
        lines.push(canvas.paint(StyleRole::Muted, "timeline"));
        for entry in &trace.timeline {
            lines.push(format!(
                "  {}  {}  {}",
                text::pad_right(&format_offset(entry.at, first), 8),
                text::sanitize(&entry.status, false),
                canvas.paint(StyleRole::Muted, &text::sanitize(&entry.source, false))
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
        let child_indent = format!("{indent}      ");
        for caused in &delivery.caused {
            push_event_tree(caused, first, &child_indent, lines, canvas);
        }
    }
}

#[cfg(test)]
mod tests {
    use dm_messaging::tail::examples::published_event;
    use dm_messaging::trace::TimelineEntry;
    use dm_messaging::trace::examples::{order_created_event, stock_reserved_event};
    use dm_terminal::testing::terminal_canvas;
    use serde_json::value::RawValue;

    use super::*;

    /// An envelope with spaces that no library would write.
    const ENVELOPE: &str = r#"{"id":"evt_1",  "data":{}}"#;

    #[test]
    fn observed_event_is_rendered_as_a_line() {
        let dead_lettered = ObservedEvent {
            kind: ObservedEventKind::DeadLettered,
            queue: Some("inventory.order-events.q".into()),
            reason: Some("invalid-data".into()),
            error: Some("items is \u{1b}[31mempty".into()),
            ..published_event()
        };
        let canvas = terminal_canvas(100);
        let lines = [
            render_observed(&published_event(), true, &canvas),
            render_observed(&dead_lettered, false, &canvas),
        ];
        insta::assert_snapshot!("events_tail", lines.join("\n"));
    }

    #[test]
    fn event_is_rendered_with_all_details() {
        let now = time::parse("2026-02-03T12:00:00Z").unwrap();
        let detail = EventDetail {
            event: order_created_event(),
            envelope: RawValue::from_string(ENVELOPE.into()).unwrap(),
        };
        insta::assert_snapshot!(
            "event_show",
            render_event(&detail, now, &terminal_canvas(100))
        );
        let document =
            dm_terminal::json::format_document(&dm_core::document::EVENT_DETAIL, &detail).unwrap();
        assert!(document.contains(ENVELOPE), "{document}");
    }

    #[test]
    fn log_line_shows_level_message_and_fields() {
        let line = r#"{"timestamp":"t","level":"INFO","message":"request processed","http.response.status_code":200,"span":{}}"#;
        assert_eq!(
            format_log_line(line),
            "INFO request processed http.response.status_code=200"
        );
        assert_eq!(format_log_line("no JSON"), "no JSON");
    }

    #[test]
    fn trace_is_rendered_as_a_tree() {
        let mut first = order_created_event();
        first.deliveries[0].caused = vec![stock_reserved_event()];
        let trace = EventTrace {
            query: "ord_9001".into(),
            traces: vec!["0af7651916cd43dd8448eb211c80319c".into()],
            events: vec![first],
            timeline: vec![TimelineEntry {
                order_id: "ord_9001".into(),
                status: "CREATED".into(),
                at: time::parse("2026-02-03T10:00:00Z").unwrap(),
                source: "order-service".into(),
            }],
        };
        let document = TraceDocument {
            trace: &trace,
            logs: &[],
        };
        insta::assert_snapshot!(
            "events_trace",
            render_trace(&document, &terminal_canvas(120))
        );
    }
}
