//! Restores a backup into the running stack.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::Utc;
use dm_backup::{
    Backup, BackupError, BackupStore, DeadLetterIds, Identities, OpenBackup, OutboxSource, Purpose,
    RestoreBroker, RestoreContext, RestoreScope, RestoreTarget, RowCounts, ServerContainer,
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
use crate::session::{PortUse, Project, Session, StackClients, has_no_ports};
use crate::stack_run::{RunPhase, RunResult, StackRun};

/// The time in which events in flight must arrive after a restore.
const IN_FLIGHT_TIMEOUT: Duration = Duration::from_secs(20);

/// The time limit for counting the current rows before the confirmation.
const COUNT_TIMEOUT: Duration = Duration::from_secs(20);

/// Checks that a backup of a store can be restored here: it must be intact and, unless
/// `allow_foreign` is set, of this instance.
///
/// # Errors
/// Returns [`BackupError`] with the reason.
pub fn check_restorable(
    project: &Project,
    store: &BackupStore,
    backup: &Backup,
    allow_foreign: bool,
) -> Result<()> {
    backup
        .verify_files()
        .map_err(|error| store.complete_error(error))?;
    let (manifest, instance) = (&backup.manifest, &project.instance);
    let is_ours = manifest.project == instance.project && manifest.instance == instance.name;
    if !is_ours && !allow_foreign {
        let foreign = BackupError::OtherInstance {
            id: manifest.id.clone(),
            backup_instance: manifest.instance.clone(),
            current_instance: instance.name.clone(),
        };
        return Err(store.complete_error(foreign).into());
    }
    Ok(())
}

/// Asks for confirmation that the data is replaced.
///
/// # Errors
/// Returns [`BackupError::NotConfirmed`] if the restore is not confirmed.
pub fn confirm(
    session: &Session,
    project: &Project,
    scope: RestoreScope<'_>,
    yes: bool,
) -> Result<()> {
    let instance = &project.instance.name;
    let data = match scope {
        RestoreScope::Full => "all data".to_owned(),
        RestoreScope::Schema(name) => format!("schema `{name}`"),
    };
    let question = format!("replace {data} of instance `{instance}` with the backup?");
    if session.is_confirmed(yes, &question)? {
        Ok(())
    } else {
        Err(BackupError::NotConfirmed(instance.clone()).into())
    }
}

/// Returns the current number of rows of each table, or the reason why it is unknown.
///
/// # Errors
/// If the ports of the instance cannot be read.
pub async fn count_current_rows(
    project: &Project,
) -> Result<std::result::Result<RowCounts, String>> {
    let options =
        postgres::superuser_connect_options(&project.config().postgres, &project.ports()?);
    let result = tokio::time::timeout(COUNT_TIMEOUT, dm_backup::count_rows(&options)).await;
    Ok(match result {
        Ok(Ok(rows)) => Ok(rows),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!(
            "could not count the rows within {} s",
            COUNT_TIMEOUT.as_secs()
        )),
    })
}

/// The result of a restore.
pub struct RestoreReport {
    /// The reconciliation of all events.
    pub reconciliation: ReconcileReport,
    /// Whether all events are consistent, or the error of the check. Events that were orphaned
    /// before the restore do not count.
    pub is_consistent: Result<bool>,
}

/// Warns if a mark of a backup could not be written.
fn warn_on_error(session: &Session, result: std::result::Result<(), BackupError>) {
    if let Err(error) = result {
        session.frontend.warn(&error.to_string());
    }
}

/// The connections to a stack into which a backup is restored.
pub(super) struct RestoreClients<'a> {
    session: &'a Session,
    clients: &'a StackClients,
    postgres_container: String,
    directory_container: Option<String>,
    dependent_containers: Vec<String>,
    setup: DatabaseSetup,
    service_tables: Vec<ServiceTables>,
    retention: BTreeMap<String, Duration>,
    definitions: Value,
    keycloak_version: Option<String>,
    broker: Connection,
    management: ManagementClient,
    repair_command: Option<String>,
}

impl<'a> RestoreClients<'a> {
    pub(super) async fn open(session: &'a Session, clients: &'a StackClients) -> Result<Self> {
        let (config, instance) = (clients.config(), &clients.project.instance);
        let root = &clients.project.loaded.root;
        let services = config.services.all().map(|(name, _)| name);
        let dependents = services.into_iter().chain([keycloak::NAME]);
        let directory = instance.container_name(openldap::NAME);
        let has_directory = clients
            .engine
            .inspect_container(&directory)
            .await?
            .is_some();
        let image = config.keycloak.image.to_string();
        Ok(Self {
            session,
            clients,
            postgres_container: instance.container_name(postgres::NAME),
            directory_container: has_directory.then_some(directory),
            dependent_containers: dependents
                .map(|name| instance.container_name(name))
                .collect(),
            setup: DatabaseSetup::new(config, root),
            service_tables: clients.service_tables(),
            retention: retention::retention_by_service(config)
                .into_iter()
                .map(|(service, retention)| (service, retention.event_retention()))
                .collect(),
            definitions: RabbitMq::new(config, root).definitions_with_policies()?,
            keycloak_version: image.rsplit_once(':').map(|(_, tag)| tag.to_owned()),
            broker: clients.lock_dead_letters().await?,
            management: clients.management()?,
            repair_command: session.dm_command_for_later("reconcile --repair"),
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
                service_tables: &self.service_tables,
                retention: &self.retention,
            },
            directory: self
                .directory_container
                .as_deref()
                .map(|container| self.server_container(container)),
            interrupt: &self.session.interrupt,
            report,
            repair_command: self.repair_command.as_deref(),
            warn,
        }
    }

    /// Restores a backup. The services are not started again.
    pub(super) async fn restore(
        &self,
        opened: &OpenBackup<'_>,
        scope: RestoreScope<'_>,
    ) -> Result<DeadLetterIds, BackupError> {
        let report = |sentence: &str| self.session.frontend.note(sentence);
        let warn = |sentence: &str| self.session.frontend.warn(sentence);
        dm_backup::restore(&self.restore_context(&report, &warn), opened, scope).await
    }

    /// Restores a backup and marks it as the restored one. It is kept until another one is
    /// restored.
    async fn restore_and_mark(
        &self,
        opened: &OpenBackup<'_>,
        scope: RestoreScope<'_>,
    ) -> Result<DeadLetterIds, BackupError> {
        let backup = opened.backup;
        // Marked first: after a kill, the backup of the current database must not be pruned.
        warn_on_error(self.session, backup.mark_restoring(Utc::now()));
        let restored = self.restore(opened, scope).await;
        match &restored {
            Ok(_) | Err(BackupError::RestoreIncomplete { .. }) => {
                warn_on_error(self.session, backup.mark_restored(Utc::now()));
            }
            // It is unknown which database is current: the backups of both are kept.
            Err(BackupError::SwapUnconfirmed(_)) => {}
            Err(_) => warn_on_error(self.session, backup.clear_restoring()),
        }
        restored
    }

    /// Resumes an interrupted restore. Returns the dead letters of the backup.
    pub(super) async fn resume(
        &self,
        opened: &OpenBackup<'_>,
    ) -> Result<DeadLetterIds, BackupError> {
        let report = |sentence: &str| self.session.frontend.note(sentence);
        let warn = |sentence: &str| self.session.frontend.warn(sentence);
        // Its database is in use: the kill may have come before the backup was marked.
        warn_on_error(self.session, opened.backup.mark_restored(Utc::now()));
        dm_backup::resume(&self.restore_context(&report, &warn), opened).await
    }
}

/// Replaces the data of a running stack with a backup. If `safety` is set, a safety backup is
/// created first. The caller holds the instance lock.
///
/// # Errors
/// If the backup cannot be restored. The error names the data that is then in use.
pub async fn restore(
    session: &Session,
    project: &Project,
    store: &BackupStore,
    opened: &OpenBackup<'_>,
    scope: RestoreScope<'_>,
    safety: bool,
) -> Result<RestoreReport> {
    let clients = StackClients::open(session).await?;
    let known_orphans = replace_data(session, &clients, store, opened, scope, safety).await?;
    bring_up_and_reconcile(session, project, &known_orphans).await
}

/// Resumes an interrupted restore. The caller holds the instance lock.
///
/// # Errors
/// Returns [`BackupError::NothingToResume`] if no restore was interrupted. Fails if its backup
/// cannot be read.
pub async fn resume(
    session: &Session,
    project: &Project,
    store: &BackupStore,
    identities: &Identities,
) -> Result<RestoreReport> {
    let clients = connect_running_servers(session, project, "restore").await?;
    let unfinished = unfinished_restore(&clients).await?;
    let backup = store.find(&unfinished.ok_or(BackupError::NothingToResume)?)?;
    let complete_error = |error| store.complete_error(error);
    backup.verify_files().map_err(complete_error)?;
    let opened = backup.open(identities).map_err(complete_error)?;
    let dead_letters = RestoreClients::open(session, &clients)
        .await?
        .resume(&opened)
        .await
        .map_err(complete_error)?;
    bring_up_and_reconcile(session, &clients.project, &dead_letters).await
}

/// Restores a backup, after an optional safety backup. Returns the known orphans, which no
/// outbox has written: the dead letters of the backup, or for a single schema the orphans from
/// before the restore.
async fn replace_data(
    session: &Session,
    clients: &StackClients,
    store: &BackupStore,
    opened: &OpenBackup<'_>,
    scope: RestoreScope<'_>,
    safety: bool,
) -> Result<DeadLetterIds> {
    clients.require_database().await?;
    if let Some(unfinished) = unfinished_restore(clients).await? {
        let error = BackupError::UnfinishedRestore(unfinished);
        return Err(store.complete_error(error).into());
    }
    if safety {
        let recipients = super::recipients(&clients.project)?;
        let safety_backup = create(session, clients, store, &recipients, Purpose::Safety).await?;
        session.frontend.note(&format!(
            "the current data was saved as backup {}",
            safety_backup.manifest.id
        ));
    }
    // Before the restore clients acquire the dead-letter lock.
    let existing = match scope {
        RestoreScope::Full => None,
        RestoreScope::Schema(_) => Some(existing_orphans(session, clients).await),
    };
    let restore_clients = RestoreClients::open(session, clients).await?;
    let dead_letters = restore_clients
        .restore_and_mark(opened, scope)
        .await
        .map_err(|error| store.complete_error(error))?;
    Ok(existing.unwrap_or(dead_letters))
}

/// Returns the orphaned events before a schema is restored, by queue. If the events cannot be
/// reconciled, which may be the reason for the restore, all orphans count as new.
async fn existing_orphans(session: &Session, clients: &StackClients) -> DeadLetterIds {
    let report = tokio::select! {
        report = reconcile::reconcile_events(session, clients, IN_FLIGHT_TIMEOUT, false) => report,
        // The restore that follows ends at once.
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

/// Returns the id of the backup whose restore was interrupted.
async fn unfinished_restore(clients: &StackClients) -> Result<Option<String>> {
    let options = postgres::superuser_connect_options(&clients.config().postgres, &clients.ports);
    Ok(dm_backup::unfinished_restore(&options).await?)
}

/// Resets an instance to a backup. The backup is restored to a staged database, which is
/// swapped in when it is complete. Stopped servers are started first. The caller holds the
/// instance lock.
///
/// # Errors
/// If the backup cannot be restored. The error names the data that is then in use.
pub async fn reset_to_backup(
    session: &Session,
    project: &Project,
    opened: &OpenBackup<'_>,
) -> Result<RestoreReport> {
    let clients = connect_running_servers(session, project, "reset").await?;
    let restore_clients = RestoreClients::open(session, &clients).await?;
    let dead_letters = restore_clients
        .restore_and_mark(opened, RestoreScope::Full)
        .await?;
    drop(restore_clients);
    bring_up_and_reconcile(session, project, &dead_letters).await
}

/// Connects to the servers of the stack, which are started first if they are not running.
async fn connect_running_servers(
    session: &Session,
    project: &Project,
    command: &'static str,
) -> Result<StackClients> {
    let engine = session.engine(project.config()).await?;
    let containers = engine
        .list_containers(&project.instance.label_filter())
        .await?;
    if has_no_ports(project, &containers)? {
        start_servers(session, project, command).await?;
    }
    let clients = StackClients::open(session).await?;
    let are_running = clients.connect_database().await.is_ok()
        && clients.connect_broker().await.is_ok()
        && is_component_running(&clients, openldap::NAME).await?;
    if are_running {
        return Ok(clients);
    }
    start_servers(session, project, command).await?;
    StackClients::open(session).await
}

async fn is_component_running(clients: &StackClients, component: &str) -> Result<bool> {
    let container = clients.project.instance.container_name(component);
    let inspected = clients.engine.inspect_container(&container).await?;
    Ok(inspected.is_some_and(|container| container.running))
}

/// Starts the servers that have data, even if a restore was interrupted: its database is
/// replaced.
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
    // Separately: a failed job of the database must not stop the start of the others.
    let only = vec![postgres::NAME.to_owned()];
    let run = run_up(session, project, command, ports, &only).await?;
    let mut failures = run.outcome.failures.iter();
    if failures.all(|failure| failure.name == database_setup::NAME) && !run.outcome.interrupted {
        return Ok(());
    }
    run.into_result().map(drop)
}

/// Brings the stack up again and reconciles all events.
async fn bring_up_and_reconcile(
    session: &Session,
    project: &Project,
    known_orphans: &DeadLetterIds,
) -> Result<RestoreReport> {
    let result = start_components(
        session,
        project,
        "restore",
        PortUse::ExistingOrAllocated,
        &[],
    )
    .await;
    if let Err(error) = result {
        session.frontend.note(&format!(
            "the backup is restored; start the remaining components: {}",
            session.dm_command("up")
        ));
        return Err(error);
    }
    let clients = StackClients::for_project(
        session,
        session.project_for_instance(&project.instance.name)?,
    )
    .await?;
    reconcile_after_restore(session, &clients, known_orphans, BackupError::NotReconciled).await
}

/// Brings components up, all if `only` is empty.
pub(super) async fn start_components(
    session: &Session,
    project: &Project,
    command: &'static str,
    ports: PortUse<'_>,
    only: &[String],
) -> Result<()> {
    let run = run_up(session, project, command, ports, only).await?;
    run.into_result().map(drop)
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

/// Returns whether all events are consistent. An orphaned event that is not in `known_orphans` is a
/// message of the replaced database or of another schema.
async fn is_consistent(
    clients: &StackClients,
    report: &ReconcileReport,
    known_orphans: &DeadLetterIds,
) -> Result<bool> {
    let inconsistent = [
        FindingKind::Missing,
        FindingKind::Doubled,
        FindingKind::Broken,
    ];
    if inconsistent
        .into_iter()
        .any(|kind| report.count_findings(kind) > 0)
    {
        return Ok(false);
    }
    let options = postgres::superuser_connect_options(&clients.config().postgres, &clients.ports);
    let service_tables = clients.service_tables();
    let new_orphans = dm_backup::orphaned_since_restore(
        &options,
        &service_tables,
        orphaned_events(report).collect(),
        known_orphans,
    );
    Ok(new_orphans.await?.is_empty())
}

/// Returns queue and event of each orphaned finding.
fn orphaned_events(report: &ReconcileReport) -> impl Iterator<Item = (String, String)> {
    let findings = report.findings.iter();
    let orphaned = findings.filter(|finding| finding.kind == FindingKind::Orphaned);
    orphaned.map(|finding| (finding.scope.clone(), finding.id.clone()))
}

/// Reconciles all events after missing ones are published again. Returns `on_interrupt` after an
/// interrupt.
pub(super) async fn reconcile_after_restore(
    session: &Session,
    clients: &StackClients,
    known_orphans: &DeadLetterIds,
    on_interrupt: BackupError,
) -> Result<RestoreReport> {
    let report = tokio::select! {
        report = reconcile::reconcile_events(session, clients, IN_FLIGHT_TIMEOUT, true) => report?,
        () = session.interrupt.cancelled() => return Err(on_interrupt.into()),
    };
    let is_consistent = is_consistent(clients, &report, known_orphans).await;
    Ok(RestoreReport {
        reconciliation: report,
        is_consistent,
    })
}
