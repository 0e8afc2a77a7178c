//! Medians, ranges and ratios of samples.

use serde::Serialize;

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Sample {
    /// The round that it belongs to, from 1.
    pub round: u32,
    /// In seconds.
    pub seconds: f64,
}

/// What the samples come to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Summary {
    /// The summary of some values; none of no values.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        };
        Some(Self { median, min, max })
    }

    /// The summary of samples' seconds.
    #[must_use]
    pub fn of_samples(samples: &[Sample]) -> Option<Self> {
        Self::of(samples.iter().map(|sample| sample.seconds))
    }

    /// The ratios of what was measured in the same round, `ours` to `theirs`.
    #[must_use]
    pub fn of_ratios(ours: &[Sample], theirs: &[Sample]) -> Option<Self> {
        Self::of(ours.iter().filter_map(|our| {
            let their = theirs.iter().find(|their| their.round == our.round)?;
            (their.seconds > 0.0).then(|| our.seconds / their.seconds)
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn samples(seconds: &[f64]) -> Vec<Sample> {
        (1..)
            .zip(seconds)
            .map(|(round, &seconds)| Sample { round, seconds })
            .collect()
    }

    #[test]
    fn a_slow_round_slows_both_and_leaves_the_ratio() {
        let (ours, theirs) = (samples(&[1.0, 4.0, 1.0]), samples(&[4.0, 16.0, 4.0]));
        let ratio = Summary::of_ratios(&ours, &theirs).unwrap();
        assert_eq!(
            ratio,
            Summary {
                median: 0.25,
                min: 0.25,
                max: 0.25
            }
        );
    }

    #[test]
    fn a_round_without_its_pair_does_not_count() {
        let ours = samples(&[1.0, 9.0]);
        let ratio = Summary::of_ratios(&ours, &samples(&[2.0])).unwrap();
        assert!((ratio.max - 0.5).abs() < f64::EPSILON);
        assert_eq!(Summary::of_ratios(&ours, &[]), None);
    }

    proptest! {
        #[test]
        fn half_lie_on_either_side(values in prop::collection::vec(0.0_f64..1e6, 1..40)) {
            let summary = Summary::of(values.iter().copied()).unwrap();
            let below = values.iter().filter(|value| **value < summary.median).count();
            let above = values.iter().filter(|value| **value > summary.median).count();
            prop_assert!(below * 2 <= values.len() && above * 2 <= values.len());
            prop_assert!(summary.min <= summary.median && summary.median <= summary.max);
        }
    }
}
