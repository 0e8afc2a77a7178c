//! Which backups are kept, which are pruned, and why.
//!
//! Each purpose has a rule of its own, so that no backup displaces one of another purpose: a
//! safety backup, which is always the newest of its day, never displaces a manual or scheduled one.

use std::cell::RefCell;
use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::{Backup, Purpose};

/// The number of backups of each purpose that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionPolicy {
    /// The number of days of which the newest scheduled backup is kept.
    pub days: usize,
    /// The number of safety backups that are kept.
    pub safety: usize,
    /// The number of days of which the newest manual backup is kept, or `None` to keep all.
    pub manual_days: Option<usize>,
}

/// Why a backup is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum KeepReason {
    /// The data was last restored from it.
    RestoredFrom,
    /// A restore of this backup was started after the last completed restore; its result is
    /// unknown.
    Restoring,
    /// The newest backup that was restored to another instance and compared.
    Verified,
    /// The newest intact manual or scheduled backup.
    Latest,
    /// A manual backup, without a limit for manual backups.
    Manual,
    /// The newest intact backup of its day and purpose.
    NewestOfDay {
        /// The day, in UTC.
        day: NaiveDate,
    },
    /// One of the newest safety backups.
    Safety,
    /// A file is missing or has changed. The backup does not displace others, and may still be
    /// worth an inspection.
    Damaged,
    /// A backup with a date in the future: the clock was or is wrong.
    Future,
}

/// Why a backup is pruned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum PruneReason {
    /// A newer intact backup of the same purpose and day exists.
    SameDay {
        /// The id of the newer backup.
        newer: String,
    },
    /// Enough later days have an intact backup of the same purpose.
    Old {
        /// The number of later days.
        days: usize,
    },
    /// Enough safety backups are newer.
    Surplus {
        /// The number of newer safety backups.
        newer: usize,
    },
}

/// Whether a backup is kept or pruned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetentionDecision {
    /// The backup is kept.
    Keep(KeepReason),
    /// The backup is pruned.
    Prune(PruneReason),
}

/// A backup with its retention decision.
#[derive(Debug, Clone, PartialEq)]
pub struct RetentionVerdict {
    /// The backup.
    pub backup: Backup,
    /// The decision and its reason.
    pub decision: RetentionDecision,
}

impl RetentionVerdict {
    /// Returns whether the backup is pruned.
    #[must_use]
    pub const fn is_pruned(&self) -> bool {
        matches!(self.decision, RetentionDecision::Prune(_))
    }
}

impl RetentionPolicy {
    /// Returns the policy of the configuration.
    #[must_use]
    pub fn from_config(config: &dm_config::BackupConfig) -> Self {
        Self {
            days: config.keep.get().into(),
            safety: config.keep_safety.get().into(),
            manual_days: config.keep_manual.map(|days| days.get().into()),
        }
    }

    /// Decides about each backup, oldest first. `is_intact` compares the files of a backup with their
    /// digests: only an intact backup can displace another.
    #[must_use]
    pub fn evaluate(
        self,
        backups: &[Backup],
        now: DateTime<Utc>,
        is_intact: impl Fn(&Backup) -> bool,
    ) -> Vec<RetentionVerdict> {
        let mut newest_first: Vec<&Backup> = backups.iter().collect();
        newest_first.sort_by(|a, b| age_key(b).cmp(&age_key(a)));
        let integrity = IntegrityCache::new(is_intact);
        let with_purpose = |purpose: Purpose| {
            let backups = newest_first.iter().copied();
            backups.filter(move |backup| backup.manifest.purpose == purpose)
        };
        let scheduled = with_purpose(Purpose::Scheduled);
        let mut decisions = decide_by_day(scheduled, self.days, now, &integrity);
        let manual = with_purpose(Purpose::Manual);
        decisions.extend(match self.manual_days {
            Some(days) => decide_by_day(manual, days, now, &integrity),
            None => manual
                .map(|backup| {
                    (
                        backup_id(backup),
                        RetentionDecision::Keep(KeepReason::Manual),
                    )
                })
                .collect(),
        });
        let safety = with_purpose(Purpose::Safety);
        decisions.extend(decide_by_count(safety, self.safety, now, &integrity));

        // From the weakest to the strongest reason: the last one is reported.
        let non_safety = || {
            let backups = newest_first.iter().copied();
            backups.filter(|backup| backup.manifest.purpose != Purpose::Safety)
        };
        let latest = non_safety()
            .find(|backup| backup.manifest.taken_at <= now && integrity.is_intact(backup));
        let verified =
            non_safety().find(|backup| backup.verified_at.is_some() && integrity.is_intact(backup));
        let restored = newest_first
            .iter()
            .filter(|backup| backup.restored_at.is_some());
        let restored = restored.copied().max_by_key(|backup| backup.restored_at);
        let restored_at = restored.and_then(|backup| backup.restored_at);
        for backup in &newest_first {
            if backup.restore_started_at.is_some() && backup.restore_started_at > restored_at {
                decisions.insert(
                    backup_id(backup),
                    RetentionDecision::Keep(KeepReason::Restoring),
                );
            }
        }
        for (backup, reason) in [
            (latest, KeepReason::Latest),
            (verified, KeepReason::Verified),
            (restored, KeepReason::RestoredFrom),
        ] {
            if let Some(backup) = backup {
                decisions.insert(backup_id(backup), RetentionDecision::Keep(reason));
            }
        }
        newest_first.reverse();
        let verdicts = newest_first.into_iter().filter_map(|backup| {
            let decision = decisions.remove(backup_id(backup))?;
            Some(RetentionVerdict {
                backup: backup.clone(),
                decision,
            })
        });
        verdicts.collect()
    }
}

fn backup_id(backup: &Backup) -> &str {
    &backup.manifest.id
}

fn age_key(backup: &Backup) -> (DateTime<Utc>, &str) {
    (backup.manifest.taken_at, backup_id(backup))
}

/// Results of integrity checks, so that each backup is checked once.
struct IntegrityCache<'a, F> {
    verify: F,
    results: RefCell<BTreeMap<&'a str, bool>>,
}

impl<'a, F: Fn(&Backup) -> bool> IntegrityCache<'a, F> {
    const fn new(verify: F) -> Self {
        Self {
            verify,
            results: RefCell::new(BTreeMap::new()),
        }
    }

    fn is_intact(&self, backup: &'a Backup) -> bool {
        let id = backup_id(backup);
        let known = self.results.borrow().get(id).copied();
        known.unwrap_or_else(|| {
            let is_intact = (self.verify)(backup);
            self.results.borrow_mut().insert(id, is_intact);
            is_intact
        })
    }
}

/// Keeps the newest intact backup of each of the last `days` days that have one.
fn decide_by_day<'a, F: Fn(&Backup) -> bool>(
    newest_first: impl Iterator<Item = &'a Backup>,
    days: usize,
    now: DateTime<Utc>,
    integrity: &IntegrityCache<'a, F>,
) -> BTreeMap<&'a str, RetentionDecision> {
    let mut kept: BTreeMap<NaiveDate, &str> = BTreeMap::new();
    let mut decisions = BTreeMap::new();
    for backup in newest_first {
        let day = backup.manifest.taken_at.date_naive();
        let decision = if backup.manifest.taken_at > now {
            RetentionDecision::Keep(KeepReason::Future)
        } else if let Some(newer) = kept.get(&day) {
            let newer = (*newer).to_owned();
            RetentionDecision::Prune(PruneReason::SameDay { newer })
        } else if kept.len() >= days.max(1) {
            RetentionDecision::Prune(PruneReason::Old { days: kept.len() })
        } else if integrity.is_intact(backup) {
            kept.insert(day, backup_id(backup));
            RetentionDecision::Keep(KeepReason::NewestOfDay { day })
        } else {
            RetentionDecision::Keep(KeepReason::Damaged)
        };
        decisions.insert(backup_id(backup), decision);
    }
    decisions
}

/// Keeps the newest `count` intact backups.
fn decide_by_count<'a, F: Fn(&Backup) -> bool>(
    newest_first: impl Iterator<Item = &'a Backup>,
    count: usize,
    now: DateTime<Utc>,
    integrity: &IntegrityCache<'a, F>,
) -> BTreeMap<&'a str, RetentionDecision> {
    let mut newer = 0;
    let mut decisions = BTreeMap::new();
    for backup in newest_first {
        let decision = if backup.manifest.taken_at > now {
            RetentionDecision::Keep(KeepReason::Future)
        } else if newer >= count.max(1) {
            RetentionDecision::Prune(PruneReason::Surplus { newer })
        } else if integrity.is_intact(backup) {
            newer += 1;
            RetentionDecision::Keep(KeepReason::Safety)
        } else {
            RetentionDecision::Keep(KeepReason::Damaged)
        };
        decisions.insert(backup_id(backup), decision);
    }
    decisions
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;
