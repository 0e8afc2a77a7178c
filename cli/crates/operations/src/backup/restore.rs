//! A set is brought back into the stack that runs.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::Utc;
use dm_backup::{
    Backup, BackupError, BackupStore as Sets, DeadLetterIds, Identities, OpenBackup, OutboxSource,
    Purpose, RestoreBroker, RestoreContext, RestoreScope, RestoreTarget, RowCounts,
    ServerContainer,
};
use dm_components::database_setup::{self, DatabaseSetup};
use dm_components::rabbitmq::management::ManagementClient;
use dm_components::rabbitmq::{self, RabbitMq};
use dm_components::{keycloak, openldap, postgres};
use dm_core::error::Result;
use dm_messaging::reconcile::{FindingKind, ReconcileReport};
use dm_messaging::retention;
use dm_messaging::service_tables::ServiceTables;
use lapin::Connection;
use serde_json::Value;

use super::create;
use crate::reconcile;
use crate::session::{PortUse, Project, Session, StackClients};
use crate::stack_run::{RunPhase, RunResult, StackRun};

/// How long what is in flight may take to arrive after a restore.
const IN_FLIGHT_TIMEOUT: Duration = Duration::from_secs(20);

/// How long counting what there is may take before a question.
const COUNT_TIMEOUT: Duration = Duration::from_secs(20);

/// Refuses what should not be restored here: a set that is damaged, or of another instance
/// unless `foreign` ones will do.
///
/// # Errors
/// [`BackupError`] says which.
pub fn check_restorable(project: &Project, set: &Backup, foreign: bool) -> Result<()> {
    set.verify_files()?;
    let (manifest, instance) = (&set.manifest, &project.instance);
    let is_ours = manifest.project == instance.project && manifest.instance == instance.name;
    if !is_ours && !foreign {
        return Err(BackupError::OtherInstance {
            id: manifest.id.clone(),
            backup_instance: manifest.instance.clone(),
            current_instance: instance.name.clone(),
        }
        .into());
    }
    Ok(())
}

/// Makes sure that the data may be replaced.
///
/// # Errors
/// Nobody says so.
pub fn confirm(
    session: &Session,
    project: &Project,
    extent: RestoreScope<'_>,
    yes: bool,
) -> Result<()> {
    let instance = &project.instance.name;
    let what = match extent {
        RestoreScope::Full => "all data".to_owned(),
        RestoreScope::Schema(name) => format!("schema `{name}`"),
    };
    let question = format!("replace {what} of instance `{instance}` with the backup?");
    if session.is_confirmed(yes, &question)? {
        Ok(())
    } else {
        Err(BackupError::NotConfirmed(instance.clone()).into())
    }
}

/// How many rows each table has now, or why that is not known.
///
/// # Errors
/// The ports of the instance can't be read.
pub async fn count_current_rows(
    project: &Project,
) -> Result<std::result::Result<RowCounts, String>> {
    let options =
        postgres::superuser_connect_options(&project.config().postgres, &project.ports()?);
    let counted = tokio::time::timeout(COUNT_TIMEOUT, dm_backup::rows_now(&options)).await;
    Ok(match counted {
        Ok(Ok(rows)) => Ok(rows),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!(
            "could not count the rows within {} s",
            COUNT_TIMEOUT.as_secs()
        )),
    })
}

/// The account of every event once a set is brought back.
pub struct RestoreReport {
    /// Where each event is.
    pub reconciliation: ReconcileReport,
    /// Whether every event is where it belongs, or why that is not known. What was an orphan
    /// before is none of the restore's.
    pub is_consistent: Result<bool>,
}

/// Warns where a note about a backup can't be written.
fn warn_on_error(session: &Session, noted: std::result::Result<(), BackupError>) {
    if let Err(error) = noted {
        session.frontend.warn(&error.to_string());
    }
}

/// The ways to a stack in which a set is brought back.
pub(super) struct RestoreClients<'a> {
    session: &'a Session,
    clients: &'a StackClients,
    postgres_container: String,
    directory_container: Option<String>,
    dependent_containers: Vec<String>,
    setup: DatabaseSetup,
    stores: Vec<ServiceTables>,
    retention: BTreeMap<String, Duration>,
    definitions: Value,
    keycloak_version: Option<String>,
    broker: Connection,
    management: ManagementClient,
}

impl<'a> RestoreClients<'a> {
    pub(super) async fn open(session: &'a Session, desk: &'a StackClients) -> Result<Self> {
        let (config, instance) = (desk.config(), &desk.project.instance);
        let root = &desk.project.loaded.root;
        let services = config.services.all().map(|(name, _)| name);
        let users = services.into_iter().chain([keycloak::NAME]);
        let directory = instance.container_name(openldap::NAME);
        let has_directory = desk.engine.inspect_container(&directory).await?.is_some();
        let image = config.keycloak.image.to_string();
        Ok(Self {
            session,
            clients: desk,
            postgres_container: instance.container_name(postgres::NAME),
            directory_container: has_directory.then_some(directory),
            dependent_containers: users.map(|name| instance.container_name(name)).collect(),
            setup: DatabaseSetup::new(config, root),
            stores: desk.stores(),
            retention: retention::retention_by_service(config)
                .into_iter()
                .map(|(service, memory)| (service, memory.event_retention()))
                .collect(),
            definitions: RabbitMq::new(config, root).definitions_with_policies()?,
            keycloak_version: image.rsplit_once(':').map(|(_, tag)| tag.to_owned()),
            broker: desk.lock_dead_letters().await?,
            management: desk.management()?,
        })
    }

    fn server_container<'s>(&'s self, container: &'s str) -> ServerContainer<'s> {
        ServerContainer {
            engine: &self.clients.engine,
            container,
        }
    }

    fn restore_target(&self) -> RestoreTarget<'_> {
        let config = self.clients.config();
        RestoreTarget {
            container: self.server_container(&self.postgres_container),
            options: postgres::superuser_connect_options(&config.postgres, &self.clients.ports),
            superuser: config.postgres.user.as_str(),
            database: config.postgres.database.as_str(),
            setup: &self.setup,
            lock_timeout: config.timeouts.lock.as_duration(),
            keycloak_version: self.keycloak_version.as_deref(),
        }
    }

    fn restore_context<'s>(
        &'s self,
        report: &'s (dyn Fn(&str) + Sync),
        warn: &'s (dyn Fn(&str) + Sync),
    ) -> RestoreContext<'s> {
        RestoreContext {
            target: self.restore_target(),
            dependent_containers: &self.dependent_containers,
            broker: RestoreBroker {
                connection: &self.broker,
                management: &self.management,
                definitions: &self.definitions,
                administrator: self.clients.config().rabbitmq.user.as_str(),
            },
            outbox_source: OutboxSource {
                stores: &self.stores,
                retention: &self.retention,
            },
            directory: self
                .directory_container
                .as_deref()
                .map(|it| self.server_container(it)),
            interrupt: &self.session.interrupt,
            report,
            warn,
        }
    }

    /// Brings a set back, all but bringing the services up again.
    pub(super) async fn restore(
        &self,
        opened: &OpenBackup<'_>,
        extent: RestoreScope<'_>,
    ) -> Result<DeadLetterIds, BackupError> {
        let told = |what: &str| self.session.frontend.note(what);
        let warned = |what: &str| self.session.frontend.warn(what);
        dm_backup::restore(&self.restore_context(&told, &warned), opened, extent).await
    }

    /// The same for what is served from then on: the set stays until another one is restored.
    async fn restore_and_mark(
        &self,
        opened: &OpenBackup<'_>,
        extent: RestoreScope<'_>,
    ) -> Result<DeadLetterIds> {
        let set = opened.backup;
        // Noted before: a kill in between must not leave what is served without its backup.
        warn_on_error(self.session, set.mark_restoring(Utc::now()));
        let restored = self.restore(opened, extent).await;
        match &restored {
            Ok(_) | Err(BackupError::RestoreIncomplete { .. }) => {
                warn_on_error(self.session, set.mark_restored(Utc::now()));
            }
            // Which database is served is not known: the backups of both stay.
            Err(BackupError::SwapUnconfirmed(_)) => {}
            Err(_) => warn_on_error(self.session, set.clear_restoring()),
        }
        Ok(restored?)
    }

    /// Does the rest of a restore that was cut short. Answers the dead letters of the set.
    pub(super) async fn resume(&self, opened: &OpenBackup<'_>) -> Result<DeadLetterIds> {
        let told = |what: &str| self.session.frontend.note(what);
        let warned = |what: &str| self.session.frontend.warn(what);
        // Its database is in place: the kill may have come before that was noted.
        warn_on_error(self.session, opened.backup.mark_restored(Utc::now()));
        Ok(dm_backup::resume(&self.restore_context(&told, &warned), opened).await?)
    }
}

/// Replaces the data of a running stack by that of a set. What is there now is saved before
/// where `safety` asks for it. The caller has the instance's lock.
///
/// # Errors
/// Where the set can't take its place; what is served then, the error says.
pub async fn restore(
    session: &Session,
    project: &Project,
    store: &Sets,
    opened: &OpenBackup<'_>,
    extent: RestoreScope<'_>,
    safety: bool,
) -> Result<RestoreReport> {
    let desk = StackClients::open(session).await?;
    let known = replace_data(session, &desk, store, opened, extent, safety).await?;
    bring_up_and_reconcile(session, project, &known).await
}

/// Carries on with a restore that was cut short. The caller has the instance's lock.
///
/// # Errors
/// There is none, or its set is away.
pub async fn resume(
    session: &Session,
    project: &Project,
    store: &Sets,
    keys: &Identities,
) -> Result<RestoreReport> {
    let desk = connect_running_servers(session, project, "restore").await?;
    let unfinished = unfinished_restore(&desk).await?;
    let set = store.find(&unfinished.ok_or(BackupError::NothingToResume)?)?;
    set.verify_files()?;
    let opened = set.open(keys)?;
    let letters = RestoreClients::open(session, &desk)
        .await?
        .resume(&opened)
        .await?;
    bring_up_and_reconcile(session, &desk.project, &letters).await
}

/// Brings a set back over what there is, which is saved before where that is asked for. Answers
/// what no outbox has written and is no news: the set's dead letters, or with a schema what was
/// so before.
async fn replace_data(
    session: &Session,
    desk: &StackClients,
    store: &Sets,
    opened: &OpenBackup<'_>,
    extent: RestoreScope<'_>,
    safety: bool,
) -> Result<DeadLetterIds> {
    if let Some(unfinished) = unfinished_restore(desk).await? {
        return Err(BackupError::UnfinishedRestore(unfinished).into());
    }
    if safety {
        let recipients = super::recipients(&desk.project)?;
        let saved = create(session, desk, store, &recipients, Purpose::Safety).await?;
        session.frontend.note(&format!(
            "the current data was saved as backup {}",
            saved.manifest.id
        ));
    }
    // Before the ways are open, which have the dead letters in hand.
    let before = match extent {
        RestoreScope::Full => None,
        RestoreScope::Schema(_) => Some(existing_orphans(session, desk).await),
    };
    let ways = RestoreClients::open(session, desk).await?;
    let letters = ways.restore_and_mark(opened, extent).await?;
    Ok(before.unwrap_or(letters))
}

/// What fits nowhere before a schema is restored, by queue. Where that can't be told, which
/// may be why the schema is restored, all of it counts as new.
async fn existing_orphans(session: &Session, desk: &StackClients) -> DeadLetterIds {
    let report = tokio::select! {
        report = reconcile::reconcile_events(session, desk, IN_FLIGHT_TIMEOUT, false) => report,
        // The restore, which comes next, ends at once.
        () = session.interrupt.cancelled() => return DeadLetterIds::new(),
    };
    let report = match report {
        Ok(report) => report,
        Err(error) => {
            session.frontend.note(&format!(
                "could not reconcile the events before the restore: {}",
                error.error_chain().join(": ")
            ));
            return DeadLetterIds::new();
        }
    };
    let mut orphans = DeadLetterIds::new();
    for (queue, event) in orphaned_events(&report) {
        orphans.entry(queue).or_default().push(Some(event));
    }
    orphans
}

/// The set whose restore was cut short.
async fn unfinished_restore(desk: &StackClients) -> Result<Option<String>> {
    let options = postgres::superuser_connect_options(&desk.config().postgres, &desk.ports);
    Ok(dm_backup::unfinished_restore(&options).await?)
}

/// Has an instance begin anew with a set: that is restored beside what is served, and takes
/// its place once all of it is there. Servers that are down are brought up for it. The caller
/// has the instance's lock.
///
/// # Errors
/// Where the set can't take its place; what is served then, the error says.
pub async fn reset_to_backup(
    session: &Session,
    project: &Project,
    opened: &OpenBackup<'_>,
) -> Result<RestoreReport> {
    let desk = connect_running_servers(session, project, "reset").await?;
    let ways = RestoreClients::open(session, &desk).await?;
    let letters = ways.restore_and_mark(opened, RestoreScope::Full).await?;
    drop(ways);
    bring_up_and_reconcile(session, project, &letters).await
}

/// The ways into a stack whose servers run, which are brought up where they don't.
async fn connect_running_servers(
    session: &Session,
    project: &Project,
    command: &'static str,
) -> Result<StackClients> {
    let desk = StackClients::open(session).await?;
    let serves = desk.connect_database().await.is_ok()
        && desk.connect_broker().await.is_ok()
        && is_component_running(&desk, openldap::NAME).await?;
    if serves {
        return Ok(desk);
    }
    start_servers(session, project, command).await?;
    StackClients::open(session).await
}

async fn is_component_running(desk: &StackClients, component: &str) -> Result<bool> {
    let container = desk.project.instance.container_name(component);
    let found = desk.engine.inspect_container(&container).await?;
    Ok(found.is_some_and(|it| it.running))
}

/// Brings the servers up that have data. That a restore was cut short keeps none of them
/// down: its database is replaced.
async fn start_servers(session: &Session, project: &Project, command: &'static str) -> Result<()> {
    session
        .frontend
        .note("starting the servers first; no data is removed before the backup is restored");
    let ports = PortUse::Allocate {
        free: false,
        only: &[],
    };
    let others = [rabbitmq::NAME, openldap::NAME].map(str::to_owned);
    start_components(session, project, command, ports, &others).await?;
    // By itself: what becomes of the database's job must not end the start of the others.
    let only = vec![postgres::NAME.to_owned()];
    let brought = run_up(session, project, command, ports, &only).await?;
    let mut failures = brought.outcome.failures.iter();
    if failures.all(|failure| failure.name == database_setup::NAME) && !brought.outcome.interrupted
    {
        return Ok(());
    }
    brought.into_result().map(drop)
}

/// Brings the stack up again, and accounts for every event.
async fn bring_up_and_reconcile(
    session: &Session,
    project: &Project,
    known_orphans: &DeadLetterIds,
) -> Result<RestoreReport> {
    let started = start_components(session, project, "restore", PortUse::Existing, &[]).await;
    if let Err(error) = started {
        session.frontend.note(&format!(
            "the backup is restored; start the remaining components: {}",
            session.dm_command("up")
        ));
        return Err(error);
    }
    let desk = StackClients::for_project(
        session,
        session.project_for_instance(&project.instance.name)?,
    )
    .await?;
    reconcile_after_restore(
        session,
        &desk,
        known_orphans,
        "the backup is restored; check the events: dm reconcile",
    )
    .await
}

/// Brings components up, all where none is named.
pub(super) async fn start_components(
    session: &Session,
    project: &Project,
    command: &'static str,
    ports: PortUse<'_>,
    only: &[String],
) -> Result<()> {
    let brought = run_up(session, project, command, ports, only).await?;
    brought.into_result().map(drop)
}

async fn run_up(
    session: &Session,
    project: &Project,
    command: &'static str,
    ports: PortUse<'_>,
    only: &[String],
) -> Result<RunResult> {
    let engine = session.engine(project.config()).await?;
    StackRun::new(command, project)
        .with_ports(ports)
        .with_phase(RunPhase::up(project, only, None))
        .execute(session, engine, session.consent(false))
        .await
}

/// Whether every event is where it belongs. What no outbox has written and is not `known` is a
/// message of the replaced database, or of another schema.
async fn is_consistent(
    desk: &StackClients,
    report: &ReconcileReport,
    known_orphans: &DeadLetterIds,
) -> Result<bool> {
    let lost = [
        FindingKind::Missing,
        FindingKind::Doubled,
        FindingKind::Broken,
    ];
    if lost.into_iter().any(|kind| report.count_findings(kind) > 0) {
        return Ok(false);
    }
    let options = postgres::superuser_connect_options(&desk.config().postgres, &desk.ports);
    let stores = desk.stores();
    let since = dm_backup::orphaned_since_restore(
        &options,
        &stores,
        orphaned_events(report).collect(),
        known_orphans,
    );
    Ok(since.await?.is_empty())
}

/// The queues and events of what fits nowhere.
fn orphaned_events(report: &ReconcileReport) -> impl Iterator<Item = (String, String)> {
    let findings = report.findings.iter();
    let orphaned = findings.filter(|it| it.kind == FindingKind::Orphaned);
    orphaned.map(|it| (it.of.clone(), it.what.clone()))
}

/// Accounts for every event once what the broker lacks is published again. `meanwhile` is how
/// things are where that is interrupted.
pub(super) async fn reconcile_after_restore(
    session: &Session,
    desk: &StackClients,
    known_orphans: &DeadLetterIds,
    state_on_interrupt: &'static str,
) -> Result<RestoreReport> {
    let report = tokio::select! {
        report = reconcile::reconcile_events(session, desk, IN_FLIGHT_TIMEOUT, true) => report?,
        () = session.interrupt.cancelled() => {
            return Err(BackupError::Interrupted(state_on_interrupt).into());
        }
    };
    let is_whole = is_consistent(desk, &report, known_orphans).await;
    Ok(RestoreReport {
        reconciliation: report,
        is_consistent: is_whole,
    })
}
