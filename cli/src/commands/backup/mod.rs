//! `dm backup`.

mod proof;
mod restore;
mod schedule;

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::context::{Context, Project};
use super::desk::Desk;
use crate::components::database::Database;
use crate::components::{keycloak, openldap, postgres};
use crate::data::backup::{
    self, BackupError, Extent, Identities, Keep, Listed, Purpose, Recipients, Server, Set, Source,
    Store,
};
use crate::error::{Exit, Result};
use crate::output;

use restore::{Restored, Ways};
pub(super) use restore::{begin, check};

/// How long after a backup the next one is due where nobody says.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Save all that the stack holds, prove that it can be brought back, and bring it back.
///
/// A backup is the whole database from one state, the broker's definitions and dead
/// letters, the directory, and the realm as Keycloak exports it. Backups are kept with
/// dm's state unless `backup.directory` or --dir says otherwise.
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

impl Arguments {
    /// True where the command winds down by itself at the first interrupt.
    pub(super) const fn is_graceful(&self) -> bool {
        matches!(
            self.action,
            Action::Create { .. }
                | Action::Schedule { .. }
                | Action::Verify { restore: true, .. }
                | Action::Restore { .. }
        )
    }
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
    /// is served, checked and counted, and put in its place in one step: killed at any
    /// moment, the stack is as before or as after. No message of the replaced database
    /// stays. What the restored one says is on its way is published again, and every
    /// event is accounted for. Exit code 1 where an event is missing, doubled or orphaned.
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
        /// of events tells what does not fit. Refused for dm_ops, and where another schema
        /// depends on it.
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
    // Not before they are needed: who makes backups need not have any.
    let keys = || identities(&project, arguments.identity.clone());
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
            schedule::run(context, &project, &store, every, days(keep)).await
        }
        Action::Prune { keep, dry_run } => {
            // Nobody makes or restores one meanwhile.
            let _guard = context.lock(&project, "dm backup prune").await?;
            schedule::prune(context, &store, days(keep), dry_run)
        }
        Action::Create { recipients } => {
            let recipients = if recipients.is_empty() {
                configured(&project)?
            } else {
                Recipients::parse(recipients.iter().map(String::as_str))?
            };
            let _guard = context.lock(&project, "dm backup create").await?;
            // Only now: whatever had the lock may have made the stack anew.
            let desk = Desk::open(context).await?;
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
            let keys = keys()?;
            proof::run(context, &set.open(&keys)?).await
        }
        Action::Restore {
            id,
            yes,
            foreign,
            no_safety,
            schema,
            resume,
        } => {
            let keys = keys()?;
            if resume {
                let _guard = context.lock(&project, "dm backup restore").await?;
                let desk = restore::serving(context, &project, "restore").await?;
                let unfinished = restore::unfinished(&desk).await?;
                let set = store.find(&unfinished.ok_or(BackupError::NothingToResume)?)?;
                set.check()?;
                let opened = set.open(&keys)?;
                let letters = Ways::open(context, &desk).await?.resume(&opened).await?;
                return restore::bring_up(context, &desk.project, &Restored::Whole(letters)).await;
            }
            let set = store.find(&id)?;
            check(&project, &set, foreign)?;
            let extent = Extent::of(&set, schema.as_deref())?;
            let opened = set.open(&keys)?;
            restore::confirm(context, &project, extent, yes)?;
            // To the end: a command that waits must not find half a stack.
            let _guard = context.lock(&project, "dm backup restore").await?;
            let desk = Desk::open(context).await?;
            let run = restore::run(context, &desk, &store, &opened, extent, !no_safety);
            let restored = run.await?;
            restore::bring_up(context, &desk.project, &restored).await
        }
    }
}

/// To whom backups are encrypted by the configuration.
fn configured(project: &Project) -> Result<Recipients> {
    Ok(Recipients::parse(
        project.config().backup.recipients.iter(),
    )?)
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

/// Makes a set of what runs.
async fn create(
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
    let own_roles = Database::new(config, &desk.project.loaded.root).roles();
    let source = Source {
        project: &instance.project,
        instance: &instance.name,
        postgres: server(&postgres),
        user: config.postgres.user.as_str(),
        name: config.postgres.database.as_str(),
        own_roles: &own_roles,
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
            backup::abandon(&source, store).await?;
            Err(BackupError::Interrupted("there is no new backup, and the old ones are as they were").into())
        }
    }
}
