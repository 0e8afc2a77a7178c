//! Old backups are removed.

use chrono::Utc;
use dm_backup::{BackupError, Keep, Listed, Store, Verdict};
use dm_core::error::Result;

use crate::session::{Project, Session};

/// What becomes of each backup of an instance.
pub struct Pruning<'a> {
    store: &'a Store,
    keep: Keep,
    /// What becomes of those that can be read.
    pub verdicts: Vec<Verdict>,
    /// Those that can't be read: they stay.
    pub unreadable: Vec<String>,
}

/// How many backups went and stayed.
pub struct Pruned {
    /// Those that went.
    pub gone: usize,
    /// Those that can be read and stay.
    pub stay: usize,
}

impl<'a> Pruning<'a> {
    /// What becomes of each backup.
    ///
    /// # Errors
    /// The folder can't be read.
    pub fn plan(store: &'a Store, keep: Keep) -> Result<Self> {
        let (verdicts, unreadable) = judge(store, keep)?;
        Ok(Self {
            store,
            keep,
            verdicts,
            unreadable,
        })
    }

    fn going(&self) -> impl Iterator<Item = &Verdict> {
        self.verdicts.iter().filter(|it| it.goes())
    }

    /// Makes sure that they may be removed.
    ///
    /// # Errors
    /// Nobody says so.
    pub fn confirm(&self, session: &Session, project: &Project, yes: bool) -> Result<()> {
        let (instance, count) = (&project.instance.name, self.going().count());
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
    pub fn carry_out(&self, session: &Session) -> Result<Pruned> {
        self.store.sweep()?;
        // What was made, restored or removed since it was asked for may have changed it: only
        // what went then and goes now does.
        let (again, _) = judge(self.store, self.keep)?;
        let mut gone = 0;
        for verdict in again.iter().filter(|it| it.goes()) {
            if self.going().any(|it| it.set.path == verdict.set.path) {
                remove(session, self.store, verdict)?;
                gone += 1;
            }
        }
        Ok(Pruned {
            gone,
            stay: again.len() - gone,
        })
    }
}

/// Removes what goes, in the course of a schedule.
pub(super) fn quietly(session: &Session, store: &Store, keep: Keep) -> Result<()> {
    store.sweep()?;
    let (verdicts, _) = judge(store, keep)?;
    for verdict in verdicts.iter().filter(|it| it.goes()) {
        remove(session, store, verdict)?;
    }
    Ok(())
}

fn remove(session: &Session, store: &Store, verdict: &Verdict) -> Result<()> {
    let id = &verdict.set.manifest.id;
    session.frontend.note(&format!("removing {id}"));
    store.remove(&verdict.set)?;
    Ok(())
}

/// What becomes of each backup, and those that can't be read.
fn judge(store: &Store, keep: Keep) -> Result<(Vec<Verdict>, Vec<String>)> {
    let (mut sets, mut unreadable) = (Vec::new(), Vec::new());
    for listed in store.list()? {
        match listed {
            Listed::Whole(set) => sets.push(*set),
            Listed::Broken(name, _) => unreadable.push(name),
        }
    }
    let verdicts = keep.judge(&sets, Utc::now(), |set| set.check().is_ok());
    Ok((verdicts, unreadable))
}
