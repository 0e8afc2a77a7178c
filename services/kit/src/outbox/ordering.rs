//! Divides a batch into waves of events that may be in flight at the same time.

use std::collections::{HashMap, HashSet};

/// The waves of a batch. A wave contains at most one event of each aggregate, and is published
/// only after the wave before it is confirmed. Therefore no event overtakes an earlier event of
/// its aggregate that the broker refused.
#[derive(Debug)]
pub(super) struct AggregateWaves<T> {
    waves: std::vec::IntoIter<Vec<(String, T)>>,
    stopped_subjects: HashSet<String>,
}

impl<T> AggregateWaves<T> {
    /// Divides an ordered batch into waves.
    pub(super) fn new(batch: impl IntoIterator<Item = (String, T)>) -> Self {
        let mut counts: HashMap<String, usize> = HashMap::new();
        let mut waves: Vec<Vec<(String, T)>> = Vec::new();
        for (subject, item) in batch {
            let count = counts.entry(subject.clone()).or_default();
            if waves.len() == *count {
                waves.push(Vec::new());
            }
            waves[*count].push((subject, item));
            *count += 1;
        }
        Self {
            waves: waves.into_iter(),
            stopped_subjects: HashSet::new(),
        }
    }

    /// Returns the next wave without events of stopped aggregates.
    pub(super) fn next_wave(&mut self) -> Option<Vec<T>> {
        let wave = self.waves.next()?;
        Some(
            wave.into_iter()
                .filter(|(subject, _)| !self.stopped_subjects.contains(subject))
                .map(|(_, item)| item)
                .collect(),
        )
    }

    /// Stops the remaining events of an aggregate.
    pub(super) fn stop_aggregate(&mut self, subject: &str) {
        self.stopped_subjects.insert(subject.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The events of each aggregate are published in order, and none overtakes a failed
        /// one.
        #[test]
        fn no_event_overtakes_a_failed_one(batch in proptest::collection::vec((0_u8..5, any::<bool>()), 0..60)) {
            let events = batch
                .iter()
                .enumerate()
                .map(|(number, (subject, fails))| (subject.to_string(), (number, *subject, *fails)));
            let mut waves = AggregateWaves::new(events);
            let mut sent: Vec<(usize, u8, bool)> = Vec::new();
            while let Some(wave) = waves.next_wave() {
                let subjects: HashSet<_> = wave.iter().map(|(_, subject, _)| subject).collect();
                prop_assert_eq!(subjects.len(), wave.len());
                for (number, subject, fails) in wave {
                    if fails {
                        waves.stop_aggregate(&subject.to_string());
                    }
                    sent.push((number, subject, fails));
                }
            }
            for subject in 0..5 {
                let expected: Vec<usize> = {
                    let mut all = batch.iter().enumerate().filter(|(_, (other, _))| *other == subject);
                    let mut until_failure = Vec::new();
                    for (number, (_, fails)) in all.by_ref() {
                        until_failure.push(number);
                        if *fails {
                            break;
                        }
                    }
                    until_failure
                };
                let actual: Vec<usize> = sent
                    .iter()
                    .filter(|(_, other, _)| *other == subject)
                    .map(|(number, _, _)| *number)
                    .collect();
                prop_assert_eq!(actual, expected);
            }
        }
    }
}
