//! Gathers what is known of a component that failed, before anything is removed.

use std::time::Duration;

use dm_core::config_keys::{component_key, port_key};
use dm_core::error::{UserError, chain};
use dm_engine::EngineRefusal;
use dm_engine::spec::{ContainerSpec, PublishedPort};
use dm_host::ports;

use super::event::NodeFailure;
use super::executor::EventEmitter;
use super::readiness::NotReady;
use super::{Stack, StackError};

/// How many of its last log lines a failed component's report shows.
const REPORTED_LOG_LINES: usize = 20;
/// How many are read to find out what is wrong.
const EXAMINED_LOG_LINES: usize = 200;
/// The exit code of a process that SIGKILL ended, as the kernel does where memory runs out.
const SIGKILL_EXIT_CODE: i64 = 137;

/// A failure of which only an error is known.
#[must_use]
pub fn from_error(name: &str, error: &dyn UserError, at: Duration) -> NodeFailure {
    NodeFailure {
        name: name.to_owned(),
        what: chain(error).join(": "),
        state: None,
        exit_code: None,
        out_of_memory: false,
        probe: None,
        log: error.log_tail().to_vec(),
        source_errors: error.compiler_errors().to_vec(),
        blocks: Vec::new(),
        next: error.suggestions(),
        at,
    }
}

/// A container that the engine could not make or start.
pub(crate) async fn from_start_error(
    stack: &Stack,
    spec: &ContainerSpec,
    error: &StackError,
    at: Duration,
) -> NodeFailure {
    let mut failure = from_error(&spec.component, error, at);
    if let Some(port) = find_taken_port(spec, error) {
        let owner = ports::find_port_owner(port.host)
            .map_or_else(|| "another program".to_owned(), |owner| owner.to_string());
        failure.what = format!("port {} is taken by {owner}", port.host);
        failure.next = vec![
            "dm up --ports auto".into(),
            format!("or stop {owner}, or set another {}", port_key(&port.name)),
        ];
    }
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

/// The port of a container that another program has, where that is why it did not start.
fn find_taken_port<'a>(spec: &'a ContainerSpec, error: &StackError) -> Option<&'a PublishedPort> {
    let StackError::Engine(error) = error else {
        return None;
    };
    let EngineRefusal::PortTaken(taken) = error.refusal()? else {
        return None;
    };
    spec.ports.iter().find(|port| Some(port.host) == taken)
}

/// A container that ran and did not become ready.
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
        what: String::new(),
        state: None,
        exit_code: None,
        out_of_memory: false,
        probe,
        log: Vec::new(),
        source_errors: Vec::new(),
        blocks: Vec::new(),
        next: vec![format!("dm logs {component}")],
        at: emitter.elapsed(),
    };
    match reason {
        NotReady::Exited(ended) => {
            // An engine that hears of the end first never says that memory ran out.
            let may_lack_memory =
                spec.memory.is_some() && ended.exit_code == Some(SIGKILL_EXIT_CODE);
            failure.what = match (ended.oom_killed, ended.exit_code, &ended.error) {
                (true, ..) => "was killed: out of memory".into(),
                (_, _, Some(error)) => format!("could not run: {error}"),
                _ if may_lack_memory => "was killed, possibly out of memory".into(),
                (_, Some(code), None) => format!("exited with code {code} before it was ready"),
                (_, None, None) => format!("is {} before it was ready", ended.state),
            };
            failure.state = Some(ended.state);
            failure.exit_code = ended.exit_code;
            failure.out_of_memory = ended.oom_killed;
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
            failure.what = "was not ready within the time limit".into();
            failure.state = Some("running".into());
            failure.next.insert(0, "dm up --wait-timeout 10m".into());
        }
        NotReady::Engine(error) => {
            failure.what = format!("the engine stopped answering: {}", chain(&error).join(": "));
            failure.next = vec!["dm engine status".into(), "dm up".into()];
            return failure;
        }
        NotReady::Refused(refused) => {
            failure.what = refused.problem;
            failure.state = Some("running".into());
            failure.next.splice(0..0, refused.suggestions);
        }
        NotReady::Cancelled => failure.what = "was interrupted".into(),
    }
    let log = stack
        .engine
        .last_log_lines(&spec.name, EXAMINED_LOG_LINES)
        .await;
    let mut lines = log.unwrap_or_default();
    let known = stack.component(component).ok();
    if let Some(refused) = known.and_then(|component| component.diagnose_log(&lines)) {
        failure.what = refused.problem;
        failure.next.splice(0..0, refused.suggestions);
    }
    let last = lines.drain(lines.len().saturating_sub(REPORTED_LOG_LINES)..);
    failure.log = match known {
        Some(component) => last.map(|line| component.format_log_line(line)).collect(),
        None => last.collect(),
    };
    failure
}
