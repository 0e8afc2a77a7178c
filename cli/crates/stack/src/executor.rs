//! Runs the graph: every node as early as what it waits for allows.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use dm_core::error::suggestions_for_instance;
use dm_core::instance;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::event::{Node, NodeFailure, NodeState, RunEvent};
use super::graph::{DependencyGraph, GraphError};

/// Where the events of a run go, with the clock that they count by.
#[derive(Debug, Clone)]
pub struct EventEmitter {
    sender: UnboundedSender<RunEvent>,
    command: &'static str,
    /// The instance that the command was called for, where it is not the default one.
    instance: Option<String>,
    started_at: Instant,
}

impl EventEmitter {
    /// An emitter for the run of a command, e.g. `reset`, whose clock begins now.
    #[must_use]
    pub fn new(sender: UnboundedSender<RunEvent>, command: &'static str) -> Self {
        Self {
            sender,
            command,
            instance: None,
            started_at: Instant::now(),
        }
    }

    /// The same for a command of this instance: what to do next after a failure names it.
    #[must_use]
    pub fn for_instance(mut self, name: &str) -> Self {
        self.instance = (name != instance::DEFAULT_INSTANCE).then(|| name.to_owned());
        self
    }

    /// Announces nodes. Whatever part of the run they belong to, it is told as
    /// part of the command that was asked for.
    pub fn emit_started(&self, instance: &str, nodes: Vec<Node>) {
        self.emit(RunEvent::Started {
            command: self.command.to_owned(),
            instance: instance.to_owned(),
            nodes,
        });
    }

    /// The time since the run began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started_at.elapsed()
    }

    /// Sends an event. Nobody listening is no reason to stop working.
    pub fn emit(&self, event: RunEvent) {
        let _ = self.sender.send(event);
    }

    /// Tells that a node has a new state.
    pub fn emit_state(&self, name: &str, state: NodeState) {
        self.emit(RunEvent::Node {
            name: name.to_owned(),
            state,
            at: self.elapsed(),
        });
    }

    /// Tells something worth a line.
    pub fn emit_note(&self, name: Option<&str>, text: impl Into<String>) {
        let (name, text) = (name.map(str::to_owned), text.into());
        self.emit(RunEvent::Note {
            name,
            text,
            at: self.elapsed(),
        });
    }
}

/// Why a node did not become what it should.
#[derive(Debug)]
pub(crate) enum TaskError {
    /// It failed, for these reasons.
    Failed(Box<NodeFailure>),
    /// It did not make it in the time allowed. Where that was the time of the
    /// whole run, the other nodes end by themselves and may tell why, too.
    TimedOut(Box<NodeFailure>),
    /// The run was cancelled before it was done.
    Cancelled,
}

/// The work of one node.
pub(crate) type TaskFuture = Pin<Box<dyn Future<Output = Result<NodeState, TaskError>> + Send>>;

/// A node of the graph with its work.
pub(crate) struct Task {
    /// The node.
    pub node: Node,
    /// Called once everything that the node waits for is done. The token is
    /// cancelled when the run ends early.
    pub work: Box<dyn FnOnce(CancellationToken) -> TaskFuture + Send>,
}

/// How a run ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunOutcome {
    /// The nodes that are as they should be.
    pub completed: BTreeSet<String>,
    /// Those among them that were so already.
    pub unchanged: BTreeSet<String>,
    /// The failures, first one first.
    pub failures: Vec<NodeFailure>,
    /// True where the time allowed ran out.
    pub timed_out: bool,
    /// True where it was interrupted.
    pub interrupted: bool,
}

impl RunOutcome {
    /// True where every node is as it should be.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.failures.is_empty() && !self.timed_out && !self.interrupted
    }
}

/// Runs all tasks. Returns when everything is done, or as soon as one failed
/// and the others have wound down.
///
/// # Errors
/// [`GraphError`] where the tasks can't be ordered; nothing was done then.
pub(crate) async fn run_tasks(
    tasks: Vec<Task>,
    emitter: &EventEmitter,
    interrupt: &CancellationToken,
) -> Result<RunOutcome, GraphError> {
    let graph = DependencyGraph::new(tasks.iter().map(|task| (&task.node.name, &task.node.after)))?;
    // A failure winds down the run without looking like an interrupt.
    let cancel = interrupt.child_token();
    let mut waiting: BTreeMap<String, Task> = tasks
        .into_iter()
        .map(|task| (task.node.name.clone(), task))
        .collect();
    let mut running: JoinSet<Result<NodeState, TaskError>> = JoinSet::new();
    let mut names: BTreeMap<Id, String> = BTreeMap::new();
    let mut outcome = RunOutcome::default();

    loop {
        if !cancel.is_cancelled() && outcome.failures.is_empty() {
            start_ready_tasks(
                &graph,
                &mut waiting,
                &outcome,
                &mut running,
                &mut names,
                &cancel,
            );
        }
        let Some(joined) = running.join_next_with_id().await else {
            break;
        };
        let (name, result) = match joined {
            Ok((id, result)) => (names.remove(&id).unwrap_or_default(), result),
            Err(error) => {
                let name = names.remove(&error.id()).unwrap_or_default();
                let failure = internal_failure(&name, &error.to_string(), emitter.elapsed());
                (name, Err(TaskError::Failed(Box::new(failure))))
            }
        };
        match result {
            Ok(state) => {
                if matches!(state, NodeState::Ready { kept: true }) {
                    outcome.unchanged.insert(name.clone());
                }
                emitter.emit_state(&name, state);
                outcome.completed.insert(name);
            }
            Err(TaskError::Cancelled) => {}
            Err(TaskError::TimedOut(failure)) => {
                outcome.timed_out = true;
                record_failure(&graph, emitter, &mut outcome, &waiting, *failure);
            }
            Err(TaskError::Failed(failure)) => {
                record_failure(&graph, emitter, &mut outcome, &waiting, *failure);
                cancel.cancel();
            }
        }
    }
    outcome.interrupted = interrupt.is_cancelled() && outcome.failures.is_empty();
    Ok(outcome)
}

/// Starts every waiting task whose dependencies are all done.
fn start_ready_tasks(
    graph: &DependencyGraph,
    waiting: &mut BTreeMap<String, Task>,
    outcome: &RunOutcome,
    running: &mut JoinSet<Result<NodeState, TaskError>>,
    names: &mut BTreeMap<Id, String>,
    cancel: &CancellationToken,
) {
    let ready: Vec<String> = waiting
        .keys()
        .filter(|name| {
            graph
                .dependencies(name)
                .all(|wanted| outcome.completed.contains(wanted))
        })
        .cloned()
        .collect();
    for name in ready {
        if let Some(task) = waiting.remove(&name) {
            let handle = running.spawn((task.work)(cancel.clone()));
            names.insert(handle.id(), name);
        }
    }
}

fn record_failure(
    graph: &DependencyGraph,
    emitter: &EventEmitter,
    outcome: &mut RunOutcome,
    waiting: &BTreeMap<String, Task>,
    mut failure: NodeFailure,
) {
    let dependents = graph.dependents(&failure.name);
    failure.blocks = dependents
        .into_iter()
        .filter(|name| waiting.contains_key(name))
        .collect();
    if let Some(instance) = &emitter.instance {
        failure.next = suggestions_for_instance(failure.next, instance);
    }
    emitter.emit_state(&failure.name, NodeState::Failed);
    for name in &failure.blocks {
        emitter.emit_state(
            name,
            NodeState::Blocked {
                by: failure.name.clone(),
            },
        );
    }
    emitter.emit(RunEvent::Failed(failure.clone()));
    outcome.failures.push(failure);
}

/// A panic in a task: our own defect, told as one.
fn internal_failure(name: &str, error: &str, at: Duration) -> NodeFailure {
    NodeFailure {
        name: name.to_owned(),
        what: format!("internal error of dm: {error}"),
        state: None,
        exit_code: None,
        out_of_memory: false,
        probe: None,
        log: Vec::new(),
        source_errors: Vec::new(),
        blocks: Vec::new(),
        next: vec!["dm doctor --bundle".into()],
        at,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::sync::mpsc::unbounded_channel;

    use super::super::event::NodeKind;
    use super::*;

    type Log = Arc<Mutex<Vec<String>>>;

    fn task(
        name: &str,
        after: &[&str],
        work: impl FnOnce(CancellationToken) -> TaskFuture + Send + 'static,
    ) -> Task {
        let node = Node {
            name: name.to_owned(),
            kind: NodeKind::Service,
            after: after.iter().map(|&name| name.to_owned()).collect(),
        };
        Task {
            node,
            work: Box::new(work),
        }
    }

    fn succeeding(name: &'static str, after: &[&str], log: &Log) -> Task {
        let log = log.clone();
        task(name, after, move |_| {
            Box::pin(async move {
                log.lock().unwrap().push(name.to_owned());
                Ok(NodeState::Ready { kept: false })
            })
        })
    }

    fn failing(name: &'static str) -> Task {
        task(name, &[], move |_| {
            Box::pin(async move {
                Err(TaskError::Failed(Box::new(internal_failure(
                    name,
                    "on purpose",
                    Duration::ZERO,
                ))))
            })
        })
    }

    fn endless(name: &'static str, after: &[&str]) -> Task {
        task(name, after, |cancel| {
            Box::pin(async move {
                cancel.cancelled().await;
                Err(TaskError::Cancelled)
            })
        })
    }

    #[tokio::test]
    async fn every_task_runs_after_what_it_waits_for() {
        let (sender, _receiver) = unbounded_channel();
        let log = Log::default();
        let tasks = vec![
            succeeding("c", &["a", "b"], &log),
            succeeding("b", &["a"], &log),
            succeeding("a", &[], &log),
        ];
        let outcome = run_tasks(
            tasks,
            &EventEmitter::new(sender, "up"),
            &CancellationToken::new(),
        )
        .await
        .unwrap();
        assert!(outcome.is_success());
        assert_eq!(*log.lock().unwrap(), ["a", "b", "c"]);
    }

    #[tokio::test]
    async fn a_failure_ends_the_run_and_names_what_it_blocks() {
        let (sender, mut receiver) = unbounded_channel();
        let log = Log::default();
        let tasks = vec![
            failing("postgres"),
            succeeding("keycloak", &["postgres"], &log),
            endless("rabbitmq", &[]),
        ];
        let outcome = run_tasks(
            tasks,
            &EventEmitter::new(sender, "up"),
            &CancellationToken::new(),
        )
        .await
        .unwrap();
        assert_eq!(outcome.failures.len(), 1);
        assert_eq!(outcome.failures[0].blocks, ["keycloak"]);
        assert!(!outcome.interrupted);
        assert!(log.lock().unwrap().is_empty());
        let mut blocked = false;
        while let Ok(event) = receiver.try_recv() {
            blocked |= matches!(
                event,
                RunEvent::Node {
                    state: NodeState::Blocked { .. },
                    ..
                }
            );
        }
        assert!(blocked);
    }

    #[tokio::test]
    async fn an_interrupt_begins_nothing_more() {
        let (sender, _receiver) = unbounded_channel();
        let log = Log::default();
        let interrupt = CancellationToken::new();
        let tasks = vec![endless("a", &[]), succeeding("b", &["a"], &log)];
        let trigger = interrupt.clone();
        tokio::spawn(async move { trigger.cancel() });
        let outcome = run_tasks(tasks, &EventEmitter::new(sender, "up"), &interrupt)
            .await
            .unwrap();
        assert!(outcome.interrupted);
        assert!(log.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_panic_is_a_failure_of_its_node() {
        let (sender, _receiver) = unbounded_channel();
        let tasks = vec![task("a", &[], |_| Box::pin(async { panic!("oops") }))];
        let outcome = run_tasks(
            tasks,
            &EventEmitter::new(sender, "up").for_instance("review"),
            &CancellationToken::new(),
        )
        .await
        .unwrap();
        assert_eq!(outcome.failures[0].name, "a");
        assert_eq!(
            outcome.failures[0].next,
            ["dm --instance review doctor --bundle"]
        );
    }
}
