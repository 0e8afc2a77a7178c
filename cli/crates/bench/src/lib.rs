//! Benchmarks of the stack, compared with the same stack under docker-compose, and of its
//! services.
//!
//! Measurements are paired: each round runs every subject once, one after the
//! other on the same machine, so that a disturbance affects all of them, and
//! the relevant metrics are ratios within a round.
//!
//! ```text
//! rounds      measures a suite in rounds
//! metric      the metrics, with their units and thresholds
//! report      the report; statistics: summaries of samples; machine: the environment
//! render      renders the report as a table and as Markdown
//! startup     the suite `up`: starts, compared with docker-compose
//! stack       the suites `services`, `events` and `data`, on a running stack
//! command     runs commands as whole processes
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

/// The instance whose lock a bench holds, and the prefix of the names of scratch instances.
const BENCH_INSTANCE: &str = "bench";

/// The session, the project, the engine and the program of a bench.
struct BenchContext {
    /// The frontend, the options and the interrupt token.
    session: Session,
    /// The project, with the instance [`BENCH_INSTANCE`].
    project: Project,
    /// The engine.
    engine: Engine,
    /// The measured program.
    dm: DmProgram,
}

impl BenchContext {
    /// Connects to the engine. With consent, installs and starts it first.
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

    /// Returns the command `dm` with values for `--set`.
    fn dm_command(&self, overrides: Vec<String>) -> DmCommand {
        DmCommand {
            program: self.dm.path.clone(),
            root: self.project.loaded.root.clone(),
            overrides,
        }
    }

    /// Returns the values of `--set` for measured runs of `dm`: those of this call, and settings
    /// that turn background work off.
    fn overrides(&self) -> Vec<String> {
        let mut overrides = self.session.overrides().to_vec();
        // The suites prepare golden images themselves.
        overrides.push("golden.prepare=off".to_owned());
        // A scheduled backup would be measured, too.
        overrides.push("backup.every=off".to_owned());
        overrides
    }
}

/// Measures a suite and prints the report. The scratch stacks are always removed at the end.
///
/// # Errors
/// If a run fails, or at an interrupt: a partial report would mislead.
pub async fn run(
    request: BenchRequest,
    printer: &Printer,
    interrupt: CancellationToken,
) -> Result<ExitStatus> {
    let frontend = Arc::new(ConsoleFrontend::new(printer.clone()));
    let session = Session::new(request.selection, frontend, interrupt);
    let requested_instance = session.instance().to_owned();
    let (report, markdown) = match measure_suite(session, request.dm, request.suite).await {
        Ok(result) => result,
        Err(error) if requested_instance == instance::DEFAULT_INSTANCE => return Err(error),
        Err(error) => return Err(error.for_instance(&requested_instance)),
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

/// Measures a suite. Returns the report, and whether Markdown was requested.
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
            let context = BenchContext::open(session, project, dm, arguments.yes).await?;
            let suite = StartupSuite::new(&context, cases, compose).await?;
            let report = rounds::run_suite(&context, &suite, arguments.rounds.rounds).await;
            suite.close(arguments.keep_files);
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
    let context = BenchContext::open(session, project, dm, arguments.yes).await?;
    let cases = selected_cases(&arguments.cases);
    let suite = StackSuite::new(&context, suite, cases, arguments.password);
    let report = rounds::run_suite(&context, &suite, arguments.rounds.rounds).await?;
    Ok((report, arguments.rounds.markdown))
}
