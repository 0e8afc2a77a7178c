//! What is measured, and what it is held against.

use clap::ValueEnum;
use serde::Serialize;

/// One thing that a person waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Case {
    /// `dm up` on a fresh instance, with golden images.
    Golden,
    /// `dm up --no-golden` on a fresh instance, images present.
    First,
    /// `dm up` with everything running already.
    Noop,
    /// `dm status` of a running stack.
    Status,
    /// `dm --help`.
    Help,
    /// `dm reset` of a running stack.
    Reset,
    /// `dm down` of a running stack.
    Down,
}

/// The same stack under docker-compose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rival {
    /// With the customary health checks: every 10 s.
    Customary,
    /// The same file with checks every second.
    Tuned,
}

/// What a figure should not exceed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Bound {
    /// A share of the time that a rival takes in the same round.
    Ratio {
        /// The rival.
        of: Rival,
        /// The share.
        limit: f64,
    },
    /// A share of the time that another case takes in the same round.
    Share {
        /// The other case.
        of: Case,
        /// The share.
        limit: f64,
    },
    /// A time.
    Seconds {
        /// In seconds.
        limit: f64,
    },
}

impl Case {
    /// All cases, in the order in which they are shown.
    pub const ALL: [Self; 7] = [
        Self::Golden,
        Self::First,
        Self::Noop,
        Self::Status,
        Self::Help,
        Self::Reset,
        Self::Down,
    ];

    /// Its name in `--case` and in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Golden => "golden",
            Self::First => "first",
            Self::Noop => "noop",
            Self::Status => "status",
            Self::Help => "help",
            Self::Reset => "reset",
            Self::Down => "down",
        }
    }

    /// What it measures, in a few words.
    #[must_use]
    pub const fn what(self) -> &'static str {
        match self {
            Self::Golden => "dm up, fresh, golden images",
            Self::First => "dm up, fresh, no golden images",
            Self::Noop => "dm up, everything running",
            Self::Status => "dm status",
            Self::Help => "dm --help",
            Self::Reset => "dm reset",
            Self::Down => "dm down --volumes",
        }
    }

    /// What its median should not exceed; nothing where it is measured for
    /// information.
    #[must_use]
    pub const fn bounds(self) -> &'static [Bound] {
        match self {
            Self::Golden => &[
                Bound::Ratio {
                    of: Rival::Customary,
                    limit: 0.25,
                },
                Bound::Ratio {
                    of: Rival::Tuned,
                    limit: 0.35,
                },
            ],
            Self::First => &[Bound::Ratio {
                of: Rival::Customary,
                limit: 0.6,
            }],
            Self::Noop => &[Bound::Seconds { limit: 0.4 }],
            Self::Status => &[Bound::Seconds { limit: 0.15 }],
            Self::Help => &[Bound::Seconds { limit: 0.015 }],
            Self::Reset => &[Bound::Share {
                of: Self::Golden,
                limit: 0.5,
            }],
            Self::Down => &[],
        }
    }

    /// True where a stack has to run before it can be measured.
    #[must_use]
    pub const fn needs_stack(self) -> bool {
        matches!(
            self,
            Self::Golden | Self::Noop | Self::Status | Self::Reset | Self::Down
        )
    }

    /// How often it is measured in a round: what is short varies more.
    #[must_use]
    pub const fn repeats(self) -> u32 {
        match self {
            Self::Noop | Self::Status => 3,
            Self::Help => 10,
            Self::Golden | Self::First | Self::Reset | Self::Down => 1,
        }
    }
}

impl Rival {
    /// Both, in the order in which they run.
    pub const ALL: [Self; 2] = [Self::Customary, Self::Tuned];

    /// Its name in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customary => "customary",
            Self::Tuned => "tuned",
        }
    }

    /// Seconds between two health checks.
    #[must_use]
    pub const fn interval(self) -> u32 {
        match self {
            Self::Customary => 10,
            Self::Tuned => 1,
        }
    }

    /// True where one of the cases is held against it.
    #[must_use]
    pub fn is_needed(self, cases: &[Case]) -> bool {
        cases
            .iter()
            .flat_map(|case| case.bounds())
            .any(|bound| matches!(bound, Bound::Ratio { of, .. } if *of == self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rivals_run_only_where_something_is_held_against_them() {
        assert!(Rival::Customary.is_needed(&[Case::First]));
        assert!(!Rival::Tuned.is_needed(&[Case::First]));
        assert!(!Rival::Customary.is_needed(&[Case::Help, Case::Noop, Case::Down]));
    }

    #[test]
    fn names_are_those_of_the_option() {
        for case in Case::ALL {
            let value = case.to_possible_value().unwrap();
            assert_eq!(value.get_name(), case.as_str());
        }
    }
}
