//! Removes old backups.

use chrono::Utc;
use dm_backup::{BackupEntry, BackupError, BackupStore, RetentionPolicy, RetentionVerdict};
use dm_core::error::Result;

use crate::session::{Project, Session};

/// The retention verdicts for the backups of an instance.
pub struct PrunePlan<'a> {
    store: &'a BackupStore,
    policy: RetentionPolicy,
    /// The verdicts for the readable backups.
    pub verdicts: Vec<RetentionVerdict>,
    /// The backups that cannot be read. They are kept.
    pub unreadable: Vec<String>,
}

/// The numbers of removed and kept backups.
pub struct PruneResult {
    /// The number of removed backups.
    pub removed: usize,
    /// The number of readable backups that were kept.
    pub kept: usize,
}

impl<'a> PrunePlan<'a> {
    /// Evaluates the policy for each backup.
    ///
    /// # Errors
    /// If the directory cannot be read.
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
        self.verdicts.iter().filter(|verdict| verdict.is_pruned())
    }

    /// Asks for confirmation if there are backups to remove.
    ///
    /// # Errors
    /// Returns [`BackupError::PruneNotConfirmed`] if the removal is not confirmed.
    pub fn confirm(&self, session: &Session, project: &Project, yes: bool) -> Result<()> {
        let (instance, count) = (&project.instance.name, self.removals().count());
        let question = format!("remove {count} backups of instance `{instance}`?");
        if count == 0 || session.is_confirmed(yes, &question)? {
            Ok(())
        } else {
            Err(BackupError::PruneNotConfirmed(count).into())
        }
    }

    /// Removes the pruned backups. The caller holds the instance lock.
    ///
    /// # Errors
    /// If a backup cannot be removed.
    pub fn execute(&self, session: &Session) -> Result<PruneResult> {
        self.store.remove_leftovers()?;
        // Backups created, restored or removed since the confirmation may change the verdicts:
        // only backups that are pruned by both evaluations are removed.
        let (current, _) = evaluate_backups(self.store, self.policy)?;
        let mut removed = 0;
        for verdict in current.iter().filter(|verdict| verdict.is_pruned()) {
            if self
                .removals()
                .any(|removal| removal.backup.path == verdict.backup.path)
            {
                remove_backup(session, self.store, verdict)?;
                removed += 1;
            }
        }
        Ok(PruneResult {
            removed,
            kept: current.len() - removed,
        })
    }
}

/// Removes the pruned backups without confirmation, for the schedule.
pub(super) fn prune_unattended(
    session: &Session,
    store: &BackupStore,
    policy: RetentionPolicy,
) -> Result<()> {
    store.remove_leftovers()?;
    let (verdicts, _) = evaluate_backups(store, policy)?;
    for verdict in verdicts.iter().filter(|verdict| verdict.is_pruned()) {
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

/// Returns the verdicts for the readable backups, and the names of the unreadable ones.
fn evaluate_backups(
    store: &BackupStore,
    policy: RetentionPolicy,
) -> Result<(Vec<RetentionVerdict>, Vec<String>)> {
    let (mut backups, mut unreadable) = (Vec::new(), Vec::new());
    for entry in store.list()? {
        match entry {
            BackupEntry::Complete(backup) => backups.push(*backup),
            BackupEntry::Unreadable(name, _) => unreadable.push(name),
        }
    }
    let verdicts = policy.evaluate(&backups, Utc::now(), |backup| backup.verify_files().is_ok());
    Ok((verdicts, unreadable))
}
