//! `dm backup`.

mod retention;

use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::Utc;
use clap::{Args, Subcommand};
use dm_backup::{
    Backup, BackupEntry, BackupStore, Identities, Purpose, Recipients, RestoreScope,
    RetentionPolicy,
};
use dm_core::error::{ExitStatus, Result};
use dm_operations::backup::{self, PrunePlan, restore};
use dm_operations::{Project, StackClients};

use crate::context::Context;
use crate::views;

/// How long after a backup the next one is due where nobody says.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// Create, verify and restore backups.
///
/// A backup contains a consistent dump of the whole database, the definitions and the dead
/// letters of the broker, the LDAP directory, and the realm as exported by Keycloak.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  dm backup create
  dm backup verify --restore
  dm backup restore latest")]
pub(crate) struct Arguments {
    /// Directory of the backups [default: backup.directory, or the state directory of dm].
    #[arg(long, value_name = "DIR", global = true)]
    dir: Option<PathBuf>,
    /// File with the age identity that decrypts the backup [default: backup.identity].
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
fn ignored_identity_warning(action: &Action) -> Option<&'static str> {
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
    /// Create a backup of the running stack.
    #[command(after_long_help = "Examples:
  dm backup create
  dm backup create --dir /mnt/backups
  dm backup create --recipient age1example")]
    Create {
        /// Encrypt the backup for this age recipient; may be repeated [default: backup.recipients].
        #[arg(long = "recipient", value_name = "RECIPIENT")]
        recipients: Vec<String>,
    },
    /// List the backups, oldest first.
    ///
    /// Exit code 1 if a backup is broken.
    #[command(after_long_help = "Examples:
  dm backup ls
  dm backup ls --dir /mnt/backups")]
    Ls,
    /// Show the contents of a backup.
    #[command(after_long_help = "Examples:
  dm backup show
  dm backup show 20261126T17 --json")]
    Show {
        /// Id of the backup, a unique prefix of the id, or `latest`.
        #[arg(default_value = "latest", value_name = "BACKUP")]
        id: String,
    },
    /// Check every byte of a backup; with --restore, restore it elsewhere and compare.
    #[command(after_long_help = "Examples:
  dm backup verify
  dm backup verify --restore
  dm backup verify 20261126T17 --restore --identity key.txt")]
    Verify {
        /// Id of the backup, a unique prefix of the id, or `latest`.
        #[arg(default_value = "latest", value_name = "BACKUP")]
        id: String,
        /// Also restore the backup into a scratch instance.
        ///
        /// Compares the number of rows of every table, accounts for every event, and removes
        /// the instance.
        #[arg(long)]
        restore: bool,
    },
    /// Replace all data of the stack with a backup.
    ///
    /// The current data is saved first. The database of the backup is restored next to the
    /// current one, checked and counted, and swapped in as one step: if the command is killed,
    /// the stack has either the old data or the new data. All messages in the queues are
    /// removed, and the dead letters of the backup are put back. Events that the restored
    /// outboxes have published and no inbox has processed are published again, and every event
    /// is accounted for.
    ///
    /// Exit code 1 if an event is still missing after republishing, or doubled, if an invariant
    /// is violated, or if an event is orphaned that was not orphaned in the backup.
    #[command(after_long_help = "Examples:
  dm backup restore
  dm backup restore 20261126T17 --yes
  dm backup restore latest --schema orders")]
    Restore {
        /// Id of the backup, a unique prefix of the id, or `latest`.
        #[arg(default_value = "latest", value_name = "BACKUP")]
        id: String,
        /// Do not ask for confirmation.
        #[arg(long, short)]
        yes: bool,
        /// Allow a backup of another instance.
        #[arg(long)]
        foreign: bool,
        /// Do not save the current data first.
        #[arg(long)]
        no_safety: bool,
        /// Restore only this schema of the database: tables, sequences and permissions.
        ///
        /// All other data stays. Events that do not match the restored schema are reported.
        /// Refused for dm_ops, and if another schema depends on the schema.
        #[arg(long, value_name = "SCHEMA")]
        schema: Option<String>,
        /// Complete an interrupted restore.
        #[arg(long, conflicts_with_all = ["id", "foreign", "no_safety", "schema"])]
        resume: bool,
    },
    /// Create a backup whenever one is due, and prune old ones, until interrupted.
    ///
    /// A backup that became due while the command did not run is created at once. If the stack
    /// is down, the command waits for it. Unless `backup.every` is "off", `dm up` runs this
    /// command in a container of the stack.
    #[command(after_long_help = "Examples:
  dm backup schedule
  dm backup schedule --every 12h --keep 14")]
    Schedule {
        /// Time between two scheduled backups, e.g. `12h` [default: backup.every, or 1d].
        #[arg(long, value_name = "DURATION", value_parser = parse_interval)]
        every: Option<Duration>,
        #[command(flatten)]
        limits: RetentionArgs,
        /// Run as the stack's own schedule, with what `dm up` has written for it.
        #[arg(long, hide = true, exclusive = true)]
        in_container: bool,
    },
    /// Remove old backups, and show why each backup goes or stays.
    ///
    /// Keeps the newest intact scheduled backup of each of the last days that have one, the
    /// newest safety copies, and all manual backups; --keep-manual limits the manual backups to
    /// one per day as well. Each purpose is counted separately.
    ///
    /// Always keeps the backup that the data was last restored from, a backup whose restore was
    /// interrupted since then, the newest manual or scheduled backup that `verify --restore` has
    /// verified, and the latest intact manual or scheduled backup.
    #[command(after_long_help = "Examples:
  dm backup prune --dry-run
  dm backup prune --keep 3 --yes
  dm backup prune --keep-manual 30")]
    Prune {
        #[command(flatten)]
        limits: RetentionArgs,
        /// Show the backups that would be removed without removing them.
        #[arg(long)]
        dry_run: bool,
        /// Do not ask for confirmation.
        #[arg(long, short)]
        yes: bool,
    },
}

/// How many backups of each purpose stay.
#[derive(Debug, Args)]
struct RetentionArgs {
    /// Number of days of scheduled backups to keep [default: backup.keep].
    #[arg(long, value_name = "DAYS")]
    keep: Option<NonZeroU16>,
    /// Number of safety copies to keep [default: backup.keep_safety].
    #[arg(long, value_name = "N")]
    keep_safety: Option<NonZeroU16>,
    /// Number of days of manual backups to keep [default: backup.keep_manual].
    #[arg(long, value_name = "DAYS")]
    keep_manual: Option<NonZeroU16>,
}

impl RetentionArgs {
    /// What is asked for, and otherwise what the configuration says.
    fn to_policy(&self, config: &dm_config::BackupConfig) -> RetentionPolicy {
        let configured = RetentionPolicy::from_config(config);
        let given = |limit: Option<NonZeroU16>| limit.map(|it| usize::from(it.get()));
        RetentionPolicy {
            days: given(self.keep).unwrap_or(configured.days),
            safety: given(self.keep_safety).unwrap_or(configured.safety),
            manual_days: given(self.keep_manual).or(configured.manual_days),
        }
    }
}

/// A time between two backups.
fn parse_interval(text: &str) -> std::result::Result<Duration, String> {
    let every = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if every < Duration::from_secs(1) {
        return Err("it must be at least 1 s".to_owned());
    }
    Ok(every)
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<ExitStatus> {
    let session = &context.session;
    if let Action::Schedule {
        in_container: true, ..
    } = arguments.action
    {
        // There is no project there.
        backup::schedule_in_container(session).await?;
        return Ok(ExitStatus::Interrupted);
    }
    let printer = &context.printer;
    let project = session.project()?;
    let store = backup::open_store(&project, arguments.dir);
    if arguments.identity.is_some()
        && let Some(warning) = ignored_identity_warning(&arguments.action)
    {
        printer.warn(warning);
    }
    // Not before they are needed: who makes backups need not have any.
    let keys = IdentitySource {
        project: &project,
        file: arguments.identity.as_deref(),
    };
    let settings = &project.config().backup;
    match arguments.action {
        Action::Ls => list(context, &store),
        Action::Show { id } => {
            show(context, &store.find(&id)?)?;
            Ok(ExitStatus::Success)
        }
        Action::Schedule { every, limits, .. } => {
            let every = every
                .or(settings.every.as_duration())
                .unwrap_or(DEFAULT_INTERVAL);
            let keep = limits.to_policy(settings);
            backup::schedule(session, &project, &store, every, keep).await?;
            Ok(ExitStatus::Interrupted)
        }
        Action::Prune {
            limits,
            dry_run,
            yes,
        } => {
            let pruning = PrunePlan::new(&store, limits.to_policy(settings))?;
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
            let desk = StackClients::open(session).await?;
            let purpose = Purpose::Manual;
            let set = backup::create(session, &desk, &store, &recipients, purpose).await?;
            show(context, &set)?;
            Ok(ExitStatus::Success)
        }
        Action::Verify { id, restore } => {
            let set = store.find(&id)?;
            set.verify_files()?;
            printer.done(&format!(
                "every file of {} matches its digest",
                set.manifest.id
            ));
            if !restore {
                return Ok(ExitStatus::Success);
            }
            verify(context, &set, keys).await
        }
        Action::Restore { resume: true, .. } => {
            let keys = keys.load()?;
            let _guard = session.lock(&project, "dm backup restore").await?;
            let account = restore::resume(session, &project, &store, &keys).await?;
            views::reconcile::print_restore_report(printer, account)
        }
        Action::Restore {
            id,
            yes,
            foreign,
            no_safety,
            schema,
            resume: false,
        } => {
            let identities = keys.load()?;
            let set = store.find(&id)?;
            keys.warn_if_unused(context, &set);
            restore::check_restorable(&project, &set, foreign)?;
            let extent = RestoreScope::new(&set, schema.as_deref())?;
            let opened = set.open(&identities)?;
            if !yes && printer.is_interactive() {
                let now = restore::count_current_rows(&project).await?;
                views::backup_comparison::print(printer, &set, &now);
            }
            restore::confirm(session, &project, extent, yes)?;
            // To the end: a command that waits must not find half a stack.
            let _guard = session.lock(&project, "dm backup restore").await?;
            let safety = !no_safety;
            let account =
                restore::restore(session, &project, &store, &opened, extent, safety).await?;
            views::reconcile::print_restore_report(printer, account)
        }
    }
}

/// Where the keys to encrypted backups are.
#[derive(Clone, Copy)]
struct IdentitySource<'a> {
    project: &'a Project,
    file: Option<&'a Path>,
}

impl IdentitySource<'_> {
    fn load(self) -> Result<Identities> {
        backup::identities(self.project, self.file.map(Path::to_owned))
    }

    /// Warns where a key was given for what needs none.
    fn warn_if_unused(self, context: &Context, set: &Backup) {
        if self.file.is_some() && set.manifest.recipients.is_empty() {
            let id = &set.manifest.id;
            let warning = format!("--identity has no effect: backup {id} is not encrypted");
            context.printer.warn(&warning);
        }
    }
}

fn list(context: &Context, store: &BackupStore) -> Result<ExitStatus> {
    let sets = store.list()?;
    let list = views::backup::BackupListDocument::new(store.directory(), &sets);
    context
        .printer
        .print_result(&dm_core::document::BACKUPS, &list, |canvas| {
            views::backup::render_list(&list, canvas)
        })?;
    let broken = sets
        .iter()
        .any(|it| matches!(it, BackupEntry::Unreadable(..)));
    Ok(if broken {
        ExitStatus::Findings
    } else {
        ExitStatus::Success
    })
}

fn show(context: &Context, set: &Backup) -> Result<()> {
    let printer = &context.printer;
    Ok(
        printer.print_result(&dm_core::document::BACKUP, &set.manifest, |canvas| {
            views::backup::render_backup(set, canvas)
        })?,
    )
}

async fn verify(context: &Context, set: &Backup, keys: IdentitySource<'_>) -> Result<ExitStatus> {
    keys.warn_if_unused(context, set);
    let identities = keys.load()?;
    let proved = backup::verify(&context.session, &set.open(&identities)?).await?;
    let exit = views::reconcile::print_restore_report(&context.printer, proved)?;
    if exit == ExitStatus::Success {
        set.mark_verified(Utc::now())?;
        context.printer.done(&format!(
            "{} was restored: all {} rows are present, and no event is missing",
            set.manifest.id,
            set.manifest.total_rows()
        ));
    }
    Ok(exit)
}

async fn prune(
    context: &Context,
    project: &Project,
    pruning: &PrunePlan<'_>,
    dry_run: bool,
    yes: bool,
) -> Result<ExitStatus> {
    let (session, printer) = (&context.session, &context.printer);
    let (verdicts, unreadable) = (&pruning.verdicts, &pruning.unreadable);
    let document = retention::PruneDocument::new(verdicts, unreadable, dry_run);
    printer.print_result(&dm_core::document::BACKUP_PRUNE, &document, |canvas| {
        retention::render(verdicts, unreadable, canvas)
    })?;
    if dry_run {
        return Ok(ExitStatus::Success);
    }
    pruning.confirm(session, project, yes)?;
    let _guard = session.lock(project, "dm backup prune").await?;
    let pruned = pruning.execute(session)?;
    printer.done(&format!(
        "{} backups were removed, and {} were kept",
        pruned.removed, pruned.kept
    ));
    Ok(ExitStatus::Success)
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
            assert_eq!(
                ignored_identity_warning(&action).is_some(),
                ignored,
                "{line:?}"
            );
        }
    }
}
