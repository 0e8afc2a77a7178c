//! A set is brought back into the stack that runs.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::Utc;
use dm_backup::{
    BackupError, Broker, Counts, Events, Extent, Identities, Letters, Opened, Purpose,
    RestoreContext, Server, Set, Store as Sets, Target,
};
use dm_components::database::{self, Database};
use dm_components::rabbitmq::management::Management;
use dm_components::rabbitmq::{self, RabbitMq};
use dm_components::{keycloak, openldap, postgres};
use dm_core::error::Result;
use dm_messaging::memory;
use dm_messaging::reconcile::{Kind, Report};
use dm_messaging::stores::Store;
use lapin::Connection;
use serde_json::Value;

use super::create;
use crate::reconcile;
use crate::run::{Brought, Phase, Run};
use crate::session::{Desk, PortUse, Project, Session};

/// How long what is in flight may take to arrive after a restore.
const SETTLE: Duration = Duration::from_secs(20);

/// How long counting what there is may take before a question.
const COUNTING: Duration = Duration::from_secs(20);

/// Refuses what should not be restored here: a set that is damaged, or of another instance
/// unless `foreign` ones will do.
///
/// # Errors
/// [`BackupError`] says which.
pub fn check(project: &Project, set: &Set, foreign: bool) -> Result<()> {
    set.check()?;
    let (manifest, instance) = (&set.manifest, &project.instance);
    let is_ours = manifest.project == instance.project && manifest.instance == instance.name;
    if !is_ours && !foreign {
        return Err(BackupError::Foreign {
            id: manifest.id.clone(),
            of: manifest.instance.clone(),
            this: instance.name.clone(),
        }
        .into());
    }
    Ok(())
}

/// Makes sure that the data may be replaced.
///
/// # Errors
/// Nobody says so.
pub fn confirm(session: &Session, project: &Project, extent: Extent<'_>, yes: bool) -> Result<()> {
    let instance = &project.instance.name;
    let what = match extent {
        Extent::Whole => "all data".to_owned(),
        Extent::Schema(name) => format!("schema `{name}`"),
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
pub async fn rows_now(project: &Project) -> Result<std::result::Result<Counts, String>> {
    let options = postgres::connect_options(&project.config().postgres, &project.ports()?);
    let counted = tokio::time::timeout(COUNTING, dm_backup::rows_now(&options)).await;
    Ok(match counted {
        Ok(Ok(rows)) => Ok(rows),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!(
            "could not count the rows within {} s",
            COUNTING.as_secs()
        )),
    })
}

/// The account of every event once a set is brought back.
pub struct Account {
    /// Where each event is.
    pub report: Report,
    /// Whether every event is where it belongs, or why that is not known. What was an orphan
    /// before is none of the restore's.
    pub is_whole: Result<bool>,
}

/// Warns where a note about a backup can't be written.
fn note(session: &Session, noted: std::result::Result<(), BackupError>) {
    if let Err(error) = noted {
        session.frontend.warn(&error.to_string());
    }
}

/// The ways to a stack in which a set is brought back.
pub(super) struct Ways<'a> {
    session: &'a Session,
    desk: &'a Desk,
    postgres: String,
    directory: Option<String>,
    users: Vec<String>,
    setup: Database,
    stores: Vec<Store>,
    memory: BTreeMap<String, Duration>,
    definitions: Value,
    keycloak: Option<String>,
    broker: Connection,
    management: Management,
}

impl<'a> Ways<'a> {
    pub(super) async fn open(session: &'a Session, desk: &'a Desk) -> Result<Self> {
        let (config, instance) = (desk.config(), &desk.project.instance);
        let root = &desk.project.loaded.root;
        let services = config.services.all().map(|(name, _)| name);
        let users = services.into_iter().chain([keycloak::NAME]);
        let directory = instance.container(openldap::NAME);
        let has_directory = desk.engine.inspect(&directory).await?.is_some();
        let image = config.keycloak.image.to_string();
        Ok(Self {
            session,
            desk,
            postgres: instance.container(postgres::NAME),
            directory: has_directory.then_some(directory),
            users: users.map(|name| instance.container(name)).collect(),
            setup: Database::new(config, root),
            stores: desk.stores(),
            memory: memory::of_services(config)
                .into_iter()
                .map(|(service, memory)| (service, memory.of_events()))
                .collect(),
            definitions: RabbitMq::new(config, root).declared()?,
            keycloak: image.rsplit_once(':').map(|(_, tag)| tag.to_owned()),
            broker: desk.dead_letters().await?,
            management: desk.management()?,
        })
    }

    fn server<'s>(&'s self, container: &'s str) -> Server<'s> {
        Server {
            engine: &self.desk.engine,
            container,
        }
    }

    fn target(&self) -> Target<'_> {
        let config = self.desk.config();
        Target {
            postgres: self.server(&self.postgres),
            options: postgres::connect_options(&config.postgres, &self.desk.ports),
            user: config.postgres.user.as_str(),
            name: config.postgres.database.as_str(),
            setup: &self.setup,
            lock: config.timeouts.lock.get(),
            keycloak: self.keycloak.as_deref(),
        }
    }

    fn site<'s>(
        &'s self,
        told: &'s (dyn Fn(&str) + Sync),
        warned: &'s (dyn Fn(&str) + Sync),
    ) -> RestoreContext<'s> {
        RestoreContext {
            target: self.target(),
            users: &self.users,
            broker: Broker {
                connection: &self.broker,
                management: &self.management,
                definitions: &self.definitions,
                administrator: self.desk.config().rabbitmq.user.as_str(),
            },
            events: Events {
                stores: &self.stores,
                memory: &self.memory,
            },
            directory: self.directory.as_deref().map(|it| self.server(it)),
            interrupt: &self.session.interrupt,
            told,
            warned,
        }
    }

    /// Brings a set back, all but bringing the services up again.
    pub(super) async fn restore(
        &self,
        opened: &Opened<'_>,
        extent: Extent<'_>,
    ) -> Result<Letters, BackupError> {
        let told = |what: &str| self.session.frontend.note(what);
        let warned = |what: &str| self.session.frontend.warn(what);
        dm_backup::restore(&self.site(&told, &warned), opened, extent).await
    }

    /// The same for what is served from then on: the set stays until another one is restored.
    async fn replace(&self, opened: &Opened<'_>, extent: Extent<'_>) -> Result<Letters> {
        let set = opened.set;
        // Noted before: a kill in between must not leave what is served without its backup.
        note(self.session, set.restoring(Utc::now()));
        let restored = self.restore(opened, extent).await;
        match &restored {
            Ok(_) | Err(BackupError::Halfway { .. }) => {
                note(self.session, set.restored(Utc::now()));
            }
            // Which database is served is not known: the backups of both stay.
            Err(BackupError::Unknown(_)) => {}
            Err(_) => note(self.session, set.not_restoring()),
        }
        Ok(restored?)
    }

    /// Does the rest of a restore that was cut short. Answers the dead letters of the set.
    pub(super) async fn resume(&self, opened: &Opened<'_>) -> Result<Letters> {
        let told = |what: &str| self.session.frontend.note(what);
        let warned = |what: &str| self.session.frontend.warn(what);
        // Its database is in place: the kill may have come before that was noted.
        note(self.session, opened.set.restored(Utc::now()));
        Ok(dm_backup::resume(&self.site(&told, &warned), opened).await?)
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
    opened: &Opened<'_>,
    extent: Extent<'_>,
    safety: bool,
) -> Result<Account> {
    let desk = Desk::open(session).await?;
    let known = replace(session, &desk, store, opened, extent, safety).await?;
    bring_up(session, project, &known).await
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
) -> Result<Account> {
    let desk = serving(session, project, "restore").await?;
    let unfinished = unfinished(&desk).await?;
    let set = store.find(&unfinished.ok_or(BackupError::NothingToResume)?)?;
    set.check()?;
    let opened = set.open(keys)?;
    let letters = Ways::open(session, &desk).await?.resume(&opened).await?;
    bring_up(session, &desk.project, &letters).await
}

/// Brings a set back over what there is, which is saved before where that is asked for. Answers
/// what no outbox has written and is no news: the set's dead letters, or with a schema what was
/// so before.
async fn replace(
    session: &Session,
    desk: &Desk,
    store: &Sets,
    opened: &Opened<'_>,
    extent: Extent<'_>,
    safety: bool,
) -> Result<Letters> {
    if let Some(unfinished) = unfinished(desk).await? {
        return Err(BackupError::Unfinished(unfinished).into());
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
        Extent::Whole => None,
        Extent::Schema(_) => Some(orphans_of(session, desk).await),
    };
    let ways = Ways::open(session, desk).await?;
    let letters = ways.replace(opened, extent).await?;
    Ok(before.unwrap_or(letters))
}

/// What fits nowhere before a schema is restored, by queue. Where that can't be told, which
/// may be why the schema is restored, all of it counts as new.
async fn orphans_of(session: &Session, desk: &Desk) -> Letters {
    let report = tokio::select! {
        report = reconcile::account(session, desk, SETTLE, false) => report,
        // The restore, which comes next, ends at once.
        () = session.interrupt.cancelled() => return Letters::new(),
    };
    let report = match report {
        Ok(report) => report,
        Err(error) => {
            session.frontend.note(&format!(
                "could not reconcile the events before the restore: {}",
                error.chain().join(": ")
            ));
            return Letters::new();
        }
    };
    let mut orphans = Letters::new();
    for (queue, event) in orphaned(&report) {
        orphans.entry(queue).or_default().push(Some(event));
    }
    orphans
}

/// The set whose restore was cut short.
async fn unfinished(desk: &Desk) -> Result<Option<String>> {
    let options = postgres::connect_options(&desk.config().postgres, &desk.ports);
    Ok(dm_backup::unfinished(&options).await?)
}

/// Has an instance begin anew with a set: that is restored beside what is served, and takes
/// its place once all of it is there. Servers that are down are brought up for it. The caller
/// has the instance's lock.
///
/// # Errors
/// Where the set can't take its place; what is served then, the error says.
pub async fn begin(session: &Session, project: &Project, opened: &Opened<'_>) -> Result<Account> {
    let desk = serving(session, project, "reset").await?;
    let ways = Ways::open(session, &desk).await?;
    let letters = ways.replace(opened, Extent::Whole).await?;
    drop(ways);
    bring_up(session, project, &letters).await
}

/// The ways into a stack whose servers run, which are brought up where they don't.
async fn serving(session: &Session, project: &Project, command: &'static str) -> Result<Desk> {
    let desk = Desk::open(session).await?;
    let serves = desk.database().await.is_ok()
        && desk.broker().await.is_ok()
        && is_running(&desk, openldap::NAME).await?;
    if serves {
        return Ok(desk);
    }
    start_servers(session, project, command).await?;
    Desk::open(session).await
}

async fn is_running(desk: &Desk, component: &str) -> Result<bool> {
    let container = desk.project.instance.container(component);
    let found = desk.engine.inspect(&container).await?;
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
    start(session, project, command, ports, &others).await?;
    // By itself: what becomes of the database's job must not end the start of the others.
    let only = vec![postgres::NAME.to_owned()];
    let brought = starting(session, project, command, ports, &only).await?;
    let mut failures = brought.outcome.failures.iter();
    if failures.all(|failure| failure.name == database::NAME) && !brought.outcome.interrupted {
        return Ok(());
    }
    brought.complete().map(drop)
}

/// Brings the stack up again, and accounts for every event.
async fn bring_up(session: &Session, project: &Project, known: &Letters) -> Result<Account> {
    let started = start(session, project, "restore", PortUse::Existing, &[]).await;
    if let Err(error) = started {
        session.frontend.note(&format!(
            "the backup is restored; start the remaining components: {}",
            session.command("up")
        ));
        return Err(error);
    }
    let desk = Desk::of(session, session.project_of(&project.instance.name)?).await?;
    account(
        session,
        &desk,
        known,
        "the backup is restored; check the events: dm reconcile",
    )
    .await
}

/// Brings components up, all where none is named.
pub(super) async fn start(
    session: &Session,
    project: &Project,
    command: &'static str,
    ports: PortUse<'_>,
    only: &[String],
) -> Result<()> {
    let brought = starting(session, project, command, ports, only).await?;
    brought.complete().map(drop)
}

async fn starting(
    session: &Session,
    project: &Project,
    command: &'static str,
    ports: PortUse<'_>,
    only: &[String],
) -> Result<Brought> {
    let engine = session.engine(project.config()).await?;
    Run::new(command, project)
        .ports(ports)
        .phase(Phase::up(project, only, None))
        .execute(session, engine, session.consent(false))
        .await
}

/// Whether every event is where it belongs. What no outbox has written and is not `known` is a
/// message of the replaced database, or of another schema.
async fn is_whole(desk: &Desk, report: &Report, known: &Letters) -> Result<bool> {
    let lost = [Kind::Missing, Kind::Doubled, Kind::Broken];
    if lost.into_iter().any(|kind| report.count(kind) > 0) {
        return Ok(false);
    }
    let options = postgres::connect_options(&desk.config().postgres, &desk.ports);
    let stores = desk.stores();
    let since = dm_backup::orphaned_since(&options, &stores, orphaned(report).collect(), known);
    Ok(since.await?.is_empty())
}

/// The queues and events of what fits nowhere.
fn orphaned(report: &Report) -> impl Iterator<Item = (String, String)> {
    let findings = report.findings.iter();
    let orphaned = findings.filter(|it| it.kind == Kind::Orphaned);
    orphaned.map(|it| (it.of.clone(), it.what.clone()))
}

/// Accounts for every event once what the broker lacks is published again. `meanwhile` is how
/// things are where that is interrupted.
pub(super) async fn account(
    session: &Session,
    desk: &Desk,
    known: &Letters,
    meanwhile: &'static str,
) -> Result<Account> {
    let report = tokio::select! {
        report = reconcile::account(session, desk, SETTLE, true) => report?,
        () = session.interrupt.cancelled() => {
            return Err(BackupError::Interrupted(meanwhile).into());
        }
    };
    let is_whole = is_whole(desk, &report, known).await;
    Ok(Account { report, is_whole })
}
