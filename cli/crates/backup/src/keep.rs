//! Which backups stay, which go, and why.
//!
//! Each purpose has a rule of its own, so that no backup displaces one of another purpose: a
//! safety copy, which is always the newest of its day, never takes the place of a good one.

use std::cell::RefCell;
use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::{Purpose, Set};

/// How many backups of each purpose stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
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
pub enum Stays {
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
pub enum Goes {
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
pub enum Fate {
    /// It stays.
    Stays(Stays),
    /// It goes.
    Goes(Goes),
}

/// A backup with what becomes of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The backup.
    pub set: Set,
    /// Stays or goes, and why.
    pub fate: Fate,
}

impl Verdict {
    /// Whether it goes.
    #[must_use]
    pub const fn goes(&self) -> bool {
        matches!(self.fate, Fate::Goes(_))
    }
}

impl Keep {
    /// What the configuration says.
    #[must_use]
    pub fn of(config: &dm_config::Backup) -> Self {
        Self {
            days: config.keep.get().into(),
            safety: config.keep_safety.get().into(),
            manual_days: config.keep_manual.map(|days| days.get().into()),
        }
    }

    /// What becomes of each backup, oldest first. `is_whole` compares a backup's bytes with
    /// their digests: only a whole one is a reason for another to go.
    #[must_use]
    pub fn judge(
        self,
        sets: &[Set],
        now: DateTime<Utc>,
        is_whole: impl Fn(&Set) -> bool,
    ) -> Vec<Verdict> {
        let mut newest_first: Vec<&Set> = sets.iter().collect();
        newest_first.sort_by(|a, b| age_order(b).cmp(&age_order(a)));
        let whole = Checked::new(is_whole);
        let of = |purpose: Purpose| {
            let sets = newest_first.iter().copied();
            sets.filter(move |set| set.manifest.purpose == purpose)
        };
        let mut fates = by_day(of(Purpose::Scheduled), self.days, now, &whole);
        fates.extend(match self.manual_days {
            Some(days) => by_day(of(Purpose::Manual), days, now, &whole),
            None => of(Purpose::Manual)
                .map(|set| (id(set), Fate::Stays(Stays::Manual)))
                .collect(),
        });
        fates.extend(by_number(of(Purpose::Safety), self.safety, now, &whole));

        // From the weakest to the strongest: the last one is what is told.
        let main = || {
            let sets = newest_first.iter().copied();
            sets.filter(|set| set.manifest.purpose != Purpose::Safety)
        };
        let latest = main().find(|set| set.manifest.taken_at <= now && whole.check(set));
        let verified = main().find(|set| set.proved_at.is_some() && whole.check(set));
        let restored = newest_first.iter().filter(|set| set.restored_at.is_some());
        let restored = restored.copied().max_by_key(|set| set.restored_at);
        let restored_at = restored.and_then(|set| set.restored_at);
        for set in &newest_first {
            if set.restoring_at.is_some() && set.restoring_at > restored_at {
                fates.insert(id(set), Fate::Stays(Stays::Restoring));
            }
        }
        for (set, why) in [
            (latest, Stays::Latest),
            (verified, Stays::Verified),
            (restored, Stays::RestoredFrom),
        ] {
            if let Some(set) = set {
                fates.insert(id(set), Fate::Stays(why));
            }
        }
        newest_first.reverse();
        let verdicts = newest_first.into_iter().filter_map(|set| {
            let fate = fates.remove(id(set))?;
            let set = set.clone();
            Some(Verdict { set, fate })
        });
        verdicts.collect()
    }
}

fn id(set: &Set) -> &str {
    &set.manifest.id
}

fn age_order(set: &Set) -> (DateTime<Utc>, &str) {
    (set.manifest.taken_at, id(set))
}

/// Backups whose bytes were compared, each once.
struct Checked<'a, F> {
    is_whole: F,
    known: RefCell<BTreeMap<&'a str, bool>>,
}

impl<'a, F: Fn(&Set) -> bool> Checked<'a, F> {
    const fn new(is_whole: F) -> Self {
        Self {
            is_whole,
            known: RefCell::new(BTreeMap::new()),
        }
    }

    fn check(&self, set: &'a Set) -> bool {
        let known = self.known.borrow().get(id(set)).copied();
        known.unwrap_or_else(|| {
            let is_whole = (self.is_whole)(set);
            self.known.borrow_mut().insert(id(set), is_whole);
            is_whole
        })
    }
}

/// The newest whole one of each of the last `days` days that have one stays.
fn by_day<'a, F: Fn(&Set) -> bool>(
    newest_first: impl Iterator<Item = &'a Set>,
    days: usize,
    now: DateTime<Utc>,
    whole: &Checked<'a, F>,
) -> BTreeMap<&'a str, Fate> {
    let mut kept: BTreeMap<NaiveDate, &str> = BTreeMap::new();
    let mut fates = BTreeMap::new();
    for set in newest_first {
        let day = set.manifest.taken_at.date_naive();
        let fate = if set.manifest.taken_at > now {
            Fate::Stays(Stays::Future)
        } else if let Some(newer) = kept.get(&day) {
            let newer = (*newer).to_owned();
            Fate::Goes(Goes::SameDay { newer })
        } else if kept.len() >= days.max(1) {
            Fate::Goes(Goes::Old { days: kept.len() })
        } else if whole.check(set) {
            kept.insert(day, id(set));
            Fate::Stays(Stays::NewestOfDay { day })
        } else {
            Fate::Stays(Stays::Damaged)
        };
        fates.insert(id(set), fate);
    }
    fates
}

/// The newest `number` whole ones stay.
fn by_number<'a, F: Fn(&Set) -> bool>(
    newest_first: impl Iterator<Item = &'a Set>,
    number: usize,
    now: DateTime<Utc>,
    whole: &Checked<'a, F>,
) -> BTreeMap<&'a str, Fate> {
    let mut newer = 0;
    let mut fates = BTreeMap::new();
    for set in newest_first {
        let fate = if set.manifest.taken_at > now {
            Fate::Stays(Stays::Future)
        } else if newer >= number.max(1) {
            Fate::Goes(Goes::Surplus { newer })
        } else if whole.check(set) {
            newer += 1;
            Fate::Stays(Stays::Safety)
        } else {
            Fate::Stays(Stays::Damaged)
        };
        fates.insert(id(set), fate);
    }
    fates
}

#[cfg(test)]
#[path = "keep_tests.rs"]
mod tests;
