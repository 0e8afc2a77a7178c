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
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Approved => "APPROVED",
            Self::Rejected => "REJECTED",
        }
    }

    /// The status of that name in any case, as filters have it.
    pub(crate) fn from_name_ignore_case(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str().eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_take_any_case() {
        for status in ExpenseStatus::ALL {
            assert_eq!(
                ExpenseStatus::from_name_ignore_case(status.as_str()),
                Some(status)
            );
            let lower = status.as_str().to_lowercase();
            assert_eq!(ExpenseStatus::from_name_ignore_case(&lower), Some(status));
        }
        for name in ["", "PAID", "PENDING,APPROVED"] {
            assert_eq!(ExpenseStatus::from_name_ignore_case(name), None, "{name:?}");
        }
    }
}
