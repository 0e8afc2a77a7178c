//! Collects the details of a failed component before anything is removed.

use std::time::Duration;

use dm_core::config_keys::component_key;
use dm_core::error::{UserError, error_chain};
use dm_engine::EngineRefusal;
use dm_engine::spec::{ContainerSpec, PublishedPort};
use dm_host::ports::{self, PortError};

use super::event::NodeFailure;
use super::executor::EventEmitter;
use super::readiness::NotReady;
use super::{Stack, StackError};

/// The number of log lines in the report of a failed component.
const REPORTED_LOG_LINES: usize = 20;
/// The number of log lines that are searched for the cause.
const EXAMINED_LOG_LINES: usize = 200;
/// The exit code of a process that SIGKILL ended. The kernel sends it when memory runs out.
const SIGKILL_EXIT_CODE: i64 = 137;

/// Creates a failure from an error alone.
#[must_use]
pub fn from_error(name: &str, error: &dyn UserError, elapsed: Duration) -> NodeFailure {
    NodeFailure {
        name: name.to_owned(),
        message: error_chain(error).join(": "),
        state: None,
        exit_code: None,
        out_of_memory: false,
        probe: None,
        log: error.log_tail().to_vec(),
        source_errors: error.compiler_errors().to_vec(),
        blocked_nodes: Vec::new(),
        next: error.suggestions(),
        elapsed,
    }
}

/// Creates the failure of a container that the engine could not create or start.
pub(crate) async fn from_start_error(
    stack: &Stack,
    spec: &ContainerSpec,
    error: &StackError,
    elapsed: Duration,
) -> NodeFailure {
    let mut failure = match find_taken_port(spec, error) {
        Some(port) => {
            let taken = PortError::Taken {
                port: port.host,
                component: port.name.clone(),
                owner: ports::find_port_owner(port.host),
                container: None,
            };
            from_error(&spec.component, &taken, elapsed)
        }
        None => from_error(&spec.component, error, elapsed),
    };
    if failure.next.is_empty() {
        failure.next = vec!["dm doctor".into()];
    }
    failure.log = stack
        .engine
        .last_log_lines(&spec.name, REPORTED_LOG_LINES)
        .await
        .unwrap_or_default();
    failure
}

/// Returns the container's port that another process uses, if that prevented its start.
fn find_taken_port<'a>(spec: &'a ContainerSpec, error: &StackError) -> Option<&'a PublishedPort> {
    let StackError::Engine(error) = error else {
        return None;
    };
    let EngineRefusal::PortTaken(taken) = error.refusal()? else {
        return None;
    };
    spec.ports.iter().find(|port| Some(port.host) == taken)
}

/// Creates the failure of a container that ran and did not become ready.
pub(crate) async fn from_not_ready(
    stack: &Stack,
    spec: &ContainerSpec,
    reason: NotReady,
    probe: Option<String>,
    emitter: &EventEmitter,
) -> NodeFailure {
    let component = &spec.component;
    let mut failure = NodeFailure {
        name: component.clone(),
        message: String::new(),
        state: None,
        exit_code: None,
        out_of_memory: false,
        probe,
        log: Vec::new(),
        source_errors: Vec::new(),
        blocked_nodes: Vec::new(),
        next: vec![format!("dm logs {component}")],
        elapsed: emitter.elapsed(),
    };
    match reason {
        NotReady::Exited(exit) => {
            // An engine that notices the exit first never reports that memory ran out.
            let may_lack_memory =
                spec.memory.is_some() && exit.exit_code == Some(SIGKILL_EXIT_CODE);
            failure.message = match (exit.oom_killed, exit.exit_code, &exit.error) {
                (true, ..) => "was killed: out of memory".into(),
                (_, _, Some(error)) => format!("could not run: {error}"),
                _ if may_lack_memory => "was killed, possibly out of memory".into(),
                (_, Some(code), None) => format!("exited with code {code} before it was ready"),
                (_, None, None) => format!("was in state {} before it became ready", exit.state),
            };
            failure.state = Some(exit.state);
            failure.exit_code = exit.exit_code;
            failure.out_of_memory = exit.oom_killed;
            if failure.out_of_memory || may_lack_memory {
                failure.next.insert(
                    0,
                    format!(
                        "raise `{}` in dm.toml, or give the engine more memory",
                        component_key(component, "memory")
                    ),
                );
            }
        }
        NotReady::TimedOut => {
            failure.message = "was not ready within the time limit".into();
            failure.state = Some("running".into());
            failure.next.insert(0, "dm up --wait-timeout 10m".into());
        }
        NotReady::Engine(error) => {
            failure.message = format!(
                "the engine stopped answering: {}",
                error_chain(&error).join(": ")
            );
            failure.next = vec!["dm engine status".into(), "dm up".into()];
            return failure;
        }
        NotReady::Misconfigured(misconfiguration) => {
            failure.message = misconfiguration.problem;
            failure.state = Some("running".into());
            failure.next.splice(0..0, misconfiguration.suggestions);
        }
        NotReady::Cancelled => failure.message = "was interrupted".into(),
    }
    let log = stack
        .engine
        .last_log_lines(&spec.name, EXAMINED_LOG_LINES)
        .await;
    let mut lines = log.unwrap_or_default();
    let definition = stack.component(component).ok();
    if let Some(diagnosis) = definition.and_then(|component| component.diagnose_log(&lines)) {
        failure.message = diagnosis.problem;
        failure.next.splice(0..0, diagnosis.suggestions);
    }
    let last = lines.drain(lines.len().saturating_sub(REPORTED_LOG_LINES)..);
    failure.log = match definition {
        Some(component) => last.map(|line| component.format_log_line(line)).collect(),
        None => last.collect(),
    };
    failure
}
