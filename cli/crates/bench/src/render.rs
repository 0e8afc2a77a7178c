//! The report for a person: a table, and where the time of up_report goes.

use std::fmt::Write as _;

use dm_console::timings;
use dm_terminal::canvas::{Canvas, StyleRole};
use dm_terminal::table::{Cell, Column, Table};
use dm_terminal::text;

use super::metric::{Metric, MetricUnit, Threshold};
use super::report::{BenchReport, MetricResult, TimeBreakdown};

/// The minimum duration of a shown phase, in seconds.
const MIN_SHOWN_PHASE: f64 = 0.005;

/// Renders the report for a terminal: the table, missed targets, and breakdowns of up_report.
pub(crate) fn render(report: &BenchReport, canvas: &Canvas) -> String {
    let mut table = Table::new(vec![
        Column::new("metric").min_width(20),
        Column::new("median (min–max)").min_width(16),
        Column::new("target").min_width(6),
        Column::new("met").min_width(3),
    ]);
    for result in &report.metrics {
        let met = match result.met {
            Some(true) => Cell::new("yes").with_role(StyleRole::Success),
            Some(false) => Cell::new("no").with_role(StyleRole::Error),
            None => Cell::default(),
        };
        table.add_row(vec![
            Cell::new(result.description),
            Cell::new(format_range(result)),
            Cell::new(format_threshold(result)).with_role(StyleRole::Muted),
            met,
        ]);
    }
    let mut parts = vec![table.render(canvas)];
    let sentences: Vec<String> = std::iter::once(describe_environment(report))
        .chain(describe_misses(report))
        .map(|sentence| canvas.wrap(&sentence, "", "  "))
        .collect();
    parts.push(sentences.join("\n"));
    for breakdown in shown_breakdowns(report) {
        let title = format!(
            "{}: {} in total, {} of it outside the run",
            breakdown.metric.description(),
            format_seconds(breakdown.process_seconds),
            format_seconds(breakdown.overhead_seconds)
        );
        parts.push(format!(
            "{}\n{}",
            canvas.paint(StyleRole::Emphasis, &canvas.wrap(&title, "", "  ")),
            timings::render(&breakdown.timings, canvas)
        ));
    }
    parts.join("\n\n")
}

/// Renders the report as Markdown, for `docs/performance.md`.
pub(crate) fn render_markdown(report: &BenchReport) -> String {
    let mut page =
        String::from("| Metric | Median (min–max) | Target | Met |\n|---|---|---|---|\n");
    // Writing to a string does not fail.
    for result in &report.metrics {
        let met = match result.met {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "",
        };
        let _ = writeln!(
            page,
            "| {} | {} | {} | {met} |",
            result.description,
            format_range(result),
            format_threshold(result),
        );
    }
    let _ = writeln!(page, "\n{}", describe_environment(report));
    for sentence in describe_misses(report) {
        let _ = writeln!(page, "\n{sentence}");
    }
    for breakdown in shown_breakdowns(report) {
        let _ = write!(page, "\n{}", render_markdown_chain(breakdown));
    }
    page.trim_end().to_owned()
}

fn format_range(result: &MetricResult) -> String {
    let show = |value| result.unit.format_value(value);
    let summary = result.summary;
    format!(
        "{} ({}–{})",
        show(summary.median),
        show(summary.min),
        show(summary.max)
    )
}

fn format_threshold(result: &MetricResult) -> String {
    let show = |limit| result.unit.format_value(limit);
    match result.target {
        Some(Threshold::AtLeast(limit)) => format!("≥ {}", show(limit)),
        Some(Threshold::AtMost(limit)) => format!("≤ {}", show(limit)),
        None => String::new(),
    }
}

fn format_seconds(seconds: f64) -> String {
    MetricUnit::Seconds.format_value(seconds)
}

/// Describes the time, the machine and the versions of a measurement.
fn describe_environment(report: &BenchReport) -> String {
    let machine = &report.machine;
    let mut details = vec![match &machine.cpu_model {
        Some(model) => format!("{} × {model}", machine.cpu_count),
        None => format!("{} processors", machine.cpu_count),
    }];
    if let Some(memory) = machine.memory_bytes {
        details.push(format!("{} memory", text::format_bytes(memory)));
    }
    details.push(machine.engine.clone());
    details.extend(machine.storage_driver.clone());
    details.extend(machine.compose_version.clone());
    details.push(format!(
        "dm {} ({} build)",
        report.dm_version, report.profile
    ));
    if let Some(load) = machine.load_average_1m {
        details.push(format!("load {load} at the start"));
    }
    format!(
        "{}, ratios within a round, {}: {}.",
        text::pluralize(report.rounds, "round"),
        report.began_at,
        details.join(", ")
    )
}

/// Describes each missed target and its bottleneck.
fn describe_misses(report: &BenchReport) -> Vec<String> {
    report
        .metrics
        .iter()
        .filter(|result| result.is_missed())
        .map(|result| {
            let description = result.description;
            match report
                .breakdown(result.metric)
                .and_then(describe_bottleneck)
            {
                Some(bottleneck) => format!("Missed: {description}. {bottleneck}"),
                None => format!("Missed: {description}."),
            }
        })
        .collect()
}

fn describe_bottleneck(breakdown: &TimeBreakdown) -> Option<String> {
    let bottleneck = breakdown.bottleneck();
    let seconds = bottleneck
        .as_ref()
        .map_or(0.0, |bottleneck| bottleneck.duration.as_secs_f64());
    if breakdown.overhead_seconds >= seconds {
        return Some(format!(
            "Its bottleneck is outside the run: {} of {} to start the program, read the \
             configuration, find the engine and print the stack.",
            format_seconds(breakdown.overhead_seconds),
            format_seconds(breakdown.process_seconds)
        ));
    }
    bottleneck.map(|bottleneck| {
        format!(
            "Its bottleneck is {} {}: {} of {} ({:.0} %).",
            bottleneck.node,
            bottleneck.phase,
            format_seconds(seconds),
            format_seconds(breakdown.process_seconds),
            100.0 * seconds / breakdown.process_seconds.max(f64::EPSILON)
        )
    })
}

/// Returns the shown breakdowns: of the golden start, and of missed targets.
fn shown_breakdowns(report: &BenchReport) -> impl Iterator<Item = &TimeBreakdown> {
    let is_missed = |time: Metric| {
        let mut metrics = report.metrics.iter();
        metrics.any(|result| result.is_missed() && result.metric.underlying_time() == time)
    };
    report.breakdowns.iter().filter(move |breakdown| {
        breakdown.metric == Metric::GoldenTime || is_missed(breakdown.metric)
    })
}

fn render_markdown_chain(breakdown: &TimeBreakdown) -> String {
    let mut page = format!(
        "The {} of `{}` by link (round {}, the median), the last link first:\n\n\
         | Link | Runnable at | Duration | Phases |\n|---|---|---|---|\n",
        format_seconds(breakdown.process_seconds),
        breakdown.metric.description(),
        breakdown.round
    );
    for link in &breakdown.timings.critical_path.links {
        let phases: Vec<String> = link
            .phases
            .iter()
            .filter(|(_, duration)| duration.as_secs_f64() >= MIN_SHOWN_PHASE)
            .map(|(phase, duration)| format!("{phase} {}", format_seconds(duration.as_secs_f64())))
            .collect();
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} |",
            link.node,
            format_seconds(link.started.as_secs_f64()),
            format_seconds(link.ready.saturating_sub(link.started).as_secs_f64()),
            phases.join(", ")
        );
    }
    let _ = writeln!(
        page,
        "| outside the run | | {} | |",
        format_seconds(breakdown.overhead_seconds)
    );
    page
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dm_stack::event::{Node, NodeKind, NodeState, RunEvent};
    use dm_terminal::testing::{assert_fits, coloured_canvas, pipe_canvas, terminal_canvas};

    use super::*;
    use crate::machine::MachineInfo;
    use crate::statistics::MetricSample;

    fn start_events() -> Vec<RunEvent> {
        let at = Duration::from_millis;
        let node = |name: &str, after: &[&str]| Node {
            name: name.into(),
            kind: NodeKind::Service,
            after: after.iter().map(|&name| name.to_owned()).collect(),
        };
        let state = |name: &str, state, moment| RunEvent::Node {
            name: name.into(),
            state,
            elapsed: at(moment),
        };
        vec![
            RunEvent::Started {
                command: "up".into(),
                instance: "bench-golden".into(),
                nodes: vec![node("postgres", &[]), node("keycloak", &["postgres"])],
            },
            state("postgres", NodeState::Creating, 20),
            state("postgres", NodeState::Starting { probe: None }, 500),
            state("postgres", NodeState::Ready { unchanged: false }, 900),
            state("keycloak", NodeState::Creating, 900),
            state("keycloak", NodeState::Starting { probe: None }, 1400),
            state("keycloak", NodeState::Ready { unchanged: false }, 7400),
            RunEvent::Finished {
                ok: true,
                elapsed: at(7450),
            },
        ]
    }

    fn result(metric: Metric, values: &[f64]) -> MetricResult {
        let samples = (1..).zip(values);
        let samples = samples.map(|(round, &value)| MetricSample { round, value });
        MetricResult::new(metric, samples.collect()).unwrap()
    }

    fn report(suite: &'static str, metrics: Vec<MetricResult>) -> BenchReport {
        BenchReport {
            suite,
            dm_version: "0.1.0".into(),
            profile: "release".into(),
            began_at: "2026-11-24T12:00:00Z".into(),
            machine: MachineInfo {
                cpu_count: 2,
                cpu_model: Some("Scranton 9000".into()),
                memory_bytes: Some(8_000_000_000),
                load_average_1m: Some(0.5),
                engine: "Docker 20.10.24".into(),
                storage_driver: Some("overlay2".into()),
                compose_version: None,
            },
            rounds: 3,
            metrics,
            breakdowns: Vec::new(),
        }
    }

    fn up_report() -> BenchReport {
        let mut report = report(
            "up",
            vec![
                result(Metric::GoldenTime, &[7.7, 7.9, 7.4]),
                result(Metric::GoldenToCustomaryRatio, &[0.17, 0.16, 0.18]),
                result(Metric::GoldenToTunedRatio, &[0.37, 0.385, 0.38]),
                result(Metric::GoldenMemory, &[9e8, 9.1e8]),
                result(Metric::NoopTime, &[0.07, 0.066, 0.079]),
                result(Metric::HelpTime, &[0.02, 0.018, 0.03]),
                result(Metric::DownTime, &[1.5, 1.25, 2.0]),
                result(Metric::ComposeCustomaryTime, &[36.1, 40.0, 33.0]),
                result(Metric::ComposeCustomaryMemory, &[1.2e9]),
            ],
        );
        report.machine.compose_version = Some("docker-compose 1.29.2".into());
        let duration = Duration::from_millis(7700);
        report.breakdowns =
            TimeBreakdown::from_events(Metric::GoldenTime, 1, duration, &start_events())
                .into_iter()
                .collect();
        report
    }

    fn services_report() -> BenchReport {
        let metrics = vec![
            result(Metric::GatewayThroughputRatio, &[0.5, 0.7, 0.66]),
            result(Metric::OrderReservationP99, &[0.12]),
            result(Metric::RelayLatencyP50, &[0.002_2, 0.001_7, 0.002_5]),
        ];
        report("services", metrics)
    }

    #[test]
    fn render_fits_every_width() {
        insta::assert_snapshot!("up_80", render(&up_report(), &terminal_canvas(80)));
        insta::assert_snapshot!("up_pipe", render(&up_report(), &pipe_canvas()));
        insta::assert_snapshot!(
            "services_80",
            render(&services_report(), &terminal_canvas(80))
        );
        for width in [50, 80, 200] {
            assert_fits(&render(&up_report(), &coloured_canvas(width)), width);
            assert_fits(&render(&services_report(), &coloured_canvas(width)), width);
        }
    }

    #[test]
    fn render_markdown_shows_all_results() {
        insta::assert_snapshot!("up_markdown", render_markdown(&up_report()));
        insta::assert_snapshot!("services_markdown", render_markdown(&services_report()));
    }

    #[test]
    fn report_has_the_json_document_format() {
        let document =
            dm_terminal::json::format_document(&dm_core::document::BENCH, &services_report())
                .unwrap();
        insta::assert_snapshot!("services_json", document);
    }

    #[test]
    fn bottleneck_can_be_outside_the_run() {
        let duration = Duration::from_secs(20);
        let events = start_events();
        let breakdown =
            TimeBreakdown::from_events(Metric::GoldenTime, 1, duration, &events).unwrap();
        let sentence = describe_bottleneck(&breakdown).unwrap();
        assert!(
            sentence.contains("outside the run: 12.55 s of 20.00 s"),
            "{sentence}"
        );
    }
}
