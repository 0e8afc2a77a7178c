//! Medians and ranges of samples.

use serde::Serialize;

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct MetricSample {
    /// The round that it belongs to, from 1.
    pub(crate) round: u32,
    /// In the unit of its figure.
    pub(crate) value: f64,
}

/// What the samples come to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct SampleSummary {
    /// The middle one, or the mean of the two in the middle.
    pub(crate) median: f64,
    /// The smallest.
    pub(crate) min: f64,
    /// The largest.
    pub(crate) max: f64,
}

impl SampleSummary {
    /// The summary of some values; none of no values.
    pub(crate) fn from_values(values: impl IntoIterator<Item = f64>) -> Option<Self> {
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
}

/// The percentile of some values, from 0 to 100; 0 of no values.
pub(crate) fn percentile(values: &mut [f64], hundredths: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place in a list, between 0 and its length"
    )]
    let place = ((last as f64) * hundredths / 100.0).ceil() as usize;
    values.get(place).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let mut values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(percentile(&mut values, 0.0), 1.0);
        assert_eq!(percentile(&mut values, 50.0), 51.0);
        assert_eq!(percentile(&mut values, 99.0), 100.0);
        assert_eq!(percentile(&mut [7.0], 99.0), 7.0);
        assert_eq!(percentile(&mut [], 99.0), 0.0);
    }

    proptest! {
        #[test]
        fn half_lie_on_either_side(values in prop::collection::vec(0.0_f64..1e6, 1..40)) {
            let summary = SampleSummary::from_values(values.iter().copied()).unwrap();
            let below = values.iter().filter(|value| **value < summary.median).count();
            let above = values.iter().filter(|value| **value > summary.median).count();
            prop_assert!(below * 2 <= values.len() && above * 2 <= values.len());
            prop_assert!(summary.min <= summary.median && summary.median <= summary.max);
        }
    }
}
