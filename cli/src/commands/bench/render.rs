//! The figures of `dm bench`: a table, and where the time of a start goes.

use std::fmt::Write as _;

use dm_terminal::style::{Canvas, Role};
use dm_terminal::table::{Cell, Column, Table};
use dm_terminal::text;

use crate::bench::machine::Machine;
use crate::bench::report::{Breakdown, CaseResult, Verdict};
use crate::bench::statistics::Summary;
use crate::bench::{Bound, Case, Report, Rival};
use crate::views::timings;

/// The schema of the JSON form; the body is [`Report`] itself.
pub const SCHEMA: &str = "dm.bench/1";

/// Shares below this are not worth a phrase.
const SMALL: f64 = 0.005;

/// One line of the table: a case held against one target, or against none.
struct Row {
    case: String,
    ours: String,
    theirs: String,
    measured: String,
    target: String,
    met: Option<bool>,
}

/// The figures for a person: the table, the misses, and the golden start in parts.
#[must_use]
pub fn render(report: &Report, canvas: &Canvas) -> String {
    let mut table = Table::new(vec![
        Column::new("case").least(14),
        Column::new("dm").least(14),
        Column::new("docker-compose").least(14).rank(2),
        Column::new("ratio").least(6),
        Column::new("target").least(6).rank(1),
        Column::new("met").least(3),
    ]);
    for row in rows(report) {
        let met = match row.met {
            Some(true) => Cell::new("yes").role(Role::Good),
            Some(false) => Cell::new("no").role(Role::Bad),
            None => Cell::default(),
        };
        table.row(vec![
            Cell::new(row.case),
            Cell::new(row.ours),
            Cell::new(row.theirs).role(Role::Muted),
            Cell::new(row.measured),
            Cell::new(row.target).role(Role::Muted),
            met,
        ]);
    }
    let mut parts = vec![table.render(canvas)];
    let sentences: Vec<String> = std::iter::once(circumstances(report))
        .chain(memory(report))
        .chain(misses(report))
        .map(|sentence| canvas.wrap(&sentence, "", "  "))
        .collect();
    parts.push(sentences.join("\n"));
    for case in shown(report) {
        if let Some(breakdown) = &case.breakdown {
            let title = format!(
                "{}: {} in all, {} of it around the run",
                case.case.as_str(),
                seconds(breakdown.process),
                seconds(breakdown.around)
            );
            parts.push(format!(
                "{}\n{}",
                canvas.paint(Role::Strong, &canvas.wrap(&title, "", "  ")),
                timings::render(&breakdown.timings, canvas)
            ));
        }
    }
    parts.join("\n\n")
}

/// The figures as Markdown, for `docs/performance.md`.
#[must_use]
pub fn markdown(report: &Report) -> String {
    let mut page = String::from(
        "| Case | `dm`: median (min–max) | docker-compose: median (min–max) | Ratio (min–max) | Target | Met |\n\
         |---|---|---|---|---|---|\n",
    );
    // Writing to a string can't fail.
    for row in rows(report) {
        let met = match row.met {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "",
        };
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} | {met} |",
            row.case, row.ours, row.theirs, row.measured, row.target
        );
    }
    let _ = writeln!(page, "\n{}", circumstances(report));
    for sentence in memory(report).into_iter().chain(misses(report)) {
        let _ = writeln!(page, "\n{sentence}");
    }
    for case in shown(report) {
        if let Some(breakdown) = &case.breakdown {
            let _ = write!(page, "\n{}", markdown_chain(case.case, breakdown));
        }
    }
    page.trim_end().to_owned()
}

fn rows(report: &Report) -> Vec<Row> {
    report
        .cases
        .iter()
        .flat_map(|case| {
            let row = |verdict: Option<&Verdict>| Row {
                case: case.case.what().to_owned(),
                ours: range(case.seconds, seconds),
                theirs: verdict
                    .and_then(|verdict| theirs(report, verdict))
                    .unwrap_or_default(),
                measured: verdict
                    .filter(|verdict| !matches!(verdict.target, Bound::Seconds { .. }))
                    .map(|verdict| range(verdict.measured, share))
                    .unwrap_or_default(),
                target: verdict
                    .map(|verdict| target(verdict.target))
                    .unwrap_or_default(),
                met: verdict.map(|verdict| verdict.met),
            };
            if case.targets.is_empty() {
                vec![row(None)]
            } else {
                case.targets
                    .iter()
                    .map(|verdict| row(Some(verdict)))
                    .collect()
            }
        })
        .collect()
}

fn theirs(report: &Report, verdict: &Verdict) -> Option<String> {
    match verdict.target {
        Bound::Ratio { of, .. } => {
            let rival = range(report.rival(of)?.seconds, seconds);
            Some(format!("{rival}, {} s checks", of.interval()))
        }
        Bound::Share { of, .. } => {
            let other = range(report.case(of)?.seconds, seconds);
            Some(format!("{other}, {}", of.what()))
        }
        Bound::Seconds { .. } => None,
    }
}

fn target(bound: Bound) -> String {
    match bound {
        Bound::Ratio { limit, .. } | Bound::Share { limit, .. } => format!("≤ {limit}"),
        Bound::Seconds { limit } => format!("≤ {}", seconds(limit)),
    }
}

fn range(summary: Summary, show: impl Fn(f64) -> String) -> String {
    format!(
        "{} ({}–{})",
        show(summary.median),
        show(summary.min),
        show(summary.max)
    )
}

fn seconds(seconds: f64) -> String {
    if seconds < 1.0 {
        format!("{:.0} ms", seconds * 1000.0)
    } else {
        format!("{seconds:.2} s")
    }
}

fn share(share: f64) -> String {
    format!("{share:.2}")
}

/// Where and when it was measured.
fn circumstances(report: &Report) -> String {
    let facts = facts(&report.machine, &report.dm, report.profile);
    format!(
        "{}, paired and interleaved, {}: {facts}.",
        text::count(report.runs as usize, "round"),
        report.began,
    )
}

/// The machine and what ran on it, in one line.
pub(super) fn facts(machine: &Machine, dm: &str, profile: &str) -> String {
    let mut facts = vec![format!("{} processors", machine.processors)];
    if let Some(processor) = &machine.processor {
        facts[0] = format!("{} × {processor}", machine.processors);
    }
    if let Some(memory) = machine.memory {
        facts.push(format!("{} memory", text::bytes(memory)));
    }
    facts.push(machine.engine.clone());
    facts.extend(machine.storage.clone());
    facts.extend(machine.compose.clone());
    facts.push(format!("dm {dm} ({profile} build)"));
    if let Some(load) = machine.load {
        facts.push(format!("load {load} at the beginning"));
    }
    facts.join(", ")
}

/// The memory of all containers, where it was asked for.
fn memory(report: &Report) -> Option<String> {
    let most = |values: &[u64]| values.iter().max().map(|bytes| text::bytes(*bytes));
    let ours = [Case::Golden, Case::First].into_iter().filter_map(|case| {
        let bytes = most(&report.case(case)?.memory_bytes)?;
        Some(format!("{} {bytes}", case.as_str()))
    });
    let theirs = Rival::ALL.into_iter().filter_map(|rival| {
        let bytes = most(&report.rival(rival)?.memory_bytes)?;
        Some(format!("docker-compose {} {bytes}", rival.as_str()))
    });
    let all: Vec<String> = ours.chain(theirs).collect();
    (!all.is_empty()).then(|| {
        format!(
            "Memory of all containers once ready, the most of all rounds: {}.",
            all.join(", ")
        )
    })
}

/// What each figure that was missed is bound by.
fn misses(report: &Report) -> Vec<String> {
    report
        .cases
        .iter()
        .filter(|case| case.targets.iter().any(|verdict| !verdict.met))
        .map(|case| {
            let what = case.case.what();
            match bound_by(case) {
                Some(bound) => format!("Missed: {what}. {bound}"),
                None => format!("Missed: {what}."),
            }
        })
        .collect()
}

fn bound_by(case: &CaseResult) -> Option<String> {
    let breakdown = case.breakdown.as_ref()?;
    let bottleneck = breakdown.bottleneck();
    let took = bottleneck.as_ref().map_or(0.0, |it| it.took.as_secs_f64());
    if breakdown.around >= took {
        return Some(format!(
            "It is bound by what is around the run: {} of {} to start the program, read the \
             configuration, find the engine and show the stack.",
            seconds(breakdown.around),
            seconds(breakdown.process)
        ));
    }
    bottleneck.map(|it| {
        format!(
            "It is bound by {} {}: {} of {} ({:.0} %).",
            it.node,
            it.doing,
            seconds(took),
            seconds(breakdown.process),
            100.0 * took / breakdown.process.max(f64::EPSILON)
        )
    })
}

/// The cases whose parts are worth showing: the golden start, and what missed.
fn shown(report: &Report) -> impl Iterator<Item = &CaseResult> {
    report
        .cases
        .iter()
        .filter(|case| case.case == Case::Golden || case.targets.iter().any(|verdict| !verdict.met))
}

fn markdown_chain(case: Case, breakdown: &Breakdown) -> String {
    let mut page = format!(
        "Where the {} of `{}` went (round {}, the one in the middle), the last link first:\n\n\
         | Link | Free to begin | Took | Of it |\n|---|---|---|---|\n",
        seconds(breakdown.process),
        case.what(),
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
        "| around the run | | {} | |",
        seconds(breakdown.around)
    );
    page
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use dm_stack::event::{Event, Node, NodeKind, NodeState};
    use dm_terminal::testing::{assert_fits, coloured, pipe, terminal};

    use super::*;
    use crate::bench::machine::Machine;
    use crate::bench::report::RivalResult;
    use crate::bench::statistics::Sample;

    fn samples(seconds: &[f64]) -> Vec<Sample> {
        (1..)
            .zip(seconds)
            .map(|(round, &seconds)| Sample { round, seconds })
            .collect()
    }

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

    fn report() -> Report {
        let rivals = BTreeMap::from([
            (Rival::Customary, samples(&[36.1, 40.0, 33.0])),
            (Rival::Tuned, samples(&[21.0, 20.5, 19.5])),
        ]);
        let case = |case: Case, seconds: &[f64]| {
            let samples = samples(seconds);
            CaseResult {
                case,
                seconds: Summary::of_samples(&samples).unwrap(),
                targets: case
                    .bounds()
                    .iter()
                    .filter_map(|&bound| Verdict::of(bound, &samples, &BTreeMap::new(), &rivals))
                    .collect(),
                samples,
                breakdown: None,
                memory_bytes: Vec::new(),
            }
        };
        let mut golden = case(Case::Golden, &[7.7, 7.9, 7.4]);
        golden.breakdown = Breakdown::of(1, Duration::from_millis(7700), &start());
        golden.memory_bytes = vec![900_000_000, 910_000_000];
        Report {
            dm: "0.1.0".into(),
            profile: "release",
            began: "2026-11-24T12:00:00Z".into(),
            machine: Machine {
                processors: 2,
                processor: Some("Scranton 9000".into()),
                memory: Some(8_000_000_000),
                load: Some(0.5),
                engine: "Docker 20.10.24".into(),
                storage: Some("overlay2".into()),
                compose: Some("docker-compose 1.29.2".into()),
            },
            runs: 3,
            cases: vec![
                golden,
                case(Case::Noop, &[0.21, 0.2, 0.35]),
                case(Case::Help, &[0.02, 0.018, 0.03]),
                case(Case::Down, &[1.5, 1.25, 2.0]),
            ],
            rivals: rivals
                .into_iter()
                .map(|(rival, samples)| RivalResult {
                    rival,
                    seconds: Summary::of_samples(&samples).unwrap(),
                    samples,
                    memory_bytes: vec![1_200_000_000],
                })
                .collect(),
        }
    }

    #[test]
    fn figures_at_each_width() {
        insta::assert_snapshot!("bench_80", render(&report(), &terminal(80)));
        insta::assert_snapshot!("bench_pipe", render(&report(), &pipe()));
        for width in [40, 80, 200] {
            assert_fits(&render(&report(), &coloured(width)), width);
        }
    }

    #[test]
    fn figures_as_markdown() {
        insta::assert_snapshot!("bench_markdown", markdown(&report()));
    }

    #[test]
    fn what_is_around_the_run_can_be_what_bounds_it() {
        let mut report = report();
        let mut golden = report.cases.remove(0);
        golden.breakdown = Breakdown::of(1, Duration::from_secs(20), &start());
        let sentence = bound_by(&golden).unwrap();
        assert!(
            sentence.contains("around the run: 12.55 s of 20.00 s"),
            "{sentence}"
        );
    }
}
