//! Replays dead letters.
//!
//! A run has these phases, in this order:
//!
//! 1. the lock of the instance, and then the lock of the dead letters;
//! 2. the selection of the dead letters, which stay in their queues;
//! 3. the comparison of the selected set with the expected digest;
//! 4. the edit, if one is requested, while no message is held;
//! 5. the run: the set is recorded, and then each dead letter is published, recorded and removed.
//!
//! A preview ends after the third phase, without the lock of the instance. A run that is resumed
//! was recorded before: the first phase is followed by the rest of the fifth.

use std::collections::BTreeMap;

use chrono::Utc;
use dm_config::Config;
use dm_core::error::Result;
use dm_messaging::dead_letters::replay::{
    self, ReplayContext, ReplayLimits, ReplayPlan, ReplayProgress, ReplayRefusal, ReplayRequest,
    ReplaySelection, ReplaySummary,
};
use dm_messaging::dead_letters::{DeadLetter, DeadLetterFilter, resolve_queue_names};
use dm_messaging::{MessagingError, retention};
use lapin::Connection;

use super::edit::edit_letter;
use crate::session::{Session, StackClients};

/// The command that holds the lock of the instance.
const LOCK_COMMAND: &str = "dm dlq replay";
/// The unit of the progress counter.
const PROGRESS_UNIT: &str = "replayed";

/// The options of a replay: which dead letters are replayed, and how.
#[derive(Debug, Clone)]
pub struct ReplayOptions {
    /// The names of the work queues whose dead letters are replayed; all if empty.
    pub queues: Vec<String>,
    /// The filter for their dead letters.
    pub filter: DeadLetterFilter,
    /// The maximum number of dead letters, from the head of the queues.
    pub limit: Option<usize>,
    /// Whether they are published to every queue that is bound to the event, instead of the work
    /// queue that failed.
    pub to_exchange: bool,
    /// The number of replays after which a dead letter is refused.
    pub max_rounds: u64,
    /// Whether dead letters that are older than the retention of their inbox are replayed, too.
    pub force: bool,
    /// The digest that the selected set must have.
    pub expected_digest: Option<String>,
    /// Whether the only selected dead letter is edited first, in the user's editor.
    pub edit: bool,
}

/// The result of a replay.
#[derive(Debug)]
pub enum ReplayResult {
    /// No dead letter is to be replayed, and no run was recorded. The plan has the refused ones.
    NothingToReplay(ReplayPlan),
    /// A run was recorded and executed.
    Finished(ReplaySummary),
}

/// A report about a dead letter during a replay.
#[derive(Debug)]
pub enum ReplayReport<'a> {
    /// A dead letter that matches the filter is not replayed, for this reason.
    Refused(&'a DeadLetter, ReplayRefusal),
    /// The outcome of a message was recorded.
    OutcomeRecorded(&'a ReplayProgress<'a>),
}

impl ReplayOptions {
    fn to_request(&self, config: &Config) -> Result<ReplayRequest, MessagingError> {
        Ok(ReplayRequest {
            queues: resolve_queue_names(&self.queues)?,
            filter: self.filter.clone(),
            limit: self.limit,
            to_exchange: self.to_exchange,
            max_rounds: self.max_rounds,
            // Without a retention, no dead letter is too old.
            inbox_retention: if self.force {
                BTreeMap::new()
            } else {
                retention::inbox_retention_by_queue(config)
            },
        })
    }
}

/// Returns the dead letters that would be replayed. Removes only copies of a dead letter, and does
/// not wait for the lock of the instance.
///
/// # Errors
/// Returns [`MessagingError::UnknownQueue`], [`MessagingError::DeadLetterNotFound`] if an id has no
/// dead letter, and [`MessagingError::DigestMismatch`] if the set has another digest than the
/// expected one. Fails if the broker cannot be reached, or another process holds the dead-letter
/// lock.
pub async fn preview(clients: &StackClients, options: &ReplayOptions) -> Result<ReplayPlan> {
    let connection = clients.lock_dead_letters().await?;
    let request = options.to_request(clients.config())?;
    let selection = select(&connection, &request, options.expected_digest.as_deref()).await?;
    Ok(selection.plan)
}

/// Replays dead letters as a new run.
///
/// # Errors
/// As [`preview`], if the lock of the instance is not released in time, or if the database cannot
/// be reached. Returns [`MessagingError::EditTargetNotUnique`] or [`MessagingError::InvalidEdit`]
/// if the edit fails; nothing is recorded then. Returns [`MessagingError::ReplayFailed`] if the
/// broker or the database fails after the run was recorded, and
/// [`MessagingError::ReplayInterrupted`] on an interrupt; the run can be resumed.
pub async fn run(
    session: &Session,
    clients: &StackClients,
    options: &ReplayOptions,
    limits: ReplayLimits,
    on_report: &(dyn Fn(ReplayReport<'_>) + Sync),
) -> Result<ReplayResult> {
    let _guard = session.lock(&clients.project, LOCK_COMMAND).await?;
    let connection = clients.lock_dead_letters().await?;
    let on_progress = progress_callback(session, on_report);
    let request = options.to_request(clients.config())?;
    let mut selection = select(&connection, &request, options.expected_digest.as_deref()).await?;
    if selection.plan.letters.is_empty() {
        return Ok(ReplayResult::NothingToReplay(selection.plan));
    }
    for (letter, refusal) in &selection.plan.refused {
        on_report(ReplayReport::Refused(letter, *refusal));
    }
    let database = clients.connect_database().await?;
    let edited = if options.edit {
        // Editing takes long: no message is held meanwhile.
        selection.requeue().await?;
        Some(edit_letter(&*session.frontend, &connection, &selection.plan).await?)
    } else {
        None
    };
    let service_tables = clients.service_tables();
    let context = ReplayContext {
        connection: &connection,
        database: &database,
        service_tables: &service_tables,
        interrupt: &session.interrupt,
        on_progress: &on_progress,
    };
    let summary = replay::run(&context, &request, selection, edited.as_ref(), limits).await?;
    Ok(ReplayResult::Finished(summary))
}

/// Resumes an unfinished run.
///
/// # Errors
/// Returns [`MessagingError::ReplayRunNotFound`] if there is no such run,
/// [`MessagingError::ReplayFailed`] if the broker or the database fails during the run, and
/// [`MessagingError::ReplayInterrupted`] on an interrupt; the run can be resumed again. Fails if
/// the lock of the instance is not released in time, another process holds the dead-letter lock,
/// or the broker or the database cannot be reached.
pub async fn resume(
    session: &Session,
    clients: &StackClients,
    run_id: &str,
    limits: ReplayLimits,
    on_report: &(dyn Fn(ReplayReport<'_>) + Sync),
) -> Result<ReplaySummary> {
    let _guard = session.lock(&clients.project, LOCK_COMMAND).await?;
    let connection = clients.lock_dead_letters().await?;
    let on_progress = progress_callback(session, on_report);
    let (service_tables, database) = (clients.service_tables(), clients.connect_database().await?);
    let context = ReplayContext {
        connection: &connection,
        database: &database,
        service_tables: &service_tables,
        interrupt: &session.interrupt,
        on_progress: &on_progress,
    };
    Ok(replay::resume(&context, run_id, limits).await?)
}

/// Returns a callback that shows the progress of a run, and reports the outcome of each message.
fn progress_callback<'a>(
    session: &'a Session,
    on_report: &'a (dyn Fn(ReplayReport<'_>) + Sync),
) -> impl Fn(&ReplayProgress<'_>) + Send + Sync + 'a {
    let show_progress = session.frontend.counter(PROGRESS_UNIT);
    move |progress: &ReplayProgress<'_>| {
        show_progress(progress.replayed, progress.total);
        on_report(ReplayReport::OutcomeRecorded(progress));
    }
}

/// Selects the dead letters, and compares them with the expected digest.
async fn select(
    connection: &Connection,
    request: &ReplayRequest,
    expected_digest: Option<&str>,
) -> Result<ReplaySelection> {
    let selection = replay::select_letters(connection, request, Utc::now()).await?;
    check_digest(&selection.plan, expected_digest)?;
    Ok(selection)
}

/// Fails if the set of dead letters has another digest than the expected one.
fn check_digest(plan: &ReplayPlan, expected: Option<&str>) -> Result<(), MessagingError> {
    match expected {
        Some(expected) if expected != plan.digest => Err(MessagingError::DigestMismatch {
            expected: expected.to_owned(),
            actual: plan.digest.clone(),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::test_support;

    const QUEUE: &str = "inventory.order-events.q";

    /// Returns the options to replay all dead letters.
    fn replay_all() -> ReplayOptions {
        ReplayOptions {
            queues: Vec::new(),
            filter: DeadLetterFilter::default(),
            limit: None,
            to_exchange: false,
            max_rounds: 5,
            force: false,
            expected_digest: None,
            edit: false,
        }
    }

    #[test]
    fn to_request_resolves_queues_and_fails_for_an_unknown_one() {
        let directory = tempfile::tempdir().unwrap();
        let project = test_support::project(directory.path());
        let queues = |names: &[&str]| {
            let options = ReplayOptions {
                queues: names.iter().map(|name| (*name).to_owned()).collect(),
                ..replay_all()
            };
            let request = options.to_request(project.config());
            request.map(|request| request.queues)
        };
        assert_eq!(queues(&["inventory.order-events.q.dlq"]).unwrap(), [QUEUE]);
        let all = queues(&[]).unwrap();
        assert!(all.len() > 1 && all.contains(&QUEUE), "{all:?}");
        assert!(matches!(
            queues(&[QUEUE, "nosuch"]),
            Err(MessagingError::UnknownQueue { name }) if name == "nosuch"
        ));
    }

    #[test]
    fn to_request_keeps_the_limits_of_the_selection() {
        let directory = tempfile::tempdir().unwrap();
        let project = test_support::project(directory.path());
        let options = ReplayOptions {
            filter: DeadLetterFilter {
                reasons: vec!["invalid-data".into()],
                ..DeadLetterFilter::default()
            },
            limit: Some(3),
            to_exchange: true,
            max_rounds: 0,
            ..replay_all()
        };
        let request = options.to_request(project.config()).unwrap();
        assert_eq!(request.filter, options.filter);
        assert_eq!((request.limit, request.max_rounds), (Some(3), 0));
        assert!(request.to_exchange);
    }

    #[test]
    fn to_request_has_the_configured_inbox_retention_unless_forced() {
        let directory = tempfile::tempdir().unwrap();
        let tables = "[services.inventory.environment]\nINBOX_RETENTION_MS = \"1000\"\n";
        let project = test_support::project_with(directory.path(), tables, &[]);
        let retention = |force| {
            let options = ReplayOptions {
                force,
                ..replay_all()
            };
            let request = options.to_request(project.config()).unwrap();
            request.inbox_retention.get(QUEUE).copied()
        };
        assert_eq!(retention(false), Some(Duration::from_secs(1)));
        assert_eq!(retention(true), None);
    }

    #[test]
    fn check_digest_accepts_only_the_expected_set() {
        let plan = ReplayPlan {
            letters: Vec::new(),
            refused: Vec::new(),
            digest: "0123456789ab".into(),
        };
        assert!(check_digest(&plan, None).is_ok());
        assert!(check_digest(&plan, Some("0123456789ab")).is_ok());
        assert!(matches!(
            check_digest(&plan, Some("0123456789")),
            Err(MessagingError::DigestMismatch { expected, actual })
                if expected == "0123456789" && actual == "0123456789ab"
        ));
    }
}
