//! `dm backup`.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use chrono::Utc;
use clap::{Args, Subcommand};

use super::context::{Context, PortUse, Project};
use super::desk::Desk;
use super::down;
use super::run::BringUp;
use crate::components::database::Database;
use crate::components::{keycloak, openldap, postgres, rabbitmq};
use crate::data::backup::{
    self, BackupError, Identities, Keep, Listed, Opened, Prepared, Purpose, Recipients, Server,
    Set, Source, Store, Target,
};
use crate::error::{Exit, Result};
use crate::messaging::memory;
use crate::messaging::reconcile::{self, Kind, Report};
use crate::output;
use crate::stack::up;

/// What a scratch instance is called that a backup is proved in.
const SCRATCH: &str = "backup-proof";
/// How long after a backup the next one is due where nobody says.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a container may take to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
/// How long after a backup that failed the next one is tried.
const RETRY: Duration = Duration::from_secs(60);
/// How long what is in flight may take to arrive after a restore.
const SETTLE: Duration = Duration::from_secs(20);

/// Save all that the stack holds, prove that it can be brought back, and bring it back.
///
/// A backup is the whole database from one state, the broker's definitions and dead
/// letters, the directory, and the realm as Keycloak exports it. Backups are kept with
/// dm's state unless --dir says otherwise.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Where the backups are, in place of `backup.directory`.
    #[arg(long, value_name = "DIR", global = true)]
    dir: Option<PathBuf>,
    /// The key of an encrypted backup, in place of `backup.identity`.
    #[arg(long, value_name = "FILE", global = true)]
    identity: Option<PathBuf>,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a backup of the running stack.
    Create {
        /// To whom it is encrypted, in place of `backup.recipients`: a recipient of age.
        #[arg(long = "recipient", value_name = "AGE1…")]
        recipients: Vec<String>,
    },
    /// List the backups, oldest first.
    Ls,
    /// Show what is in a backup.
    Show {
        /// Its id, the beginning of it, or `latest`.
        #[arg(default_value = "latest")]
        id: String,
    },
    /// Check every byte of a backup; with --restore, bring it back elsewhere and count.
    Verify {
        /// Its id, the beginning of it, or `latest`.
        #[arg(default_value = "latest")]
        id: String,
        /// Restore it into a scratch instance, account for every event there, compare what
        /// every table has, and remove the instance.
        #[arg(long)]
        restore: bool,
    },
    /// Replace all data of the stack by that of a backup.
    ///
    /// What is there now is saved first. The database is restored beside the one that
    /// runs, counted, and put in its place in one step: killed at any moment, the stack is
    /// as before or as after. What the broker lacks is published again, and every event
    /// is accounted for.
    Restore {
        /// Its id, the beginning of it, or `latest`.
        #[arg(default_value = "latest")]
        id: String,
        /// Don't ask.
        #[arg(long, short)]
        yes: bool,
        /// Also a backup of another instance.
        #[arg(long)]
        foreign: bool,
        /// Don't save what is there now.
        #[arg(long)]
        no_safety: bool,
        /// This schema alone: tables, sequences and rights. The rest stays, and the account
        /// of events tells what does not fit.
        #[arg(long, value_name = "NAME")]
        schema: Option<String>,
        /// Carry on with a restore that was cut short.
        #[arg(long, conflicts_with_all = ["id", "foreign", "no_safety", "schema"])]
        resume: bool,
    },
    /// Make a backup whenever one is due, and remove old ones, until interrupted.
    ///
    /// One that became due while nothing ran is made at once. A stack that is down is
    /// waited for. Where `backup.every` is set, `dm up` has this run in a container of the
    /// stack.
    Schedule {
        /// How long after a backup the next one is due, in place of `backup.every`, or a day.
        #[arg(long, value_name = "TIME", value_parser = interval)]
        every: Option<Duration>,
        /// How many days' backups stay, in place of `backup.keep`.
        #[arg(long, value_name = "DAYS")]
        keep: Option<NonZeroU16>,
    },
    /// Remove old backups: all but the newest of each of the last days, and the newest one
    /// that was proved.
    Prune {
        /// How many days' backups stay, in place of `backup.keep`.
        #[arg(long, value_name = "DAYS")]
        keep: Option<NonZeroU16>,
        /// Show what would go, and remove nothing.
        #[arg(long)]
        dry_run: bool,
    },
}

/// A time between two backups.
fn interval(text: &str) -> std::result::Result<Duration, String> {
    let every = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if every < Duration::from_secs(1) {
        return Err("it must be a second or more".to_owned());
    }
    Ok(every)
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let project = context.project()?;
    let store = store(&project, arguments.dir);
    let keys = identities(&project, arguments.identity)?;
    let printer = &context.printer;
    let settings = &project.config().backup;
    let days = |keep: Option<NonZeroU16>| Keep {
        days: usize::from(keep.unwrap_or(settings.keep).get()),
    };
    match arguments.action {
        Action::Ls => {
            let sets = store.list()?;
            let list = output::backup::List::new(store.folder(), &sets);
            printer.result(output::backup::LIST, &list, |canvas| {
                output::backup::list(&list, canvas)
            })?;
            let broken = sets.iter().any(|it| matches!(it, Listed::Broken(..)));
            Ok(if broken { Exit::Found } else { Exit::Success })
        }
        Action::Show { id } => {
            let set = store.find(&id)?;
            printer.result(output::backup::SHOW, &set.manifest, |canvas| {
                output::backup::show(&set, canvas)
            })?;
            Ok(Exit::Success)
        }
        Action::Schedule { every, keep } => {
            let every = every
                .or(settings.every.map(|period| period.get()))
                .unwrap_or(DAY);
            schedule(context, &project, &store, every, days(keep)).await
        }
        Action::Prune { keep, dry_run } => {
            // Nobody makes or restores one meanwhile.
            let _guard = context.lock(&project, "dm backup prune").await?;
            prune(context, &store, days(keep), dry_run)
        }
        Action::Create { recipients } => {
            let desk = Desk::open(context).await?;
            let recipients = if recipients.is_empty() {
                configured(&desk.project)?
            } else {
                Recipients::parse(&recipients)?
            };
            let _guard = context.lock(&desk.project, "dm backup create").await?;
            let set = create(context, &desk, &store, &recipients, Purpose::Asked).await?;
            printer.result(output::backup::SHOW, &set.manifest, |canvas| {
                output::backup::show(&set, canvas)
            })?;
            Ok(Exit::Success)
        }
        Action::Verify { id, restore } => {
            let set = store.find(&id)?;
            set.check()?;
            printer.done(&format!(
                "every byte of {} is as it was written",
                set.manifest.id
            ));
            if !restore {
                return Ok(Exit::Success);
            }
            prove(context, &set.open(&keys)?).await
        }
        Action::Restore {
            id,
            yes,
            foreign,
            no_safety,
            schema,
            resume,
        } => {
            let desk = Desk::open(context).await?;
            if resume {
                let _guard = context.lock(&desk.project, "dm backup restore").await?;
                let unfinished = unfinished(&desk).await?;
                let set = store.find(&unfinished.ok_or(BackupError::NothingToResume)?)?;
                set.check()?;
                let opened = set.open(&keys)?;
                stop(&desk).await?;
                rest(&desk, &opened).await?;
                return bring_up(context, &desk.project).await;
            }
            let set = store.find(&id)?;
            check(&desk.project, &set, foreign)?;
            let extent = Extent::of(&set, schema.as_deref())?;
            let opened = set.open(&keys)?;
            confirm(context, &desk.project, &extent, yes)?;
            let guard = context.lock(&desk.project, "dm backup restore").await?;
            restore(context, &desk, &store, &opened, &extent, !no_safety).await?;
            drop(guard);
            bring_up(context, &desk.project).await
        }
    }
}

/// To whom backups are encrypted by the configuration.
fn configured(project: &Project) -> Result<Recipients> {
    Ok(Recipients::parse(&project.config().backup.recipients)?)
}

/// The keys to encrypted backups.
pub(super) fn identities(project: &Project, file: Option<PathBuf>) -> Result<Identities> {
    let configured = project.config().backup.identity.as_ref();
    let file = file.or_else(|| Some(configured?.in_project(&project.loaded.root)));
    Ok(match file {
        Some(path) => Identities::read(&path)?,
        None => Identities::default(),
    })
}

/// An instance's sets.
pub(super) fn store(project: &Project, dir: Option<PathBuf>) -> Store {
    let instance = &project.instance;
    let folder = dir.unwrap_or_else(|| project.backups());
    Store::new(folder.join(&instance.project).join(&instance.name))
}

/// Makes backups until somebody interrupts.
async fn schedule(
    context: &Context,
    project: &Project,
    store: &Store,
    every: Duration,
    keep: Keep,
) -> Result<Exit> {
    let printer = &context.printer;
    loop {
        let age = store.newest()?.map(|set| set.age());
        let wait = age.map_or(Duration::ZERO, |age| every.saturating_sub(age));
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = context.interrupt.cancelled() => return Ok(Exit::Interrupted),
        }
        let made = async {
            let desk = Desk::of(context, context.project_of(&project.instance.name)?).await?;
            let _guard = context.lock(&desk.project, "dm backup schedule").await?;
            let recipients = configured(&desk.project)?;
            let set = create(context, &desk, store, &recipients, Purpose::Asked).await?;
            printer.done(&format!("{} is made", set.manifest.id));
            prune(context, store, keep, false)
        };
        match made.await {
            Ok(_) => {}
            Err(_) if context.interrupt.is_cancelled() => return Ok(Exit::Interrupted),
            Err(error) => {
                printer.warn(&format!("no backup: {}", error.chain().join(": ")));
                tokio::select! {
                    () = tokio::time::sleep(RETRY.min(every)) => {}
                    () = context.interrupt.cancelled() => return Ok(Exit::Interrupted),
                }
            }
        }
    }
}

fn prune(context: &Context, store: &Store, keep: Keep, dry_run: bool) -> Result<Exit> {
    let sets: Vec<Set> = store
        .list()?
        .into_iter()
        .filter_map(|listed| match listed {
            Listed::Whole(set) => Some(*set),
            Listed::Broken(..) => None,
        })
        .collect();
    let leave = keep.leave(&sets);
    let printer = &context.printer;
    if !dry_run {
        store.sweep()?;
    }
    for set in &leave {
        if !dry_run {
            store.remove(set)?;
        }
        let word = if dry_run { "would go" } else { "is gone" };
        printer.note(&format!("{} {word}", set.manifest.id));
    }
    let (gone, stay) = (leave.len(), sets.len() - leave.len());
    printer.done(&format!("{gone} of {} backups go, {stay} stay", sets.len()));
    Ok(Exit::Success)
}

/// Makes a set of what runs.
pub(super) async fn create(
    context: &Context,
    desk: &Desk,
    store: &Store,
    recipients: &Recipients,
    purpose: Purpose,
) -> Result<Set> {
    let config = desk.config();
    let instance = &desk.project.instance;
    let database = desk.database().await?;
    let (broker, management) = (desk.dead_letters().await?, desk.management()?);
    let base = keycloak::base_url(&desk.ports);
    let (tables, printer) = (desk.stores(), &context.printer);
    let (postgres, directory) = (
        instance.container(postgres::NAME),
        instance.container(openldap::NAME),
    );
    let server = |container| Server {
        engine: &desk.engine,
        container,
    };
    let source = Source {
        project: &instance.project,
        instance: &instance.name,
        postgres: server(&postgres),
        user: config.postgres.user.as_str(),
        name: config.postgres.database.as_str(),
        database: &database,
        tables: &tables,
        broker: &broker,
        management: &management,
        directory: server(&directory),
        realm: desk.keycloak(&base),
        recipients,
        told: &|what| printer.note(&format!("saving {what}")),
    };
    let creating = backup::create(&source, store, purpose);
    tokio::select! {
        set = creating => Ok(set?),
        () = context.interrupt.cancelled() => {
            store.sweep()?;
            Err(BackupError::Interrupted("there is no new backup, and the old ones are as they were").into())
        }
    }
}

/// Refuses what should not be restored here.
pub(super) fn check(project: &Project, set: &Set, foreign: bool) -> Result<()> {
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

/// How much of a set is restored.
pub(super) enum Extent<'a> {
    /// All of it.
    Whole,
    /// A schema of its database.
    Schema(&'a str),
}

impl<'a> Extent<'a> {
    fn of(set: &Set, schema: Option<&'a str>) -> Result<Self> {
        let Some(name) = schema else {
            return Ok(Self::Whole);
        };
        let known = set.manifest.schemas();
        if known.contains(name) {
            return Ok(Self::Schema(name));
        }
        Err(BackupError::NoSchema {
            id: set.manifest.id.clone(),
            name: name.to_owned(),
            known: known.into_iter().map(str::to_owned).collect(),
        }
        .into())
    }
}

fn confirm(context: &Context, project: &Project, extent: &Extent<'_>, yes: bool) -> Result<()> {
    let instance = &project.instance.name;
    let what = match extent {
        Extent::Whole => "all data".to_owned(),
        Extent::Schema(name) => format!("schema `{name}`"),
    };
    let question = format!("replace {what} of instance `{instance}` by that of the backup?");
    let printer = &context.printer;
    if yes || (printer.can_ask() && printer.confirm(&question)?) {
        Ok(())
    } else {
        Err(BackupError::NotConfirmed(instance.clone()).into())
    }
}

/// Brings a set back, all but bringing the services up again.
pub(super) async fn restore(
    context: &Context,
    desk: &Desk,
    store: &Store,
    opened: &Opened<'_>,
    extent: &Extent<'_>,
    safety: bool,
) -> Result<()> {
    let printer = &context.printer;
    if let Some(unfinished) = unfinished(desk).await? {
        return Err(BackupError::Unfinished(unfinished).into());
    }
    if safety {
        let saved = create(
            context,
            desk,
            store,
            &configured(&desk.project)?,
            Purpose::Safety,
        )
        .await?;
        printer.note(&format!(
            "what is there now is backup {}",
            saved.manifest.id
        ));
    }
    let id = &opened.set.manifest.id;
    match extent {
        Extent::Whole => {
            printer.note(&format!("restoring the database of {id}"));
            place(context, desk, opened, async |target, prepared| {
                stop(desk).await?;
                Ok(backup::swap(target, prepared).await?)
            })
            .await?;
            printer.note("restoring the broker and the directory");
            rest(desk, opened).await
        }
        Extent::Schema(name) => {
            printer.note(&format!("restoring schema {name} of {id}"));
            place(context, desk, opened, async |target, prepared| {
                stop(desk).await?;
                Ok(backup::replace_schema(target, prepared, name).await?)
            })
            .await
        }
    }
}

/// Makes a set's database beside the one that runs, and has `take` put it in its place.
async fn place(
    context: &Context,
    desk: &Desk,
    opened: &Opened<'_>,
    take: impl AsyncFnOnce(&Target<'_>, &Prepared) -> Result<()>,
) -> Result<()> {
    let container = desk.project.instance.container(postgres::NAME);
    let setup = Database::new(desk.config(), &desk.project.loaded.root);
    let target = target(desk, &container, &setup);
    let prepared = tokio::select! {
        prepared = backup::prepare(&target, opened) => prepared,
        () = context.interrupt.cancelled() => {
            Err(BackupError::Interrupted("nothing has changed"))
        }
    };
    let placed = match prepared {
        Ok(prepared) => take(&target, &prepared).await,
        Err(error) => Err(error.into()),
    };
    if placed.is_err() {
        // It takes as much of the disk as the one that runs.
        backup::sweep(&target).await?;
    }
    placed
}

fn target<'a>(desk: &'a Desk, container: &'a str, setup: &'a Database) -> Target<'a> {
    let config = desk.config();
    Target {
        postgres: Server {
            engine: &desk.engine,
            container,
        },
        options: postgres::connect_options(&config.postgres, &desk.ports),
        user: config.postgres.user.as_str(),
        name: config.postgres.database.as_str(),
        setup,
    }
}

async fn unfinished(desk: &Desk) -> Result<Option<String>> {
    let container = desk.project.instance.container(postgres::NAME);
    let setup = Database::new(desk.config(), &desk.project.loaded.root);
    Ok(backup::unfinished(&target(desk, &container, &setup)).await?)
}

/// Stops whoever uses the database.
async fn stop(desk: &Desk) -> Result<()> {
    let services = desk.config().services.all();
    let names = services
        .iter()
        .map(|(name, _)| *name)
        .chain([keycloak::NAME]);
    for name in names {
        let container = desk.project.instance.container(name);
        if desk.engine.inspect(&container).await?.is_some() {
            desk.engine.stop(&container, STOP_PATIENCE).await?;
        }
    }
    Ok(())
}

/// The broker and the directory, and the end of it.
async fn rest(desk: &Desk, opened: &Opened<'_>) -> Result<()> {
    let instance = &desk.project.instance;
    let directory = instance.container(openldap::NAME);
    let runs = desk.engine.inspect(&directory).await?.is_some();
    let directory = runs.then_some(Server {
        engine: &desk.engine,
        container: &directory,
    });
    let (broker, management) = (desk.dead_letters().await?, desk.management()?);
    backup::restore_rest(opened, &broker, &management, directory).await?;
    let container = instance.container(postgres::NAME);
    let setup = Database::new(desk.config(), &desk.project.loaded.root);
    backup::finish(&target(desk, &container, &setup)).await?;
    Ok(())
}

/// Brings a set back into an instance that has just begun anew.
pub(super) async fn bring(
    context: &Context,
    project: &Project,
    opened: &Opened<'_>,
) -> Result<Exit> {
    let desk = Desk::open(context).await?;
    let guard = context.lock(project, "dm reset").await?;
    let store = store(project, None);
    restore(context, &desk, &store, opened, &Extent::Whole, false).await?;
    drop(guard);
    bring_up(context, project).await
}

/// Brings the stack up again, and has the broker get what it lacks.
pub(super) async fn bring_up(context: &Context, project: &Project) -> Result<Exit> {
    start(context, project, "restore", PortUse::Existing, Vec::new()).await?;
    let desk = Desk::of(context, context.project_of(&project.instance.name)?).await?;
    let report = account(context, &desk).await?;
    let document = output::reconcile::Document::new(&report);
    context
        .printer
        .result(output::reconcile::SCHEMA, &document, |canvas| {
            output::reconcile::render(&report, canvas)
        })?;
    Ok(if is_whole(&report) {
        Exit::Success
    } else {
        Exit::Found
    })
}

/// Brings components up, all where none is named.
async fn start(
    context: &Context,
    project: &Project,
    command: &'static str,
    ports: PortUse<'_>,
    only: Vec<String>,
) -> Result<()> {
    let run = BringUp {
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
    };
    run.run(context).await?.complete()?;
    Ok(())
}

/// Whether nothing got lost. A dead letter that no outbox has written is one in the backup,
/// too.
fn is_whole(report: &Report) -> bool {
    let lost = [Kind::Missing, Kind::Doubled, Kind::Broken];
    lost.into_iter().all(|kind| report.count(kind) == 0)
}

/// Accounts for every event once what the broker lacks is published again.
async fn account(context: &Context, desk: &Desk) -> Result<Report> {
    let (stores, database) = (desk.stores(), desk.database().await?);
    let connection = desk.dead_letters().await?;
    let (management, memory) = (desk.management()?, memory::of_services(desk.config()));
    let printer = &context.printer;
    let site = reconcile::Site {
        stores: &stores,
        database: &database,
        connection: &connection,
        management: &management,
        memory: &memory,
        settle: SETTLE,
        told: &|what| printer.note(what),
    };
    let report = reconcile::run(&site).await?;
    let missing = report.count(Kind::Missing);
    if missing == 0 {
        return Ok(report);
    }
    let repaired = reconcile::repair(&site, &report.findings).await?;
    printer.note(&format!(
        "{repaired} of {missing} events that the broker lacked are published again"
    ));
    Ok(reconcile::run(&site).await?)
}

/// Restores a set into an instance of its own, and compares.
async fn prove(context: &Context, opened: &Opened<'_>) -> Result<Exit> {
    let set = opened.set;
    let project = context.project_of(SCRATCH)?;
    let _guard = context.lock(&project, "dm backup verify").await?;
    let engine = context.engine(project.config()).await?;
    // What a killed call has left.
    down::take_down(context, &project, engine.clone(), true).await?;
    let proved = proof(context, &project, opened).await;
    // Whatever came of it, and also where it was interrupted.
    down::take_down(&context.undisturbed(), &project, engine, true).await?;
    let report = proved?;
    let document = output::reconcile::Document::new(&report);
    let printer = &context.printer;
    printer.result(output::reconcile::SCHEMA, &document, |canvas| {
        output::reconcile::render(&report, canvas)
    })?;
    if !is_whole(&report) {
        return Ok(Exit::Found);
    }
    set.prove(Utc::now())?;
    printer.done(&format!(
        "{} was restored, each of its {} rows is there, and no event is missing",
        set.manifest.id,
        set.manifest.rows()
    ));
    Ok(Exit::Success)
}

async fn proof(context: &Context, project: &Project, opened: &Opened<'_>) -> Result<Report> {
    let only: Vec<String> = [postgres::NAME, rabbitmq::NAME].map(str::to_owned).to_vec();
    let ports = PortUse::Allocate {
        free: true,
        only: &only,
    };
    start(context, project, "verify", ports, only.clone()).await?;
    let desk = Desk::of(context, context.project_of(SCRATCH)?).await?;
    place(context, &desk, opened, async |target, prepared| {
        Ok(backup::swap(target, prepared).await?)
    })
    .await?;
    rest(&desk, opened).await?;
    account(context, &desk).await
}
