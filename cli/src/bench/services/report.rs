//! What a bench of the services found.

use serde::Serialize;

use super::super::machine::Machine;
use super::{Figure, Summary, Target};

/// Everything that was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The version of `dm`.
    pub dm: String,
    /// How it was compiled: `debug` or `release`. It makes the requests.
    pub profile: &'static str,
    /// When it began, RFC 3339.
    pub began: String,
    /// Where.
    pub machine: Machine,
    /// How many rounds.
    pub runs: u32,
    /// The figures, in the order in which they were measured.
    pub figures: Vec<Measured>,
}

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured {
    /// Which one.
    pub figure: Figure,
    /// A value a round: a share, seconds, or bytes.
    pub samples: Vec<f64>,
    /// What they come to.
    pub summary: Summary,
    /// What the median should be.
    pub target: Target,
    /// Whether it is.
    pub met: bool,
}

impl Measured {
    pub(super) fn new(figure: Figure, value: f64) -> Self {
        Self {
            figure,
            samples: vec![value],
            summary: Summary {
                median: value,
                min: value,
                max: value,
            },
            target: figure.target(),
            met: figure.target().is_met(value),
        }
    }

    /// Works out what the samples come to.
    pub(super) fn judge(&mut self) {
        if let Some(summary) = Summary::of(self.samples.iter().copied()) {
            self.summary = summary;
            self.met = self.target.is_met(summary.median);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A report with a figure that is met and one that is not.
    pub(crate) fn report() -> Report {
        let mut rate = Measured::new(Figure::GatewayRate, 0.5);
        rate.samples.extend([0.7, 0.66]);
        let mut slowest = Measured::new(Figure::OrderSlowest, 0.12);
        rate.judge();
        slowest.judge();
        Report {
            dm: "0.1.0".into(),
            profile: "debug",
            began: "2026-11-25T18:00:00Z".into(),
            machine: Machine {
                processors: 2,
                processor: Some("a processor".into()),
                memory: Some(24 << 30),
                load: Some(0.5),
                engine: "Docker 20.10.24".into(),
                storage: Some("overlay2".into()),
                compose: None,
            },
            runs: 3,
            figures: vec![rate, slowest],
        }
    }

    #[test]
    fn the_median_decides() {
        let report = report();
        assert_eq!(report.figures[0].summary.median, 0.66);
        assert!(report.figures[0].met);
        assert!(!report.figures[1].met);
    }
}
