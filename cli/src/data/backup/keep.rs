//! Which sets stay.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;

use super::Set;

/// Which sets stay.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// The newest one of each of so many days.
    pub days: usize,
}

impl Keep {
    /// Those of some sets that may go: all but the newest of each of the last days on which
    /// there is one, and the newest that has proved itself.
    #[must_use]
    pub fn leave(self, sets: &[Set]) -> Vec<Set> {
        let mut newest: BTreeMap<NaiveDate, &Set> = BTreeMap::new();
        for set in sets {
            let of_day = newest
                .entry(set.manifest.taken_at.date_naive())
                .or_insert(set);
            if of_day.manifest.taken_at < set.manifest.taken_at {
                *of_day = set;
            }
        }
        let mut kept: BTreeSet<&str> = newest
            .values()
            .rev()
            .take(self.days.max(1))
            .map(|set| set.manifest.id.as_str())
            .collect();
        let proved = sets.iter().filter(|set| set.proved_at.is_some());
        kept.extend(
            proved
                .max_by_key(|set| set.manifest.taken_at)
                .map(|set| set.manifest.id.as_str()),
        );
        sets.iter()
            .filter(|set| !kept.contains(set.manifest.id.as_str()))
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use chrono::{DateTime, Utc};
    use proptest::prelude::*;

    use super::super::store::tests::manifest;
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// However many there are, and of whichever days.
        #[test]
        fn the_newest_and_the_newest_proved_stay(
            days in prop::collection::vec((0_i64..40, 0_i64..24, any::<bool>()), 1..30),
            keep in 1_usize..9,
        ) {
            let sets: Vec<Set> = days
                .iter()
                .enumerate()
                .map(|(at, (day, hour, proved))| {
                    let start: DateTime<Utc> = "2026-10-01T00:00:00Z".parse().unwrap();
                    let taken = start + chrono::TimeDelta::days(*day) + chrono::TimeDelta::hours(*hour)
                        + chrono::TimeDelta::seconds(i64::try_from(at).unwrap());
                    let mut manifest = manifest(&format!("set{at}"), "2026-11-26T10:00:00Z");
                    manifest.taken_at = taken;
                    Set { path: PathBuf::new(), manifest, proved_at: proved.then_some(taken) }
                })
                .collect();
            let leave = Keep { days: keep }.leave(&sets);
            let stay: Vec<&Set> = sets.iter().filter(|set| !leave.contains(set)).collect();
            let newest = sets.iter().max_by_key(|set| set.manifest.taken_at).unwrap();
            prop_assert!(stay.contains(&newest));
            if let Some(proved) = sets.iter().filter(|it| it.proved_at.is_some()).max_by_key(|it| it.manifest.taken_at) {
                prop_assert!(stay.contains(&proved));
            }
            prop_assert!(stay.len() <= keep + 1);
            let all: BTreeSet<_> = sets.iter().map(|set| set.manifest.taken_at.date_naive()).collect();
            prop_assert!(stay.len() >= keep.min(all.len()));
        }
    }
}
