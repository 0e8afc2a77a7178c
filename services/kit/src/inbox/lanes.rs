//! Assigns events to lanes.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Returns the lane of a subject. It is always the same, so that events of one aggregate are
/// processed in the order of their delivery.
pub(super) fn lane_for(subject: &str, lanes: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    subject.hash(&mut hasher);
    let lanes = u64::try_from(lanes.max(1)).unwrap_or(1);
    usize::try_from(hasher.finish() % lanes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn subject_has_a_constant_lane_and_all_lanes_are_used() {
        let lanes: HashSet<_> = (0..100)
            .map(|number| {
                let subject = format!("order/ord_{number}");
                assert_eq!(lane_for(&subject, 4), lane_for(&subject, 4));
                lane_for(&subject, 4)
            })
            .collect();
        assert_eq!(lanes, HashSet::from([0, 1, 2, 3]));
        assert_eq!(lane_for("x", 0), 0);
    }
}
