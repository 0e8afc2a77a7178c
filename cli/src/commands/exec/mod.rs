//! `dm exec`.

mod join;

use clap::Args;
use dm_core::error::{Coded, Error, Exit, Result};
use dm_engine::Engine;
use dm_engine::containers::State;
use dm_engine::exec::ExecSpec;
use dm_terminal::session::Session;

use super::context::{Context, Project};
use join::Joined;

/// Run a command in a component's container.
///
/// At a terminal the command gets a terminal. In a script it gets no standard input,
/// so that a loop keeps its own; `--interactive` passes it on. The output comes
/// unchanged, the exit code is the command's own, and the command ends when dm does.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  dm exec rabbitmq -- rabbitmqctl list_queues
  dm exec --interactive postgres -- sh -c 'cat > /tmp/data.csv' < data.csv")]
pub struct Arguments {
    /// The component.
    name: String,
    /// Pass standard input on, as a terminal's always is.
    #[arg(long, short)]
    interactive: bool,
    /// Give it a terminal, as it gets at a terminal anyway.
    #[arg(long, short, hide = true)]
    tty: bool,
    /// The user in the container.
    #[arg(long, short)]
    user: Option<String>,
    /// The command and its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<String>,
}

/// The component doesn't run, so nothing can run in it.
#[derive(Debug, thiserror::Error)]
#[error("{} does not run", component.as_deref().unwrap_or("the stack"))]
pub struct NotRunning {
    component: Option<String>,
}

impl NotRunning {
    /// Of a component, or of all where none was named.
    #[must_use]
    pub fn new(component: Option<&str>) -> Self {
        Self {
            component: component.map(str::to_owned),
        }
    }
}

impl Coded for NotRunning {
    fn code(&self) -> &'static str {
        "component-not-running"
    }

    fn exit(&self) -> Exit {
        Exit::Component
    }

    fn next(&self) -> Vec<String> {
        vec![match &self.component {
            Some(component) => format!("dm up --only {component}"),
            None => "dm up".into(),
        }]
    }
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let project = context.project()?;
    let spec = ExecSpec {
        command: arguments.command,
        user: arguments.user,
        stdin: arguments.interactive,
        ..ExecSpec::default()
    };
    if arguments.tty && !Session::is_possible() {
        context
            .printer
            .warn("--tty has no effect: standard input and output are no terminal");
    }
    in_component(context, &project, &arguments.name, spec).await
}

/// The container of a component that runs.
///
/// # Errors
/// There is no such component, or it doesn't run, or the engine fails.
pub async fn running(
    context: &Context,
    project: &Project,
    engine: &Engine,
    component: &str,
) -> Result<String> {
    let container = project.instance.container(component);
    let runs = engine
        .containers(&project.instance.filter())
        .await?
        .into_iter()
        .any(|it| it.name == container && it.state == State::Running);
    if runs {
        return Ok(container);
    }
    context.check_component(project, component)?;
    Err(NotRunning::new(Some(component)).into())
}

/// Runs a command in a component's container, joined to this process's own
/// standard streams. It ends with this process.
///
/// At a terminal it gets a terminal; otherwise its standard input is this process's
/// where `spec` says that it reads one.
///
/// # Errors
/// The component doesn't run, or the engine fails, or the output can't be written.
pub async fn in_component(
    context: &Context,
    project: &Project,
    component: &str,
    mut spec: ExecSpec,
) -> Result<Exit> {
    let find = async {
        let engine = context.engine(project.config()).await?;
        let container = running(context, project, &engine, component).await?;
        Ok::<_, Error>((engine, container))
    };
    let (engine, container) = tokio::select! {
        found = find => found?,
        () = context.interrupt.cancelled() => return Ok(Exit::Interrupted),
    };
    let session = Session::begin();
    if session.is_interactive() {
        spec.tty = true;
        spec.stdin = true;
    }
    let joined = Joined {
        engine: &engine,
        container: &container,
        session: &session,
        interrupt: &context.interrupt,
    };
    let exit = joined.run(&spec).await;
    // The terminal is itself again before anything more is printed.
    drop(session);
    exit
}
