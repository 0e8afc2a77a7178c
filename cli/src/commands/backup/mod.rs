//! `dm backup`.

mod retention;

use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::Utc;
use clap::{Args, Subcommand};
use dm_backup::{Extent, Identities, Keep, Listed, Purpose, Recipients, Set, Store};
use dm_core::error::{Exit, Result};
use dm_operations::backup::{self, Pruning, restore};
use dm_operations::{Desk, Project};

use crate::context::Context;
use crate::views;

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

/// That `--identity` has no effect: the command reads no backup, or one that is not encrypted.
fn identity_ignored(action: &Action) -> Option<&'static str> {
    match action {
        Action::Restore { .. } | Action::Verify { restore: true, .. } => None,
        Action::Verify { restore: false, .. } => Some(
            "--identity has no effect without --restore: bytes are compared as they are stored",
        ),
        Action::Create { .. }
        | Action::Ls
        | Action::Show { .. }
        | Action::Schedule { .. }
        | Action::Prune { .. } => {
            Some("--identity has no effect: this command does not open a backup")
        }
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
    /// event is accounted for. Exit code 1 where an event is missing or doubled, or is orphaned
    /// and was not so in the backup.
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
    /// waited for. Unless `backup.every` is "off", `dm up` has this run in a container of
    /// the stack.
    Schedule {
        /// How long after a scheduled backup the next one is due, in place of `backup.every`,
        /// or a day.
        #[arg(long, value_name = "TIME", value_parser = interval)]
        every: Option<Duration>,
        #[command(flatten)]
        limits: Limits,
        /// Run as the stack's own schedule, with what `dm up` has written for it.
        #[arg(long, hide = true, exclusive = true)]
        in_container: bool,
    },
    /// Remove old backups, and show why each goes or stays.
    ///
    /// Scheduled backups go but for the newest whole one of each of the last days that have
    /// one, and safety copies but for the newest ones. Manual backups stay unless
    /// --keep-manual or `backup.keep_manual` says otherwise. No backup displaces one of
    /// another purpose. The one that the data was last restored from, one whose restore was
    /// cut short since, the newest verified one and the latest one always stay.
    ///
    /// Example: dm backup prune --keep 3 --dry-run
    Prune {
        #[command(flatten)]
        limits: Limits,
        /// Show what would go, and remove nothing.
        #[arg(long)]
        dry_run: bool,
        /// Don't ask.
        #[arg(long, short)]
        yes: bool,
    },
}

/// How many backups of each purpose stay.
#[derive(Debug, Args)]
struct Limits {
    /// How many days of scheduled backups stay, in place of `backup.keep`.
    #[arg(long, value_name = "DAYS")]
    keep: Option<NonZeroU16>,
    /// How many safety copies stay, in place of `backup.keep_safety`.
    #[arg(long, value_name = "COUNT")]
    keep_safety: Option<NonZeroU16>,
    /// How many days of manual backups stay, in place of `backup.keep_manual`.
    #[arg(long, value_name = "DAYS")]
    keep_manual: Option<NonZeroU16>,
}

impl Limits {
    /// What is asked for, and otherwise what the configuration says.
    fn over(&self, config: &dm_config::Backup) -> Keep {
        let configured = Keep::of(config);
        let given = |limit: Option<NonZeroU16>| limit.map(|it| usize::from(it.get()));
        Keep {
            days: given(self.keep).unwrap_or(configured.days),
            safety: given(self.keep_safety).unwrap_or(configured.safety),
            manual_days: given(self.keep_manual).or(configured.manual_days),
        }
    }
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
    let session = &context.session;
    if let Action::Schedule {
        in_container: true, ..
    } = arguments.action
    {
        // There is no project there.
        backup::schedule_in_container(session).await?;
        return Ok(Exit::Interrupted);
    }
    let printer = &context.printer;
    let project = session.project()?;
    let store = backup::store(&project, arguments.dir);
    if arguments.identity.is_some()
        && let Some(warning) = identity_ignored(&arguments.action)
    {
        printer.warn(warning);
    }
    // Not before they are needed: who makes backups need not have any.
    let keys = Keys {
        project: &project,
        file: arguments.identity.as_deref(),
    };
    let settings = &project.config().backup;
    match arguments.action {
        Action::Ls => list(context, &store),
        Action::Show { id } => {
            show(context, &store.find(&id)?)?;
            Ok(Exit::Success)
        }
        Action::Schedule { every, limits, .. } => {
            let every = every.or(settings.every.get()).unwrap_or(DAY);
            let keep = limits.over(settings);
            backup::schedule(session, &project, &store, every, keep).await?;
            Ok(Exit::Interrupted)
        }
        Action::Prune {
            limits,
            dry_run,
            yes,
        } => {
            let pruning = Pruning::plan(&store, limits.over(settings))?;
            prune(context, &project, &pruning, dry_run, yes).await
        }
        Action::Create { recipients } => {
            let recipients = if recipients.is_empty() {
                backup::recipients(&project)?
            } else {
                Recipients::parse(recipients.iter().map(String::as_str))?
            };
            let _guard = session.lock(&project, "dm backup create").await?;
            // Only now: whatever had the lock may have made the stack anew.
            let desk = Desk::open(session).await?;
            let purpose = Purpose::Manual;
            let set = backup::create(session, &desk, &store, &recipients, purpose).await?;
            show(context, &set)?;
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
            verify(context, &set, keys).await
        }
        Action::Restore { resume: true, .. } => {
            let keys = keys.read()?;
            let _guard = session.lock(&project, "dm backup restore").await?;
            let account = restore::resume(session, &project, &store, &keys).await?;
            views::reconcile::show_account(printer, account)
        }
        Action::Restore {
            id,
            yes,
            foreign,
            no_safety,
            schema,
            resume: false,
        } => {
            let identities = keys.read()?;
            let set = store.find(&id)?;
            keys.warn_unless_needed(context, &set);
            restore::check(&project, &set, foreign)?;
            let extent = Extent::of(&set, schema.as_deref())?;
            let opened = set.open(&identities)?;
            if !yes && printer.can_ask() {
                let now = restore::rows_now(&project).await?;
                views::comparison::show(printer, &set, &now);
            }
            restore::confirm(session, &project, extent, yes)?;
            // To the end: a command that waits must not find half a stack.
            let _guard = session.lock(&project, "dm backup restore").await?;
            let safety = !no_safety;
            let account =
                restore::restore(session, &project, &store, &opened, extent, safety).await?;
            views::reconcile::show_account(printer, account)
        }
    }
}

/// Where the keys to encrypted backups are.
#[derive(Clone, Copy)]
struct Keys<'a> {
    project: &'a Project,
    file: Option<&'a Path>,
}

impl Keys<'_> {
    fn read(self) -> Result<Identities> {
        backup::identities(self.project, self.file.map(Path::to_owned))
    }

    /// Warns where a key was given for what needs none.
    fn warn_unless_needed(self, context: &Context, set: &Set) {
        if self.file.is_some() && set.manifest.recipients.is_empty() {
            let id = &set.manifest.id;
            let warning = format!("--identity has no effect: backup {id} is not encrypted");
            context.printer.warn(&warning);
        }
    }
}

fn list(context: &Context, store: &Store) -> Result<Exit> {
    let sets = store.list()?;
    let list = views::backup::List::new(store.folder(), &sets);
    context
        .printer
        .result(views::backup::LIST, &list, |canvas| {
            views::backup::list(&list, canvas)
        })?;
    let broken = sets.iter().any(|it| matches!(it, Listed::Broken(..)));
    Ok(if broken { Exit::Found } else { Exit::Success })
}

fn show(context: &Context, set: &Set) -> Result<()> {
    let printer = &context.printer;
    Ok(
        printer.result(views::backup::SHOW, &set.manifest, |canvas| {
            views::backup::show(set, canvas)
        })?,
    )
}

async fn verify(context: &Context, set: &Set, keys: Keys<'_>) -> Result<Exit> {
    keys.warn_unless_needed(context, set);
    let identities = keys.read()?;
    let proved = backup::verify(&context.session, &set.open(&identities)?).await?;
    let exit = views::reconcile::show_account(&context.printer, proved)?;
    if exit == Exit::Success {
        set.prove(Utc::now())?;
        context.printer.done(&format!(
            "{} was restored, each of its {} rows is there, and no event is missing",
            set.manifest.id,
            set.manifest.rows()
        ));
    }
    Ok(exit)
}

async fn prune(
    context: &Context,
    project: &Project,
    pruning: &Pruning<'_>,
    dry_run: bool,
    yes: bool,
) -> Result<Exit> {
    let (session, printer) = (&context.session, &context.printer);
    let (verdicts, unreadable) = (&pruning.verdicts, &pruning.unreadable);
    let document = retention::Document::new(verdicts, unreadable, dry_run);
    printer.result(retention::SCHEMA, &document, |canvas| {
        retention::render(verdicts, unreadable, canvas)
    })?;
    if dry_run {
        return Ok(Exit::Success);
    }
    pruning.confirm(session, project, yes)?;
    let _guard = session.lock(project, "dm backup prune").await?;
    let pruned = pruning.carry_out(session)?;
    printer.done(&format!(
        "{} backups are gone, {} stay",
        pruned.gone, pruned.stay
    ));
    Ok(Exit::Success)
}

#[cfg(test)]
mod tests {
    use clap::{FromArgMatches as _, Subcommand as _};

    use super::*;

    #[test]
    fn a_key_is_for_what_opens_a_backup() {
        for (line, ignored) in [
            (&["restore"][..], false),
            (&["verify", "--restore"], false),
            (&["verify"], true),
            (&["ls"], true),
            (&["create"], true),
            (&["prune", "--dry-run"], true),
        ] {
            let command = Action::augment_subcommands(clap::Command::new("backup"));
            let words = ["backup"].iter().chain(line);
            let matches = command.try_get_matches_from(words).unwrap();
            let action = Action::from_arg_matches(&matches).unwrap();
            assert_eq!(identity_ignored(&action).is_some(), ignored, "{line:?}");
        }
    }
}
