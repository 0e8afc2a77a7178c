//! Where an expense stands.

/// Where an expense stands. A decision is for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExpenseStatus {
    Pending,
    Approved,
    Rejected,
}

impl ExpenseStatus {
    /// Every status, in the order in which errors name them.
    pub(crate) const ALL: [Self; 3] = [Self::Pending, Self::Approved, Self::Rejected];

    /// Its name on the wire and in the table.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Approved => "APPROVED",
            Self::Rejected => "REJECTED",
        }
    }

    /// The status of that name in any case, as filters have it.
    pub(crate) fn of_any_case(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|status| status.name().eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_take_any_case() {
        for status in ExpenseStatus::ALL {
            assert_eq!(ExpenseStatus::of_any_case(status.name()), Some(status));
            let lower = status.name().to_lowercase();
            assert_eq!(ExpenseStatus::of_any_case(&lower), Some(status));
        }
        for name in ["", "PAID", "PENDING,APPROVED"] {
            assert_eq!(ExpenseStatus::of_any_case(name), None, "{name:?}");
        }
    }
}
