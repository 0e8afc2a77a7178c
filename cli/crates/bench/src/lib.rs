//! Measures the stack, beside the same stack under docker-compose, and its services.
//!
//! Everything is paired: each round runs every subject once, one after the
//! other on the same machine, so that what slows one down slows down the
//! others too, and the figures that count are ratios within a round.
//!
//! ```text
//! rounds      a suite measured in rounds, whatever it measures
//! figure      what there is to measure: its unit and its target
//! report      what came out; statistics: what samples come to; machine: where
//! render      the report as a table and as Markdown
//! starts      the suite `up`: starts, beside the same stack under docker-compose
//! stack       the suites `services`, `events` and `data`: on a stack that runs
//! program     programs run as a person runs them
//! ```

mod command;
mod error;
mod machine;
mod metric;
mod render;
mod report;
mod rounds;
mod stack;
mod startup;
mod statistics;

use std::sync::Arc;

use dm_bench_request::{BenchRequest, DmProgram, StackArguments, SuiteArguments, selected_cases};
use dm_console::ConsoleFrontend;
use dm_core::error::{ExitStatus, Result};
use dm_core::instance;
use dm_engine::Engine;
use dm_operations::{Project, Session};
use dm_terminal::Printer;
use tokio_util::sync::CancellationToken;

use command::DmCommand;
use report::BenchReport;
use stack::{StackCase, StackSuite};
use startup::StartupSuite;

/// The instance whose lock a bench holds; the scratch instances' names begin with it.
const BENCH_INSTANCE: &str = "bench";

/// What is measured, and on what.
struct BenchContext {
    /// Where is reported and asked, and what interrupts.
    session: Session,
    /// The project, with the instance [`INSTANCE`].
    project: Project,
    /// The engine.
    engine: Engine,
    /// The program that is measured.
    dm: DmProgram,
}

impl BenchContext {
    /// The bench on an engine, which is installed and started first where there is consent.
    async fn open(session: Session, project: Project, dm: DmProgram, yes: bool) -> Result<Self> {
        let consent = session.consent(yes);
        let engine = session.engine_or_start(&project, &consent).await?;
        Ok(Self {
            session,
            project,
            engine,
            dm,
        })
    }

    /// `dm` on a scratch instance, with what `--set` is given.
    fn dm_command(&self, overrides: Vec<String>) -> DmCommand {
        DmCommand {
            program: self.dm.path.clone(),
            root: self.project.loaded.root.clone(),
            overrides,
        }
    }

    /// What `--set` gives to the runs of `dm`: what it gave to this call, and nothing that is
    /// done behind the back of what is measured.
    fn overrides(&self) -> Vec<String> {
        let mut overrides = self.session.overrides().to_vec();
        // Golden images are made where they are measured.
        overrides.push("golden.prepare=off".to_owned());
        // A backup in between would be measured, too.
        overrides.push("backup.every=off".to_owned());
        overrides
    }
}

/// Measures what is asked for, and prints the report. Whatever happens, the scratch stacks are
/// removed at the end.
///
/// # Errors
/// A run that fails, or an interrupt: figures of a part would mislead.
pub async fn run(
    request: BenchRequest,
    printer: &Printer,
    interrupt: CancellationToken,
) -> Result<ExitStatus> {
    let frontend = Arc::new(ConsoleFrontend::new(printer.clone()));
    let session = Session::new(request.selection, frontend, interrupt);
    let named = session.instance().to_owned();
    let (report, markdown) = match measure_suite(session, request.dm, request.suite).await {
        Ok(measured) => measured,
        Err(error) if named == instance::DEFAULT_INSTANCE => return Err(error),
        Err(error) => return Err(error.for_instance(&named)),
    };
    if markdown {
        printer.write_stdout(&render::render_markdown(&report))?;
    } else {
        printer.print_result(&dm_core::document::BENCH, &report, |canvas| {
            render::render(&report, canvas)
        })?;
    }
    Ok(ExitStatus::Success)
}

/// Measures a suite. Answers the report, and whether it is wanted as Markdown.
async fn measure_suite(
    session: Session,
    dm: DmProgram,
    suite: SuiteArguments,
) -> Result<(BenchReport, bool)> {
    let project = session.project_for_instance(BENCH_INSTANCE)?;
    let _guard = session.lock(&project, "dm bench").await?;
    match suite {
        SuiteArguments::Up(arguments) => {
            let cases = selected_cases(&arguments.cases);
            let compose = startup::find_or_install_compose(&session, &cases, arguments.yes).await?;
            let bench = BenchContext::open(session, project, dm, arguments.yes).await?;
            let suite = StartupSuite::new(&bench, cases, compose).await?;
            let report = rounds::run_suite(&bench, &suite, arguments.rounds.runs).await;
            suite.close(arguments.keep);
            Ok((report?, arguments.rounds.markdown))
        }
        SuiteArguments::Services(arguments) => {
            measure_on_stack(session, project, dm, "services", arguments).await
        }
        SuiteArguments::Events(arguments) => {
            measure_on_stack(session, project, dm, "events", arguments).await
        }
        SuiteArguments::Data(arguments) => {
            measure_on_stack(session, project, dm, "data", arguments).await
        }
    }
}

async fn measure_on_stack<C: StackCase>(
    session: Session,
    project: Project,
    dm: DmProgram,
    suite: &'static str,
    arguments: StackArguments<C>,
) -> Result<(BenchReport, bool)> {
    let bench = BenchContext::open(session, project, dm, arguments.yes).await?;
    let cases = selected_cases(&arguments.cases);
    let suite = StackSuite::new(&bench, suite, cases, arguments.password);
    let report = rounds::run_suite(&bench, &suite, arguments.rounds.runs).await?;
    Ok((report, arguments.rounds.markdown))
}
