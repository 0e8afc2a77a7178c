//! `dm bench`.

mod render;
mod render_services;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand, ValueEnum};
use dm_components::database::Database;
use dm_core::error::{Exit, Result};
use dm_host::detach;
use dm_host::packages::{self, Package};
use dm_images::Silent;
use dm_operations::Project;
use tempfile::TempDir;

use crate::bench::compose::Program;
use crate::bench::{self, Bench, BenchError, Case, Report, Request, Rival, services};
use crate::context::Context;

/// How many rounds where nobody says.
const RUNS: u32 = 5;

/// Measure, as ratios in one run.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Clone, Subcommand)]
enum Action {
    /// Measure how long a start takes, beside the same stack under docker-compose.
    Up(UpArguments),
    Services(ServicesArguments),
    Events(EventsArguments),
    Data(DataArguments),
}

/// Measure starts.
#[derive(Debug, Clone, Args)]
struct UpArguments {
    /// How many rounds; each runs everything once.
    #[arg(long, value_name = "N", default_value_t = RUNS,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Only these cases.
    #[arg(long = "case", value_enum, value_name = "NAME", value_delimiter = ',')]
    cases: Vec<Case>,
    /// Print the figures as Markdown, for a page.
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Keep the compose files that were generated.
    #[arg(long)]
    keep: bool,
    /// Install docker-compose, where it is missing, without asking.
    #[arg(long, short)]
    yes: bool,
}

/// Measure the services: gateway, relay, orders, memory, and the time until ready.
///
/// On a scratch stack, which is removed in the end. Ratios are of two measurements in
/// one round. Stock results are not held back.
#[derive(Debug, Clone, Args)]
struct ServicesArguments {
    /// Only these cases.
    #[arg(long = "case", value_name = "NAME", value_delimiter = ',',
          value_parser = one_of(&services::Case::SERVICES))]
    cases: Vec<services::Case>,
    #[command(flatten)]
    rounds: Rounds,
}

/// Measure what dm does with events: dead letters listed and sent back, a million events
/// looked at and accounted for, and how soon everything goes on after a server is back.
///
/// On a scratch stack, which is removed in the end. Ratios are of two measurements in
/// one round.
#[derive(Debug, Clone, Args)]
struct EventsArguments {
    /// Only these cases.
    #[arg(long = "case", value_name = "NAME", value_delimiter = ',',
          value_parser = one_of(&services::Case::EVENTS))]
    cases: Vec<services::Case>,
    #[command(flatten)]
    rounds: Rounds,
}

/// Measure what dm does with data: a large past seeded beside psql's copy of the same rows,
/// a backup beside pg_dump, the schemas read, and a reset beside a fresh start.
///
/// On a scratch stack, which is removed in the end. Ratios are of two measurements in
/// one round.
#[derive(Debug, Clone, Args)]
struct DataArguments {
    /// Only these cases.
    #[arg(long = "case", value_name = "NAME", value_delimiter = ',',
          value_parser = one_of(&services::Case::DATA))]
    cases: Vec<services::Case>,
    #[command(flatten)]
    rounds: Rounds,
}

/// What measurements on a running stack have in common.
#[derive(Debug, Clone, Args)]
struct Rounds {
    /// How many rounds; each measures everything once.
    #[arg(long, value_name = "N", default_value_t = RUNS,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Print the figures as Markdown, for a page.
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// The password of the people who sign in.
    #[arg(
        long,
        env = "DM_TOKEN_PASSWORD",
        default_value = "password",
        hide_env_values = true,
        allow_hyphen_values = true
    )]
    password: String,
    /// Install and start what is missing on this machine without asking.
    #[arg(long, short)]
    yes: bool,
}

/// One of these cases by its name.
fn one_of(cases: &'static [services::Case]) -> impl TypedValueParser<Value = services::Case> {
    let names = cases.iter().filter_map(ValueEnum::to_possible_value);
    PossibleValuesParser::new(names).try_map(|name| services::Case::from_str(&name, false))
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    match arguments.action {
        Action::Services(ServicesArguments { cases, rounds }) => {
            running(context, cases, &services::Case::SERVICES, rounds).await
        }
        Action::Data(DataArguments { cases, rounds }) => {
            running(context, cases, &services::Case::DATA, rounds).await
        }
        Action::Events(EventsArguments { cases, rounds }) => {
            running(context, cases, &services::Case::EVENTS, rounds).await
        }
        Action::Up(arguments) => up(context, arguments).await,
    }
}

async fn up(context: &Context, arguments: UpArguments) -> Result<Exit> {
    let mut cases = if arguments.cases.is_empty() {
        Case::ALL.to_vec()
    } else {
        arguments.cases.clone()
    };
    cases.sort_unstable();
    cases.dedup();
    let project = context.session.project_of(bench::INSTANCE)?;
    let _guard = context.session.lock(&project, "dm bench up").await?;
    let folder = scratch_folder()?;
    let request = Request {
        cases,
        runs: arguments.runs,
    };
    let result = measure(context, &project, &folder, &request, arguments.yes).await;
    if arguments.keep {
        let path = folder.keep();
        context
            .printer
            .note(&format!("the compose files are in {}", path.display()));
    }
    print(context, &result?, arguments.markdown)?;
    Ok(Exit::Success)
}

async fn measure(
    context: &Context,
    project: &Project,
    folder: &TempDir,
    request: &Request,
    yes: bool,
) -> Result<Report> {
    let compares = Rival::ALL
        .into_iter()
        .any(|rival| rival.is_needed(&request.cases));
    let compose = if compares {
        Some(docker_compose(context, yes).await?)
    } else {
        None
    };
    let bench = prepare(context, project, folder, compose, yes).await?;
    let told = |sentence: &str| context.printer.note(sentence);
    bench.run(request, &context.session.interrupt, &told).await
}

/// Measures on a running stack, in the order of all cases.
async fn running(
    context: &Context,
    named: Vec<services::Case>,
    all: &[services::Case],
    arguments: Rounds,
) -> Result<Exit> {
    let wanted = |case: &services::Case| named.is_empty() || named.contains(case);
    let cases = all.iter().copied().filter(wanted).collect();
    let project = context.session.project_of(bench::INSTANCE)?;
    let _guard = context.session.lock(&project, "dm bench").await?;
    let folder = scratch_folder()?;
    let bench = prepare(context, &project, &folder, None, arguments.yes).await?;
    let request = services::Request {
        cases,
        runs: arguments.runs,
        password: arguments.password,
    };
    let told = |sentence: &str| context.printer.note(sentence);
    let report = bench
        .services(&request, &context.session.interrupt, &told)
        .await?;
    let printer = &context.printer;
    if printer.is_json() {
        printer.document(render_services::SCHEMA, &report)?;
    } else if arguments.markdown {
        printer.data(&render_services::markdown(&report))?;
    } else {
        let canvas = printer.out();
        printer.data(&render_services::render(&report, &canvas))?;
    }
    Ok(Exit::Success)
}

async fn prepare(
    context: &Context,
    project: &Project,
    folder: &TempDir,
    compose: Option<Program>,
    yes: bool,
) -> Result<Bench> {
    let consent = context.session.consent(yes);
    let engine = context.session.engine_or_start(project, &consent).await?;
    Ok(Bench {
        images: project.images(
            &engine,
            std::sync::Arc::new(Silent),
            consent,
            context.session.interrupt.clone(),
        )?,
        engine,
        config: project.config().clone(),
        database: Database::new(project.config(), &project.loaded.root),
        instance: project.instance.clone(),
        overrides: context.session.overrides().to_vec(),
        program: detach::own_program()?,
        compose,
        folder: folder.path().to_owned(),
    })
}

fn scratch_folder() -> Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("dm-bench-").tempdir();
    Ok(folder.map_err(|source| BenchError::Write {
        path: std::env::temp_dir(),
        source,
    })?)
}

/// docker-compose, installed first where it is missing and there is consent.
async fn docker_compose(context: &Context, yes: bool) -> Result<Program> {
    if let Some(program) = Program::find().await {
        return Ok(program);
    }
    let consent = context.session.consent(yes);
    let told = |line: &str| context.printer.note(line);
    packages::ensure(
        &[Package::COMPOSE],
        &consent,
        &context.session.interrupt,
        &told,
    )
    .await?;
    let program = Program::find().await;
    Ok(program.ok_or_else(|| BenchError::Spawn {
        program: Package::COMPOSE.program.to_owned(),
        source: std::io::ErrorKind::NotFound.into(),
    })?)
}

fn print(context: &Context, report: &Report, markdown: bool) -> Result<()> {
    if context.printer.is_json() {
        context.printer.document(render::SCHEMA, report)?;
    } else if markdown {
        context.printer.data(&render::markdown(report))?;
    } else {
        let canvas = context.printer.out();
        context.printer.data(&render::render(report, &canvas))?;
    }
    Ok(())
}
