//! The report for a person: a table, and where the time of starts goes.

use std::fmt::Write as _;

use dm_console::timings;
use dm_terminal::style::{Canvas, Role};
use dm_terminal::table::{Cell, Column, Table};
use dm_terminal::text;

use super::figure::{Figure, Target, Unit};
use super::report::{Breakdown, Measured, Report};

/// Shares below this are not worth a phrase.
const SMALL: f64 = 0.005;

/// The report on a terminal: the table, the misses, and starts in parts.
pub(crate) fn render(report: &Report, canvas: &Canvas) -> String {
    let mut table = Table::new(vec![
        Column::new("figure").least(20),
        Column::new("median (min–max)").least(16),
        Column::new("target").least(6),
        Column::new("met").least(3),
    ]);
    for measured in &report.figures {
        let met = match measured.met {
            Some(true) => Cell::new("yes").role(Role::Good),
            Some(false) => Cell::new("no").role(Role::Bad),
            None => Cell::default(),
        };
        table.row(vec![
            Cell::new(measured.description),
            Cell::new(range(measured)),
            Cell::new(target(measured)).role(Role::Muted),
            met,
        ]);
    }
    let mut parts = vec![table.render(canvas)];
    let sentences: Vec<String> = std::iter::once(circumstances(report))
        .chain(misses(report))
        .map(|sentence| canvas.wrap(&sentence, "", "  "))
        .collect();
    parts.push(sentences.join("\n"));
    for breakdown in shown(report) {
        let title = format!(
            "{}: {} in total, {} of it outside the run",
            breakdown.figure.description(),
            seconds(breakdown.process),
            seconds(breakdown.around)
        );
        parts.push(format!(
            "{}\n{}",
            canvas.paint(Role::Strong, &canvas.wrap(&title, "", "  ")),
            timings::render(&breakdown.timings, canvas)
        ));
    }
    parts.join("\n\n")
}

/// The report as Markdown, for `docs/performance.md`.
pub(crate) fn markdown(report: &Report) -> String {
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
            range(measured),
            target(measured),
        );
    }
    let _ = writeln!(page, "\n{}", circumstances(report));
    for sentence in misses(report) {
        let _ = writeln!(page, "\n{sentence}");
    }
    for breakdown in shown(report) {
        let _ = write!(page, "\n{}", markdown_chain(breakdown));
    }
    page.trim_end().to_owned()
}

fn range(measured: &Measured) -> String {
    let show = |value| measured.unit.show(value);
    let summary = measured.summary;
    format!(
        "{} ({}–{})",
        show(summary.median),
        show(summary.min),
        show(summary.max)
    )
}

fn target(measured: &Measured) -> String {
    let show = |limit| measured.unit.show(limit);
    match measured.target {
        Some(Target::AtLeast(limit)) => format!("≥ {}", show(limit)),
        Some(Target::AtMost(limit)) => format!("≤ {}", show(limit)),
        None => String::new(),
    }
}

fn seconds(seconds: f64) -> String {
    Unit::Seconds.show(seconds)
}

/// Where and when it was measured, and what ran there.
fn circumstances(report: &Report) -> String {
    let machine = &report.machine;
    let mut facts = vec![match &machine.processor {
        Some(processor) => format!("{} × {processor}", machine.processors),
        None => format!("{} processors", machine.processors),
    }];
    if let Some(memory) = machine.memory {
        facts.push(format!("{} memory", text::bytes(memory)));
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
        text::count(report.runs as usize, "round"),
        report.began,
        facts.join(", ")
    )
}

/// Each figure that missed its target, and what it is bound by.
fn misses(report: &Report) -> Vec<String> {
    report
        .figures
        .iter()
        .filter(|measured| measured.is_missed())
        .map(|measured| {
            let what = measured.description;
            match report.breakdown(measured.figure).and_then(bound_by) {
                Some(bound) => format!("Missed: {what}. {bound}"),
                None => format!("Missed: {what}."),
            }
        })
        .collect()
}

fn bound_by(breakdown: &Breakdown) -> Option<String> {
    let bottleneck = breakdown.bottleneck();
    let took = bottleneck.as_ref().map_or(0.0, |it| it.took.as_secs_f64());
    if breakdown.around >= took {
        return Some(format!(
            "Its bottleneck is outside the run: {} of {} to start the program, read the \
             configuration, find the engine and show the stack.",
            seconds(breakdown.around),
            seconds(breakdown.process)
        ));
    }
    bottleneck.map(|it| {
        format!(
            "Its bottleneck is {} {}: {} of {} ({:.0} %).",
            it.node,
            it.doing,
            seconds(took),
            seconds(breakdown.process),
            100.0 * took / breakdown.process.max(f64::EPSILON)
        )
    })
}

/// The breakdowns that are worth showing: of the golden start, and of what missed.
fn shown(report: &Report) -> impl Iterator<Item = &Breakdown> {
    let is_missed = |time: Figure| {
        let mut figures = report.figures.iter();
        figures.any(|measured| measured.is_missed() && measured.figure.time() == time)
    };
    report.breakdowns.iter().filter(move |breakdown| {
        breakdown.figure == Figure::GoldenTime || is_missed(breakdown.figure)
    })
}

fn markdown_chain(breakdown: &Breakdown) -> String {
    let mut page = format!(
        "Where the {} of `{}` went (round {}, the median), the last link first:\n\n\
         | Link | Free to begin | Took | Of it |\n|---|---|---|---|\n",
        seconds(breakdown.process),
        breakdown.figure.description(),
        breakdown.round
    );
    for link in &breakdown.timings.critical_chain.links {
        let phases: Vec<String> = link
            .phases
            .iter()
            .filter(|(_, took)| took.as_secs_f64() >= SMALL)
            .map(|(doing, took)| format!("{doing} {}", seconds(took.as_secs_f64())))
            .collect();
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} |",
            link.node,
            seconds(link.began.as_secs_f64()),
            seconds(link.ready.saturating_sub(link.began).as_secs_f64()),
            phases.join(", ")
        );
    }
    let _ = writeln!(
        page,
        "| outside the run | | {} | |",
        seconds(breakdown.around)
    );
    page
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dm_stack::event::{Event, Node, NodeKind, NodeState};
    use dm_terminal::testing::{assert_fits, coloured, pipe, terminal};

    use super::*;
    use crate::machine::Machine;
    use crate::statistics::Sample;

    fn start() -> Vec<Event> {
        let at = Duration::from_millis;
        let node = |name: &str, after: &[&str]| Node {
            name: name.into(),
            kind: NodeKind::Service,
            after: after.iter().map(|&name| name.to_owned()).collect(),
        };
        let state = |name: &str, state, moment| Event::Node {
            name: name.into(),
            state,
            at: at(moment),
        };
        vec![
            Event::Started {
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
            Event::Finished {
                ok: true,
                at: at(7450),
            },
        ]
    }

    fn measured(figure: Figure, values: &[f64]) -> Measured {
        let samples = (1..).zip(values);
        let samples = samples.map(|(round, &value)| Sample { round, value });
        Measured::new(figure, samples.collect()).unwrap()
    }

    fn report(suite: &'static str, figures: Vec<Measured>) -> Report {
        Report {
            suite,
            dm: "0.1.0".into(),
            profile: "release".into(),
            began: "2026-11-24T12:00:00Z".into(),
            machine: Machine {
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

    fn starts() -> Report {
        let mut report = report(
            "up",
            vec![
                measured(Figure::GoldenTime, &[7.7, 7.9, 7.4]),
                measured(Figure::GoldenOfCustomary, &[0.21, 0.2, 0.22]),
                measured(Figure::GoldenOfTuned, &[0.37, 0.385, 0.38]),
                measured(Figure::GoldenMemory, &[9e8, 9.1e8]),
                measured(Figure::NoopTime, &[0.21, 0.2, 0.35]),
                measured(Figure::HelpTime, &[0.02, 0.018, 0.03]),
                measured(Figure::DownTime, &[1.5, 1.25, 2.0]),
                measured(Figure::CustomaryTime, &[36.1, 40.0, 33.0]),
                measured(Figure::CustomaryMemory, &[1.2e9]),
            ],
        );
        report.machine.compose = Some("docker-compose 1.29.2".into());
        let took = Duration::from_millis(7700);
        report.breakdowns = Breakdown::of(Figure::GoldenTime, 1, took, &start())
            .into_iter()
            .collect();
        report
    }

    fn services() -> Report {
        let figures = vec![
            measured(Figure::GatewayRate, &[0.5, 0.7, 0.66]),
            measured(Figure::OrderSlowest, &[0.12]),
            measured(Figure::RelayMedian, &[0.002_2, 0.001_7, 0.002_5]),
        ];
        report("services", figures)
    }

    #[test]
    fn figures_at_each_width() {
        insta::assert_snapshot!("up_80", render(&starts(), &terminal(80)));
        insta::assert_snapshot!("up_pipe", render(&starts(), &pipe()));
        insta::assert_snapshot!("services_80", render(&services(), &terminal(80)));
        for width in [50, 80, 200] {
            assert_fits(&render(&starts(), &coloured(width)), width);
            assert_fits(&render(&services(), &coloured(width)), width);
        }
    }

    #[test]
    fn figures_as_markdown() {
        insta::assert_snapshot!("up_markdown", markdown(&starts()));
        insta::assert_snapshot!("services_markdown", markdown(&services()));
    }

    #[test]
    fn figures_as_json() {
        let document = dm_terminal::json::document(&dm_core::document::BENCH, &services()).unwrap();
        insta::assert_snapshot!("services_json", document);
    }

    #[test]
    fn what_is_around_the_run_can_be_what_bounds_it() {
        let took = Duration::from_secs(20);
        let breakdown = Breakdown::of(Figure::GoldenTime, 1, took, &start()).unwrap();
        let sentence = bound_by(&breakdown).unwrap();
        assert!(
            sentence.contains("outside the run: 12.55 s of 20.00 s"),
            "{sentence}"
        );
    }
}
