//! Medians and ranges of samples.

use serde::Serialize;

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct MetricSample {
    /// The round, from 1.
    pub(crate) round: u32,
    /// The value in the unit of the metric.
    pub(crate) value: f64,
}

/// The median and the range of samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct SampleSummary {
    /// The median: of an even number of values, the mean of the two middle ones.
    pub(crate) median: f64,
    /// The smallest value.
    pub(crate) min: f64,
    /// The largest value.
    pub(crate) max: f64,
}

impl SampleSummary {
    /// Summarizes values. Returns `None` if there are none.
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

/// Returns a percentile of values, from 0 to 100, or 0 if there are none.
pub(crate) fn percentile(values: &mut [f64], percent: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index of a list, between 0 and its length"
    )]
    let index = ((last as f64) * percent / 100.0).ceil() as usize;
    values.get(index).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percentile_returns_a_measured_value() {
        let mut values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(percentile(&mut values, 0.0), 1.0);
        assert_eq!(percentile(&mut values, 50.0), 51.0);
        assert_eq!(percentile(&mut values, 99.0), 100.0);
        assert_eq!(percentile(&mut [7.0], 99.0), 7.0);
        assert_eq!(percentile(&mut [], 99.0), 0.0);
    }

    proptest! {
        #[test]
        fn median_divides_the_values_into_halves(values in prop::collection::vec(0.0_f64..1e6, 1..40)) {
            let summary = SampleSummary::from_values(values.iter().copied()).unwrap();
            let below = values.iter().filter(|value| **value < summary.median).count();
            let above = values.iter().filter(|value| **value > summary.median).count();
            prop_assert!(below * 2 <= values.len() && above * 2 <= values.len());
            prop_assert!(summary.min <= summary.median && summary.median <= summary.max);
        }
    }
}
