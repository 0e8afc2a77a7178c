//! Old backups are removed.

use chrono::Utc;
use dm_backup::{BackupEntry, BackupError, BackupStore, RetentionPolicy, RetentionVerdict};
use dm_core::error::Result;

use crate::session::{Project, Session};

/// What becomes of each backup of an instance.
pub struct PrunePlan<'a> {
    store: &'a BackupStore,
    policy: RetentionPolicy,
    /// What becomes of those that can be read.
    pub verdicts: Vec<RetentionVerdict>,
    /// Those that can't be read: they stay.
    pub unreadable: Vec<String>,
}

/// How many backups went and stayed.
pub struct PruneResult {
    /// Those that went.
    pub removed: usize,
    /// Those that can be read and stay.
    pub kept: usize,
}

impl<'a> PrunePlan<'a> {
    /// What becomes of each backup.
    ///
    /// # Errors
    /// The folder can't be read.
    pub fn new(store: &'a BackupStore, policy: RetentionPolicy) -> Result<Self> {
        let (verdicts, unreadable) = evaluate_backups(store, policy)?;
        Ok(Self {
            store,
            policy,
            verdicts,
            unreadable,
        })
    }

    fn removals(&self) -> impl Iterator<Item = &RetentionVerdict> {
        self.verdicts.iter().filter(|it| it.is_pruned())
    }

    /// Makes sure that they may be removed.
    ///
    /// # Errors
    /// Nobody says so.
    pub fn confirm(&self, session: &Session, project: &Project, yes: bool) -> Result<()> {
        let (instance, count) = (&project.instance.name, self.removals().count());
        let question = format!("remove {count} backups of instance `{instance}`?");
        if count == 0 || session.is_confirmed(yes, &question)? {
            Ok(())
        } else {
            Err(BackupError::PruneNotConfirmed(count).into())
        }
    }

    /// Removes those that go. The caller has the instance's lock.
    ///
    /// # Errors
    /// One can't be removed.
    pub fn execute(&self, session: &Session) -> Result<PruneResult> {
        self.store.remove_leftovers()?;
        // What was made, restored or removed since it was asked for may have changed it: only
        // what went then and goes now does.
        let (again, _) = evaluate_backups(self.store, self.policy)?;
        let mut gone = 0;
        for verdict in again.iter().filter(|it| it.is_pruned()) {
            if self
                .removals()
                .any(|it| it.backup.path == verdict.backup.path)
            {
                remove_backup(session, self.store, verdict)?;
                gone += 1;
            }
        }
        Ok(PruneResult {
            removed: gone,
            kept: again.len() - gone,
        })
    }
}

/// Removes what goes, in the course of a schedule.
pub(super) fn prune_unattended(
    session: &Session,
    store: &BackupStore,
    policy: RetentionPolicy,
) -> Result<()> {
    store.remove_leftovers()?;
    let (verdicts, _) = evaluate_backups(store, policy)?;
    for verdict in verdicts.iter().filter(|it| it.is_pruned()) {
        remove_backup(session, store, verdict)?;
    }
    Ok(())
}

fn remove_backup(session: &Session, store: &BackupStore, verdict: &RetentionVerdict) -> Result<()> {
    let id = &verdict.backup.manifest.id;
    session.frontend.note(&format!("removing {id}"));
    store.remove(&verdict.backup)?;
    Ok(())
}

/// What becomes of each backup, and those that can't be read.
fn evaluate_backups(
    store: &BackupStore,
    policy: RetentionPolicy,
) -> Result<(Vec<RetentionVerdict>, Vec<String>)> {
    let (mut sets, mut unreadable) = (Vec::new(), Vec::new());
    for listed in store.list()? {
        match listed {
            BackupEntry::Complete(set) => sets.push(*set),
            BackupEntry::Unreadable(name, _) => unreadable.push(name),
        }
    }
    let verdicts = policy.evaluate(&sets, Utc::now(), |set| set.verify_files().is_ok());
    Ok((verdicts, unreadable))
}
