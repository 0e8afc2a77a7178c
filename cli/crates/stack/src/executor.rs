//! Runs the graph: starts every node as soon as its dependencies are ready.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use dm_core::error::{suggestions_for_instance, suggestions_without_instance};
use dm_core::instance;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::event::{Node, NodeFailure, NodeState, RunEvent};
use super::graph::{DependencyGraph, GraphError};

/// Sends the events of a run, timed by the clock of the run.
#[derive(Debug, Clone)]
pub struct EventEmitter {
    sender: UnboundedSender<RunEvent>,
    command: &'static str,
    /// The instance of the command, unless it is the default one.
    instance: Option<String>,
    /// Whether the run is one of a scratch instance.
    is_of_scratch_instance: bool,
    started_at: Instant,
}

impl EventEmitter {
    /// Creates an emitter for the run of a command, e.g. `reset`. Its clock starts now.
    #[must_use]
    pub fn new(sender: UnboundedSender<RunEvent>, command: &'static str) -> Self {
        Self {
            sender,
            command,
            instance: None,
            is_of_scratch_instance: false,
            started_at: Instant::now(),
        }
    }

    /// Sets the instance of the command, which the suggestions after a failure name.
    #[must_use]
    pub fn for_instance(mut self, name: &str) -> Self {
        self.instance = (name != instance::DEFAULT_INSTANCE).then(|| name.to_owned());
        self
    }

    /// Marks the run as one of a scratch instance, which the command removes. The suggestions after
    /// a failure then contain no command for an instance: it would act on another one.
    #[must_use]
    pub fn of_scratch_instance(mut self) -> Self {
        self.is_of_scratch_instance = true;
        self
    }

    /// Announces nodes. Every part of a run is reported under the command that was
    /// called.
    pub fn emit_started(&self, instance: &str, nodes: Vec<Node>) {
        self.emit(RunEvent::Started {
            command: self.command.to_owned(),
            instance: instance.to_owned(),
            nodes,
        });
    }

    /// Returns the time since the run began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started_at.elapsed()
    }

    /// Sends an event. A run continues without a receiver.
    pub fn emit(&self, event: RunEvent) {
        let _ = self.sender.send(event);
    }

    /// Reports a failure. Its suggestions name the instance of the command.
    pub fn emit_failure(&self, mut failure: NodeFailure) {
        self.complete_suggestions(&mut failure);
        self.emit(RunEvent::Failed(failure));
    }

    /// Adds the instance of the command to the suggestions of a failure, or removes those for an
    /// instance.
    fn complete_suggestions(&self, failure: &mut NodeFailure) {
        if self.is_of_scratch_instance {
            let suggestions = std::mem::take(&mut failure.next);
            failure.next = suggestions_without_instance(suggestions);
            return;
        }
        if let Some(instance) = &self.instance {
            let suggestions = std::mem::take(&mut failure.next);
            failure.next = suggestions_for_instance(suggestions, instance);
        }
    }

    /// Reports the new state of a node.
    pub fn emit_state(&self, name: &str, state: NodeState) {
        self.emit(RunEvent::Node {
            name: name.to_owned(),
            state,
            elapsed: self.elapsed(),
        });
    }

    /// Reports a message, of a node or of the run.
    pub fn emit_note(&self, name: Option<&str>, text: impl Into<String>) {
        let (name, text) = (name.map(str::to_owned), text.into());
        self.emit(RunEvent::Note {
            name,
            text,
            elapsed: self.elapsed(),
        });
    }
}

/// The reason why a node did not reach its desired state.
#[derive(Debug)]
pub(crate) enum TaskError {
    /// It failed.
    Failed(Box<NodeFailure>),
    /// It exceeded its time limit. If that is the limit of the whole run, the other
    /// nodes end on their own and may report failures, too.
    TimedOut(Box<NodeFailure>),
    /// Another session held a lock for longer than the node waits. The run ends early, as after a
    /// failure.
    LockTimeout(Box<NodeFailure>),
    /// The run was cancelled before it was done.
    Cancelled,
}

/// The work of one node.
pub(crate) type TaskFuture = Pin<Box<dyn Future<Output = Result<NodeState, TaskError>> + Send>>;

/// A node of the graph with its work.
pub(crate) struct Task {
    /// The node.
    pub node: Node,
    /// Called once all dependencies of the node are done. The token is
    /// cancelled when the run ends early.
    pub work: Box<dyn FnOnce(CancellationToken) -> TaskFuture + Send>,
}

/// The outcome of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunOutcome {
    /// The nodes that reached their desired state.
    pub completed: BTreeSet<String>,
    /// The completed nodes for which nothing had to be done.
    pub unchanged: BTreeSet<String>,
    /// The failures, in order of occurrence.
    pub failures: Vec<NodeFailure>,
    /// True if a time limit was exceeded.
    pub timed_out: bool,
    /// True if another session held a lock in PostgreSQL for too long.
    pub database_locked: bool,
    /// True if the run was interrupted.
    pub interrupted: bool,
}

impl RunOutcome {
    /// Returns whether every node reached its desired state.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.failures.is_empty() && !self.timed_out && !self.interrupted
    }
}

/// Runs all tasks. Returns when everything is done, or as soon as one failed
/// and the others have wound down.
///
/// # Errors
/// Returns [`GraphError`] if the tasks cannot be ordered. No task was started then.
pub(crate) async fn run_tasks(
    tasks: Vec<Task>,
    emitter: &EventEmitter,
    interrupt: &CancellationToken,
) -> Result<RunOutcome, GraphError> {
    let graph = DependencyGraph::new(tasks.iter().map(|task| (&task.node.name, &task.node.after)))?;
    // A failure cancels the run without marking it as interrupted.
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
                if matches!(state, NodeState::Ready { unchanged: true }) {
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
            Err(TaskError::LockTimeout(failure)) => {
                outcome.database_locked = true;
                record_failure(&graph, emitter, &mut outcome, &waiting, *failure);
                cancel.cancel();
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
                .all(|dependency| outcome.completed.contains(dependency))
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
    failure.blocked_nodes = dependents
        .into_iter()
        .filter(|name| waiting.contains_key(name))
        .collect();
    emitter.complete_suggestions(&mut failure);
    emitter.emit_state(&failure.name, NodeState::Failed);
    for name in &failure.blocked_nodes {
        emitter.emit_state(
            name,
            NodeState::Blocked {
                blocked_by: failure.name.clone(),
            },
        );
    }
    emitter.emit(RunEvent::Failed(failure.clone()));
    outcome.failures.push(failure);
}

/// Returns the failure for a panic in a task: a defect of `dm`.
fn internal_failure(name: &str, error: &str, elapsed: Duration) -> NodeFailure {
    NodeFailure {
        name: name.to_owned(),
        message: format!("internal error of dm: {error}"),
        state: None,
        exit_code: None,
        out_of_memory: false,
        probe: None,
        log: Vec::new(),
        source_errors: Vec::new(),
        blocked_nodes: Vec::new(),
        next: vec!["dm doctor --bundle".into()],
        elapsed,
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
                Ok(NodeState::Ready { unchanged: false })
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
    async fn tasks_run_after_their_dependencies() {
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
    async fn failure_ends_the_run_and_names_blocked_nodes() {
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
        assert_eq!(outcome.failures[0].blocked_nodes, ["keycloak"]);
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
    async fn lock_timeout_ends_the_run_as_a_locked_database() {
        let (sender, _receiver) = unbounded_channel();
        let locked = task("database", &[], |_| {
            Box::pin(async {
                Err(TaskError::LockTimeout(Box::new(internal_failure(
                    "database",
                    "on purpose",
                    Duration::ZERO,
                ))))
            })
        });
        let outcome = tokio::time::timeout(
            Duration::from_secs(10),
            run_tasks(
                vec![locked, endless("rabbitmq", &[])],
                &EventEmitter::new(sender, "up"),
                &CancellationToken::new(),
            ),
        )
        .await
        .expect("the run does not end")
        .unwrap();
        assert!(outcome.database_locked);
        assert!(!outcome.timed_out);
        assert!(!outcome.interrupted);
        assert_eq!(outcome.failures.len(), 1);
    }

    #[tokio::test]
    async fn interrupt_starts_no_further_task() {
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
    async fn task_panic_is_reported_as_failure_of_its_node() {
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

    #[test]
    fn emit_failure_names_the_instance_in_the_suggestions() {
        let (sender, mut receiver) = unbounded_channel();
        EventEmitter::new(sender, "images build")
            .for_instance("review")
            .emit_failure(internal_failure("a", "oops", Duration::ZERO));
        let Ok(RunEvent::Failed(failure)) = receiver.try_recv() else {
            panic!("no failure was reported");
        };
        assert_eq!(failure.next, ["dm --instance review doctor --bundle"]);
    }

    #[test]
    fn emit_failure_suggests_no_command_for_a_scratch_instance() {
        let (sender, mut receiver) = unbounded_channel();
        let mut failure = internal_failure("a", "oops", Duration::ZERO);
        failure.next = vec![
            "correct migrations/orders, then: dm up".into(),
            "or discard the existing data: dm reset".into(),
            "raise `postgres.memory` in dm.toml".into(),
            "dm doctor".into(),
        ];
        EventEmitter::new(sender, "verify")
            .for_instance("backup-verify")
            .of_scratch_instance()
            .emit_failure(failure);
        let Ok(RunEvent::Failed(failure)) = receiver.try_recv() else {
            panic!("no failure was reported");
        };
        assert_eq!(
            failure.next,
            ["raise `postgres.memory` in dm.toml", "dm doctor"]
        );
    }
}
