//! `dm backup`.

mod prune;

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
use dm_core::number::whole_number;
use dm_operations::backup::{self, PrunePlan, restore};
use dm_operations::{Project, StackClients};

use crate::context::Context;
use crate::views;

/// The default interval between two scheduled backups.
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
    /// Returns whether the command ends by itself after the first interrupt.
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

/// Returns the warning that `--identity` has no effect: the command decrypts no backup.
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
  dm backup create --recipient \"$(age-keygen -y key.txt)\"")]
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
        /// Compares the number of rows of every table, checks every event, and removes the
        /// instance.
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
        retention: RetentionArgs,
        /// Run as the stack's own schedule, with what `dm up` has written for it.
        #[arg(long, hide = true, exclusive = true)]
        in_container: bool,
    },
    /// Remove old backups, and show why each backup goes or stays.
    ///
    /// Keeps the newest intact scheduled backup of each of the last days that have one, the
    /// newest safety backups, and all manual backups; --keep-manual limits the manual backups to
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
        retention: RetentionArgs,
        /// Show the backups that would be removed without removing them.
        #[arg(long)]
        dry_run: bool,
        /// Do not ask for confirmation.
        #[arg(long, short)]
        yes: bool,
    },
}

/// The options for the retention of each purpose.
#[derive(Debug, Args)]
struct RetentionArgs {
    /// Number of days of scheduled backups to keep [default: backup.keep].
    #[arg(long, value_name = "DAYS", value_parser = whole_number(NonZeroU16::MIN..=NonZeroU16::MAX), allow_negative_numbers = true)]
    keep: Option<NonZeroU16>,
    /// Number of safety backups to keep [default: backup.keep_safety].
    #[arg(long, value_name = "N", value_parser = whole_number(NonZeroU16::MIN..=NonZeroU16::MAX), allow_negative_numbers = true)]
    keep_safety: Option<NonZeroU16>,
    /// Number of days of manual backups to keep [default: backup.keep_manual].
    #[arg(long, value_name = "DAYS", value_parser = whole_number(NonZeroU16::MIN..=NonZeroU16::MAX), allow_negative_numbers = true)]
    keep_manual: Option<NonZeroU16>,
}

impl RetentionArgs {
    /// Returns the policy of the options, with defaults from the configuration.
    fn to_policy(&self, config: &dm_config::BackupConfig) -> RetentionPolicy {
        let configured = RetentionPolicy::from_config(config);
        let option = |limit: Option<NonZeroU16>| limit.map(|limit| usize::from(limit.get()));
        RetentionPolicy {
            days: option(self.keep).unwrap_or(configured.days),
            safety: option(self.keep_safety).unwrap_or(configured.safety),
            manual_days: option(self.keep_manual).or(configured.manual_days),
        }
    }
}

/// Parses the time between two backups.
fn parse_interval(text: &str) -> std::result::Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if interval < Duration::from_secs(1) {
        return Err("it must be at least 1 s".to_owned());
    }
    Ok(interval)
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<ExitStatus> {
    let session = &context.session;
    if let Action::Schedule {
        in_container: true, ..
    } = arguments.action
    {
        // The container has no project.
        backup::schedule_in_container(session).await?;
        return Ok(ExitStatus::Interrupted);
    }
    let printer = &context.printer;
    let project = session.project()?;
    let store = backup::open_store(&project, arguments.dir);
    let complete_error = |error| store.complete_error(error);
    if arguments.identity.is_some()
        && let Some(warning) = ignored_identity_warning(&arguments.action)
    {
        printer.warn(warning);
    }
    // Loaded on demand: creating a backup needs no identity.
    let identity_source = IdentitySource {
        project: &project,
        store: &store,
        file: arguments.identity.as_deref(),
    };
    let settings = &project.config().backup;
    match arguments.action {
        Action::Ls => list(context, &store),
        Action::Show { id } => {
            show(context, &store, &store.find(&id)?)?;
            Ok(ExitStatus::Success)
        }
        Action::Schedule {
            every, retention, ..
        } => {
            let interval = every
                .or(settings.every.as_duration())
                .unwrap_or(DEFAULT_INTERVAL);
            let policy = retention.to_policy(settings);
            backup::schedule(session, &project, &store, interval, policy).await?;
            Ok(ExitStatus::Interrupted)
        }
        Action::Prune {
            retention,
            dry_run,
            yes,
        } => {
            let plan = PrunePlan::new(&store, retention.to_policy(settings))?;
            prune(context, &project, &store, &plan, dry_run, yes).await
        }
        Action::Create { recipients } => {
            let recipients = if recipients.is_empty() {
                backup::recipients(&project)?
            } else {
                Recipients::parse(recipients.iter().map(String::as_str))?
            };
            let _guard = session.lock(&project, "dm backup create").await?;
            // Opened under the lock: another command may have recreated the stack before.
            let clients = StackClients::open(session).await?;
            let purpose = Purpose::Manual;
            let created = backup::create(session, &clients, &store, &recipients, purpose).await?;
            show(context, &store, &created)?;
            Ok(ExitStatus::Success)
        }
        Action::Verify { id, restore } => {
            let backup = store.find(&id)?;
            backup.verify_files().map_err(complete_error)?;
            printer.done(&format!(
                "every file of {} matches its digest",
                backup.manifest.id
            ));
            if !restore {
                return Ok(ExitStatus::Success);
            }
            verify(context, &store, &backup, identity_source).await
        }
        Action::Restore { resume: true, .. } => {
            let identities = identity_source.load()?;
            let _guard = session.lock(&project, "dm backup restore").await?;
            let report = restore::resume(session, &project, &store, &identities).await?;
            let repair = session.complete_hint(views::reconcile::REPAIR_COMMAND);
            views::reconcile::print_restore_report(printer, report, Some(&repair))
        }
        Action::Restore {
            id,
            yes,
            foreign,
            no_safety,
            schema,
            resume: false,
        } => {
            let identities = identity_source.load()?;
            let backup = store.find(&id)?;
            identity_source.warn_if_unused(context, &backup);
            restore::check_restorable(&project, &store, &backup, foreign)?;
            let scope = RestoreScope::new(&backup, schema.as_deref()).map_err(complete_error)?;
            let opened = backup.open(&identities).map_err(complete_error)?;
            confirm_restore(context, &project, &backup, scope, yes).await?;
            // Held to the end: a waiting command must not see a partly restored stack.
            let _guard = session.lock(&project, "dm backup restore").await?;
            let safety = !no_safety;
            let report =
                restore::restore(session, &project, &store, &opened, scope, safety).await?;
            let repair = session.complete_hint(views::reconcile::REPAIR_COMMAND);
            views::reconcile::print_restore_report(printer, report, Some(&repair))
        }
    }
}

/// Asks for confirmation that a backup replaces the data. On a terminal, the backup is compared
/// with the data before.
async fn confirm_restore(
    context: &Context,
    project: &Project,
    backup: &Backup,
    scope: RestoreScope<'_>,
    yes: bool,
) -> Result<()> {
    let printer = &context.printer;
    if !yes && printer.is_interactive() {
        let current_rows = restore::count_current_rows(project).await?;
        views::backup_comparison::print(printer, backup, &current_rows);
    }
    restore::confirm(&context.session, project, scope, yes)
}

/// The source of the identities that decrypt backups.
#[derive(Clone, Copy)]
struct IdentitySource<'a> {
    project: &'a Project,
    store: &'a BackupStore,
    file: Option<&'a Path>,
}

impl IdentitySource<'_> {
    fn load(self) -> Result<Identities> {
        backup::identities(self.project, self.file.map(Path::to_owned))
            .map_err(|error| self.store.complete_error(error).into())
    }

    /// Warns if `--identity` is set for a backup that is not encrypted.
    fn warn_if_unused(self, context: &Context, backup: &Backup) {
        if self.file.is_some() && backup.manifest.recipients.is_empty() {
            let id = &backup.manifest.id;
            let warning = format!("--identity has no effect: backup {id} is not encrypted");
            context.printer.warn(&warning);
        }
    }
}

/// Completes a suggested `dm backup` command: it names the instance, and repeats `--dir`.
fn complete_hint(context: &Context, store: &BackupStore, command: &str) -> String {
    context.session.complete_hint(&store.complete_hint(command))
}

fn list(context: &Context, store: &BackupStore) -> Result<ExitStatus> {
    let entries = store.list()?;
    let list = views::backup::BackupListDocument::new(store.directory(), &entries);
    context
        .printer
        .print_result(&dm_core::document::BACKUPS, &list, |canvas| {
            let create = complete_hint(context, store, "dm backup create");
            views::backup::render_list(&list, &create, canvas)
        })?;
    let has_unreadable = entries
        .iter()
        .any(|entry| matches!(entry, BackupEntry::Unreadable(..)));
    Ok(if has_unreadable {
        ExitStatus::Findings
    } else {
        ExitStatus::Success
    })
}

fn show(context: &Context, store: &BackupStore, backup: &Backup) -> Result<()> {
    let printer = &context.printer;
    Ok(
        printer.print_result(&dm_core::document::BACKUP, &backup.manifest, |canvas| {
            let verify = complete_hint(context, store, "dm backup verify --restore");
            views::backup::render_backup(backup, &verify, canvas)
        })?,
    )
}

async fn verify(
    context: &Context,
    store: &BackupStore,
    backup: &Backup,
    identity_source: IdentitySource<'_>,
) -> Result<ExitStatus> {
    identity_source.warn_if_unused(context, backup);
    let identities = identity_source.load()?;
    let opened = backup
        .open(&identities)
        .map_err(|error| store.complete_error(error))?;
    let report = backup::verify(&context.session, store, &opened).await?;
    // The scratch instance is removed: there is nothing to repair.
    let exit_status = views::reconcile::print_restore_report(&context.printer, report, None)?;
    if exit_status == ExitStatus::Success {
        backup.mark_verified(Utc::now())?;
        context.printer.done(&format!(
            "{} was restored: all {} rows are present, and no event is missing",
            backup.manifest.id,
            backup.manifest.total_rows()
        ));
    }
    Ok(exit_status)
}

async fn prune(
    context: &Context,
    project: &Project,
    store: &BackupStore,
    plan: &PrunePlan<'_>,
    dry_run: bool,
    yes: bool,
) -> Result<ExitStatus> {
    let (session, printer) = (&context.session, &context.printer);
    let (verdicts, unreadable) = (&plan.verdicts, &plan.unreadable);
    let document = prune::PruneDocument::new(verdicts, unreadable, dry_run);
    printer.print_result(&dm_core::document::BACKUP_PRUNE, &document, |canvas| {
        let complete_hint = |command: &str| complete_hint(context, store, command);
        prune::render(verdicts, unreadable, complete_hint, canvas)
    })?;
    if dry_run {
        return Ok(ExitStatus::Success);
    }
    plan.confirm(session, project, yes)?;
    let _guard = session.lock(project, "dm backup prune").await?;
    let result = plan.execute(session)?;
    printer.done(&format!(
        "{} backups were removed, and {} were kept",
        result.removed, result.kept
    ));
    Ok(ExitStatus::Success)
}

#[cfg(test)]
mod tests {
    use clap::{FromArgMatches as _, Subcommand as _};

    use super::*;
    use crate::test_support::assert_backup_is_compared_before;

    #[tokio::test]
    async fn restore_compares_the_backup_with_the_data_before_the_question() {
        assert_backup_is_compared_before(
            "replace all data",
            async |context, project, backup, yes| {
                confirm_restore(context, project, backup, RestoreScope::Full, yes).await
            },
        )
        .await;
    }

    #[test]
    fn ignored_identity_warning_is_for_commands_that_decrypt_no_backup() {
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
