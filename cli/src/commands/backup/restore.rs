//! A set brought back into the stack that runs.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::Utc;
use dm_backup::{
    BackupError, Broker, Events, Extent, Letters, Opened, Purpose, Server, Set, Site,
    Store as Sets, Target,
};
use dm_components::database::{self, Database};
use dm_components::rabbitmq::management::Management;
use dm_components::rabbitmq::{self, RabbitMq};
use dm_components::{keycloak, openldap, postgres};
use dm_core::error::{Exit, Result};
use dm_messaging::memory;
use dm_messaging::reconcile::{self, Kind, Report};
use dm_messaging::stores::Store;
use dm_stack::up;
use lapin::Connection;
use serde_json::Value;

use super::super::context::{Context, PortUse, Project};
use super::super::desk::Desk;
use super::super::run::BringUp;
use super::{configured, create};
use crate::views;

/// How long what is in flight may take to arrive after a restore.
const SETTLE: Duration = Duration::from_secs(20);

/// How long counting what there is may take before a question.
const COUNTING: Duration = Duration::from_secs(20);

/// Refuses what should not be restored here.
pub(in crate::commands) fn check(project: &Project, set: &Set, foreign: bool) -> Result<()> {
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

/// Asks whether the data may be replaced, beside which that is shown.
pub(super) async fn confirm(
    context: &Context,
    project: &Project,
    set: &Set,
    extent: Extent<'_>,
    yes: bool,
) -> Result<()> {
    let instance = &project.instance.name;
    let what = match extent {
        Extent::Whole => "all data".to_owned(),
        Extent::Schema(name) => format!("schema `{name}`"),
    };
    let question = format!("replace {what} of instance `{instance}` by that of the backup?");
    let printer = &context.printer;
    if !yes && printer.can_ask() {
        compare(context, project, set).await?;
    }
    if yes || (printer.can_ask() && printer.confirm(&question)?) {
        Ok(())
    } else {
        Err(BackupError::NotConfirmed(instance.clone()).into())
    }
}

/// Shows a set beside what there is now.
pub(in crate::commands) async fn compare(
    context: &Context,
    project: &Project,
    set: &Set,
) -> Result<()> {
    let options = postgres::connect_options(&project.config().postgres, &project.ports()?);
    let counted = tokio::time::timeout(COUNTING, dm_backup::rows_now(&options)).await;
    let now = match counted {
        Ok(Ok(rows)) => Ok(rows),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("not counted within {} s", COUNTING.as_secs())),
    };
    let printer = &context.printer;
    let now = now.as_ref().map_err(String::as_str);
    printer.message(&super::comparison::render(set, now, &printer.err()));
    Ok(())
}

/// Warns where a note about a backup can't be written.
fn note(context: &Context, noted: std::result::Result<(), BackupError>) {
    if let Err(error) = noted {
        context.printer.warn(&error.to_string());
    }
}

/// The ways to a stack in which a set is brought back.
pub(super) struct Ways<'a> {
    context: &'a Context,
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
    pub(super) async fn open(context: &'a Context, desk: &'a Desk) -> Result<Self> {
        let (config, instance) = (desk.config(), &desk.project.instance);
        let root = &desk.project.loaded.root;
        let services = config.services.all().map(|(name, _)| name);
        let users = services.into_iter().chain([keycloak::NAME]);
        let directory = instance.container(openldap::NAME);
        let has_directory = desk.engine.inspect(&directory).await?.is_some();
        let image = config.keycloak.image.to_string();
        Ok(Self {
            context,
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
    ) -> Site<'s> {
        Site {
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
            interrupt: &self.context.interrupt,
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
        let told = |what: &str| self.context.printer.note(what);
        let warned = |what: &str| self.context.printer.warn(what);
        dm_backup::restore(&self.site(&told, &warned), opened, extent).await
    }

    /// The same for what is served from then on: the set stays until another one is restored.
    async fn replace(&self, opened: &Opened<'_>, extent: Extent<'_>) -> Result<Letters> {
        let set = opened.set;
        // Noted before: a kill in between must not leave what is served without its backup.
        note(self.context, set.restoring(Utc::now()));
        let restored = self.restore(opened, extent).await;
        match &restored {
            Ok(_) | Err(BackupError::Halfway { .. }) => {
                note(self.context, set.restored(Utc::now()));
            }
            // Which database is served is not known: the backups of both stay.
            Err(BackupError::Unknown(_)) => {}
            Err(_) => note(self.context, set.not_restoring()),
        }
        Ok(restored?)
    }

    /// Does the rest of a restore that was cut short. Answers the dead letters of the set.
    pub(super) async fn resume(&self, opened: &Opened<'_>) -> Result<Letters> {
        let told = |what: &str| self.context.printer.note(what);
        let warned = |what: &str| self.context.printer.warn(what);
        // Its database is in place: the kill may have come before that was noted.
        note(self.context, opened.set.restored(Utc::now()));
        Ok(dm_backup::resume(&self.site(&told, &warned), opened).await?)
    }
}

/// Brings a set back over what there is, which is saved before where that is asked for. Answers
/// what no outbox has written and is no news: the set's dead letters, or with a schema what was
/// so before.
pub(super) async fn run(
    context: &Context,
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
        let recipients = configured(&desk.project)?;
        let saved = create(context, desk, store, &recipients, Purpose::Safety).await?;
        context.printer.note(&format!(
            "what is there now is backup {}",
            saved.manifest.id
        ));
    }
    // Before the ways are open, which have the dead letters in hand.
    let before = match extent {
        Extent::Whole => None,
        Extent::Schema(_) => Some(orphans_of(context, desk).await),
    };
    let ways = Ways::open(context, desk).await?;
    let letters = ways.replace(opened, extent).await?;
    Ok(before.unwrap_or(letters))
}

/// What fits nowhere before a schema is restored, by queue. Where that can't be told, which
/// may be why the schema is restored, all of it counts as new.
async fn orphans_of(context: &Context, desk: &Desk) -> Letters {
    let report = tokio::select! {
        report = accounted(context, desk, false) => report,
        // The restore, which comes next, ends at once.
        () = context.interrupt.cancelled() => return Letters::new(),
    };
    let report = match report {
        Ok(report) => report,
        Err(error) => {
            context.printer.note(&format!(
                "the events of before can't be accounted for: {}",
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
pub(super) async fn unfinished(desk: &Desk) -> Result<Option<String>> {
    let options = postgres::connect_options(&desk.config().postgres, &desk.ports);
    Ok(dm_backup::unfinished(&options).await?)
}

/// Has an instance begin anew with a set: that is restored beside what is served, and takes
/// its place once all of it is there. Servers that are down are brought up for it. The caller
/// has the instance's lock.
pub(in crate::commands) async fn begin(
    context: &Context,
    project: &Project,
    opened: &Opened<'_>,
) -> Result<Exit> {
    let desk = serving(context, project, "reset").await?;
    let ways = Ways::open(context, &desk).await?;
    let letters = ways.replace(opened, Extent::Whole).await?;
    drop(ways);
    bring_up(context, project, &letters).await
}

/// The ways into a stack whose servers run, which are brought up where they don't.
pub(super) async fn serving(
    context: &Context,
    project: &Project,
    command: &'static str,
) -> Result<Desk> {
    let desk = Desk::open(context).await?;
    let serves = desk.database().await.is_ok()
        && desk.broker().await.is_ok()
        && is_running(&desk, openldap::NAME).await?;
    if serves {
        return Ok(desk);
    }
    start_servers(context, project, command).await?;
    Desk::open(context).await
}

async fn is_running(desk: &Desk, component: &str) -> Result<bool> {
    let container = desk.project.instance.container(component);
    let found = desk.engine.inspect(&container).await?;
    Ok(found.is_some_and(|it| it.running))
}

/// Brings the servers up that have data. That a restore was cut short keeps none of them
/// down: its database is replaced.
async fn start_servers(context: &Context, project: &Project, command: &'static str) -> Result<()> {
    context
        .printer
        .note("the servers are started first: nothing is removed before the backup is there");
    let ports = PortUse::Allocate {
        free: false,
        only: &[],
    };
    let others = [rabbitmq::NAME, openldap::NAME].map(str::to_owned);
    start(context, project, command, ports, others.to_vec()).await?;
    // By itself: what becomes of the database's job must not end the start of the others.
    let only = vec![postgres::NAME.to_owned()];
    let run = starting(context, project, command, ports, only).await?;
    let brought = run.run(context).await?;
    let mut failures = brought.outcome.failures.iter();
    if failures.all(|failure| failure.name == database::NAME) && !brought.outcome.interrupted {
        return Ok(());
    }
    brought.complete().map(drop)
}

/// Brings the stack up again, and accounts for every event.
pub(super) async fn bring_up(
    context: &Context,
    project: &Project,
    known: &Letters,
) -> Result<Exit> {
    let started = start(context, project, "restore", PortUse::Existing, Vec::new()).await;
    if let Err(error) = started {
        context.printer.note(&format!(
            "the backup is restored; {} goes on with what is not up",
            context.command("up")
        ));
        return Err(error);
    }
    let desk = Desk::of(context, context.project_of(&project.instance.name)?).await?;
    let report = account(
        context,
        &desk,
        "all is restored; dm reconcile accounts for it",
    )
    .await?;
    let document = views::reconcile::Document::new(&report);
    context
        .printer
        .result(views::reconcile::SCHEMA, &document, |canvas| {
            views::reconcile::render(&report, canvas)
        })?;
    Ok(if is_whole(&desk, &report, known).await? {
        Exit::Success
    } else {
        Exit::Found
    })
}

/// Brings components up, all where none is named.
pub(super) async fn start(
    context: &Context,
    project: &Project,
    command: &'static str,
    ports: PortUse<'_>,
    only: Vec<String>,
) -> Result<()> {
    let run = starting(context, project, command, ports, only).await?;
    run.run(context).await?.complete()?;
    Ok(())
}

async fn starting<'a>(
    context: &Context,
    project: &'a Project,
    command: &'static str,
    ports: PortUse<'a>,
    only: Vec<String>,
) -> Result<BringUp<'a>> {
    Ok(BringUp {
        command,
        project,
        engine: context.engine(project.config()).await?,
        ports,
        consent: context.consent(false),
        request: up::Request {
            only,
            wait: project.config().timeouts.wait.get(),
            golden: up::GoldenUse::Begin,
            kept: up::Kept::Ask,
        },
        bundle: None,
    })
}

/// Whether every event is where it belongs. What no outbox has written and is not `known` is a
/// message of the replaced database, or of another schema.
pub(super) async fn is_whole(desk: &Desk, report: &Report, known: &Letters) -> Result<bool> {
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
    context: &Context,
    desk: &Desk,
    meanwhile: &'static str,
) -> Result<Report> {
    tokio::select! {
        report = accounted(context, desk, true) => report,
        () = context.interrupt.cancelled() => Err(BackupError::Interrupted(meanwhile).into()),
    }
}

async fn accounted(context: &Context, desk: &Desk, repair: bool) -> Result<Report> {
    let (stores, database) = (desk.stores(), desk.database().await?);
    let connection = desk.dead_letters().await?;
    let (browser, memory) = (desk.browser(), memory::of_services(desk.config()));
    let printer = &context.printer;
    let site = reconcile::Site {
        stores: &stores,
        database: &database,
        connection: &connection,
        browser: &browser,
        memory: &memory,
        settle: SETTLE,
        told: &|what| printer.note(what),
    };
    let report = reconcile::run(&site).await?;
    let missing = report.count(Kind::Missing);
    if missing == 0 || !repair {
        return Ok(report);
    }
    let repaired = reconcile::repair(&site, &report.findings).await?;
    printer.note(&format!(
        "{repaired} of {missing} events that the broker lacked are published again"
    ));
    Ok(reconcile::run(&site).await?)
}
