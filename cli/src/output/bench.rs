//! The figures of `dm bench`: a table, and where the time of a start goes.

use std::fmt::Write as _;

use super::style::{Canvas, Role};
use super::table::{Cell, Column, Table};
use super::{text, timings};
use crate::bench::report::{Breakdown, CaseResult, Verdict};
use crate::bench::statistics::Summary;
use crate::bench::{Bound, Case, Report, Rival};

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
                    .filter(|verdict| matches!(verdict.target, Bound::Ratio { .. }))
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
    let Bound::Ratio { of, .. } = verdict.target else {
        return None;
    };
    let rival = report.rival(of)?;
    Some(format!(
        "{}, {} s checks",
        range(rival.seconds, seconds),
        of.interval()
    ))
}

fn target(bound: Bound) -> String {
    match bound {
        Bound::Ratio { limit, .. } => format!("≤ {limit}"),
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
    let machine = &report.machine;
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
    facts.push(format!("dm {} ({} build)", report.dm, report.profile));
    if let Some(load) = machine.load {
        facts.push(format!("load {load} at the beginning"));
    }
    format!(
        "{}, paired and interleaved, {}: {}.",
        text::count(report.runs as usize, "round"),
        report.began,
        facts.join(", ")
    )
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
