use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

use super::*;
use crate::examples::{self, manifest};

const POLICY: RetentionPolicy = RetentionPolicy {
    days: 7,
    safety: 5,
    manual_days: None,
};

fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn backup(id: &str, taken_at: &str, purpose: Purpose) -> Backup {
    let mut manifest = manifest(id, taken_at);
    manifest.purpose = purpose;
    examples::backup(manifest)
}

fn pruned(
    policy: RetentionPolicy,
    backups: &[Backup],
    is_intact: impl Fn(&Backup) -> bool,
) -> Vec<String> {
    let verdicts = policy.evaluate(backups, time("2026-11-28T12:00:00Z"), is_intact);
    assert_eq!(verdicts.len(), backups.len());
    let pruned = verdicts.iter().filter(|verdict| verdict.is_pruned());
    pruned
        .map(|verdict| verdict.backup.manifest.id.clone())
        .collect()
}

fn decision(policy: RetentionPolicy, backups: &[Backup], id: &str) -> RetentionDecision {
    let verdicts = policy.evaluate(backups, time("2026-11-28T12:00:00Z"), |_| true);
    let verdict = verdicts
        .into_iter()
        .find(|verdict| verdict.backup.manifest.id == id);
    verdict.unwrap().decision
}

/// The reported case: a good backup, damage, a restore with its safety backup, and then a prune.
#[test]
fn safety_backup_does_not_displace_the_restored_backup() {
    for good in [Purpose::Manual, Purpose::Scheduled] {
        let mut restored = backup("a", "2026-11-28T09:00:00Z", good);
        restored.restored_at = Some(time("2026-11-28T10:00:00Z"));
        let backups = [
            restored,
            backup("b", "2026-11-28T10:00:00Z", Purpose::Safety),
            backup("c", "2026-11-28T10:01:00Z", Purpose::Safety),
        ];
        let one = RetentionPolicy {
            days: 1,
            safety: 1,
            manual_days: Some(1),
        };
        assert_eq!(pruned(one, &backups, |_| true), ["b"]);
        assert_eq!(
            decision(one, &backups, "a"),
            RetentionDecision::Keep(KeepReason::RestoredFrom)
        );
    }
}

/// After a kill, it is unknown which backup the data was restored from: each possible one is kept.
#[test]
fn killed_restore_keeps_both_possible_sources() {
    let mut source = backup("a", "2026-11-26T09:00:00Z", Purpose::Scheduled);
    source.restored_at = Some(time("2026-11-26T10:00:00Z"));
    let mut before = backup("b", "2026-11-26T09:30:00Z", Purpose::Scheduled);
    before.restore_started_at = Some(time("2026-11-26T09:59:00Z"));
    let mut killed = backup("c", "2026-11-26T11:00:00Z", Purpose::Safety);
    killed.restore_started_at = Some(time("2026-11-27T10:00:00Z"));
    let backups = [
        source,
        before,
        killed,
        backup("d", "2026-11-28T10:00:00Z", Purpose::Safety),
        backup("e", "2026-11-28T11:00:00Z", Purpose::Scheduled),
    ];
    let one = RetentionPolicy {
        days: 1,
        safety: 1,
        manual_days: Some(1),
    };
    assert_eq!(pruned(one, &backups, |_| true), ["b"]);
    assert_eq!(
        decision(one, &backups, "a"),
        RetentionDecision::Keep(KeepReason::RestoredFrom)
    );
    assert_eq!(
        decision(one, &backups, "c"),
        RetentionDecision::Keep(KeepReason::Restoring)
    );
}

#[test]
fn scheduled_backup_displaces_scheduled_backups_only() {
    let backups = [
        backup("a", "2026-11-28T01:00:00Z", Purpose::Manual),
        backup("b", "2026-11-28T02:00:00Z", Purpose::Scheduled),
        backup("c", "2026-11-28T03:00:00Z", Purpose::Manual),
        backup("d", "2026-11-28T04:00:00Z", Purpose::Scheduled),
    ];
    assert_eq!(pruned(POLICY, &backups, |_| true), ["b"]);
    let newer = "d".to_owned();
    assert_eq!(
        decision(POLICY, &backups, "b"),
        RetentionDecision::Prune(PruneReason::SameDay { newer })
    );
    let limited = RetentionPolicy {
        manual_days: Some(1),
        ..POLICY
    };
    assert_eq!(pruned(limited, &backups, |_| true), ["a", "b"]);
}

#[test]
fn damaged_backup_is_kept_and_displaces_nothing() {
    let backups = [
        backup("a", "2026-11-26T03:00:00Z", Purpose::Scheduled),
        backup("b", "2026-11-27T03:00:00Z", Purpose::Scheduled),
        backup("c", "2026-11-28T03:00:00Z", Purpose::Scheduled),
        backup("d", "2026-11-28T04:00:00Z", Purpose::Scheduled),
    ];
    let one = RetentionPolicy { days: 1, ..POLICY };
    assert_eq!(pruned(one, &backups, |_| true), ["a", "b", "c"]);
    let without =
        |ids: &'static [&'static str]| move |backup: &Backup| !ids.contains(&backup_id(backup));
    assert_eq!(pruned(one, &backups, without(&["d"])), ["a", "b"]);
    assert_eq!(pruned(one, &backups, without(&["c", "d"])), ["a"]);
    assert_eq!(pruned(one, &backups, |_| false), [""; 0]);
}

#[test]
fn backup_from_the_future_displaces_nothing() {
    let backups = [
        backup("a", "2026-11-27T03:00:00Z", Purpose::Scheduled),
        backup("b", "2026-11-28T03:00:00Z", Purpose::Scheduled),
        backup("c", "2027-11-28T03:00:00Z", Purpose::Scheduled),
        backup("d", "2027-11-28T03:00:00Z", Purpose::Safety),
    ];
    let one = RetentionPolicy {
        days: 1,
        safety: 1,
        manual_days: Some(1),
    };
    assert_eq!(pruned(one, &backups, |_| true), ["a"]);
    assert_eq!(
        decision(one, &backups, "b"),
        RetentionDecision::Keep(KeepReason::Latest)
    );
    assert_eq!(
        decision(one, &backups, "c"),
        RetentionDecision::Keep(KeepReason::Future)
    );
}

#[derive(Debug, Clone)]
struct BackupExample {
    hours_ago: i64,
    purpose: usize,
    is_intact: bool,
    is_verified: bool,
    is_restored: bool,
}

fn backup_examples() -> impl Strategy<Value = BackupExample> {
    (
        -30_i64..700,
        0_usize..3,
        prop::bool::weighted(0.8),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(hours_ago, purpose, is_intact, is_verified, is_restored)| BackupExample {
                hours_ago,
                purpose,
                is_intact,
                is_verified,
                is_restored,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// For any number of backups of any purpose and day, and with any of them damaged.
    #[test]
    fn required_backups_are_kept_and_pruned_ones_are_displaced(
        examples in prop::collection::vec(backup_examples(), 1..40),
        days in 1_usize..9,
        safety in 1_usize..6,
        manual_days in prop::option::of(1_usize..5),
    ) {
        let now = time("2026-11-28T12:00:00Z");
        let purposes = [Purpose::Manual, Purpose::Scheduled, Purpose::Safety];
        let backups: Vec<Backup> = examples.iter().enumerate().map(|(index, example)| {
            let mut backup = backup(&format!("set{index}"), "2026-11-28T12:00:00Z", purposes[example.purpose]);
            backup.manifest.taken_at = now - TimeDelta::hours(example.hours_ago)
                + TimeDelta::milliseconds(i64::try_from(index).unwrap() - 1000);
            backup.verified_at = example.is_verified.then_some(now);
            backup.restored_at = example.is_restored.then(|| now + TimeDelta::seconds(i64::try_from(index).unwrap()));
            backup
        }).collect();
        let is_intact = |backup: &Backup| examples[backup_id(backup)[3..].parse::<usize>().unwrap()].is_intact;
        let policy = RetentionPolicy { days, safety, manual_days };
        let verdicts = policy.evaluate(&backups, now, is_intact);
        prop_assert_eq!(verdicts.len(), backups.len());
        let kept: BTreeSet<&str> = verdicts.iter().filter(|verdict| !verdict.is_pruned()).map(|verdict| backup_id(&verdict.backup)).collect();

        let is_past = |backup: &&Backup| backup.manifest.taken_at <= now;
        let is_main = |backup: &&Backup| backup.manifest.purpose != Purpose::Safety;
        let newest = |condition: &dyn Fn(&Backup) -> bool| backups.iter().filter(|backup| condition(backup)).max_by_key(|backup| backup.manifest.taken_at);
        if let Some(latest) = newest(&|backup| is_past(&backup) && is_main(&backup) && is_intact(backup)) {
            prop_assert!(kept.contains(backup_id(latest)));
        }
        if let Some(verified) = newest(&|backup| is_main(&backup) && is_intact(backup) && backup.verified_at.is_some()) {
            prop_assert!(kept.contains(backup_id(verified)));
        }
        if let Some(restored) = backups.iter().filter(|backup| backup.restored_at.is_some()).max_by_key(|backup| backup.restored_at) {
            prop_assert!(kept.contains(backup_id(restored)));
        }
        for verdict in &verdicts {
            let RetentionDecision::Prune(reason) = &verdict.decision else { continue };
            let purpose = verdict.backup.manifest.purpose;
            prop_assert!(is_past(&&verdict.backup));
            prop_assert!(!(purpose == Purpose::Manual && manual_days.is_none()));
            // A backup that displaces another is intact, newer, of the same purpose, and kept.
            let newer: Vec<&Backup> = backups.iter().filter(|backup| {
                backup.manifest.purpose == purpose
                    && is_past(backup)
                    && is_intact(backup)
                    && backup.manifest.taken_at > verdict.backup.manifest.taken_at
                    && kept.contains(backup_id(backup))
            }).collect();
            let newer_days: BTreeSet<_> = newer.iter().map(|backup| backup.manifest.taken_at.date_naive()).collect();
            match reason {
                PruneReason::SameDay { newer: id } => prop_assert!(newer.iter().any(|backup| backup.manifest.id == *id)),
                PruneReason::Old { .. } => prop_assert!(newer_days.len() >= manual_days.filter(|_| purpose == Purpose::Manual).unwrap_or(days)),
                PruneReason::Surplus { .. } => prop_assert!(newer.len() >= safety),
            }
        }
        // A second evaluation of the remaining backups prunes nothing.
        let remaining: Vec<Backup> = verdicts.iter().filter(|verdict| !verdict.is_pruned()).map(|verdict| verdict.backup.clone()).collect();
        prop_assert!(policy.evaluate(&remaining, now, is_intact).iter().all(|verdict| !verdict.is_pruned()));
    }
}
