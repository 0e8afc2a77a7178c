use std::collections::BTreeSet;
use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

use super::*;
use crate::examples::manifest;

const KEEP: RetentionPolicy = RetentionPolicy {
    days: 7,
    safety: 5,
    manual_days: None,
};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn set(id: &str, taken_at: &str, purpose: Purpose) -> Backup {
    let mut manifest = manifest(id, taken_at);
    manifest.purpose = purpose;
    Backup {
        path: PathBuf::new(),
        manifest,
        verified_at: None,
        restore_started_at: None,
        restored_at: None,
    }
}

fn gone(keep: RetentionPolicy, sets: &[Backup], is_whole: impl Fn(&Backup) -> bool) -> Vec<String> {
    let verdicts = keep.evaluate(sets, at("2026-11-28T12:00:00Z"), is_whole);
    assert_eq!(verdicts.len(), sets.len());
    let gone = verdicts.iter().filter(|verdict| verdict.is_pruned());
    gone.map(|verdict| verdict.backup.manifest.id.clone())
        .collect()
}

fn fate(keep: RetentionPolicy, sets: &[Backup], id: &str) -> RetentionDecision {
    let verdicts = keep.evaluate(sets, at("2026-11-28T12:00:00Z"), |_| true);
    let found = verdicts
        .into_iter()
        .find(|verdict| verdict.backup.manifest.id == id);
    found.unwrap().decision
}

/// The report: a good backup, damage, a restore with its safety copy, and then a prune.
#[test]
fn a_safety_copy_displaces_nothing() {
    for good in [Purpose::Manual, Purpose::Scheduled] {
        let mut restored = set("a", "2026-11-28T09:00:00Z", good);
        restored.restored_at = Some(at("2026-11-28T10:00:00Z"));
        let sets = [
            restored,
            set("b", "2026-11-28T10:00:00Z", Purpose::Safety),
            set("c", "2026-11-28T10:01:00Z", Purpose::Safety),
        ];
        let one = RetentionPolicy {
            days: 1,
            safety: 1,
            manual_days: Some(1),
        };
        assert_eq!(gone(one, &sets, |_| true), ["b"]);
        assert_eq!(
            fate(one, &sets, "a"),
            RetentionDecision::Keep(KeepReason::RestoredFrom)
        );
    }
}

/// Which one the data is from is not known after a kill: each that it may be from stays.
#[test]
fn a_restore_that_was_killed_takes_no_protection() {
    let mut source = set("a", "2026-11-26T09:00:00Z", Purpose::Scheduled);
    source.restored_at = Some(at("2026-11-26T10:00:00Z"));
    let mut before = set("b", "2026-11-26T09:30:00Z", Purpose::Scheduled);
    before.restore_started_at = Some(at("2026-11-26T09:59:00Z"));
    let mut killed = set("c", "2026-11-26T11:00:00Z", Purpose::Safety);
    killed.restore_started_at = Some(at("2026-11-27T10:00:00Z"));
    let sets = [
        source,
        before,
        killed,
        set("d", "2026-11-28T10:00:00Z", Purpose::Safety),
        set("e", "2026-11-28T11:00:00Z", Purpose::Scheduled),
    ];
    let one = RetentionPolicy {
        days: 1,
        safety: 1,
        manual_days: Some(1),
    };
    assert_eq!(gone(one, &sets, |_| true), ["b"]);
    assert_eq!(
        fate(one, &sets, "a"),
        RetentionDecision::Keep(KeepReason::RestoredFrom)
    );
    assert_eq!(
        fate(one, &sets, "c"),
        RetentionDecision::Keep(KeepReason::Restoring)
    );
}

#[test]
fn a_scheduled_one_displaces_scheduled_ones_alone() {
    let sets = [
        set("a", "2026-11-28T01:00:00Z", Purpose::Manual),
        set("b", "2026-11-28T02:00:00Z", Purpose::Scheduled),
        set("c", "2026-11-28T03:00:00Z", Purpose::Manual),
        set("d", "2026-11-28T04:00:00Z", Purpose::Scheduled),
    ];
    assert_eq!(gone(KEEP, &sets, |_| true), ["b"]);
    let newer = "d".to_owned();
    assert_eq!(
        fate(KEEP, &sets, "b"),
        RetentionDecision::Prune(PruneReason::SameDay { newer })
    );
    let limited = RetentionPolicy {
        manual_days: Some(1),
        ..KEEP
    };
    assert_eq!(gone(limited, &sets, |_| true), ["a", "b"]);
}

#[test]
fn a_damaged_one_counts_for_nothing_and_stays() {
    let sets = [
        set("a", "2026-11-26T03:00:00Z", Purpose::Scheduled),
        set("b", "2026-11-27T03:00:00Z", Purpose::Scheduled),
        set("c", "2026-11-28T03:00:00Z", Purpose::Scheduled),
        set("d", "2026-11-28T04:00:00Z", Purpose::Scheduled),
    ];
    let one = RetentionPolicy { days: 1, ..KEEP };
    assert_eq!(gone(one, &sets, |_| true), ["a", "b", "c"]);
    let broken = |ids: &'static [&'static str]| move |set: &Backup| !ids.contains(&backup_id(set));
    assert_eq!(gone(one, &sets, broken(&["d"])), ["a", "b"]);
    assert_eq!(gone(one, &sets, broken(&["c", "d"])), ["a"]);
    assert_eq!(gone(one, &sets, |_| false), [""; 0]);
}

#[test]
fn one_from_the_future_displaces_nothing() {
    let sets = [
        set("a", "2026-11-27T03:00:00Z", Purpose::Scheduled),
        set("b", "2026-11-28T03:00:00Z", Purpose::Scheduled),
        set("c", "2027-11-28T03:00:00Z", Purpose::Scheduled),
        set("d", "2027-11-28T03:00:00Z", Purpose::Safety),
    ];
    let one = RetentionPolicy {
        days: 1,
        safety: 1,
        manual_days: Some(1),
    };
    assert_eq!(gone(one, &sets, |_| true), ["a"]);
    assert_eq!(
        fate(one, &sets, "b"),
        RetentionDecision::Keep(KeepReason::Latest)
    );
    assert_eq!(
        fate(one, &sets, "c"),
        RetentionDecision::Keep(KeepReason::Future)
    );
}

#[derive(Debug, Clone)]
struct Made {
    hours_ago: i64,
    purpose: usize,
    whole: bool,
    proved: bool,
    restored: bool,
}

fn made() -> impl Strategy<Value = Made> {
    (
        -30_i64..700,
        0_usize..3,
        prop::bool::weighted(0.8),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(hours_ago, purpose, whole, proved, restored)| Made {
            hours_ago,
            purpose,
            whole,
            proved,
            restored,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// However many there are, of whichever purposes and days, and whichever are damaged.
    #[test]
    fn what_is_needed_stays(
        made in prop::collection::vec(made(), 1..40),
        days in 1_usize..9,
        safety in 1_usize..6,
        manual_days in prop::option::of(1_usize..5),
    ) {
        let now = at("2026-11-28T12:00:00Z");
        let purposes = [Purpose::Manual, Purpose::Scheduled, Purpose::Safety];
        let sets: Vec<Backup> = made.iter().enumerate().map(|(index, made)| {
            let mut it = set(&format!("set{index}"), "2026-11-28T12:00:00Z", purposes[made.purpose]);
            it.manifest.taken_at = now - TimeDelta::hours(made.hours_ago)
                + TimeDelta::milliseconds(i64::try_from(index).unwrap() - 1000);
            it.verified_at = made.proved.then_some(now);
            it.restored_at = made.restored.then(|| now + TimeDelta::seconds(i64::try_from(index).unwrap()));
            it
        }).collect();
        let whole = |set: &Backup| made[backup_id(set)[3..].parse::<usize>().unwrap()].whole;
        let keep = RetentionPolicy { days, safety, manual_days };
        let verdicts = keep.evaluate(&sets, now, whole);
        prop_assert_eq!(verdicts.len(), sets.len());
        let stays: BTreeSet<&str> = verdicts.iter().filter(|it| !it.is_pruned()).map(|it| backup_id(&it.backup)).collect();

        let past = |set: &&Backup| set.manifest.taken_at <= now;
        let main = |set: &&Backup| set.manifest.purpose != Purpose::Safety;
        let newest = |wanted: &dyn Fn(&Backup) -> bool| sets.iter().filter(|set| wanted(set)).max_by_key(|set| set.manifest.taken_at);
        if let Some(latest) = newest(&|set| past(&set) && main(&set) && whole(set)) {
            prop_assert!(stays.contains(backup_id(latest)));
        }
        if let Some(proved) = newest(&|set| main(&set) && whole(set) && set.verified_at.is_some()) {
            prop_assert!(stays.contains(backup_id(proved)));
        }
        if let Some(restored) = sets.iter().filter(|set| set.restored_at.is_some()).max_by_key(|set| set.restored_at) {
            prop_assert!(stays.contains(backup_id(restored)));
        }
        for verdict in &verdicts {
            let RetentionDecision::Prune(why) = &verdict.decision else { continue };
            let purpose = verdict.backup.manifest.purpose;
            prop_assert!(past(&&verdict.backup));
            prop_assert!(!(purpose == Purpose::Manual && manual_days.is_none()));
            // Whatever lets it go is whole, newer, of its purpose, and stays.
            let newer: Vec<&Backup> = sets.iter().filter(|set| {
                set.manifest.purpose == purpose
                    && past(set)
                    && whole(set)
                    && set.manifest.taken_at > verdict.backup.manifest.taken_at
                    && stays.contains(backup_id(set))
            }).collect();
            let days_of: BTreeSet<_> = newer.iter().map(|set| set.manifest.taken_at.date_naive()).collect();
            match why {
                PruneReason::SameDay { newer: id } => prop_assert!(newer.iter().any(|set| set.manifest.id == *id)),
                PruneReason::Old { .. } => prop_assert!(days_of.len() >= manual_days.filter(|_| purpose == Purpose::Manual).unwrap_or(days)),
                PruneReason::Surplus { .. } => prop_assert!(newer.len() >= safety),
            }
        }
        // A second look, at what is left, lets nothing else go.
        let left: Vec<Backup> = verdicts.iter().filter(|it| !it.is_pruned()).map(|it| it.backup.clone()).collect();
        prop_assert!(keep.evaluate(&left, now, whole).iter().all(|it| !it.is_pruned()));
    }
}
