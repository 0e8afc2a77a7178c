//! Runs the graph: every node as early as what it waits for allows.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use dm_core::error::steps_on;
use dm_core::instance;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::event::{Event, Failure, Node, NodeState};
use super::graph::{Graph, GraphError};

/// Where the events of a run go, with the clock that they count by.
#[derive(Debug, Clone)]
pub struct Emitter {
    sender: UnboundedSender<Event>,
    command: &'static str,
    /// The instance that the command was called for, where it is not the default one.
    instance: Option<String>,
    began: Instant,
}

impl Emitter {
    /// An emitter for the run of a command, e.g. `reset`, whose clock begins now.
    #[must_use]
    pub fn new(sender: UnboundedSender<Event>, command: &'static str) -> Self {
        Self {
            sender,
            command,
            instance: None,
            began: Instant::now(),
        }
    }

    /// The same for a command of this instance: what to do next after a failure names it.
    #[must_use]
    pub fn of_instance(mut self, name: &str) -> Self {
        self.instance = (name != instance::DEFAULT).then(|| name.to_owned());
        self
    }

    /// Announces nodes. Whatever part of the run they belong to, it is told as
    /// part of the command that was asked for.
    pub fn announce(&self, instance: &str, nodes: Vec<Node>) {
        self.send(Event::Started {
            command: self.command.to_owned(),
            instance: instance.to_owned(),
            nodes,
        });
    }

    /// The time since the run began.
    #[must_use]
    pub fn at(&self) -> Duration {
        self.began.elapsed()
    }

    /// Sends an event. Nobody listening is no reason to stop working.
    pub fn send(&self, event: Event) {
        let _ = self.sender.send(event);
    }

    /// Tells that a node has a new state.
    pub fn node(&self, name: &str, state: NodeState) {
        self.send(Event::Node {
            name: name.to_owned(),
            state,
            at: self.at(),
        });
    }

    /// Tells something worth a line.
    pub fn note(&self, name: Option<&str>, text: impl Into<String>) {
        let (name, text) = (name.map(str::to_owned), text.into());
        self.send(Event::Note {
            name,
            text,
            at: self.at(),
        });
    }
}

/// Why a node did not become what it should.
#[derive(Debug)]
pub(crate) enum TaskError {
    /// It failed, for these reasons.
    Failed(Box<Failure>),
    /// It did not make it in the time allowed. Where that was the time of the
    /// whole run, the other nodes end by themselves and may tell why, too.
    TimedOut(Box<Failure>),
    /// The run was cancelled before it was done.
    Cancelled,
}

/// The work of one node.
pub(crate) type Work = Pin<Box<dyn Future<Output = Result<NodeState, TaskError>> + Send>>;

/// A node of the graph with its work.
pub(crate) struct Task {
    /// The node.
    pub node: Node,
    /// Called once everything that the node waits for is done. The token is
    /// cancelled when the run ends early.
    pub work: Box<dyn FnOnce(CancellationToken) -> Work + Send>,
}

/// How a run ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// The nodes that are as they should be.
    pub done: BTreeSet<String>,
    /// Those among them that were so already.
    pub kept: BTreeSet<String>,
    /// The failures, first one first.
    pub failures: Vec<Failure>,
    /// True where the time allowed ran out.
    pub timed_out: bool,
    /// True where it was interrupted.
    pub interrupted: bool,
}

impl Outcome {
    /// True where every node is as it should be.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.failures.is_empty() && !self.timed_out && !self.interrupted
    }
}

/// Runs all tasks. Returns when everything is done, or as soon as one failed
/// and the others have wound down.
///
/// # Errors
/// [`GraphError`] where the tasks can't be ordered; nothing was done then.
pub(crate) async fn run(
    tasks: Vec<Task>,
    emitter: &Emitter,
    interrupt: &CancellationToken,
) -> Result<Outcome, GraphError> {
    let graph = Graph::new(tasks.iter().map(|task| (&task.node.name, &task.node.after)))?;
    // A failure winds down the run without looking like an interrupt.
    let cancel = interrupt.child_token();
    let mut waiting: BTreeMap<String, Task> = tasks
        .into_iter()
        .map(|task| (task.node.name.clone(), task))
        .collect();
    let mut running: JoinSet<Result<NodeState, TaskError>> = JoinSet::new();
    let mut names: BTreeMap<Id, String> = BTreeMap::new();
    let mut outcome = Outcome::default();

    loop {
        if !cancel.is_cancelled() && outcome.failures.is_empty() {
            begin_ready(
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
                let failure = defect(&name, &error.to_string(), emitter.at());
                (name, Err(TaskError::Failed(Box::new(failure))))
            }
        };
        match result {
            Ok(state) => {
                if matches!(state, NodeState::Ready { kept: true }) {
                    outcome.kept.insert(name.clone());
                }
                emitter.node(&name, state);
                outcome.done.insert(name);
            }
            Err(TaskError::Cancelled) => {}
            Err(TaskError::TimedOut(failure)) => {
                outcome.timed_out = true;
                fail(&graph, emitter, &mut outcome, &waiting, *failure);
            }
            Err(TaskError::Failed(failure)) => {
                fail(&graph, emitter, &mut outcome, &waiting, *failure);
                cancel.cancel();
            }
        }
    }
    outcome.interrupted = interrupt.is_cancelled() && outcome.failures.is_empty();
    Ok(outcome)
}

/// Starts every waiting task whose dependencies are all done.
fn begin_ready(
    graph: &Graph,
    waiting: &mut BTreeMap<String, Task>,
    outcome: &Outcome,
    running: &mut JoinSet<Result<NodeState, TaskError>>,
    names: &mut BTreeMap<Id, String>,
    cancel: &CancellationToken,
) {
    let ready: Vec<String> = waiting
        .keys()
        .filter(|name| {
            graph
                .after(name)
                .all(|wanted| outcome.done.contains(wanted))
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

fn fail(
    graph: &Graph,
    emitter: &Emitter,
    outcome: &mut Outcome,
    waiting: &BTreeMap<String, Task>,
    mut failure: Failure,
) {
    let dependents = graph.dependents(&failure.name);
    failure.blocks = dependents
        .into_iter()
        .filter(|name| waiting.contains_key(name))
        .collect();
    if let Some(instance) = &emitter.instance {
        failure.next = steps_on(failure.next, instance);
    }
    emitter.node(&failure.name, NodeState::Failed);
    for name in &failure.blocks {
        emitter.node(
            name,
            NodeState::Blocked {
                by: failure.name.clone(),
            },
        );
    }
    emitter.send(Event::Failed(failure.clone()));
    outcome.failures.push(failure);
}

/// A panic in a task: our own defect, told as one.
fn defect(name: &str, error: &str, at: Duration) -> Failure {
    Failure {
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
        work: impl FnOnce(CancellationToken) -> Work + Send + 'static,
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
                Err(TaskError::Failed(Box::new(defect(
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
        let outcome = run(
            tasks,
            &Emitter::new(sender, "up"),
            &CancellationToken::new(),
        )
        .await
        .unwrap();
        assert!(outcome.ok());
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
        let outcome = run(
            tasks,
            &Emitter::new(sender, "up"),
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
                Event::Node {
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
        let outcome = run(tasks, &Emitter::new(sender, "up"), &interrupt)
            .await
            .unwrap();
        assert!(outcome.interrupted);
        assert!(log.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_panic_is_a_failure_of_its_node() {
        let (sender, _receiver) = unbounded_channel();
        let tasks = vec![task("a", &[], |_| Box::pin(async { panic!("oops") }))];
        let outcome = run(
            tasks,
            &Emitter::new(sender, "up").of_instance("review"),
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
