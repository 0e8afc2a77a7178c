//! The report for a person: a table, and where the time of starts goes.

use std::fmt::Write as _;

use dm_console::timings;
use dm_terminal::canvas::{Canvas, StyleRole};
use dm_terminal::table::{Cell, Column, Table};
use dm_terminal::text;

use super::metric::{Metric, MetricUnit, Threshold};
use super::report::{BenchReport, MetricResult, TimeBreakdown};

/// Shares below this are not worth a phrase.
const MIN_SHOWN_PHASE: f64 = 0.005;

/// The report on a terminal: the table, the misses, and starts in parts.
pub(crate) fn render(report: &BenchReport, canvas: &Canvas) -> String {
    let mut table = Table::new(vec![
        Column::new("figure").min_width(20),
        Column::new("median (min–max)").min_width(16),
        Column::new("target").min_width(6),
        Column::new("met").min_width(3),
    ]);
    for measured in &report.figures {
        let met = match measured.met {
            Some(true) => Cell::new("yes").with_role(StyleRole::Success),
            Some(false) => Cell::new("no").with_role(StyleRole::Error),
            None => Cell::default(),
        };
        table.add_row(vec![
            Cell::new(measured.description),
            Cell::new(format_range(measured)),
            Cell::new(format_threshold(measured)).with_role(StyleRole::Muted),
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
            breakdown.figure.description(),
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

/// The report as Markdown, for `docs/performance.md`.
pub(crate) fn render_markdown(report: &BenchReport) -> String {
    let mut page =
        String::from("| Figure | Median (min–max) | Target | Met |\n|---|---|---|---|\n");
    // Writing to a string can't fail.
    for measured in &report.figures {
        let met = match measured.met {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "",
        };
        let _ = writeln!(
            page,
            "| {} | {} | {} | {met} |",
            measured.description,
            format_range(measured),
            format_threshold(measured),
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

fn format_range(measured: &MetricResult) -> String {
    let show = |value| measured.unit.format_value(value);
    let summary = measured.summary;
    format!(
        "{} ({}–{})",
        show(summary.median),
        show(summary.min),
        show(summary.max)
    )
}

fn format_threshold(measured: &MetricResult) -> String {
    let show = |limit| measured.unit.format_value(limit);
    match measured.target {
        Some(Threshold::AtLeast(limit)) => format!("≥ {}", show(limit)),
        Some(Threshold::AtMost(limit)) => format!("≤ {}", show(limit)),
        None => String::new(),
    }
}

fn format_seconds(seconds: f64) -> String {
    MetricUnit::Seconds.format_value(seconds)
}

/// Where and when it was measured, and what ran there.
fn describe_environment(report: &BenchReport) -> String {
    let machine = &report.machine;
    let mut facts = vec![match &machine.processor {
        Some(processor) => format!("{} × {processor}", machine.processors),
        None => format!("{} processors", machine.processors),
    }];
    if let Some(memory) = machine.memory {
        facts.push(format!("{} memory", text::format_bytes(memory)));
    }
    facts.push(machine.engine.clone());
    facts.extend(machine.storage.clone());
    facts.extend(machine.compose.clone());
    facts.push(format!("dm {} ({} build)", report.dm, report.profile));
    if let Some(load) = machine.load {
        facts.push(format!("load {load} at the start"));
    }
    format!(
        "{}, ratios within a round, {}: {}.",
        text::pluralize(report.runs as usize, "round"),
        report.began,
        facts.join(", ")
    )
}

/// Each figure that missed its target, and what it is bound by.
fn describe_misses(report: &BenchReport) -> Vec<String> {
    report
        .figures
        .iter()
        .filter(|measured| measured.is_missed())
        .map(|measured| {
            let what = measured.description;
            match report
                .breakdown(measured.figure)
                .and_then(describe_bottleneck)
            {
                Some(bound) => format!("Missed: {what}. {bound}"),
                None => format!("Missed: {what}."),
            }
        })
        .collect()
}

fn describe_bottleneck(breakdown: &TimeBreakdown) -> Option<String> {
    let bottleneck = breakdown.bottleneck();
    let took = bottleneck
        .as_ref()
        .map_or(0.0, |it| it.duration.as_secs_f64());
    if breakdown.overhead_seconds >= took {
        return Some(format!(
            "Its bottleneck is outside the run: {} of {} to start the program, read the \
             configuration, find the engine and show the stack.",
            format_seconds(breakdown.overhead_seconds),
            format_seconds(breakdown.process_seconds)
        ));
    }
    bottleneck.map(|it| {
        format!(
            "Its bottleneck is {} {}: {} of {} ({:.0} %).",
            it.node,
            it.phase,
            format_seconds(took),
            format_seconds(breakdown.process_seconds),
            100.0 * took / breakdown.process_seconds.max(f64::EPSILON)
        )
    })
}

/// The breakdowns that are worth showing: of the golden start, and of what missed.
fn shown_breakdowns(report: &BenchReport) -> impl Iterator<Item = &TimeBreakdown> {
    let is_missed = |time: Metric| {
        let mut figures = report.figures.iter();
        figures.any(|measured| measured.is_missed() && measured.figure.underlying_time() == time)
    };
    report.breakdowns.iter().filter(move |breakdown| {
        breakdown.figure == Metric::GoldenTime || is_missed(breakdown.figure)
    })
}

fn render_markdown_chain(breakdown: &TimeBreakdown) -> String {
    let mut page = format!(
        "Where the {} of `{}` went (round {}, the median), the last link first:\n\n\
         | Link | Free to begin | Took | Of it |\n|---|---|---|---|\n",
        format_seconds(breakdown.process_seconds),
        breakdown.figure.description(),
        breakdown.round
    );
    for link in &breakdown.timings.critical_chain.links {
        let phases: Vec<String> = link
            .phases
            .iter()
            .filter(|(_, took)| took.as_secs_f64() >= MIN_SHOWN_PHASE)
            .map(|(doing, took)| format!("{doing} {}", format_seconds(took.as_secs_f64())))
            .collect();
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} |",
            link.node,
            format_seconds(link.began.as_secs_f64()),
            format_seconds(link.ready.saturating_sub(link.began).as_secs_f64()),
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

    fn start() -> Vec<RunEvent> {
        let at = Duration::from_millis;
        let node = |name: &str, after: &[&str]| Node {
            name: name.into(),
            kind: NodeKind::Service,
            after: after.iter().map(|&name| name.to_owned()).collect(),
        };
        let state = |name: &str, state, moment| RunEvent::Node {
            name: name.into(),
            state,
            at: at(moment),
        };
        vec![
            RunEvent::Started {
                command: "up".into(),
                instance: "bench-golden".into(),
                nodes: vec![node("postgres", &[]), node("keycloak", &["postgres"])],
            },
            state("postgres", NodeState::Creating, 20),
            state("postgres", NodeState::Starting { probe: None }, 500),
            state("postgres", NodeState::Ready { kept: false }, 900),
            state("keycloak", NodeState::Creating, 900),
            state("keycloak", NodeState::Starting { probe: None }, 1400),
            state("keycloak", NodeState::Ready { kept: false }, 7400),
            RunEvent::Finished {
                ok: true,
                at: at(7450),
            },
        ]
    }

    fn measured(figure: Metric, values: &[f64]) -> MetricResult {
        let samples = (1..).zip(values);
        let samples = samples.map(|(round, &value)| MetricSample { round, value });
        MetricResult::new(figure, samples.collect()).unwrap()
    }

    fn report(suite: &'static str, figures: Vec<MetricResult>) -> BenchReport {
        BenchReport {
            suite,
            dm: "0.1.0".into(),
            profile: "release".into(),
            began: "2026-11-24T12:00:00Z".into(),
            machine: MachineInfo {
                processors: 2,
                processor: Some("Scranton 9000".into()),
                memory: Some(8_000_000_000),
                load: Some(0.5),
                engine: "Docker 20.10.24".into(),
                storage: Some("overlay2".into()),
                compose: None,
            },
            runs: 3,
            figures,
            breakdowns: Vec::new(),
        }
    }

    fn starts() -> BenchReport {
        let mut report = report(
            "up",
            vec![
                measured(Metric::GoldenTime, &[7.7, 7.9, 7.4]),
                measured(Metric::GoldenOfCustomary, &[0.21, 0.2, 0.22]),
                measured(Metric::GoldenOfTuned, &[0.37, 0.385, 0.38]),
                measured(Metric::GoldenMemory, &[9e8, 9.1e8]),
                measured(Metric::NoopTime, &[0.21, 0.2, 0.35]),
                measured(Metric::HelpTime, &[0.02, 0.018, 0.03]),
                measured(Metric::DownTime, &[1.5, 1.25, 2.0]),
                measured(Metric::CustomaryTime, &[36.1, 40.0, 33.0]),
                measured(Metric::CustomaryMemory, &[1.2e9]),
            ],
        );
        report.machine.compose = Some("docker-compose 1.29.2".into());
        let took = Duration::from_millis(7700);
        report.breakdowns = TimeBreakdown::from_events(Metric::GoldenTime, 1, took, &start())
            .into_iter()
            .collect();
        report
    }

    fn services() -> BenchReport {
        let figures = vec![
            measured(Metric::GatewayRate, &[0.5, 0.7, 0.66]),
            measured(Metric::OrderSlowest, &[0.12]),
            measured(Metric::RelayMedian, &[0.002_2, 0.001_7, 0.002_5]),
        ];
        report("services", figures)
    }

    #[test]
    fn figures_at_each_width() {
        insta::assert_snapshot!("up_80", render(&starts(), &terminal_canvas(80)));
        insta::assert_snapshot!("up_pipe", render(&starts(), &pipe_canvas()));
        insta::assert_snapshot!("services_80", render(&services(), &terminal_canvas(80)));
        for width in [50, 80, 200] {
            assert_fits(&render(&starts(), &coloured_canvas(width)), width);
            assert_fits(&render(&services(), &coloured_canvas(width)), width);
        }
    }

    #[test]
    fn figures_as_markdown() {
        insta::assert_snapshot!("up_markdown", render_markdown(&starts()));
        insta::assert_snapshot!("services_markdown", render_markdown(&services()));
    }

    #[test]
    fn figures_as_json() {
        let document =
            dm_terminal::json::format_document(&dm_core::document::BENCH, &services()).unwrap();
        insta::assert_snapshot!("services_json", document);
    }

    #[test]
    fn what_is_around_the_run_can_be_what_bounds_it() {
        let took = Duration::from_secs(20);
        let breakdown = TimeBreakdown::from_events(Metric::GoldenTime, 1, took, &start()).unwrap();
        let sentence = describe_bottleneck(&breakdown).unwrap();
        assert!(
            sentence.contains("outside the run: 12.55 s of 20.00 s"),
            "{sentence}"
        );
    }
}
