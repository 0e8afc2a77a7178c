//! Which backups stay, which go, and why.
//!
//! Each purpose has a rule of its own, so that no backup displaces one of another purpose: a
//! safety copy, which is always the newest of its day, never takes the place of a good one.

use std::cell::RefCell;
use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::{Backup, Purpose};

/// How many backups of each purpose stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionPolicy {
    /// Days of which the newest scheduled backup stays.
    pub days: usize,
    /// Safety copies that stay.
    pub safety: usize,
    /// Days of which the newest manual backup stays; none: all manual ones do.
    pub manual_days: Option<usize>,
}

/// Why a backup stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "because", rename_all = "kebab-case")]
pub enum KeepReason {
    /// The data was last restored from it.
    RestoredFrom,
    /// A restore of it was begun after that, and its end is not known.
    Restoring,
    /// It is the newest one that was restored elsewhere and compared.
    Verified,
    /// It is the newest whole manual or scheduled one.
    Latest,
    /// A person made it, and no limit of manual ones is set.
    Manual,
    /// It is the newest whole one of its day and purpose.
    NewestOfDay {
        /// The day, in UTC.
        day: NaiveDate,
    },
    /// It is one of the newest safety copies.
    Safety,
    /// A file of it is missing or has changed: it counts for nothing, and may still be
    /// worth looking at.
    Damaged,
    /// It is dated later than now: the clock was wrong, then or now.
    Future,
}

/// Why a backup goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "because", rename_all = "kebab-case")]
pub enum PruneReason {
    /// A newer whole one of its purpose is of the same day.
    SameDay {
        /// That one's id.
        newer: String,
    },
    /// Enough days after its own have a whole one of its purpose.
    Old {
        /// So many.
        days: usize,
    },
    /// Enough safety copies are newer.
    Surplus {
        /// So many.
        newer: usize,
    },
}

/// What becomes of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetentionDecision {
    /// It stays.
    Keep(KeepReason),
    /// It goes.
    Prune(PruneReason),
}

/// A backup with what becomes of it.
#[derive(Debug, Clone, PartialEq)]
pub struct RetentionVerdict {
    /// The backup.
    pub backup: Backup,
    /// Stays or goes, and why.
    pub decision: RetentionDecision,
}

impl RetentionVerdict {
    /// Whether it goes.
    #[must_use]
    pub const fn is_pruned(&self) -> bool {
        matches!(self.decision, RetentionDecision::Prune(_))
    }
}

impl RetentionPolicy {
    /// What the configuration says.
    #[must_use]
    pub fn from_config(config: &dm_config::BackupConfig) -> Self {
        Self {
            days: config.keep.get().into(),
            safety: config.keep_safety.get().into(),
            manual_days: config.keep_manual.map(|days| days.get().into()),
        }
    }

    /// What becomes of each backup, oldest first. `is_whole` compares a backup's bytes with
    /// their digests: only a whole one is a reason for another to go.
    #[must_use]
    pub fn evaluate(
        self,
        sets: &[Backup],
        now: DateTime<Utc>,
        is_intact: impl Fn(&Backup) -> bool,
    ) -> Vec<RetentionVerdict> {
        let mut newest_first: Vec<&Backup> = sets.iter().collect();
        newest_first.sort_by(|a, b| age_key(b).cmp(&age_key(a)));
        let whole = IntegrityCache::new(is_intact);
        let of = |purpose: Purpose| {
            let sets = newest_first.iter().copied();
            sets.filter(move |set| set.manifest.purpose == purpose)
        };
        let mut fates = decide_by_day(of(Purpose::Scheduled), self.days, now, &whole);
        fates.extend(match self.manual_days {
            Some(days) => decide_by_day(of(Purpose::Manual), days, now, &whole),
            None => of(Purpose::Manual)
                .map(|set| (backup_id(set), RetentionDecision::Keep(KeepReason::Manual)))
                .collect(),
        });
        fates.extend(decide_by_count(
            of(Purpose::Safety),
            self.safety,
            now,
            &whole,
        ));

        // From the weakest to the strongest: the last one is what is told.
        let main = || {
            let sets = newest_first.iter().copied();
            sets.filter(|set| set.manifest.purpose != Purpose::Safety)
        };
        let latest = main().find(|set| set.manifest.taken_at <= now && whole.is_intact(set));
        let verified = main().find(|set| set.verified_at.is_some() && whole.is_intact(set));
        let restored = newest_first.iter().filter(|set| set.restored_at.is_some());
        let restored = restored.copied().max_by_key(|set| set.restored_at);
        let restored_at = restored.and_then(|set| set.restored_at);
        for set in &newest_first {
            if set.restore_started_at.is_some() && set.restore_started_at > restored_at {
                fates.insert(
                    backup_id(set),
                    RetentionDecision::Keep(KeepReason::Restoring),
                );
            }
        }
        for (set, why) in [
            (latest, KeepReason::Latest),
            (verified, KeepReason::Verified),
            (restored, KeepReason::RestoredFrom),
        ] {
            if let Some(set) = set {
                fates.insert(backup_id(set), RetentionDecision::Keep(why));
            }
        }
        newest_first.reverse();
        let verdicts = newest_first.into_iter().filter_map(|set| {
            let fate = fates.remove(backup_id(set))?;
            let set = set.clone();
            Some(RetentionVerdict {
                backup: set,
                decision: fate,
            })
        });
        verdicts.collect()
    }
}

fn backup_id(set: &Backup) -> &str {
    &set.manifest.id
}

fn age_key(set: &Backup) -> (DateTime<Utc>, &str) {
    (set.manifest.taken_at, backup_id(set))
}

/// Backups whose bytes were compared, each once.
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

    fn is_intact(&self, set: &'a Backup) -> bool {
        let known = self.results.borrow().get(backup_id(set)).copied();
        known.unwrap_or_else(|| {
            let is_whole = (self.verify)(set);
            self.results.borrow_mut().insert(backup_id(set), is_whole);
            is_whole
        })
    }
}

/// The newest whole one of each of the last `days` days that have one stays.
fn decide_by_day<'a, F: Fn(&Backup) -> bool>(
    newest_first: impl Iterator<Item = &'a Backup>,
    days: usize,
    now: DateTime<Utc>,
    integrity: &IntegrityCache<'a, F>,
) -> BTreeMap<&'a str, RetentionDecision> {
    let mut kept: BTreeMap<NaiveDate, &str> = BTreeMap::new();
    let mut fates = BTreeMap::new();
    for set in newest_first {
        let day = set.manifest.taken_at.date_naive();
        let fate = if set.manifest.taken_at > now {
            RetentionDecision::Keep(KeepReason::Future)
        } else if let Some(newer) = kept.get(&day) {
            let newer = (*newer).to_owned();
            RetentionDecision::Prune(PruneReason::SameDay { newer })
        } else if kept.len() >= days.max(1) {
            RetentionDecision::Prune(PruneReason::Old { days: kept.len() })
        } else if integrity.is_intact(set) {
            kept.insert(day, backup_id(set));
            RetentionDecision::Keep(KeepReason::NewestOfDay { day })
        } else {
            RetentionDecision::Keep(KeepReason::Damaged)
        };
        fates.insert(backup_id(set), fate);
    }
    fates
}

/// The newest `number` whole ones stay.
fn decide_by_count<'a, F: Fn(&Backup) -> bool>(
    newest_first: impl Iterator<Item = &'a Backup>,
    count: usize,
    now: DateTime<Utc>,
    integrity: &IntegrityCache<'a, F>,
) -> BTreeMap<&'a str, RetentionDecision> {
    let mut newer = 0;
    let mut fates = BTreeMap::new();
    for set in newest_first {
        let fate = if set.manifest.taken_at > now {
            RetentionDecision::Keep(KeepReason::Future)
        } else if newer >= count.max(1) {
            RetentionDecision::Prune(PruneReason::Surplus { newer })
        } else if integrity.is_intact(set) {
            newer += 1;
            RetentionDecision::Keep(KeepReason::Safety)
        } else {
            RetentionDecision::Keep(KeepReason::Damaged)
        };
        fates.insert(backup_id(set), fate);
    }
    fates
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;
